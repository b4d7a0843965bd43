package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/raftsentinel/raftsentinel/cmd/stage"
)

// move is a live system that moves from Redis Sentinel to this cluster: sets that are written to all the time, and the
// Sentinels that guard them.
type move struct {
	*lab
	sets      []*set
	sentinels []*stage.Sentinel
	writers   []*writer
}

// newMove starts three sets under three Sentinels, beside three nodes that know nothing of them.
func newMove(t *testing.T) *move {
	t.Helper()
	m := &move{lab: newLab(t)}
	var lines []string
	for _, o := range []struct{ name, password string }{{"guarded", "opensesame"}, {"gap", ""}, {"after", ""}} {
		s := m.newServers(o.name, setOptions{password: o.password})
		m.sets = append(m.sets, s)
		lines = append(lines, fmt.Sprintf("sentinel monitor %s %s 2", s.name, strings.Replace(s.servers[0].at, ":", " ", 1)),
			fmt.Sprintf("sentinel down-after-milliseconds %s %d", s.name, downAfter.Milliseconds()),
			fmt.Sprintf("sentinel failover-timeout %s 20000", s.name))
		if o.password != "" {
			lines = append(lines, fmt.Sprintf("sentinel auth-pass %s %s", s.name, o.password))
		}
	}
	var at []string
	for i := range 3 {
		v, err := m.stage.Sentinel(stage.SentinelOptions{Name: fmt.Sprintf("sentinel-%d", i+1), Config: lines})
		m.must(err)
		m.must(v.Start(t.Context()))
		m.sentinels, at = append(m.sentinels, v), append(at, v.Addr())
	}
	for _, s := range m.sets {
		m.guarded(s)
		m.writers = append(m.writers, m.newWriter(s, at))
	}
	return m
}

// guarded waits until every Sentinel knows the others and the replicas of a set.
func (m *move) guarded(s *set) {
	m.t.Helper()
	m.eventually("the Sentinels know "+s.name, soon, func(ctx context.Context) error {
		for _, v := range m.sentinels {
			info, err := m.client(v.Addr(), "").Info(ctx, "sentinel").Result()
			if err != nil {
				return err
			}
			if want := "name=" + s.name + ",status=ok,address=" + s.servers[0].at + ",slaves=2,sentinels=3"; !strings.Contains(info, want) {
				return fmt.Errorf("%s: %s", v.Name(), info)
			}
		}
		return nil
	})
}

// ctl runs sentinelctl and wants an exit status, and words in what it says.
func (m *move) ctl(code int, says []string, args ...string) {
	m.t.Helper()
	got, stdout, stderr := execute(m.t, programs.ctl, append(args, "--endpoints="+m.nodes[0].GRPCAddr())...)
	if got != code {
		m.t.Fatalf("sentinelctl %v: status %d, want %d\n%s%s", args, got, code, stdout, stderr)
	}
	for _, w := range says {
		if !strings.Contains(stdout+stderr, w) {
			m.t.Errorf("sentinelctl %v does not say %q:\n%s%s", args, w, stdout, stderr)
		}
	}
	if containsAny(stdout+stderr, "opensesame") {
		m.t.Errorf("sentinelctl %v shows a password", args)
	}
}

// reload has every node take over the port of a Sentinel, or try to.
func (m *move) reload() {
	m.t.Helper()
	for i, n := range m.nodes {
		_, port, _ := strings.Cut(m.sentinels[i].Addr(), ":")
		text, err := os.ReadFile(n.ConfigPath())
		m.must(err)
		if !strings.HasSuffix(string(text), "\nport "+port+"\n") {
			text = fmt.Appendf(text, "\nport %s\n", port)
		}
		m.must(os.WriteFile(n.ConfigPath(), text, 0o600))
		m.must(n.Signal(syscall.SIGHUP))
	}
}

// TestMovingALiveSystem: the way from Sentinels to this cluster, as docs/moving.md has it, with masters that die while the
// Sentinels guard, in the gap between the two, and afterwards. Nobody ever sees two masters, and no write is lost that
// every replica had.
func TestMovingALiveSystem(t *testing.T) {
	m := newMove(t)
	guarded, gap, after := m.sets[0], m.sets[1], m.sets[2]
	var from []string
	for _, v := range m.sentinels {
		from = append(from, v.Addr())
	}
	importing := []string{"import", "--from-sentinel=" + strings.Join(from, ",")}

	// Import: all paused, and what Sentinels do not tell is asked for.
	m.ctl(5, []string{"create"}, append(importing, "--dry-run")...)
	m.ctl(0, []string{"created", "sentinelctl set guarded auth-pass=-"}, importing...)
	m.ctl(4, []string{"is rejected by " + guarded.servers[0].at, "sentinelctl set guarded auth-pass=-"}, "resume", "guarded")
	with := filepath.Join(t.TempDir(), "with.conf")
	m.must(os.WriteFile(with, []byte("sentinel auth-pass guarded opensesame\n"), 0o600))
	importing = append(importing, "--with="+with)
	m.ctl(0, []string{"auth-pass"}, importing...)
	m.ctl(0, []string{"same"}, append(importing, "--dry-run")...)
	m.ctl(4, []string{"Sentinels are still active on guarded: 127.0.0.1:", "Sentinels are still active on gap: 127.0.0.1:", "none was resumed"}, "resume", "--all")
	m.reload()
	m.eventually("the port is in use", soon, func(context.Context) error {
		for _, n := range m.nodes {
			if !strings.Contains(n.Log(1<<20), "is in use") {
				return fmt.Errorf("%s does not say so", n.Name())
			}
		}
		return nil
	})
	for _, s := range m.sets {
		s.watched()
	}

	// The Sentinels are in charge: they fail over, and the cluster looks on.
	m.must(guarded.servers[0].Kill())
	chosen := m.failedOver(guarded)
	if n, f := count(guarded.events("guarded"), "+switch-master"), guarded.failovers(); n > 0 || len(f) > 0 {
		t.Errorf("the cluster acted on a paused set: %d switches, %v", n, f)
	}
	each(m.sentinels, func(v *stage.Sentinel) {
		if err := v.Stop(); err != nil {
			t.Error(err)
		}
	})

	// The gap: nobody acts, and verdicts are counted.
	m.must(gap.servers[0].Kill())
	gap.odown()
	m.ctl(0, []string{"guarded is resumed", "gap is resumed", "after is resumed"}, "resume", "--all")
	guarded.settled(chosen)
	next := gap.switched(gap.servers[0])
	gap.settled(next)
	m.reload()
	m.eventually("the nodes answer where the Sentinels did", soon, func(ctx context.Context) error {
		for _, at := range from {
			if info, err := m.client(at, "").Info(ctx).Result(); err != nil || !strings.Contains(info, "# Raft") {
				return fmt.Errorf("%s: %w", at, err)
			}
		}
		return nil
	})
	for _, w := range m.writers {
		w.goesOn()
	}

	// Afterwards the cluster alone is in charge.
	m.must(after.servers[0].Kill())
	last := after.switched(after.servers[0])
	m.writers[2].goesOn()
	for _, w := range m.writers {
		w.end()
	}
	for _, s := range m.sets {
		m.must(s.servers[0].Restart(t.Context()))
	}
	for i, master := range []*server{chosen, next, last} {
		m.sets[i].settled(master)
		m.writers[i].check(master)
	}
	gap.switches(1)
	after.switches(1)
	if n, f := count(guarded.events("guarded"), "+switch-master"), guarded.failovers(); n != 1 || len(f) > 0 {
		t.Errorf("guarded was to be adopted once: %d switches, %v%s", n, f, tell(guarded.events("guarded")))
	}
}

// watched waits until every node has a paused set's replicas and knows them in sync.
func (s *set) watched() {
	s.t.Helper()
	s.eventually(s.name+" is watched", soon, func(ctx context.Context) error {
		for _, n := range s.running() {
			m, err := s.local(ctx, n)
			if err != nil {
				return err
			}
			if m.GetPause() == nil || len(m.GetInstances()) != len(s.servers) {
				return fmt.Errorf("%s: paused %v, %d instances", n.Name(), m.GetPause(), len(m.GetInstances()))
			}
			for _, v := range s.servers {
				if err := rests(m, v, s.servers[0]); err != nil {
					return fmt.Errorf("%s: %w", n.Name(), err)
				}
			}
		}
		return nil
	})
}

// failedOver waits until the Sentinels have another master for a set and all that run follow it.
func (m *move) failedOver(s *set) *server {
	m.t.Helper()
	var to *server
	m.eventually("the Sentinels fail "+s.name+" over", soon, func(ctx context.Context) error {
		for _, v := range m.sentinels {
			at, err := masterOf(ctx, m.client(v.Addr(), ""), s.name)
			if err != nil {
				return err
			}
			for _, x := range s.servers {
				if x.at == at {
					to = x
				}
			}
			if to == nil || to == s.servers[0] || to.at != at {
				return fmt.Errorf("%s says %s", v.Name(), at)
			}
		}
		return s.follow(ctx, to)
	})
	return to
}

func masterOf(ctx context.Context, c *redis.Client, name string) (string, error) {
	at, err := c.Do(ctx, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", name).StringSlice()
	if err != nil {
		return "", err
	}
	return strings.Join(at, ":"), nil
}

// writer is an application that writes one number after the other to the master of a set, which it finds by asking where
// the Sentinels were when it started, and somebody who looks for a second master.
type writer struct {
	*set
	ask  []*redis.Client
	stop context.CancelFunc
	work sync.WaitGroup

	mu sync.Mutex
	// acknowledged counts; held are those that were acknowledged and that every replica had.
	acknowledged int
	held         []string
	rivals       []string
}

func (m *move) newWriter(s *set, at []string) *writer {
	w := &writer{set: s}
	for _, a := range at {
		w.ask = append(w.ask, m.client(a, ""))
	}
	ctx, stop := context.WithCancel(context.Background())
	w.stop = stop
	m.t.Cleanup(w.end)
	w.work.Go(func() { w.write(ctx) })
	w.work.Go(func() { w.look(ctx) })
	return w
}

// end stops the application.
func (w *writer) end() {
	w.stop()
	w.work.Wait()
}

func (w *writer) write(ctx context.Context) {
	var target *server
	for n := 0; ctx.Err() == nil; n++ {
		pause(ctx, 2*time.Millisecond)
		if target == nil {
			target = w.find(ctx)
			continue
		}
		word := fmt.Sprint(n)
		if target.client.RPush(ctx, "written", word).Err() != nil {
			target = nil
			continue
		}
		// A first failover leaves one replica.
		replicas := 2
		if target != w.servers[0] {
			replicas = 1
		}
		had, err := target.client.Wait(ctx, replicas, 100*time.Millisecond).Result()
		w.mu.Lock()
		w.acknowledged++
		if err == nil && int(had) >= replicas {
			w.held = append(w.held, word)
		}
		w.mu.Unlock()
	}
}

// find asks for the master.
func (w *writer) find(ctx context.Context) *server {
	for _, c := range w.ask {
		once, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		at, err := masterOf(once, c, w.name)
		cancel()
		for _, v := range w.servers {
			if err == nil && v.at == at {
				return v
			}
		}
	}
	return nil
}

// look asks every server for its role again and again. Two that say at the same time that they are masters are remembered.
func (w *writer) look(ctx context.Context) {
	masters := func() string {
		var all []string
		for _, v := range w.servers {
			once, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
			if role, err := v.role(once); err == nil && role == "master" {
				all = append(all, v.Name())
			}
			cancel()
		}
		return strings.Join(all, " and ")
	}
	for ctx.Err() == nil {
		pause(ctx, 20*time.Millisecond)
		// Asked one after the other, two may say so in turn: what they say once more counts.
		if first := masters(); strings.Contains(first, " and ") && masters() == first {
			w.mu.Lock()
			w.rivals = append(w.rivals, time.Now().Format("15:04:05.000 ")+first)
			w.mu.Unlock()
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func (w *writer) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.acknowledged
}

// goesOn waits for another acknowledged write.
func (w *writer) goesOn() {
	w.t.Helper()
	before := w.count()
	w.eventually(w.name+" is written to", soon, func(context.Context) error {
		if w.count() == before {
			return errors.New("no write was acknowledged")
		}
		return nil
	})
}

// check holds what was acknowledged against what the master has.
func (w *writer) check(master *server) {
	w.t.Helper()
	have := map[string]bool{}
	list, err := master.client.LRange(w.t.Context(), "written", 0, -1).Result()
	w.must(err)
	for _, word := range list {
		have[word] = true
	}
	lost := 0
	for _, word := range w.held {
		if !have[word] {
			lost++
		}
	}
	if lost > 0 || len(w.held) < 50 {
		w.t.Errorf("%s: of %d writes that every replica had %d are lost", w.name, len(w.held), lost)
	}
	if len(w.rivals) > 0 {
		w.t.Errorf("%s: two masters at a time: %v", w.name, w.rivals)
	}
	w.t.Logf("%s: %d writes acknowledged, %d of them held by every replica, %d lost", w.name, w.acknowledged, len(w.held), lost)
}
