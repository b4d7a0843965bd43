package daemon

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/raftsentinel/raftsentinel/cmd/conf"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// What New has opened is closed again where it fails: the ports are free and the directory is not locked.
func TestNewRollsBack(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(w *world, c *conf.Config)
		want  string
		fault bool // of the configuration
	}{
		{"log file", func(w *world, c *conf.Config) { c.LogFile = filepath.Join(w.dir, "none", "log") }, "logfile", false},
		{"secret file", func(w *world, c *conf.Config) { c.ClusterSecretFile = filepath.Join(w.dir, "none") }, "cluster-secret-file", true},
		{"secret file's line", func(w *world, c *conf.Config) {
			*c = *w.config(1, 1, "cluster-secret-file "+filepath.Join(w.dir, "none"))
		}, "test.conf:6: cluster-secret-file: stat ", true},
		{"address of nobody", func(_ *world, c *conf.Config) {
			c.Bind = []conf.Bind{{Host: "*"}}
			c.Peers = []string{"192.0.2.1:99999"}
		}, "announce-ip", false},
		{"Sentinel port", func(w *world, c *conf.Config) { w.take(c.Port) }, "port 26379 is in use", false},
		{"gRPC port", func(w *world, c *conf.Config) { w.take(c.GRPCPort) }, "grpc-port 26479 is in use", false},
		{"Raft port", func(w *world, c *conf.Config) { w.take(c.RaftPort) }, "raft-port 26579 is in use", false},
		{"dir", func(w *world, c *conf.Config) { c.Dir = filepath.Join(w.dir, "none", "n1") }, "dir: mkdir", true},
		{"node", func(_ *world, c *conf.Config) { c.NodeID = "" }, "node-id", false},
		{"locked dir", func(w *world, c *conf.Config) {
			other := w.config(2, 1)
			other.Dir = c.Dir
			if _, err := New(w.options(other)); err != nil {
				w.t.Fatal(err)
			}
		}, "another sentineld uses it", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			play(t, func(t *testing.T, w *world) {
				good, bad := w.config(1, 1), w.config(1, 1)
				c.spoil(w, bad)
				before := len(w.net.Listening("127.0.1.1"))
				_, err := New(w.options(bad))
				if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, ErrConfig) != c.fault {
					t.Fatalf("New: %v, want %q", err, c.want)
				}
				if open := w.net.Listening("127.0.1.1"); len(open) != before {
					t.Errorf("ports %v are open, %d were before", open, before)
				}
				if before > 0 || c.name == "locked dir" {
					return
				}
				w.run(good).end()
			})
		})
	}
}

// take occupies a port of the node under test.
func (w *world) take(port int) {
	w.t.Helper()
	if _, err := w.net.Listen(context.Background(), "tcp", net.JoinHostPort("127.0.1.1", strconv.Itoa(port))); err != nil {
		w.t.Fatal(err)
	}
}

// Run ends in time whenever it is told to, with clients that hold on, and leaves no goroutine behind.
func TestRunEnds(t *testing.T) {
	for _, after := range []time.Duration{0, 20 * time.Millisecond, 300 * time.Millisecond, 3 * time.Second, time.Minute} {
		play(t, func(t *testing.T, w *world) {
			alone := w.run(w.config(1, 1))
			waits := w.run(w.config(2, 3)) // finds nobody
			ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
			defer cancel()
			if after > 0 {
				idle, err := alone.connect(ctx)
				if err != nil {
					t.Fatal(err)
				}
				defer idle.Close()
				cc := watch(ctx, t, w, alone)
				defer cc.Close()
			}
			time.Sleep(after)
			alone.end()
			waits.end()
		})
	}
}

// Three nodes that are stopped together all end in time.
func TestRunOfThreeEnds(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		var nodes []*runner
		for i := range 3 {
			nodes = append(nodes, w.run(w.config(i+1, 3)))
		}
		w.until("a cluster", func() bool { return nodes[0].State().Voters() == 3 && nodes[0].Status().LeaderID != "" })
		for _, n := range nodes {
			n.stop()
		}
		for _, n := range nodes {
			n.end()
		}
	})
}

// watch keeps a stream of the API open.
func watch(ctx context.Context, t *testing.T, w *world, r *runner) *grpc.ClientConn {
	t.Helper()
	_, at := r.Addr()
	cc, err := grpc.NewClient("passthrough:///"+at.String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, a string) (net.Conn, error) { return w.net.From("127.0.2.1")(ctx, "tcp", a) }))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := sentinelv1.NewSentinelServiceClient(cc).WatchEvents(ctx, &sentinelv1.WatchEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for err == nil {
			_, err = stream.Recv()
		}
	}()
	return cc
}

func TestReadSecret(t *testing.T) {
	for _, c := range []struct {
		name, text string
		mode       os.FileMode
		want       string // of the error; "" for none
	}{
		{"good", "0123456789abcdef\n", 0o600, ""},
		{"for a group", "0123456789abcdef", 0o640, ""},
		{"for everybody", "0123456789abcdef", 0o644, "everybody may read it (mode 0644)"},
		{"written by everybody", "0123456789abcdef", 0o602, "mode 0602"},
		{"short", "0123456789abcde\n", 0o600, "at least 16 characters"},
		{"spaces", "    \n\n              ", 0o600, "at least 16 characters"},
	} {
		path := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		got, err := readSecret(path)
		switch {
		case c.want == "" && (err != nil || got.Reveal() != strings.TrimSpace(c.text)):
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		case err != nil && strings.Contains(err.Error(), "0123456789"):
			t.Errorf("%s: the error tells the secret: %v", c.name, err)
		}
	}
}

// A directory that is missing is made, for this user alone; those above it are not.
func TestNewMakesItsDir(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		c := w.config(1, 1)
		c.Dir = filepath.Join(w.dir, "fresh")
		w.run(c).end()
		if info, err := os.Stat(c.Dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%v, %v", info, err)
		}
	})
}

func TestAnnouncedHost(t *testing.T) {
	for _, c := range []struct {
		name string
		conf conf.Config
		own  string
		want string // "" for a fault
	}{
		{"given", conf.Config{AnnounceIP: "h", Bind: []conf.Bind{{Host: "*"}}}, "10.0.0.1", "h"},
		{"loopback", conf.Config{Bind: []conf.Bind{{Host: "127.0.0.1"}, {Host: "::1"}}}, "10.0.0.1", "127.0.0.1"},
		{"alone on all addresses", conf.Config{Bind: []conf.Bind{{Host: "*"}}}, "10.0.0.1", "10.0.0.1"},
		{"all nodes on this machine", conf.Config{Bind: []conf.Bind{{Host: "::"}}, Peers: []string{"localhost:1", "127.0.0.1:2"}}, "10.0.0.1", "10.0.0.1"},
		{"alone on one address", conf.Config{Bind: []conf.Bind{{Host: "127.0.0.1"}, {Host: "10.0.0.7"}}}, "10.0.0.1", "10.0.0.7"},
		{"peers without a route", conf.Config{Bind: []conf.Bind{{Host: "*"}}, Peers: []string{"192.0.2.1:99999"}}, "10.0.0.1", ""},
		{"a machine with loopback alone", conf.Config{Bind: []conf.Bind{{Host: "*"}}}, "", ""},
	} {
		got, err := announcedHost(t.Context(), &c.conf, func(context.Context) string { return c.own })
		if got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%s: %q, %v, want %q", c.name, got, err, c.want)
		}
	}
	if own := ownAddress(t.Context()); own != "" && (net.ParseIP(own) == nil || net.ParseIP(own).IsLoopback()) {
		t.Errorf("own address %q", own)
	}
}
