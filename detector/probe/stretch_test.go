package probe

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
)

// Twice as many probes as are sent are asked for: each period is twice as long, a hang counts from its first unanswered probe all
// the same, and with half of the masters gone everything is as it was.
func TestTooManyProbesAreStretched(t *testing.T) {
	inEmptyRoom(t, nil, func(r *room) {
		const masters = 2 * probesPerSecond / 10 // ten a second each
		for i := range masters {
			a := fmt.Sprintf("10.9.%d.%d:6379", i/200, 1+i%200)
			r.net.Add(a)
			r.law.monitor(a, a)
		}
		r.net.LogOnly(func(args []string) bool { return args[0] == "PING" })
		r.start()
		time.Sleep(5 * time.Second)
		pings := func() int {
			synctest.Wait()
			return len(r.net.Log())
		}
		before := pings()
		time.Sleep(5 * time.Second)
		if n := pings() - before; n < 4*probesPerSecond || n > 5*probesPerSecond {
			t.Errorf("%d PINGs in 5 s", n)
		}
		const one = "10.9.0.1:6379"
		r.at(one).Hang()
		took := r.downAfter(one, 5*time.Second)
		if since := time.Since(r.observe(one).DownSince); since < time.Second || since > time.Second+lastLook {
			t.Errorf("the verdict fell %v after the first unanswered probe", since)
		}
		if took > 1200*time.Millisecond+lastLook {
			t.Errorf("the verdict fell %v after the hang", took)
		}
		for i := range masters / 2 {
			name := fmt.Sprintf("10.9.%d.%d:6379", i/200, 1+i%200)
			r.law.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Remove{Remove: &raftlogv1.Remove{Name: name}}})
		}
		time.Sleep(time.Second)
		if s := r.fleet.stretch.Load(); s != 1000 {
			t.Errorf("stretched by %d thousandths for half as many", s)
		}
	})
}
