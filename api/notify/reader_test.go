package notify

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// Nothing runs again after a restart, however the process ended; what a node missed runs once, if it stands.
func TestRestart(t *testing.T) {
	perform(t, func(t *testing.T, th *theatre) {
		th.node.watchSet("m", 1, "client-reconfig-script /s", "notification-script /n")
		_, stop := th.open()
		th.expect() // what was before the first start
		th.node.switchTo(self, "m", 2)
		told := []string{"0 /n +adopt-master slave 10.0.0.1:2 10.0.0.1 2 @ m 10.0.0.1 1", "0 /n +switch-master m 10.0.0.1 1 10.0.0.1 2", "0 /s " + switch12}
		synctest.Wait()
		th.mu.Lock()
		slices.Sort(th.starts) // they start together
		th.mu.Unlock()
		th.expect(told...)
		atCrash := th.ledger()
		stop()
		_, stop = th.open()
		th.expect(told...)
		stop()
		// A process that was killed has not saved anything more.
		if err := os.WriteFile(filepath.Join(th.dir, ledgerFile), []byte(atCrash), 0o600); err != nil {
			t.Fatal(err)
		}
		_, stop = th.open()
		th.expect(told...)
		stop()
		// While it is down the master moves twice; too much later, so that notifications are of no use.
		th.node.switchTo("other", "m", 1)
		th.node.switchTo("other", "m", 2)
		time.Sleep(11 * time.Minute)
		_, stop = th.open()
		told = append(told, "660 /s m observer start 10.0.0.1 1 10.0.0.1 2")
		th.expect(told...)
		if got := th.log.count("too old to be run"); got != 1 {
			t.Errorf("%d lines of old notifications, want 1", got)
		}
		stop()
		_, stop = th.open()
		th.expect(told...)
		stop()
	})
}

// A node that has told nothing yet knows where it stands, too: what it misses while it is down runs.
func TestRestartBeforeTheFirst(t *testing.T) {
	perform(t, func(t *testing.T, th *theatre) {
		th.node.watchSet("m", 1, "client-reconfig-script /s")
		_, stop := th.open()
		stop()
		th.node.switchTo("other", "m", 2)
		_, stop = th.open()
		defer stop()
		th.expect("0 /s m observer start 10.0.0.1 1 10.0.0.1 2")
	})
}

// A power failure can take back what the node knew of the log, but not what its scripts were told.
func TestStateFallsBack(t *testing.T) {
	perform(t, func(t *testing.T, th *theatre) {
		th.node.watchSet("m", 1, "client-reconfig-script /s")
		before := th.node.State()
		_, stop := th.open()
		th.node.switchTo(self, "m", 2)
		th.expect("0 /s " + switch12)
		after := th.node.State()
		stop()
		th.node.publish(before, nil)
		_, stop = th.open()
		defer stop()
		th.node.publish(after, nil)
		th.expect("0 /s " + switch12)
		th.node.switchTo(self, "m", 1)
		th.expect("0 /s "+switch12, "0 /s "+switch21)
	})
}

// Where a node begins that has no place, or one that means nothing here.
func TestBeginning(t *testing.T) {
	for _, c := range []struct {
		name, ledger, log string
	}{
		{"fresh", "", ""},
		{"foreign", `{"cluster_id":"other","index":1,"ordinal":0}`, ""},
		{"damaged", `{"cluster_id":"c1","ind`, "place in the events lost"},
	} {
		t.Run(c.name, func(t *testing.T) {
			perform(t, func(t *testing.T, th *theatre) {
				if c.ledger != "" {
					if err := os.WriteFile(filepath.Join(th.dir, ledgerFile), []byte(c.ledger), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				th.node.watchSet("m", 1, "client-reconfig-script /s", "notification-script /n")
				th.node.switchTo(self, "m", 2)
				th.node.publish(th.node.State(), errors.New("loading"))
				_, stop := th.open()
				defer stop()
				st := th.node.State()
				th.node.publish(th.node.after(st, entry{self, adopt(st, "m", 1)}), errors.New("loading"))
				time.Sleep(time.Minute)
				th.expect()
				th.node.publish(th.node.State(), nil)
				th.expect()
				th.node.by(self, set("m", "notification-script "))
				th.node.switchTo(self, "m", 2)
				th.expect("60 /s " + switch12)
				if c.log != "" && th.log.count(c.log) != 1 {
					t.Errorf("%q is logged %d times", c.log, th.log.count(c.log))
				}
			})
		})
	}
	t.Run("unreadable", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, ledgerFile), 0o700); err != nil {
			t.Fatal(err)
		}
		_, err := NewScripts(ScriptOptions{Node: newFakeNode(t, "c1"), Dir: dir, Permit: anyPath, Log: (&logBuffer{}).logger()})
		if err == nil || !strings.Contains(err.Error(), "place of the scripts in the events") {
			t.Errorf("NewScripts: %v", err)
		}
	})
}

// A snapshot that leaves events out brings no old ones; a switch of it that stands is told.
func TestSnapshot(t *testing.T) {
	for _, c := range []struct {
		name   string
		later  bool // the switch is among the events that are left
		starts []string
	}{
		{"forgotten", false, nil},
		{"kept", true, []string{"3600 /s m observer start 10.0.0.1 1 10.0.0.1 2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			perform(t, func(t *testing.T, th *theatre) {
				th.node.watchSet("m", 1, "client-reconfig-script /s", "notification-script /n")
				th.node.by(self, monitor("busy", 21))
				_, stop := th.open()
				st := th.node.State()
				move := func() { st = th.node.after(st, entry{"other", adopt(st, "m", 2)}) }
				if !c.later {
					move()
				}
				for i := range raftfsm.RingSize {
					st = th.node.after(st, entry{self, set("busy", fmt.Sprint("failover-timeout ", 1000+i))})
				}
				if c.later {
					move()
				}
				time.Sleep(time.Hour)
				th.node.publish(st, nil)
				th.expect(c.starts...)
				if got := th.log.count("events were forgotten"); got != 1 {
					t.Errorf("%d lines of what was forgotten, want 1", got)
				}
				stop()
				_, stop = th.open() // nothing is forgotten twice
				th.expect(c.starts...)
				if got := th.log.count("events were forgotten"); got != 1 {
					t.Errorf("%d lines of what was forgotten, want 1", got)
				}
				stop()
			})
		})
	}
}

// The disk is written only for masters that have a script, before it starts, and nothing starts while it cannot be.
func TestLedgerIsWritten(t *testing.T) {
	perform(t, func(t *testing.T, th *theatre) {
		path := filepath.Join(th.dir, ledgerFile)
		th.node.watchSet("plain", 1)
		_, stop := th.open()
		defer stop()
		th.node.switchTo(self, "plain", 2)
		synctest.Wait()
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("written without a script: %v", err)
		}
		atStart := ""
		th.direct(func([]string) (time.Duration, exit) {
			atStart = readFile(path)
			return 0, exit{}
		})
		th.node.watchSet("m", 11, "client-reconfig-script /s")
		th.node.switchTo(self, "m", 12)
		synctest.Wait()
		if want := fmt.Sprintf(`{"cluster_id":"c1","index":%d,`, th.node.State().Index()); !strings.HasPrefix(atStart, want) {
			t.Errorf("at the script's start the file held %s, want %s...", atStart, want)
		}
		started, _ := th.count()
		before := readFile(path)
		th.node.switchTo(self, "plain", 1)
		synctest.Wait()
		if got := readFile(path); got != before {
			t.Errorf("written without need: %s", got)
		}
		if err := os.Mkdir(path+".new", 0o700); err != nil { // the place cannot be written now
			t.Fatal(err)
		}
		th.node.switchTo(self, "m", 11)
		time.Sleep(time.Minute)
		if runs, _ := th.count(); runs != started {
			t.Error("a script was started before its place was kept")
		}
		if got := th.log.count("cannot be written"); got != 1 {
			t.Errorf("%d lines of it, want 1", got)
		}
		if err := os.Remove(path + ".new"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if runs, _ := th.count(); runs != started+1 {
			t.Errorf("%d scripts were started, want 1", runs-started)
		}
	})
}

// Without a directory nothing is written, and nothing is told twice either.
func TestInMemory(t *testing.T) {
	perform(t, func(t *testing.T, th *theatre) {
		th.dir = ""
		th.node.watchSet("m", 1, "client-reconfig-script /s")
		_, stop := th.open()
		th.node.switchTo(self, "m", 2)
		th.expect("0 /s " + switch12)
		th.node.by(self, set("m", "failover-timeout 1"))
		th.expect("0 /s " + switch12)
		stop()
	})
}

// TestAnotherClock: an event that is applied now is not late because the clock of its proposer is behind.
func TestAnotherClock(t *testing.T) {
	perform(t, func(t *testing.T, th *theatre) {
		th.node.watchSet("m", 1, "notification-script /n")
		_, stop := th.open()
		defer stop()
		before, _ := th.count()
		c := set("m", "down-after-milliseconds 6000")
		c.Header = &raftlogv1.Header{Proposer: self, ProposedAtMs: time.Now().Add(-11 * time.Minute).UnixMilli()}
		next, res := raftfsm.Apply(th.node.State(), th.node.State().Index()+1, c)
		if err := res.Err(); err != nil {
			t.Fatal(err)
		}
		th.node.publish(next, nil)
		synctest.Wait()
		if after, _ := th.count(); after != before+1 || th.log.count("too old to be run") != 0 {
			t.Errorf("%d runs", after-before)
		}
	})
}
