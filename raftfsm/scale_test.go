package raftfsm_test

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"testing"
	"time"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// maxMasters is how many the control plane is made for.
const maxMasters = 10_000

// BenchmarkState is what masters with two replicas each take in memory.
func BenchmarkState(b *testing.B) {
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for b.Loop() {
		before := heap()
		data := image(b, fleet(b, maxMasters))
		s, err := raftfsm.ReadSnapshot(bytes.NewReader(data))
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(heap()-before)/maxMasters/1024, "KiB/master")
		runtime.KeepAlive(s)
	}
}

func BenchmarkWriteSnapshot(b *testing.B) {
	s := fleet(b, maxMasters)
	size := len(image(b, s))
	for b.Loop() {
		if err := raftfsm.WriteSnapshot(io.Discard, s); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(size)/(1<<20), "MiB")
}

// BenchmarkReadSnapshot reads as many masters as there may be, and few with as many stories of past failovers as there may be.
func BenchmarkReadSnapshot(b *testing.B) {
	for _, c := range []struct {
		name             string
		masters, stories int
	}{{"masters", maxMasters, 0}, {"stories", 500, 10_000}} {
		b.Run(c.name, func(b *testing.B) {
			l := level4(b)
			l.state = fleet(b, c.masters)
			l.index = l.state.Index()
			for i := range c.stories {
				l.abortOne(i, c.masters)
			}
			data := image(b, l.state)
			for b.Loop() {
				if _, err := raftfsm.ReadSnapshot(bytes.NewReader(data)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(data))/(1<<20), "MiB")
		})
	}
}

// abortOne begins the failover of one of so many masters, and ends it.
func (l *log) abortOne(i, masters int) {
	name := fmt.Sprintf("master-%05d", i%masters)
	m, _ := l.state.Master(name)
	epoch := l.quick(l.begin(name, 0, func(f *raftlogv1.BeginFailover) {
		f.Kind, f.Candidate = raftfsm.KindForced, m.Replicas()[0].Addr.Proto()
		for _, in := range m.Replicas() {
			f.Candidates = append(f.Candidates, &raftlogv1.Candidate{Address: in.Addr.Proto(), RunId: in.RunID, Detail: fmt.Sprintf("%200d", i)})
		}
	})).Epoch
	l.quick(end(name, epoch, raftfsm.OutcomeAborted))
}

// BenchmarkEndFailover ends failovers where the last story of every master has taken the archive beyond its bound.
func BenchmarkEndFailover(b *testing.B) {
	l := level4(b)
	l.state = fleet(b, maxMasters)
	l.index = l.state.Index()
	for i := range maxMasters {
		l.abortOne(i, maxMasters)
	}
	for i := 0; b.Loop(); i++ {
		l.abortOne(i, maxMasters)
	}
}

// BenchmarkRack is what entries cost each node when a rack takes 500 of 1,500 masters: a node's report of all of them, and of each the
// failover's row, its switch, a step and its end.
func BenchmarkRack(b *testing.B) {
	const masters, lost = 1500, 500
	whole := fleet(b, masters)
	node := func(l *log, id string) uint64 {
		n, _ := l.state.Node(id)
		return n.ReportBase
	}
	var took [4]time.Duration
	for b.Loop() {
		b.StopTimer()
		l := level4(b)
		l.state, l.index = whole, whole.Index()
		for _, id := range []string{"a", "b", "c"} {
			l.quick(&raftlogv1.Command{Op: &raftlogv1.Command_RegisterNode{RegisterNode: &raftlogv1.RegisterNode{RaftId: id, NodeId: id, MaxLevel: 4}}})
		}
		l.state = raftfsm.ApplyServers(l.state, l.index+1, []raftfsm.Server{{ID: "a", Voter: true}, {ID: "b", Voter: true}, {ID: "c", Voter: true}})
		l.index++
		each := func(do func(m *raftfsm.Master) *raftlogv1.Command) time.Duration {
			var sum time.Duration
			for i := range lost {
				m, _ := l.state.Master(fmt.Sprintf("master-%05d", 3*i))
				c := do(m)
				begun := time.Now()
				l.quick(c)
				sum += time.Since(begun)
			}
			return sum
		}
		b.StartTimer()
		for _, id := range []string{"a", "b", "c"} {
			r := &raftlogv1.Report{Node: id, Base: node(l, id)}
			for i := range lost {
				m, _ := l.state.Master(fmt.Sprintf("master-%05d", 3*i))
				r.Down = append(r.Down, &raftlogv1.Verdict{
					Master: m.Name, Instance: m.Address.Proto(), Generation: m.Generation, Cause: raftlogv1.Cause_CAUSE_REFUSED, SinceMs: 1,
				})
			}
			begun := time.Now()
			l.quick(&raftlogv1.Command{Op: &raftlogv1.Command_Report{Report: r}})
			took[0] += time.Since(begun)
		}
		took[1] += each(func(m *raftfsm.Master) *raftlogv1.Command {
			return l.begin(m.Name, 0, func(f *raftlogv1.BeginFailover) {
				f.Candidate = m.Replicas()[0].Addr.Proto()
				for _, in := range m.Replicas() {
					f.Candidates = append(f.Candidates, &raftlogv1.Candidate{Address: in.Addr.Proto(), RunId: in.RunID})
				}
			})
		})
		took[2] += each(func(m *raftfsm.Master) *raftlogv1.Command {
			f := m.Failover
			return &raftlogv1.Command{Op: &raftlogv1.Command_SwitchMaster{SwitchMaster: &raftlogv1.SwitchMaster{
				Master: m.Name, Epoch: f.Epoch, From: f.From.Proto(), To: f.To.Proto(), Offset: 100,
			}}}
		})
		took[3] += each(func(m *raftfsm.Master) *raftlogv1.Command {
			return end(m.Name, m.Failover.Epoch, raftfsm.OutcomeCompleted)
		})
	}
	for i, name := range []string{"report", "begin", "switch", "end"} {
		n := lost
		if i == 0 {
			n = 3 * lost
		}
		b.ReportMetric(float64(took[i].Microseconds())/float64(b.N*n), "µs/"+name)
	}
}
