package daemon

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/detector/instance"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

const seedLine = "sentinel monitor m 10.9.0.1 6379 2"

var (
	first  = raftfsm.Addr{Host: "10.9.0.1", Port: 6379}
	second = raftfsm.Addr{Host: "10.9.0.2", Port: 6379}
)

// A seed is proposed once in a cluster's life, however many nodes name it and however often they start; what was removed
// stays so.
func TestSeedIsProposedOnce(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		w.redis.Add(first.String())
		var nodes []*runner
		for i := range 3 {
			nodes = append(nodes, w.run(w.config(i+1, 3, seedLine, "sentinel down-after-milliseconds m 4321")))
		}
		m := nodes[2].master()
		if m.Address != first || m.Pause != nil || m.Options.Quorum != 2 || m.Options.DownAfter != 4321*time.Millisecond {
			t.Errorf("seeded as %+v", m)
		}
		restart := func() {
			t.Helper()
			for i, n := range nodes {
				n.end()
				nodes[i] = w.run(n.config)
			}
			time.Sleep(30 * time.Second)
		}
		restart()
		if n := nodes[0].count(raftfsm.EventMonitor); n != 1 {
			t.Errorf("monitored %d times", n)
		}
		nodes[1].must("SENTINEL", "SET", "m", "down-after-milliseconds", "5000")
		restart()
		if m := nodes[0].master(); m.Options.DownAfter != 5*time.Second {
			t.Errorf("the file won over the cluster: down-after %s", m.Options.DownAfter)
		}
		nodes[1].must("SENTINEL", "REMOVE", "m")
		restart()
		for _, n := range nodes {
			if _, known := n.State().Master("m"); known {
				t.Error("a removed master came back from the file")
			}
			n.end()
		}
	})
}

// A seed that cannot be trusted comes up paused and says why; one that answers as a replica is followed to its master.
func TestSeedIsVisited(t *testing.T) {
	for _, c := range []struct {
		name   string
		redis  func(w *world)
		at     raftfsm.Addr
		reason string // of the pause; "" for none
	}{
		{"nobody there", func(*world) {}, first, "does not answer"},
		{"frozen", func(w *world) { w.redis.Add(first.String()).Hang() }, first, "does not answer"},
		{"password", func(w *world) { w.redis.Add(first.String()).SetAuth("", "secret") }, first, "rejects the password: NOAUTH"},
		{"replica", func(w *world) {
			a := w.redis.Add(first.String())
			w.redis.Add(second.String())
			a.Replicate(second)
		}, second, ""},
		{"replica of a dead master", func(w *world) {
			a, b := w.redis.Add(first.String()), w.redis.Add(second.String())
			a.Replicate(second)
			b.Crash()
		}, first, "does not answer"},
		{"Sentinels are active", func(w *world) {
			w.redis.Add(first.String())
			w.sentinel("10.8.0.3", first, "sentinel-0cdc4d47")
			w.sentinel("10.8.0.2", first, "sentinel-63db1fac")
		}, first, "Sentinels are still active on it: 10.8.0.2 (63db1fac), 10.8.0.3 (0cdc4d47); stop them, then resume"},
		{"Sentinels that speak", func(w *world) {
			w.redis.Add(first.String())
			w.sentinel("10.8.0.3", first, "sentinel-0cdc4d47")
			w.sentinel("10.8.0.2", first, "sentinel-63db1fac")
			w.hello(first, "nonsense", "10.8.0.9,0,,0,m,10.0.0.1,6379,0", "10.7.0.2,26380,63db1fac11,0,m,10.0.0.1,6379,0")
		}, first, "Sentinels are still active on it: 10.7.0.2:26380, 10.8.0.3 (0cdc4d47); stop them, then resume"},
		{"Sentinels without names", func(w *world) {
			w.redis.Add(first.String())
			w.sentinel("10.8.0.2", first, "")
		}, first, "Sentinels are still active on it: 10.8.0.2; stop"},
		{"Sentinels by name, no right to the channel", func(w *world) {
			w.redis.Add(first.String()).Deny("pubsub|numsub")
			w.sentinel("10.8.0.2", first, "sentinel-63db1fac")
		}, first, "10.8.0.2 (63db1fac)"},
		{"Sentinels by the channel, no right to the list", func(w *world) {
			w.redis.Add(first.String()).Deny("client|list")
			w.sentinel("10.8.0.2", first, "sentinel-63db1fac")
		}, first, "at an address that is not told"},
		{"Sentinels that speak, no right to the list", func(w *world) {
			w.redis.Add(first.String()).Deny("client|list")
			w.sentinel("10.8.0.2", first, "sentinel-63db1fac")
			w.hello(first, "10.7.0.2,26379,63db1fac11,0,m,10.0.0.1,6379,0", "10.7.0.3,26379,77,0,m,10.0.0.1,6379,0")
		}, first, "active on it: 10.7.0.2:26379, 10.7.0.3:26379; stop"},
		{"another node that listens to Sentinels", func(w *world) {
			w.redis.Add(first.String())
			c, err := (&instance.Dialer{DialContext: w.redis.From("10.8.0.1")}).Dial(context.Background(), instance.Target{Addr: first}, listenerName)
			if err == nil {
				_, err = c.Do(context.Background(), "SUBSCRIBE", helloChannel)
			}
			if err != nil {
				w.t.Fatal(err)
			}
			w.t.Cleanup(func() { _ = c.Close() })
		}, first, ""},
		{"no right to see Sentinels", func(w *world) {
			w.redis.Add(first.String()).Deny("client|list", "pubsub|numsub")
			w.sentinel("10.8.0.2", first, "sentinel-63db1fac")
		}, first, ""},
		{"Sentinels at the master of the replica", func(w *world) {
			a := w.redis.Add(first.String())
			w.redis.Add(second.String())
			a.Replicate(second)
			w.sentinel("10.8.0.2", second, "sentinel-63db1fac")
		}, second, "10.8.0.2 (63db1fac)"},
		{"replicas in a ring", func(w *world) {
			a, b := w.redis.Add(first.String()), w.redis.Add(second.String())
			a.Replicate(second)
			b.Replicate(first)
		}, first, "chain of replicas"},
	} {
		t.Run(c.name, func(t *testing.T) {
			play(t, func(t *testing.T, w *world) {
				c.redis(w)
				n := w.run(w.config(1, 1, strings.Replace(seedLine, "6379 2", "6379 1", 1)))
				defer n.end()
				m := n.master()
				reason := ""
				if m.Pause != nil {
					reason = m.Pause.Reason
				}
				if m.Address != c.at || (reason == "") != (c.reason == "") || !strings.Contains(reason, c.reason) {
					t.Errorf("master %s, paused %q; want %s, %q", m.Address, reason, c.at, c.reason)
				}
			})
		})
	}
}

// The file gives the cluster's settings their first value, once; what a change by hand gave stays.
func TestSettingsAreSeeded(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		lines := []string{"sentinel resolve-hostnames yes", "sentinel announce-hostnames no"}
		n := w.run(w.config(1, 1, lines...))
		given := func(name string) string {
			v, ok := n.State().Setting(name)
			return fmt.Sprint(v, ok)
		}
		w.until("the settings are given", func() bool { return given("resolve-hostnames") == "yestrue" })
		if got := given("announce-hostnames"); got != "notrue" {
			t.Errorf("announce-hostnames: %s", got)
		}
		configured := n.count(raftfsm.EventConfigure)
		n.end()
		log := &record{}
		n = w.run(w.config(1, 1, "sentinel resolve-hostnames no"), func(o *Options) { o.Stderr = log })
		time.Sleep(30 * time.Second)
		if got := strings.Count(log.take(), "setting=resolve-hostnames file=no cluster=yes"); got != 1 {
			t.Errorf("%d lines tell that the file says otherwise", got)
		}
		if given("resolve-hostnames") != "yestrue" || n.count(raftfsm.EventConfigure) != configured {
			t.Errorf("the file won over the cluster: %s, %d events", given("resolve-hostnames"), n.count(raftfsm.EventConfigure))
		}
		n.end()
	})
}

// Nodes whose files disagree do not fight: the master comes up paused and says so.
func TestSeedsDisagree(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		w.redis.Add(first.String())
		w.redis.Add(second.String())
		other := strings.Replace(seedLine, first.Host, second.Host, 1)
		nodes := []*runner{w.run(w.config(1, 2, seedLine)), w.run(w.config(2, 2, other))}
		w.until("it is paused", func() bool { return nodes[0].master().Pause != nil })
		if m := nodes[0].master(); !strings.Contains(m.Pause.Reason, "disagree") {
			t.Errorf("paused because %q", m.Pause.Reason)
		}
		for _, n := range nodes {
			n.end()
		}
	})
}
