package probe

import (
	"testing"
	"time"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
)

// stuck looks for a while, and tells the longest that the fleet was seen stuck.
func (r *room) stuck(within time.Duration) (longest time.Duration) {
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		longest = max(longest, r.fleet.Stuck())
	}
	return longest
}

// A fleet that waits for instances, for a leader, or for nothing is not stuck.
func TestNotStuck(t *testing.T) {
	for name, what := range map[string]func(r *room){
		"at rest":             func(*room) {},
		"instances hang":      func(r *room) { r.at(master).Hang(); r.at(replica).Hang() },
		"packets are dropped": func(r *room) { r.at(master).Drop() },
		"an instance is gone": func(r *room) { r.at(master).Crash() },
		"there is no leader":  func(r *room) { r.law.set(false, errNoLeader); r.at(master).Crash() },
		"there are no masters": func(r *room) {
			r.law.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Remove{Remove: &raftlogv1.Remove{Name: "m"}}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			inRoom(t, func(r *room) {
				what(r)
				if longest := r.stuck(10 * time.Minute); longest > time.Second {
					t.Errorf("stuck for %v", longest)
				}
			})
		})
	}
}

// One watch that hangs in the midst of its work is enough.
func TestStuckWatch(t *testing.T) {
	inRoom(t, func(r *room) {
		r.law.set(true, errNoLeader) // else the other loops would wait for the watch too, and time for them
		release := make(chan struct{})
		r.verdicts.hold.Store(&release)
		r.at(master).Crash()
		if longest := r.stuck(time.Minute); longest < 50*time.Second {
			t.Errorf("stuck for %v only", longest)
		}
		close(release)
		r.verdicts.hold.Store(nil)
		time.Sleep(time.Second)
		if longest := r.stuck(time.Minute); longest > time.Second {
			t.Errorf("stuck for %v still", longest)
		}
	})
}
