// Package fakeredis is a simulated network of Redis instances, for tests in virtual time and at scale. An instance answers
// the commands that a monitor sends with the field names and formats of Redis 7.0, replicates within its [Net] with real
// semantics of offsets and replication ids, and can crash, hang, fall silent, load, be busy or reject passwords. It
// holds no data: what it replicates is an offset.
package fakeredis
