package daemon

import (
	"context"
	"testing"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// A set whose host is a name: once the new cluster has raised its level, which it does by itself, clients are told the IP
// address that the leader resolved.
func TestANameIsToldAsItsAddress(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		name := raftfsm.Addr{Host: "redis.example", Port: 6379}
		w.redis.Add(name.String())
		o := w.options(w.config(1, 1, "sentinel monitor m redis.example 6379 1"))
		o.LookupHost = func(_ context.Context, host string) ([]string, error) {
			if host != name.Host {
				t.Errorf("looked up %q", host)
			}
			return []string{"10.9.0.1"}, nil
		}
		d, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		r := &runner{d, w, stop, make(chan error, 1)}
		go func() { r.done <- d.Run(ctx) }()
		w.until("the address is committed", func() bool { return d.State().Told(name).Host == "10.9.0.1" })
		if m := r.master(); m.Address != name || d.State().FeatureLevel() != raftfsm.Level {
			t.Errorf("known as %s at level %d", m.Address, d.State().FeatureLevel())
		}
		r.end()
	})
}
