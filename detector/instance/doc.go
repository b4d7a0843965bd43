// Package instance is one Redis as we talk to it: dialling, TLS, AUTH with a fallback password, renamed commands, and the
// verbs that probes and failovers need. A connection is small (a few KiB, no goroutine of its own), never dials again by
// itself and never repeats a command: what fails is told.
package instance
