// Package doctor judges a whole cluster: from facts that others gathered about nodes, sets and instances it finds what is
// wrong, why that matters and what to do.
//
// It is pure: no clock, goroutine, network or map order. The codes of its findings are a promise; docs/doctor.md lists them.
package doctor
