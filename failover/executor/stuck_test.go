package executor

import (
	"context"
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// stuck looks for a while, and tells the longest that the duties were seen stuck.
func (o *office) stuck(within time.Duration) (longest time.Duration) {
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		longest = max(longest, o.e.Stuck())
	}
	return longest
}

// The duties are stuck when they do not come to an end of looking. A worker that waits for Redis holds nobody up.
func TestStuck(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		all := w.redis(2)
		o, end := w.office("a", nil)
		free := func(what string, within time.Duration) {
			t.Helper()
			if longest := o.stuck(within); longest > time.Second {
				t.Errorf("%s: stuck for %v", what, longest)
			}
		}
		free("at rest", time.Minute)
		w.onDial(func(ctx context.Context, _ raftfsm.Addr) error {
			<-ctx.Done()
			return ctx.Err()
		})
		all[0].Crash()
		free("instances hang", time.Minute)
		release := make(chan struct{})
		o.hold.Store(&release)
		if longest := o.stuck(time.Minute); longest < 50*time.Second {
			t.Errorf("stuck for %v only", longest)
		}
		o.hold.Store(nil)
		close(release)
		w.pass(time.Second)
		free("released", time.Minute)
		end()
		w.pass(time.Second)
		free("no duties", time.Minute)
	})
}
