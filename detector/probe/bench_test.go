package probe

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/detector/instance"
	"github.com/raftsentinel/raftsentinel/test/fakeredis"
)

// BenchmarkInstance tells what a watched instance costs over real sockets: bytes of heap and stack, and goroutines. What
// the simulated instance needs for a connection is measured before and taken off.
func BenchmarkInstance(b *testing.B) {
	const sets = 500
	n := fakeredis.NewNet()
	defer n.Close()
	ports := map[string]string{}
	for i := range sets {
		a := fmt.Sprintf("10.1.%d.%d:6379", i/200, 1+i%200)
		l, err := n.Add(a).Listen()
		if err != nil {
			b.Fatal(err)
		}
		ports[a] = l.String()
	}
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, ports[addr])
	}
	serving, served := servingCost(b, dial, ports)
	for b.Loop() {
		law := newLaw()
		f, err := New(Options{Cluster: law, Dialer: instance.Dialer{DialContext: dial}, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			b.Fatal(err)
		}
		for a := range ports {
			law.monitor(a, a)
		}
		before, running := memory()
		ctx, cancel := context.WithCancel(b.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = f.Run(ctx)
		}()
		for a := range ports {
			for o, _ := f.Observe(addrOf(a)); o.Info == nil; o, _ = f.Observe(addrOf(a)) {
				select {
				case <-f.Changed():
				case <-time.After(10 * time.Millisecond):
				}
			}
		}
		after, now := memory()
		b.ReportMetric(float64(after-before-serving)/sets, "B/instance")
		b.ReportMetric(float64(now-running-served)/sets, "goroutines/instance")
		cancel()
		<-ended
	}
}

// servingCost is what the simulated side needs for one connection to each instance, and a bare socket on ours.
func servingCost(b *testing.B, dial func(context.Context, string, string) (net.Conn, error), ports map[string]string) (int64, int) {
	before, running := memory()
	var conns []net.Conn
	for a := range ports {
		c, err := dial(b.Context(), "tcp", a)
		if err != nil {
			b.Fatal(err)
		}
		conns = append(conns, c)
		fmt.Fprint(c, "INFO replication\r\n")
		if _, err := c.Read(make([]byte, 4096)); err != nil {
			b.Fatal(err)
		}
	}
	after, now := memory()
	for _, c := range conns {
		_ = c.Close()
	}
	return after - before, now - running
}

// memory is heap and stacks in use, and goroutines.
func memory() (bytes int64, goroutines int) {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse), runtime.NumGoroutine()
}
