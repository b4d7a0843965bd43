// Package node runs the replicated state: hashicorp/raft on bolt or in memory, the FSM adapter and its snapshots, the
// formation of a cluster, membership, proposals from any node, linearizable and local reads, and leadership as a scope.
package node
