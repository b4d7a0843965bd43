package raftfsm

import raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"

// Apply gives the state after the command at index. It never fails: a command refused on its merits changes nothing but
// the index, and Result.Code says why. It panics on a command that this build cannot understand; see [Decode].
func Apply(old *State, index uint64, c *raftlogv1.Command) (*State, Result) {
	panic("contract only: the law follows")
}

// ApplyServers gives the state after Raft's configuration changed at index. Verdicts of nodes that vote no more cease to
// count, and those of nodes that are members no more are dropped.
func ApplyServers(old *State, index uint64, servers []Server) *State {
	panic("contract only: the law follows")
}
