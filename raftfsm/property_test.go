package raftfsm_test

import (
	"bytes"
	"fmt"
	"testing"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// FuzzApply runs command sequences that the input spells, and holds the law to its invariants after each.
func FuzzApply(f *testing.F) {
	f.Add([]byte{0, 0, 1, 1, 2, 4, 0, 5, 0, 6, 9, 7, 9, 10, 0})
	f.Add([]byte{0, 0, 0, 9, 1, 0, 1, 1, 4, 0, 4, 1, 4, 2, 6, 1, 6, 2, 12, 0, 11, 0, 8, 1, 7, 0})
	f.Add(bytes.Repeat([]byte{0, 1, 1, 2, 4, 3, 5, 4, 6, 5, 7, 6, 8, 7, 9, 8, 10, 9, 11, 10, 12, 11, 13, 12, 14, 13}, 8))
	f.Fuzz(func(t *testing.T, script []byte) {
		l := newLog(t)
		twin := &log{t: t, state: l.state, index: l.index}
		for i := 0; i+1 < len(script) && i < 400; i += 2 {
			before := l.state
			c := l.verb(script[i], script[i+1])
			l.apply(c)
			twin.apply(c)
			l.check(before)
		}
		if !bytes.Equal(image(t, l.state), image(t, twin.state)) {
			t.Fatal("the same log gave two states")
		}
		back, err := raftfsm.ReadSnapshot(bytes.NewReader(image(t, l.state)))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(image(t, l.state), image(t, back)) {
			t.Fatal("a snapshot restored is another state")
		}
	})
}

// verb makes one plausible command: kind picks the verb, x whom and how.
func (l *log) verb(kind, x byte) *raftlogv1.Command {
	name := []string{"m", "n"}[x%2]
	port := int(x/2)%5 + 1
	node := string(rune('a' + x%3))
	m, ok := l.state.Master(name)
	if !ok {
		return monitor(name, port, "quorum", fmt.Sprint(x%3+1))
	}
	var epoch uint64
	from, to := m.Address, m.Address
	if f := m.Failover; f != nil {
		epoch, from, to = f.Epoch, f.From, f.To
	}
	switch kind % 15 {
	case 0:
		return monitor(name, port)
	case 1:
		return l.facts(name, port, port+1)
	case 2:
		return set(name, "quorum", fmt.Sprint(x%4))
	case 3:
		return set(name, "down-after-milliseconds", fmt.Sprint(int(x)*10))
	case 4:
		return l.down(node, name, port, raftfsm.Cause(x%7+1))
	case 5:
		return l.up(node, name, port)
	case 6:
		return l.down(node, name, int(m.Address.Port), raftfsm.CauseReset)
	case 7:
		return l.begin(name, port, func(b *raftlogv1.BeginFailover) {
			if x > 128 {
				b.Kind = raftlogv1.FailoverKind_FAILOVER_KIND_FORCED
			}
			if x%3 == 0 {
				b.Replaces = epoch
			}
		})
	case 8:
		return switchTo(name, epoch, int(from.Port), int(to.Port))
	case 9:
		return switchTo(name, epoch-uint64(x%2), int(from.Port), port)
	case 10:
		return end(name, epoch, raftlogv1.FailoverOutcome(x%6))
	case 11:
		return &raftlogv1.Command{Op: &raftlogv1.Command_Reset_{Reset_: &raftlogv1.Reset{Pattern: "*"}}}
	case 12:
		return &raftlogv1.Command{Op: &raftlogv1.Command_Remove{Remove: &raftlogv1.Remove{Name: name}}}
	case 13:
		return &raftlogv1.Command{Op: &raftlogv1.Command_Forget{Forget: &raftlogv1.Forget{Name: name, Address: addr(port)}}}
	}
	return &raftlogv1.Command{Op: &raftlogv1.Command_Adopt{Adopt: &raftlogv1.Adopt{Master: name, Generation: m.Generation, Address: addr(port)}}}
}

func (l *log) check(before *raftfsm.State) {
	l.t.Helper()
	if l.state.Epoch() < before.Epoch() {
		l.t.Fatalf("the epoch fell from %d to %d", before.Epoch(), l.state.Epoch())
	}
	for m := range l.state.Masters() {
		if _, ok := m.Instance(m.Address); !ok {
			l.t.Fatalf("%s is unwatched: %+v", m.Name, m)
		}
		for _, in := range m.Instances {
			if o, ok := l.state.Owner(in.Addr); !ok || o.Name != m.Name {
				l.t.Fatalf("%s of %s is owned by %v", in.Addr, m.Name, o)
			}
		}
		for _, v := range m.Votes {
			if _, ok := m.Instance(v.Instance); !ok {
				l.t.Fatalf("a vote against a stranger: %+v", v)
			}
		}
		if want := l.state.DownVotes(m, m.Address) >= m.Options.Quorum; m.IsODown() != want {
			l.t.Fatalf("%s: objectively down %t with %d votes of %d", m.Name, m.IsODown(), l.state.DownVotes(m, m.Address), m.Options.Quorum)
		}
		if old, ok := before.Master(m.Name); ok && old.Epoch > m.Epoch && old.Generation <= m.Generation && m.Generation != l.index {
			l.t.Fatalf("%s: its epoch fell from %d to %d", m.Name, old.Epoch, m.Epoch)
		}
		if old, ok := before.Master(m.Name); ok && old.Failover != nil && m.Failover != nil &&
			old.Failover.Epoch == m.Failover.Epoch && old.Failover.To != m.Failover.To {
			l.t.Fatalf("epoch %d has two candidates: %s, %s", m.Failover.Epoch, old.Failover.To, m.Failover.To)
		}
	}
}
