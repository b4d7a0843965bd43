// Package client is the Go SDK of sentineld: it finds a node that works, moves on to the next when one fails, and tells
// where the masters are, without a leader too: such answers are marked. Any node takes any call, so there is no leader to
// look for. The package goredis makes a go-redis client of it.
package client
