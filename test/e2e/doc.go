// Package e2e tries whole clusters: real sentineld processes, real Redis, real signals. Its tests know the daemon by its
// ports and its programs by their exit codes, and nothing else.
package e2e
