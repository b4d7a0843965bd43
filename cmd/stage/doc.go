// Package stage runs real redis-server and sentineld processes on free loopback ports, for the demo, the benchmarks and
// the end-to-end tests. Everything it starts it stops, by process id.
package stage
