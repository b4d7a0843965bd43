package e2e

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// TestLossIsTold: what history says was lost is to the byte what the new master lacks where the old master's process
// survived and came back, and never more than that, nor exact, where it crashed. E2E_ROUNDS sets how often each is done.
func TestLossIsTold(t *testing.T) {
	l := newLab(t)
	rounds := 2
	if n, err := strconv.Atoi(os.Getenv("E2E_ROUNDS")); err == nil {
		rounds = n
	}
	// The proxy looks for its clients in all of /proc: many at a time take so long over it that masters seem down.
	turn := make(chan struct{}, 2)
	for n := range rounds {
		for name, round := range map[string]func(*lab, string){"cut-off": (*lab).cutOff, "crashed": (*lab).crashed} {
			name = fmt.Sprintf("%s-%d", name, n+1)
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				turn <- struct{}{}
				defer func() { <-turn }()
				round(l.in(t), name)
			})
		}
	}
}

// cutOff has a master go on alone with an application on its side of a partition, until another takes over.
func (l *lab) cutOff(name string) {
	var p *proxy
	s := l.newSet(name, setOptions{config: unpinged(), proxied: func(addr string) string {
		p = newProxy(l.t, addr)
		return p.addr()
	}})
	defer s.remove()
	master := s.servers[0]
	w := s.stray(master)
	p.block(func(int) bool { return true })
	to := s.switched(master)
	p.block(nobody)
	var told *sentinelv1.Failover
	s.eventually("the loss is known to the byte", soon, func(context.Context) error {
		told = s.failovers()[0]
		if told.GetLossKind() != sentinelv1.LossKind_LOSS_KIND_EXACT {
			return fmt.Errorf("%v", told)
		}
		return nil
	})
	w.end() // it has written until the old master was demoted
	want := w.lacking(to)
	if want == 0 {
		l.t.Fatalf("%s lacks nothing: the partition did not take effect", to.Name())
	}
	l.t.Logf("history tells of %d bytes; the new master lacks %d", told.GetLossBytes(), want)
	// The last write may have been executed, and its client's connection closed by the demotion before the answer was sent.
	if got := told.GetLossBytes(); got != want && got != want+int64(len(command(w.key(w.next)))) {
		l.t.Errorf("history tells that %d bytes are lost; %s lacks %d: %v", told.GetLossBytes(), to.Name(), want, told)
	}
}

// crashed kills a master under writes and has it come back.
func (l *lab) crashed(name string) {
	s := l.newSet(name, setOptions{config: unpinged()})
	defer s.remove()
	master := s.servers[0]
	w := s.stray(master)
	l.last(downAfter / 2)
	l.must(master.Kill())
	to := s.switched(master)
	w.end()
	// The write that was under way may have been executed.
	most := w.lacking(to) + int64(len(command(w.key(w.next))))
	l.must(master.Restart(l.t.Context()))
	s.settled(to)
	told := s.failovers()[0]
	l.t.Logf("history tells of %v, %d bytes; the new master lacks %d at most", told.GetLossKind(), told.GetLossBytes(), most)
	switch kind := told.GetLossKind(); {
	case kind == sentinelv1.LossKind_LOSS_KIND_UNKNOWN:
	case kind == sentinelv1.LossKind_LOSS_KIND_LOWER_BOUND && told.GetLossBytes() <= most:
	default:
		l.t.Errorf("history tells of %v, %d bytes; %s lacks %d at most: %v", kind, told.GetLossBytes(), to.Name(), most, told)
	}
}

// unpinged has the replication stream carry writes alone.
func unpinged() []string { return []string{"repl-ping-replica-period 3600", "repl-timeout 3600"} }

// stray is an application that writes to one server whoever is the master, until that server fails it.
type stray struct {
	*set
	stop context.CancelFunc
	work sync.WaitGroup
	// next is the number of the first write that was not acknowledged.
	next int
}

func (s *set) stray(to *server) *stray {
	ctx, stop := context.WithCancel(context.Background())
	w := &stray{set: s, stop: stop}
	s.t.Cleanup(w.end)
	w.work.Go(func() {
		for ctx.Err() == nil {
			// A write that has begun is waited for: it is there or it is not.
			if to.client.Set(context.WithoutCancel(ctx), w.key(w.next), value, 0).Err() != nil {
				return
			}
			w.next++
		}
	})
	return w
}

// value makes a write about 1 KiB.
var value = strings.Repeat("x", 1<<10)

func (w *stray) key(n int) string { return fmt.Sprintf("stray-%d", n) }

func (w *stray) end() {
	w.stop()
	w.work.Wait()
}

// lacking is how many bytes of the replication stream the acknowledged writes take that a server does not hold.
func (w *stray) lacking(v *server) (bytes int64) {
	w.t.Helper()
	pipe := v.client.Pipeline()
	for n := range w.next {
		pipe.Exists(w.t.Context(), w.key(n))
	}
	there, err := pipe.Exec(w.t.Context())
	w.must(err)
	for n, cmd := range there {
		if cmd.(interface{ Val() int64 }).Val() == 0 {
			bytes += int64(len(command(w.key(n))))
		}
	}
	return bytes
}

// command is a write as it is sent, and replicated.
func command(key string) string {
	return fmt.Sprintf("*3\r\n$3\r\nset\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", len(key), key, len(value), value)
}
