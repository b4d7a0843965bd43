// Package client is the Go SDK of sentineld: it finds a node that works, moves on to the next when one fails, and tells
// where the masters are. Any node takes any call, so there is no leader to look for.
package client
