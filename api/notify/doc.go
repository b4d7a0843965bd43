// Package notify tells the world of events: Sentinel's notification and client-reconfig scripts on every node, and webhooks
// from the leader. It follows the replicated events with a cursor of its own, so that nothing is told again after a restart or
// a snapshot.
package notify
