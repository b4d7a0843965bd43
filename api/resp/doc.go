// Package resp serves the Sentinel protocol (RESP2) on every node, from that node's own replicated state.
package resp
