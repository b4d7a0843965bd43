package raftfsm_test

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"testing"

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

func BenchmarkReadSnapshot(b *testing.B) {
	data := image(b, fleet(b, maxMasters))
	for b.Loop() {
		if _, err := raftfsm.ReadSnapshot(bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEndFailover ends failovers where the last story of every master has taken the archive beyond its bound.
func BenchmarkEndFailover(b *testing.B) {
	l := level4(b)
	l.state = fleet(b, maxMasters)
	l.index = l.state.Index()
	apply := func(c *raftlogv1.Command) uint64 {
		c.Header = &raftlogv1.Header{Level: raftfsm.LevelOf(c)}
		l.index++
		next, res := raftfsm.Apply(l.state, l.index, c)
		if res.Code != raftfsm.OK {
			b.Fatal(res)
		}
		l.state = next
		return res.Epoch
	}
	fail := func(i int) {
		name := fmt.Sprintf("master-%05d", i%maxMasters)
		m, _ := l.state.Master(name)
		epoch := apply(l.begin(name, 0, func(f *raftlogv1.BeginFailover) {
			f.Kind, f.Candidate = raftfsm.KindForced, m.Replicas()[0].Addr.Proto()
			for _, in := range m.Replicas() {
				f.Candidates = append(f.Candidates, &raftlogv1.Candidate{Address: in.Addr.Proto(), RunId: in.RunID, Detail: fmt.Sprintf("%200d", i)})
			}
		}))
		apply(end(name, epoch, raftfsm.OutcomeAborted))
	}
	for i := range maxMasters {
		fail(i)
	}
	for i := 0; b.Loop(); i++ {
		fail(i)
	}
}
