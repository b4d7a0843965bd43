package scale

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/raftsentinel/raftsentinel/test/lab"
)

// profiled has every node serve its profiles, where they are wanted.
func (w *world) profiled() {
	if d, ours := w.watcher.(*lab.Sentineld); ours && w.o.Profiles != "" {
		for _, n := range d.Cluster.Nodes {
			n.SetEnv("SENTINELD_PPROF=" + filepath.Join(n.Dir(), "pprof"))
		}
	}
}

// profile writes what every node does from now on for a while into Options.Profiles, and what its heap holds at the end.
// wait returns when that is done. Where no profiles are wanted it does nothing.
func (w *world) profile(ctx context.Context, name string, d time.Duration) (wait func() error) {
	ours, is := w.watcher.(*lab.Sentineld)
	if !is || w.o.Profiles == "" {
		return func() error { return nil }
	}
	var wg sync.WaitGroup
	errs := make([]error, len(ours.Cluster.Nodes))
	for i, n := range ours.Cluster.Nodes {
		client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(n.Dir(), "pprof"))
		}}}
		wg.Go(func() {
			for _, ask := range []string{fmt.Sprintf("profile?seconds=%d", int(d.Seconds())), "heap"} {
				kind, _, _ := strings.Cut(ask, "?")
				path := filepath.Join(w.o.Profiles, fmt.Sprintf("%s-%s-%s.pprof", name, n.Name(), kind))
				errs[i] = errors.Join(errs[i], save(ctx, &client, "http://node/debug/pprof/"+ask, path))
			}
		})
	}
	return func() error {
		wg.Wait()
		return errors.Join(errs...)
	}
}

func save(ctx context.Context, client *http.Client, url, path string) error {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	r, err := client.Do(q)
	if err != nil {
		return err
	}
	defer func() { _ = r.Body.Close() }()
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r.Body)
	return errors.Join(err, f.Close())
}
