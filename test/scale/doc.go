// Package scale measures clusters of many masters: sentineld and redis-sentinel go through the same experiments on the same
// machine, asked and told by the Sentinel protocol. Look-ups and watches by gRPC are sentineld's alone. Most masters are
// simulated ones of [command farm]; those whose failover is timed to the millisecond are real. Only the processes under
// measurement are charged with CPU and memory.
//
// [command farm]: https://pkg.go.dev/github.com/raftsentinel/raftsentinel/test/farm
package scale
