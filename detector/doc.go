// Package detector judges one Redis instance from what was seen of it: classes of replies, INFO and ROLE, the tracking of
// unanswered probes, the verdict, and the node's doubt in itself. It is pure: it takes the present moment as an argument
// and knows no clock, goroutine, network or Raft.
package detector
