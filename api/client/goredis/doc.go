// Package goredis makes a go-redis client that follows a master by the watch stream of a sentineld cluster: new connections
// go to the present master, and those to the former one are dropped at the switch.
package goredis
