package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/cmd/conf"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// liveFields of a configuration change at a reload.
var liveFields = []string{
	"AnnounceIP", "AnnouncePort", "Port", "LogLevel", "LogFile", "ScriptsDir", "Webhooks", "WebhookSecretFile",
	"ClusterSecretFile",
}

// Every setting is either changed by a reload, or told to need a restart.
func TestEverySettingIsReloadedOrTold(t *testing.T) {
	fields := reflect.TypeFor[conf.Config]()
	for i := range fields.NumField() {
		f := fields.Field(i)
		if !f.IsExported() || f.Name == "Seeds" || f.Name == "Settings" {
			continue
		}
		var a, b conf.Config
		switch v := reflect.ValueOf(&b).Elem().Field(i); v.Kind() {
		case reflect.String:
			v.SetString("x")
		case reflect.Int:
			v.SetInt(7)
		case reflect.Bool:
			v.SetBool(true)
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		default:
			t.Fatalf("%s is a %s", f.Name, v.Kind())
		}
		told, live := len(needRestart(&a, &b)) == 1, slices.Contains(liveFields, f.Name)
		if pending := len(needReload(&a, &b)) == 1; pending != live {
			t.Errorf("%s: told to wait for a reload %t, live %t", f.Name, pending, live)
		}
		after := reloadable(&a, &b)
		changes := reflect.DeepEqual(reflect.ValueOf(after).Field(i).Interface(), reflect.ValueOf(b).Field(i).Interface())
		if told == live || changes != live {
			t.Errorf("%s: told %t, live %t, changes %t", f.Name, told, live, changes)
		}
	}
}

// record is a log that a test can read while it is written.
type record struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

// take gives what was written since the last take.
func (r *record) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.text.String()
	r.text.Reset()
	return s
}

// reloaded is a node that is made to read configurations of the test.
type reloaded struct {
	*runner
	t    *testing.T
	log  *record
	read func() (*conf.Config, []conf.Warning, error)
}

func (w *world) reloadable(lines ...string) *reloaded {
	r := &reloaded{t: w.t, log: &record{}}
	r.runner = w.run(w.config(1, 1, lines...), func(o *Options) {
		o.Stderr = r.log
		o.Reload = func() (*conf.Config, []conf.Warning, error) { return r.read() }
	})
	w.until("the node has registered", func() bool {
		_, ok := r.State().Node(r.node.RaftID())
		return ok
	})
	r.log.take()
	return r
}

// with reloads a configuration and gives what the log says of it.
func (r *reloaded) with(lines ...string) string {
	c := r.w.config(1, 1, lines...)
	r.read = func() (*conf.Config, []conf.Warning, error) { return c, nil, nil }
	r.reload(context.Background())
	return r.log.take()
}

// told is where the cluster thinks that the node serves the Sentinel protocol.
func (r *reloaded) told() raftfsm.Addr {
	n, _ := r.State().Node(r.node.RaftID())
	return n.RESP
}

// A reload opens the Sentinel port once it is free, moves and closes it, and the cluster learns of it; one that cannot be
// carried out changes nothing.
func TestReloadTakesOverThePort(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		old, err := w.net.Listen(t.Context(), "tcp", "127.0.1.1:26379") // a Sentinel that still runs
		if err != nil {
			t.Fatal(err)
		}
		r := w.reloadable("port 0")
		if a, _ := r.Addr(); a != nil || !r.told().IsZero() {
			t.Errorf("it serves at %v and tells %v", a, r.told())
		}
		if log := r.with("port 26379", "loglevel debug"); !strings.Contains(log, "test.conf:6: port 26379 is in use") ||
			!strings.Contains(log, "nothing changed") {
			t.Errorf("in use: %s", log)
		}
		if a, _ := r.Addr(); a != nil || r.live.Load().LogLevel != "notice" || r.level.Level() != levelOf("notice") {
			t.Errorf("it serves at %v, log level %s", a, r.level.Level())
		}
		if err := old.Close(); err != nil {
			t.Fatal(err)
		}
		if log := r.with("port 26379", "loglevel debug"); strings.Contains(log, "level=ERROR") || strings.Contains(log, "restart") {
			t.Errorf("free: %s", log)
		}
		r.must("PING")
		if r.level.Level() != levelOf("debug") {
			t.Errorf("log level %s", r.level.Level())
		}
		at := func(host string, port uint16) func() bool {
			return func() bool { return r.told() == raftfsm.Addr{Host: host, Port: port} }
		}
		w.until("the port is told", at("127.0.1.1", 26379))

		client, err := r.connect(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		log := r.with("port 26400", "grpc-port 26479", "raft-port 26579", "announce-port 7", "announce-ip redis.example")
		if !strings.Contains(log, "announce-ip is told of the sentinel protocol") || !strings.Contains(log, `directives=http-port`) {
			t.Errorf("moved: %s", log)
		}
		r.must("PING")
		w.until("the announced address is told", at("redis.example", 7))
		if _, err := client.Do(context.Background(), "PING"); err == nil {
			t.Error("a client of the port that was left is still served")
		}
		if open := w.net.Listening("127.0.1.1"); slices.Contains(open, 26379) || !slices.Contains(open, 26400) {
			t.Errorf("ports %v are open", open)
		}
		r.with("port 0")
		w.until("it is told to be off", func() bool { return r.told().IsZero() })
		if a, _ := r.Addr(); a != nil || slices.Contains(w.net.Listening("127.0.1.1"), 26400) {
			t.Errorf("it serves at %v", a)
		}
		r.end()
	})
}

// A configuration with faults is refused, each fault is told, and the node runs on as it was.
func TestReloadRefuses(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		dir := t.TempDir()
		r := w.reloadable("port 26379")
		r.read = func() (*conf.Config, []conf.Warning, error) {
			return nil, []conf.Warning{{Text: "odd"}}, conf.Faults{{Text: "one"}, {Text: "two"}}
		}
		r.reload(context.Background())
		if log := r.log.take(); strings.Count(log, "level=ERROR") != 2 || !strings.Contains(log, "one") || !strings.Contains(log, "two") ||
			!strings.Contains(log, "odd") {
			t.Errorf("faults: %s", log)
		}
		r.read = func() (*conf.Config, []conf.Warning, error) { return nil, nil, errors.New("no directory") }
		r.reload(context.Background())
		if log := r.log.take(); !strings.Contains(log, "no directory") {
			t.Errorf("not read: %s", log)
		}
		open := len(w.net.Listening("127.0.1.1"))
		for what, lines := range map[string][]string{
			"logfile: open": {"port 26400", "logfile " + filepath.Join(dir, "none", "log")},
		} {
			if log := r.with(lines...); !strings.Contains(log, what) || !strings.Contains(log, "nothing changed") {
				t.Errorf("%s: %s", what, log)
			}
			if a, _ := r.Addr(); a.String() != "127.0.1.1:26379" || len(w.net.Listening("127.0.1.1")) != open {
				t.Errorf("%s: it serves at %v; open are %v", what, a, w.net.Listening("127.0.1.1"))
			}
		}
		r.must("PING")
		r.end()
	})
}

// What a reload changes beside the port: the log's file and who runs scripts; and it says what it does not change.
func TestReloadOfTheRest(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		dir := t.TempDir()
		file := filepath.Join(dir, "log")
		r := w.reloadable()
		log := r.with("logfile "+file, "scripts-dir "+dir, "log-format json", "protected-mode no", seedLine)
		if log != "" {
			t.Errorf("stderr %q", log)
		}
		text, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(text), `directives="log-format, protected-mode"`) ||
			!strings.Contains(string(text), "sentinelctl apply") {
			t.Errorf("%s, %v", text, err)
		}
		// The file is rotated also where nothing else can be done.
		if err := os.Rename(file, file+".1"); err != nil {
			t.Fatal(err)
		}
		r.read = func() (*conf.Config, []conf.Warning, error) { return nil, nil, errors.New("no directory") }
		r.reload(context.Background())
		if text, err = os.ReadFile(file); err != nil || !strings.Contains(string(text), "no directory") {
			t.Errorf("rotated: %s, %v", text, err)
		}
		if err := r.checkScript(filepath.Join(dir, "..", "x")); err == nil || !strings.Contains(err.Error(), "does not lie in "+dir) {
			t.Errorf("a script outside: %v", err)
		}
		if log := r.with(); !strings.Contains(log, "configuration reloaded") {
			t.Errorf("back on stderr: %q", log)
		}
		r.end()
	})
}

func TestRunnable(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for path, want := range map[string]string{
		write("good", 0o700): "", write("plain", 0o600): "may not be executed (mode 0600)", dir: "is no file", filepath.Join(dir, "x"): "no such file",
	} {
		if err := Runnable(path); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}

// The cluster secret is changed on one node after the other by a reload: no connection breaks, so that the cluster goes on, and
// new ones are opened by the new secret. A file that does not do changes nothing.
func TestReloadRotatesTheClusterSecret(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		const former, next = "former-former-former", "next-next-next-next"
		write := func(name, secret string) string {
			path := filepath.Join(w.dir, name)
			if err := os.WriteFile(path, []byte(secret), 0o600); err != nil {
				t.Fatal(err)
			}
			return "cluster-secret-file " + path
		}
		var nodes []*runner
		logs := make([]record, 3)
		for i := range 3 {
			c := w.config(i+1, 3, write(fmt.Sprint("secret", i), former))
			nodes = append(nodes, w.run(c, func(o *Options) {
				o.Stderr = &logs[i]
				o.Reload = func() (*conf.Config, []conf.Warning, error) { return c, nil, nil }
			}))
		}
		w.until("a cluster", func() bool { return nodes[0].State().Voters() == 3 })
		term := nodes[0].Status().Term
		for i, n := range nodes {
			write(fmt.Sprint("secret", i), "short")
			if n.reload(t.Context()) || !strings.Contains(logs[i].take(), "at least 16 characters") {
				t.Error("a secret that is too short was taken")
			}
			write(fmt.Sprint("secret", i), next)
			if !n.reload(t.Context()) || !strings.Contains(logs[i].take(), "the cluster secret is another") {
				t.Error("not reloaded, or not told")
			}
			if !n.reload(t.Context()) || strings.Contains(logs[i].take(), "the cluster secret is another") {
				t.Error("the same secret is told to be another")
			}
			time.Sleep(time.Minute)
		}
		for _, n := range nodes {
			if s := n.Status(); s.Term != term || s.LeaderID == "" {
				t.Errorf("there was an election: %+v", s)
			}
		}
		nodes[2].end()
		late := w.run(w.config(3, 3, write("secret2", former)))
		time.Sleep(10 * time.Second)
		if s := late.Status(); s.LeaderID != "" {
			t.Errorf("the former secret opens the cluster: %+v", s)
		}
		late.end()
		back := w.run(w.config(3, 3, write("secret2", next)))
		w.until("back by the new secret", func() bool { return back.Status().LeaderID != "" })
		for i := range logs {
			if log := logs[i].take(); strings.Contains(log, former) || strings.Contains(log, next) {
				t.Errorf("node %d tells a secret", i+1)
			}
		}
		for _, n := range []*runner{nodes[0], nodes[1], back} {
			n.stop()
		}
		for _, n := range []*runner{nodes[0], nodes[1], back} {
			n.end()
		}
	})
}
