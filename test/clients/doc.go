// Package clients has Redis's clients, redis-cli, redis_exporter and HAProxy work against sentineld, each as published and
// unchanged: they write while the master is killed and while a failover is ordered, and go on by themselves.
package clients
