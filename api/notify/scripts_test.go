package notify

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
)

// A script that asks for it, or is killed, runs again after 30 s, 60 s, ..., ten times in all.
func TestRetries(t *testing.T) {
	for _, c := range []struct {
		name    string
		takes   time.Duration
		end     exit
		starts  []int
		notices []string
	}{
		{"asks", 0, exit{code: 1}, []int{0, 30, 90, 210, 450, 930, 1890, 3810, 7650, 15330}, []string{"-script-error /s 0 1"}},
		{"killed", time.Second, exit{signal: 11}, []int{0, 31, 92, 213, 454, 935, 1896, 3817, 7658, 15339}, []string{"-script-error /s 11 0"}},
		{"hangs", forever, exit{}, []int{0, 90, 210, 390, 690, 1230, 2250, 4230, 8130, 15870}, []string{
			"-script-timeout /s 1", "-script-timeout /s 2", "-script-timeout /s 3", "-script-timeout /s 4", "-script-timeout /s 5",
			"-script-timeout /s 6", "-script-timeout /s 7", "-script-timeout /s 8", "-script-timeout /s 9", "-script-timeout /s 10",
			"-script-error /s 9 0",
		}},
		{"given up", 0, exit{code: 2}, []int{0}, []string{"-script-error /s 0 2"}},
		{"done in time", 59 * time.Second, exit{}, []int{0}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			perform(t, func(t *testing.T, th *theatre) {
				th.direct(func([]string) (time.Duration, exit) { return c.takes, c.end })
				th.node.watchSet("m", 1, "client-reconfig-script /s")
				s, stop := th.open()
				defer stop()
				th.node.switchTo(self, "m", 2)
				time.Sleep(10 * time.Hour)
				var want []string
				for _, at := range c.starts {
					want = append(want, fmt.Sprintf("%d /s %s", at, switch12))
				}
				th.expect(want...)
				if got := th.notices.list(); !slices.Equal(got, c.notices) {
					t.Errorf("published\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.notices, "\n"))
				}
				if running, queued := s.Counts(); running != 0 || queued != 0 {
					t.Errorf("%d running, %d in the queue", running, queued)
				}
			})
		})
	}
}

// Want of processes is told each time and is no end.
func TestForkFails(t *testing.T) {
	perform(t, func(t *testing.T, th *theatre) {
		th.node.watchSet("m", 1, "client-reconfig-script /s")
		s, stop := th.open()
		defer stop()
		fails := 2
		s.launch = func(file string, argv, environ []string) (*process, error) {
			if fails--; fails >= 0 {
				return nil, fmt.Errorf("fork/exec %s: %w", file, syscall.EAGAIN)
			}
			return th.launch(file, argv, environ)
		}
		th.node.switchTo(self, "m", 2)
		time.Sleep(time.Hour)
		th.expect("90 /s " + switch12)
		if got, want := th.notices.list(), []string{"-script-error /s 99 0", "-script-error /s 99 0"}; !slices.Equal(got, want) {
			t.Errorf("published %q, want %q", got, want)
		}
	})
}

// At most 16 run; the queue holds 256, and beyond that the oldest one that does not run gives way.
func TestBounds(t *testing.T) {
	perform(t, func(t *testing.T, th *theatre) {
		th.direct(func([]string) (time.Duration, exit) { return 10 * time.Second, exit{} })
		th.node.by(self, monitor("m", 1))
		s, stop := th.open()
		defer stop()
		th.node.by(self, set("m", "notification-script /s")) // begins to run
		synctest.Wait()
		var many []*raftlogv1.Command
		for i := range 300 {
			many = append(many, set("m", fmt.Sprint("failover-timeout ", 1000+i)))
		}
		th.node.by(self, many...)
		synctest.Wait()
		if running, queued := s.Counts(); running != 16 || queued != 256 {
			t.Errorf("%d running, %d in the queue; want 16 and 256", running, queued)
		}
		pending := s.Pending()
		if j := pending[0]; !j.Running || !strings.HasSuffix(j.Argv[2], "notification-script /s") {
			t.Errorf("the running one gave way: %+v", j)
		}
		if got := pending[1].Argv[2]; !strings.HasSuffix(got, "failover-timeout 1045") {
			t.Errorf("the oldest that waits is %q, want the 46th: the first 45 gave way", got)
		}
		if lines, all := th.log.count("the oldest will not run"), th.log.count("master=m scripts=45"); lines != 1 || all != 1 {
			t.Errorf("%d lines tell of scripts dropped, %d of all 45", lines, all)
		}
		th.node.by(self, many[0], many[1]) // soon after: told later, and together
		synctest.Wait()
		if lines := th.log.count("the oldest will not run"); lines != 1 {
			t.Errorf("%d lines before its time", lines)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if lines, rest := th.log.count("the oldest will not run"), th.log.count("master=m scripts=2"); lines != 2 || rest != 1 {
			t.Errorf("%d lines, %d of the 2 that came later", lines, rest)
		}
		if running, queued := s.Counts(); running != 16 || queued != 240 {
			t.Errorf("%d running, %d in the queue; want 16 and 240", running, queued)
		}
		time.Sleep(time.Hour)
		if runs, most := th.count(); runs != 256 || most != 16 {
			t.Errorf("%d ran, %d at once; want 256 and 16", runs, most)
		}
	})
}

// TestLongDelay: a delay that cannot be doubled so often is bounded, and never in the past.
func TestLongDelay(t *testing.T) {
	now := time.Unix(0, 0)
	for _, d := range []time.Duration{time.Hour, 30 * time.Hour, math.MaxInt64} {
		q, last := queue{}, time.Duration(0)
		j := &job{}
		for j.begin(now); ; j.begin(now) {
			delay, again := q.end(j, exit{code: 1}, now, d)
			if !again {
				break
			}
			if delay < last || j.runs > 1 && delay > longestDelay && delay != d || delay <= 0 {
				t.Fatalf("%s: after run %d it waits %s, before %s", d, j.runs, delay, last)
			}
			last = min(delay, longestDelay)
		}
	}
}

// SENTINEL DEBUG's settings act at once; what waits says for how long.
func TestSettings(t *testing.T) {
	perform(t, func(t *testing.T, th *theatre) {
		th.direct(func([]string) (time.Duration, exit) { return forever, exit{} })
		th.node.watchSet("m", 1, "client-reconfig-script /s")
		s, stop := th.open()
		defer stop()
		if s.ScriptMaxRuntime() != time.Minute || s.ScriptRetryDelay() != 30*time.Second {
			t.Errorf("limit %s, delay %s", s.ScriptMaxRuntime(), s.ScriptRetryDelay())
		}
		th.node.switchTo(self, "m", 2)
		time.Sleep(5 * time.Second)
		if j := s.Pending()[0]; !j.Running || j.RunTime != 5*time.Second || j.PID != 1 || j.Runs != 1 || j.RunDelay != 0 {
			t.Errorf("running: %+v", j)
		}
		s.SetScriptRetryDelay(7 * time.Second)
		s.SetScriptMaxRuntime(6 * time.Second)
		time.Sleep(3 * time.Second)
		if j := s.Pending()[0]; j.Running || j.RunTime != 0 || j.PID != 0 || j.Runs != 1 || j.RunDelay != 5*time.Second {
			t.Errorf("scheduled: %+v", j)
		}
		time.Sleep(6 * time.Second)
		th.expect("0 /s "+switch12, "13 /s "+switch12)
	})
}

// A switch is told only while it stands, and two of one master never at the same time.
func TestSuperseded(t *testing.T) {
	type step struct {
		at int // seconds
		do func(th *theatre)
	}
	back := func(th *theatre) { th.node.switchTo(self, "m", 1) }
	for _, c := range []struct {
		name   string
		takes  time.Duration
		end    exit
		steps  []step
		starts []string
	}{
		{"in one state", 0, exit{}, []step{{10, func(th *theatre) {
			st := th.node.State()
			for i := range 3 {
				st = th.node.after(st, entry{self, adopt(st, "m", 1+i%2)})
			}
			th.node.publish(st, nil)
		}}}, []string{"0 /s " + switch12, "10 /s " + switch21}},
		{"while it waits to be repeated", 0, exit{code: 1}, []step{{10, back}, {20, func(th *theatre) { th.direct(succeed) }}}, []string{
			"0 /s " + switch12, "10 /s " + switch21, "40 /s " + switch21,
		}},
		{"while it runs", 20 * time.Second, exit{}, []step{{10, back}}, []string{"0 /s " + switch12, "20 /s " + switch21}},
		{"twice while it runs", 20 * time.Second, exit{}, []step{
			{10, back}, {11, func(th *theatre) { th.node.switchTo(self, "m", 2) }},
		}, []string{"0 /s " + switch12, "20 /s " + switch12}},
		{"removed", 0, exit{code: 1}, []step{{10, func(th *theatre) { th.node.by(self, remove("m")) }}}, []string{"0 /s " + switch12}},
		{"removed and back", 0, exit{code: 1}, []step{{10, func(th *theatre) {
			th.node.by(self, remove("m"))
			th.node.watchSet("m", 2, "client-reconfig-script /s")
		}}}, []string{"0 /s " + switch12}},
	} {
		t.Run(c.name, func(t *testing.T) {
			perform(t, func(t *testing.T, th *theatre) {
				th.direct(func([]string) (time.Duration, exit) { return c.takes, c.end })
				th.node.watchSet("m", 1, "client-reconfig-script /s")
				_, stop := th.open()
				defer stop()
				th.node.switchTo(self, "m", 2)
				for _, step := range c.steps {
					time.Sleep(time.Until(th.began.Add(time.Duration(step.at) * time.Second)))
					step.do(th)
				}
				time.Sleep(time.Hour)
				th.expect(c.starts...)
			})
		})
	}
}

// Scripts hear what clients hear: the IP address of a host that is known by its name. A new one is a switch, and the former
// is told no more.
func TestHostNames(t *testing.T) {
	perform(t, func(t *testing.T, th *theatre) {
		th.node.raise()
		c := monitor("m", 1, "client-reconfig-script /s", "notification-script /n")
		c.GetMonitor().Address.Host = "redis"
		th.node.by(self, c)
		_, stop := th.open()
		defer stop()
		th.direct(func(argv []string) (time.Duration, exit) {
			if argv[len(argv)-2] == "10.1.0.1" { // it fails until another address is told
				return 0, exit{code: 1}
			}
			return 0, exit{}
		})
		resolve := func(ip string) {
			m, _ := th.node.State().Master("m")
			th.node.by("other", &raftlogv1.Command{Op: &raftlogv1.Command_ResolveHosts{ResolveHosts: &raftlogv1.ResolveHosts{
				Master: "m", Generation: m.Generation, Hosts: []*raftlogv1.ResolvedHost{{Address: m.Address.Proto(), Ip: ip}},
			}}})
			synctest.Wait()
		}
		resolve("10.1.0.1")
		th.node.by(self, set("m", "notification-script "))
		time.Sleep(10 * time.Second)
		resolve("10.1.0.2")
		time.Sleep(time.Hour)
		synctest.Wait()
		th.mu.Lock()
		slices.Sort(th.starts)
		th.mu.Unlock()
		th.expect(
			"0 /n +switch-master m redis 1 10.1.0.1 1",
			"0 /s m observer start redis 1 10.1.0.1 1",
			"10 /s m observer start 10.1.0.1 1 10.1.0.2 1",
		)
	})
}

func succeed([]string) (time.Duration, exit) { return 0, exit{} }

// A hanging script does not hold Run up for longer than the grace.
func TestRunEndsHangingScripts(t *testing.T) {
	perform(t, func(t *testing.T, th *theatre) {
		th.direct(func([]string) (time.Duration, exit) { return forever, exit{} })
		th.node.watchSet("m", 1, "client-reconfig-script /s")
		_, stop := th.open()
		th.node.switchTo(self, "m", 2)
		synctest.Wait()
		began := time.Now()
		stop()
		if took := time.Since(began); took != endGrace {
			t.Errorf("Run took %s to end, want %s", took, endGrace)
		}
	})
}
