// Package executor is the leader's loop: it measures, asks package failover for the next step, performs it on Redis over a
// fenced connection, and proposes what came of it. It holds no state that the log does not hold: a new leader's executor
// goes on from the row alone.
package executor
