// Package probe watches the fleet: it derives from the replicated state which instances to probe and how patiently, paces
// the probes on a grid common to the process, publishes observations, and proposes this node's verdicts and the facts that
// instances state of themselves.
package probe
