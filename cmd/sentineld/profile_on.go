//go:build profile

package main

import (
	"context"
	"net"
	"net/http"
	_ "net/http/pprof" // what the socket serves
	"os"
)

// A build for measuring serves net/http/pprof on the Unix socket that SENTINELD_PPROF names. A released program has no such door.
func init() {
	path := os.Getenv("SENTINELD_PPROF")
	if path == "" {
		return
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "unix", path)
	if err != nil {
		panic(err)
	}
	go func() { panic(http.Serve(l, nil)) }()
}
