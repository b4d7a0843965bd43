// Package raftfsm is the vocabulary and the law of a sentineld cluster: what the replicated state is, and what each
// command of the log does to it.
//
// [Apply] takes a state and a command and gives the next state. It is total and deterministic: every node that
// applies the same log has the same state, byte for byte. The package therefore knows no clock, goroutine, network,
// random number, map order, configuration or log line; ids, choices and times travel in the command. A refusal is a
// [Code] that every node computes alike.
//
// A published *State and everything reachable from it is immutable: readers need no lock.
package raftfsm
