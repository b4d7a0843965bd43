package raftfsm_test

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"testing"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// FuzzApply runs command sequences that the input spells, and holds the law to its invariants after each.
func FuzzApply(f *testing.F) {
	f.Add([]byte{0, 0, 1, 1, 2, 4, 0, 5, 0, 6, 9, 7, 9, 10, 0})
	f.Add([]byte{0, 0, 0, 9, 1, 0, 1, 1, 4, 0, 4, 1, 4, 2, 6, 1, 6, 2, 12, 0, 11, 0, 8, 1, 7, 0})
	f.Add([]byte{15, 2, 0, 6, 1, 6, 16, 0, 17, 6, 17, 8, 16, 1, 18, 8, 19, 3, 12, 0, 20, 8, 17, 8, 7, 140, 8, 0, 16, 3, 19, 2})
	f.Add([]byte{15, 3, 0, 0, 1, 0, 1, 2, 7, 202, 8, 0, 7, 204, 18, 158, 10, 3, 8, 0, 14, 4})
	f.Add([]byte{15, 4, 25, 1, 25, 130, 25, 2, 25, 0, 25, 131, 16, 3, 0, 1, 25, 9})
	f.Add([]byte{15, 3, 0, 0, 1, 0, 1, 2, 24, 0, 8, 0, 24, 0, 15, 4, 7, 202, 24, 255, 7, 204, 24, 1, 24, 3, 26, 0, 7, 202, 6, 1, 24, 0, 24, 1, 24, 7})
	f.Add(bytes.Repeat([]byte{0, 1, 1, 2, 4, 3, 5, 4, 6, 5, 7, 6, 8, 7, 9, 8, 10, 9, 11, 10, 12, 11, 13, 12, 14, 13}, 8))
	f.Fuzz(func(t *testing.T, script []byte) {
		l := newLog(t)
		twin := &log{t: t, state: l.state, index: l.index}
		for i := 0; i+1 < len(script) && i < 400; i += 2 {
			before := l.state
			if script[i]%verbs == verbs-1 {
				l.recover("new")
				twin.recover("new")
			} else {
				c := l.verb(script[i], script[i+1])
				l.apply(c)
				twin.apply(c)
			}
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

// verbs are those of [log.verb], and the recovery of a lost cluster.
const verbs = 27

// verb makes one plausible command: kind picks the verb, x whom and how.
func (l *log) verb(kind, x byte) *raftlogv1.Command {
	name := []string{"m", "n"}[x%2]
	port := int(x/2)%5 + 1
	if port > 3 {
		port += 900 // its host is a name
	}
	node := string(rune('a' + x%3))
	switch kind % verbs {
	case 15:
		return raise(uint32(x % 5))
	case 24:
		if l.kept == nil || x%4 == 0 {
			l.kept = l.backup()
		}
		return restore(l.kept, fmt.Sprint("era-", l.index), x%2 == 1)
	case 16:
		c := configure([]string{"announce-hostnames", "resolve-hostnames", "failover-brake", "remove-dead-nodes-after"}[x%4], []string{"yes", "NO", "maybe", "70"}[x/4%4])
		c.GetConfigure().Seed = x > 200
		return c
	case 19:
		return deliver(l.index-min(l.index, uint64(x%8))+1, uint32(x%3))
	case 25:
		if x > 128 {
			return undrain(node)
		}
		return drain(node, string('p'+rune(x%5)))
	case 20:
		return foreign(name, uint64(x), port, int(x)%4+1, 904, 905)
	}
	m, ok := l.state.Master(name)
	if !ok {
		return monitor(name, port, "quorum", fmt.Sprint(x%3+1))
	}
	var epoch uint64
	from, to := m.Address, m.Address
	if f := m.Failover; f != nil {
		epoch, from, to = f.Epoch, f.From, f.To
	}
	switch kind % verbs {
	case 23:
		c := maintain(port, "work")
		c.GetMaintain().End = x > 128
		return c
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
				b.Kind = []raftfsm.FailoverKind{raftfsm.KindForced, raftfsm.KindPlanned}[x%2]
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
	case 17:
		return l.resolve(name, 904+int(x/2)%2, fmt.Sprintf("10.1.0.%d", int(x/2)*3))
	case 18:
		if past := m.History; x > 128 && len(past) > 0 {
			return l.amended(name, int(past[0].From.Port), past[0].Epoch, raftlogv1.LossKind(x%5), int64(x%7)-1)
		}
		return l.correct(name, port, raftlogv1.CorrectionKind(x%3))
	case 21:
		return &raftlogv1.Command{Op: &raftlogv1.Command_Resume{Resume: &raftlogv1.Resume{Name: name, Adopt: addr(port), Enforce: x > 128}}}
	case 22:
		if x > 128 {
			return &raftlogv1.Command{Op: &raftlogv1.Command_Pause{Pause: &raftlogv1.Pause{Name: name, Reason: "work"}}}
		}
		return &raftlogv1.Command{Op: &raftlogv1.Command_Hold{Hold: &raftlogv1.Hold{Name: name, Generation: m.Generation, Reason: "doubt"}}}
	}
	return &raftlogv1.Command{Op: &raftlogv1.Command_Adopt{Adopt: &raftlogv1.Adopt{Master: name, Generation: m.Generation, Address: addr(port)}}}
}

func (l *log) check(before *raftfsm.State) {
	l.t.Helper()
	if l.state.Epoch() < before.Epoch() {
		l.t.Fatalf("the epoch fell from %d to %d", before.Epoch(), l.state.Epoch())
	}
	if l.state.Delivered().Compare(before.Delivered()) < 0 {
		l.t.Fatalf("delivered fell from %+v to %+v", before.Delivered(), l.state.Delivered())
	}
	if l.state.FeatureLevel() < 2 && (l.state.Settings() != raftfsm.Settings{BrakePercent: 50} || l.state.Delivered() != raftfsm.Cursor{}) {
		l.t.Fatal("a command of level 2 took effect below it")
	}
	drained := 0
	for n := range l.state.Nodes() {
		if n.Drain != nil {
			drained++
		}
	}
	if drained >= l.state.Voters() || drained > 0 && l.state.FeatureLevel() < 4 {
		l.t.Fatalf("%d of %d voters are drained at level %d", drained, l.state.Voters(), l.state.FeatureLevel())
	}
	if e := l.state.Cluster().Era; e != before.Cluster().Era && l.state.Epoch() <= before.Epoch() {
		l.t.Fatalf("era %s does not begin above epoch %d", e, before.Epoch())
	}
	accused := slices.DeleteFunc(slices.Collect(l.state.Masters()), func(m *raftfsm.Master) bool { return len(m.Votes) == 0 })
	if got := slices.Collect(l.state.Accused()); !slices.Equal(got, accused) {
		l.t.Fatalf("accused are %v, not %v", got, accused)
	}
	for m := range l.state.Masters() {
		if _, removed := l.state.Tombstone(m.Name); removed {
			l.t.Fatalf("%s is watched and removed by hand", m.Name)
		}
		l.checkTold(before, m)
		for _, f := range m.History {
			if f.Switched && f.EndedIndex == l.index && l.state.FeatureLevel() >= 3 && f.Loss.Kind == 0 {
				l.t.Fatalf("%s: epoch %d has switched and ended, and nothing is said of its loss", m.Name, f.Epoch)
			}
		}
		if m.Epoch > l.state.Epoch() {
			l.t.Fatalf("%s has epoch %d, the cluster %d", m.Name, m.Epoch, l.state.Epoch())
		}
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
		if m.InMaintenance(m.Address) {
			l.t.Fatalf("%s: its master %s is in maintenance", m.Name, m.Address)
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

// checkTold holds what clients are told of a set against what they were told before.
func (l *log) checkTold(before *raftfsm.State, m *raftfsm.Master) {
	l.t.Helper()
	for _, in := range m.Instances {
		told := l.state.Told(in.Addr)
		switch {
		case in.IP != "" && (!in.Addr.IsName() || !raftfsm.IsIP(in.IP) || l.state.FeatureLevel() < 2):
			l.t.Fatalf("%s has the address %q", in.Addr, in.IP)
		case l.state.Told(told) != told:
			l.t.Fatalf("told of %s: %s, and of that %s", in.Addr, told, l.state.Told(told))
		case told != in.Addr && (told.Host != in.IP || told.Port != in.Addr.Port || l.state.Settings().AnnounceHostnames):
			l.t.Fatalf("told of %+v: %s", in, told)
		case told == in.Addr && in.IP != "" && !l.state.Settings().AnnounceHostnames:
			l.t.Fatalf("told of %+v: its name", in)
		}
		if old, ok := before.Owner(in.Addr); ok && old.Name == m.Name && before.Told(in.Addr) != told && m.Revision != l.index {
			l.t.Fatalf("told of %s: %s, before %s, and the revision is not of this entry", in.Addr, told, before.Told(in.Addr))
		}
	}
	old, ok := before.Master(m.Name)
	from, to := before.Told(m.Address), l.state.Told(m.Address)
	if !ok || old.Address != m.Address || from == to {
		return
	}
	for e := range must(l.state.EventsSince(raftfsm.Cursor{Index: l.index - 1, Ordinal: math.MaxUint32 - 1})) {
		if e.Kind == raftfsm.EventSwitch && e.Master == m.Name && e.From == from && e.To == to {
			return
		}
	}
	l.t.Fatalf("%s moved for clients from %s to %s, and no switch says so", m.Name, from, to)
}
