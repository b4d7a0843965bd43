// Package daemon is the composition root: it builds a node of the cluster from its options and runs it. Tests run it in
// process.
package daemon
