// Package api is what a caller may do, by whatever wire: the gRPC services, the mapping of refusals to errors, and the hub
// that tells watchers of changes. It decides nothing: it reads the replicated state and proposes commands.
package api
