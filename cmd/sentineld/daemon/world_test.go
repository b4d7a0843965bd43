package daemon

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raftsentinel/raftsentinel/cmd/conf"
	"github.com/raftsentinel/raftsentinel/detector/instance"
	"github.com/raftsentinel/raftsentinel/raftfsm"
	"github.com/raftsentinel/raftsentinel/test/fakeredis"
	"github.com/raftsentinel/raftsentinel/test/sim"
)

func TestMain(m *testing.M) {
	// The runtime's goroutine for signals must not be born in a bubble.
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	os.Exit(m.Run())
}

// world is a network in memory with Redis instances and a place for nodes.
type world struct {
	t     *testing.T
	dir   string
	net   *sim.Network
	redis *fakeredis.Net
}

// play runs a test in virtual time; the bubble ends only when every goroutine has.
func play(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, dir: dir, net: sim.NewNetwork(0), redis: fakeredis.NewNet()}
		defer func() {
			w.redis.Close()
			time.Sleep(time.Minute) // raft's last calls run into their time limits
		}()
		test(t, w)
	})
}

// sentinel opens the two connections of a Redis Sentinel: it asks by one and listens by the other.
func (w *world) sentinel(host string, at raftfsm.Addr, name string) {
	w.t.Helper()
	d := instance.Dialer{DialContext: w.redis.From(host)}
	for _, part := range []string{"cmd", "pubsub"} {
		full := name
		if name != "" {
			full += "-" + part
		}
		c, err := d.Dial(context.Background(), instance.Target{Addr: at}, full)
		if err == nil && part == "pubsub" {
			_, err = c.Do(context.Background(), "SUBSCRIBE", helloChannel)
		}
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(func() { _ = c.Close() })
	}
}

// hello has Sentinels speak on an instance every two seconds.
func (w *world) hello(at raftfsm.Addr, messages ...string) {
	w.t.Helper()
	d := instance.Dialer{DialContext: w.redis.From("10.8.0.1")}
	c, err := d.Dial(context.Background(), instance.Target{Addr: at}, "speaker")
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			for _, m := range messages {
				_, _ = c.Do(ctx, "PUBLISH", helloChannel, m)
			}
			select {
			case <-ctx.Done():
			case <-time.After(2 * time.Second):
			}
		}
	}()
	w.t.Cleanup(func() {
		cancel()
		<-done
		_ = c.Close()
	})
}

// config of the node number n of a cluster of size.
func (w *world) config(n, size int, more ...string) *conf.Config {
	w.t.Helper()
	dir := filepath.Join(w.dir, fmt.Sprint("n", n))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	lines := []string{fmt.Sprintf("bind 127.0.1.%d", n), fmt.Sprint("node-id n", n), "dir " + dir, fmt.Sprint("bootstrap-expect ", size)}
	peers := "cluster-peers"
	for i := range size {
		peers += fmt.Sprintf(" 127.0.1.%d:26479", i+1)
	}
	c, _, err := conf.Parse(conf.Input{
		Args: []string{"test.conf"}, HostName: "test", WorkDir: dir,
		Open: func(name string) ([]conf.File, error) {
			return []conf.File{{Path: name, Text: strings.Join(append(append(lines, peers), more...), "\n")}}, nil
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) options(c *conf.Config) Options {
	host := c.Bind[0].Host
	return Options{
		Config: c, Stderr: logOutput(), Dialer: instance.Dialer{DialContext: w.redis.From(host)},
		Listen: w.net.Listen, DialContext: w.net.From(host),
	}
}

// logOutput is standard error where DAEMON_TEST_LOG is set.
func logOutput() io.Writer {
	if os.Getenv("DAEMON_TEST_LOG") != "" {
		return os.Stderr
	}
	return io.Discard
}

// runner is a node that runs.
type runner struct {
	*Daemon
	w    *world
	stop context.CancelFunc
	done chan error
}

func (w *world) run(c *conf.Config, alter ...func(*Options)) *runner {
	w.t.Helper()
	o := w.options(c)
	for _, f := range alter {
		f(&o)
	}
	d, err := New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &runner{d, w, stop, make(chan error, 1)}
	go func() { r.done <- d.Run(ctx) }()
	return r
}

// end stops a node and checks what it owes.
func (r *runner) end() {
	r.w.t.Helper()
	began := time.Now()
	r.stop()
	if err := <-r.done; err != nil {
		r.w.t.Errorf("Run: %v", err)
	}
	if took := time.Since(began); took > 3*time.Second {
		r.w.t.Errorf("Run took %s to end", took)
	}
	if open := r.w.net.Listening(r.config.Bind[0].Host); len(open) != 0 {
		r.w.t.Errorf("ports %v are open after Run", open)
	}
}

// ask sends one command to the Sentinel port.
func (r *runner) ask(args ...string) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, err := r.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Do(ctx, args...)
}

func (r *runner) connect(ctx context.Context) (*instance.Conn, error) {
	d := instance.Dialer{DialContext: r.w.net.From("127.0.2.1")}
	at, err := raftfsm.ParseAddr(r.sentinel.addr().String())
	if err != nil {
		return nil, err
	}
	return d.Dial(ctx, instance.Target{Addr: at}, "")
}

func (r *runner) must(args ...string) {
	r.w.t.Helper()
	if _, err := r.ask(args...); err != nil {
		r.w.t.Fatalf("%v: %v", args, err)
	}
}

func (w *world) until(what string, cond func() bool) {
	w.t.Helper()
	for range 3000 {
		synctest.Wait()
		if cond() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.t.Fatalf("not within 30 s: %s", what)
}

// master waits until a node knows the set "m".
func (r *runner) master() *raftfsm.Master {
	r.w.t.Helper()
	var m *raftfsm.Master
	r.w.until("the master is known", func() (ok bool) {
		m, ok = r.State().Master("m")
		return ok
	})
	return m
}

func (r *runner) count(kind string) (n int) {
	seq, _ := r.State().EventsSince(raftfsm.Cursor{})
	for e := range seq {
		if e.Kind == kind {
			n++
		}
	}
	return n
}
