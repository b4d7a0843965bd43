// Package sim runs clusters of whole nodes in one process and in virtual time: the daemons as they are, over a network in
// memory whose links can be cut, and the simulated Redis instances of test/fakeredis. Hours pass in seconds.
package sim
