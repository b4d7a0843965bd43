// Package systemd installs the packages on hosts with a real systemd and addresses of their own, and does to them what
// operators and accidents do. DESIGN.md says how the lab works; make test-systemd runs it.
package systemd
