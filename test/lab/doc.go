// Package lab is a master with two replicas and what watches them, sentineld or redis-sentinel, all of it real: the
// benchmark measures in it, and real clients write to it.
package lab
