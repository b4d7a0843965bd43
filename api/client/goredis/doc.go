// Package goredis makes a go-redis client that follows a master by the watch stream of a sentineld cluster: new connections
// go to the present master, and those to the former one are dropped at the switch.
//
// What an application sees of a failover: commands that are under way on the old master fail or are repeated by go-redis
// within MaxRetries, as after any broken connection, so that a command may have been executed twice. Commands that need a
// connection wait for the new master. The whole outage after a crash is the set's down-after-milliseconds and some
// milliseconds more.
package goredis
