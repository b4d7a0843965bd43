package probe

import (
	"context"
	"log/slog"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/detector/instance"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/test/fakeredis"
)

// dormitory is a fleet that probes over real sockets, in real time: only those doze.
type dormitory struct {
	*room
	ended chan struct{}
}

// inDormitory runs a test with a master and a replica, both of which doze.
func inDormitory(t *testing.T, test func(*dormitory)) {
	t.Helper()
	before := descriptors(t)
	n := fakeredis.NewNet()
	d := &dormitory{room: &room{t: t, net: n, law: newLaw()}, ended: make(chan struct{})}
	ports := map[string]string{}
	for _, a := range []string{master, replica} {
		l, err := n.Add(a).Listen()
		if err != nil {
			t.Fatal(err)
		}
		ports[a] = l.String()
	}
	d.at(replica).Replicate(addrOf(master))
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, ports[addr])
	}
	var err error
	d.fleet, err = New(Options{Cluster: d.law, Dialer: instance.Dialer{DialContext: dial}, Log: slog.New(&d.verdicts)})
	if err != nil {
		t.Fatal(err)
	}
	d.law.monitor("m", master)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(d.ended)
		if err := d.fleet.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	defer func() {
		cancel()
		<-d.ended
		n.Close()
		if after := descriptors(t); after > before {
			t.Errorf("%d descriptors before and %d after", before, after)
		}
	}()
	d.doze(master, replica)
	test(d)
}

// descriptors counts those of this process, once Go has its own.
func descriptors(t *testing.T) int {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// until waits for what must happen; how long it takes is not looked at.
func (d *dormitory) until(what string, happens func() bool) {
	d.t.Helper()
	for end := time.Now().Add(20 * time.Second); !happens(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			d.t.Fatalf("%s: it never happens", what)
		}
	}
}

func (d *dormitory) observe(a string) detector.Observation {
	o, _ := d.fleet.Observe(addrOf(a))
	return o
}

// resting is the present rest of an instance's watch, nil while it is none in which it dozes.
func (d *dormitory) resting(a string) *rest {
	w, ok := d.fleet.watch(addrOf(a))
	if !ok {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.resting == nil || !w.resting.dozes {
		return nil
	}
	return w.resting
}

func (d *dormitory) doze(addrs ...string) {
	d.t.Helper()
	for _, a := range addrs {
		d.until(a+" dozes", func() bool { return d.resting(a) != nil && d.observe(a).Info != nil })
	}
}

// wantInfo has the next probe of one who dozes be an INFO.
func (d *dormitory) wantInfo(a string) {
	w, _ := d.fleet.watch(addrOf(a))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.infoDue = time.Now()
}

func TestDozingInstanceIsProbed(t *testing.T) {
	inDormitory(t, func(d *dormitory) {
		d.law.setOption("m", "down-after-milliseconds", "10000") // so that a late reply wakes nobody
		time.Sleep(2 * time.Second)
		d.doze(master, replica)
		asleep := d.resting(replica)
		since := time.Now()
		d.until("a reply", func() bool { return d.observe(replica).LastReply.After(since) })
		d.at(master).Write(1000)
		d.wantInfo(replica)
		d.until("an INFO", func() bool { return d.observe(replica).Info.Offset >= 1000 })
		if o := d.observe(replica); d.resting(replica) != asleep || o.PingTime <= 0 || !o.Connected || o.Down {
			t.Errorf("it woke for that, or %+v", o)
		}
		buf := make([]byte, 1<<20)
		d.until("no goroutine waits for them", func() bool { return !strings.Contains(string(buf[:runtime.Stack(buf, true)]), "probe.(*watch)") })
	})
}

func TestDozingInstanceCrashes(t *testing.T) {
	inDormitory(t, func(d *dormitory) {
		for range 2 {
			d.at(master).Crash()
			d.until("the break is seen", func() bool { return !d.observe(master).Connected })
			if d.observe(master).Down {
				t.Error("it is held down at once")
			}
			d.until("the verdict", func() bool { return d.observe(master).Down })
			d.at(master).Restart(false)
			d.until("it is up again", func() bool { return !d.observe(master).Down })
			d.doze(master, replica)
		}
	})
}

// The silence begins with the break, though no goroutine has had its turn, and what was answered before counts.
func TestBreakIsTakenAtOnce(t *testing.T) {
	inDormitory(t, func(d *dormitory) {
		d.law.setOption("m", "down-after-milliseconds", "10000") // so that a late reply wakes nobody
		w, _ := d.fleet.watch(addrOf(master))
		var since time.Time
		var rouse func()
		var noted []bool // whether the break was, each time that the goroutine would have been woken
		d.until("it dozes, nothing is asked, and nobody is about to wake it", func() bool {
			i := d.observe(replica).Info
			w.locked(func() {
				asIs := w.plan.limits.DownAfter == 10*time.Second && i.InSync() && w.plan.ownHistory(i.ReplID)
				if r := w.resting; r != nil && asIs && !r.conn.Outstanding() {
					since, rouse = time.Now(), w.rouse
					w.rouse = func() { noted = append(noted, !w.sight.Load().obs.Connected) }
					d.at(master).CrashAfter("PING")
				}
			})
			return rouse != nil
		})
		turn := sync.OnceFunc(func() { w.locked(rouse) })
		defer turn()

		d.until("the break is seen", func() bool { return !d.observe(master).Connected })
		if o := d.observe(master); !o.LastReply.After(since) {
			t.Errorf("the answer that came before the break is lost: %+v", o)
		}
		w.locked(func() {
			if len(noted) == 0 || !noted[0] {
				t.Errorf("it was left to the goroutine: %v", noted)
			}
		})
		turn()
		d.law.setOption("m", "down-after-milliseconds", "1000")
		d.until("the verdict", func() bool { return d.observe(master).Down })
		d.at(master).Restart(false)
		d.doze(master)
	})
}

// What an INFO tells may be as old as the question, however late the reply is looked at, and whoever looks: a promotion may have come in
// between.
func TestReadingThatNobodyWaitedForIsAsOldAsItsQuestion(t *testing.T) {
	for _, woken := range []bool{false, true} {
		inDormitory(t, func(d *dormitory) { readingIsAsOldAsItsQuestion(t, d, woken) })
	}
}

func readingIsAsOldAsItsQuestion(t *testing.T, d *dormitory, woken bool) {
	d.law.setOption("m", "down-after-milliseconds", "10000") // so that a late reply wakes nobody
	w, _ := d.fleet.watch(addrOf(replica))
	d.until("a reply is taken by who looks for it", func() (taken bool) {
		var r *rest
		d.at(replica).Hang()
		defer d.at(replica).Resume()
		w.locked(func() {
			if r = w.resting; r != nil && w.plan.limits.DownAfter == 10*time.Second {
				w.infoDue = time.Now()
			}
		})
		if r == nil {
			return false
		}
		for asked := false; !asked; time.Sleep(time.Millisecond) {
			resting := false
			w.locked(func() { resting, asked = w.resting == r, r.asked != nil })
			if !resting {
				return false
			}
		}
		was, before := d.observe(replica).InfoAt, time.Now()
		if woken {
			w.locked(func() { w.rouse() })
		}
		d.at(replica).Resume()
		for ; d.observe(replica).InfoAt.Equal(was); time.Sleep(time.Millisecond) {
			resting := false
			w.locked(func() { resting = w.resting == r })
			if !woken && !resting {
				return false
			}
		}
		if at := d.observe(replica).InfoAt; at.After(before) {
			t.Errorf("woken %v: the reading is from %v after its question", woken, at.Sub(before))
		}
		return true
	})
	d.doze(replica)
}

// locked does something while nobody else has the watch.
func (w *watch) locked(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func TestDozingInstanceHangs(t *testing.T) {
	inDormitory(t, func(d *dormitory) {
		d.at(replica).Hang()
		since := time.Now()
		d.until("the verdict", func() bool { return d.observe(replica).Down })
		if took := time.Since(since); took < time.Second-2*gridStep { // it is counted from the probe, which may have been sent before
			t.Errorf("held down after %v; down-after is 1 s", took)
		}
		d.at(replica).Resume()
		d.until("it is up again", func() bool { return !d.observe(replica).Down })
		d.doze(replica)
	})
}

// One that answers, and not acceptably, is judged.
func TestDozingInstanceIsBusy(t *testing.T) {
	inDormitory(t, func(d *dormitory) {
		d.at(replica).SetBusy(true)
		d.until("the verdict", func() bool { return d.observe(replica).Down })
		d.at(replica).SetBusy(false)
		d.until("it is up again", func() bool { return !d.observe(replica).Down })
		d.doze(replica)
	})
}

// An order to look now, and another way to the instance, wake it.
func TestDozingInstanceIsWoken(t *testing.T) {
	inDormitory(t, func(d *dormitory) {
		asleep := d.resting(replica)
		since := time.Now()
		d.fleet.Refresh(addrOf(replica))
		d.until("an INFO at once", func() bool { return d.observe(replica).InfoAt.After(since) })
		d.doze(replica)
		if d.resting(replica) == asleep {
			t.Error("the metronome asked")
		}
		asleep = d.resting(master)
		d.law.setOption("m", "auth-pass", "secret")
		d.until("a new connection", func() bool {
			return slices.ContainsFunc(d.net.Log(), func(c fakeredis.Command) bool { return c.Args[0] == "AUTH" && c.Instance == addrOf(master) })
		})
		d.doze(master, replica)
		if d.resting(master) == asleep {
			t.Error("the rest goes on")
		}
		d.law.apply(&raftlogv1.Command{Op: &raftlogv1.Command_Remove{Remove: &raftlogv1.Remove{Name: "m"}}})
		d.until("its end", func() bool { return d.fleet.Probed() == 0 })
	})
}

// Readers, orders and breaks at the same time: for the race detector.
func TestDozingInstanceIsDisturbed(t *testing.T) {
	inDormitory(t, func(d *dormitory) {
		end := time.Now().Add(2 * time.Second)
		for i := 0; time.Now().Before(end); i++ {
			switch i % 4 {
			case 0:
				d.fleet.Refresh(addrOf(replica))
			case 1:
				d.wantInfo(master)
			case 2:
				d.at(replica).Crash()
				d.at(replica).Restart(false)
			case 3:
				d.law.setOption("m", "down-after-milliseconds", []string{"1000", "1100"}[i/4%2])
			}
			time.Sleep(7 * time.Millisecond)
		}
		d.doze(master)
		d.until("the replica is up", func() bool { o := d.observe(replica); return o.Connected && !o.Down })
		d.doze(replica)
	})
}
