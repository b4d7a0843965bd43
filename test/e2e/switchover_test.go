package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/api/client"
	"github.com/raftsentinel/raftsentinel/failover/executor"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// tellers are how many applications write at a time.
const tellers = 4

// ledger is an application that follows the watch and writes keys that nobody else writes. What was acknowledged to it must be
// found in the end.
type ledger struct {
	*set
	stop context.CancelFunc
	work sync.WaitGroup

	mu    sync.Mutex
	at    string // where the watch says that the master is
	moved chan struct{}
	kept  []string // acknowledged
	total int
}

func (s *set) newLedger() *ledger {
	s.t.Helper()
	var endpoints []string
	for _, n := range s.nodes {
		endpoints = append(endpoints, n.GRPCAddr())
	}
	c, err := client.Dial(endpoints)
	s.must(err)
	ctx, stop := context.WithCancel(context.Background())
	w := &ledger{set: s, stop: stop, moved: make(chan struct{})}
	s.t.Cleanup(func() {
		stop()
		w.work.Wait()
		_ = c.Close()
	})
	w.work.Go(func() { w.follow(ctx, c) })
	for i := range tellers {
		w.work.Go(func() { w.write(ctx, fmt.Sprintf("ledger:%d:", i)) })
	}
	w.goesOn()
	return w
}

func (w *ledger) follow(ctx context.Context, c *client.Client) {
	for u, err := range c.Watch(ctx, w.name) {
		if err != nil {
			if ctx.Err() == nil {
				w.t.Errorf("the watch ended: %v", err)
			}
			return
		}
		w.mu.Lock()
		if u.Master.Addr != "" && u.Master.Addr != w.at {
			w.at = u.Master.Addr
			close(w.moved)
			w.moved = make(chan struct{})
		}
		w.mu.Unlock()
	}
}

// write sets one key after the other. A write that waits is given up as soon as the master is another.
func (w *ledger) write(ctx context.Context, prefix string) {
	for n := 0; ctx.Err() == nil; n++ {
		w.mu.Lock()
		at, moved := w.at, w.moved
		w.mu.Unlock()
		once, cancel := context.WithCancel(ctx)
		go func() {
			select {
			case <-moved:
				cancel()
			case <-once.Done():
			}
		}()
		key, wrote := fmt.Sprint(prefix, n), false
		for _, v := range w.servers {
			wrote = wrote || v.at == at && v.client.Set(once, key, n, 0).Err() == nil
		}
		cancel()
		if wrote {
			w.mu.Lock()
			w.kept, w.total = append(w.kept, key), w.total+1
			w.mu.Unlock()
		}
		pause(ctx, 2*time.Millisecond)
	}
}

// goesOn waits for another acknowledged write of each application.
func (w *ledger) goesOn() {
	w.t.Helper()
	w.mu.Lock()
	before := w.total
	w.mu.Unlock()
	w.eventually(w.name+" is written to", soon, func(context.Context) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.total < before+2*tellers {
			return fmt.Errorf("%d writes were acknowledged, %d before", w.total, before)
		}
		return nil
	})
}

// check holds all that was acknowledged against what the master has.
func (w *ledger) check(master *server) {
	w.t.Helper()
	w.mu.Lock()
	kept := slices.Clip(w.kept)
	w.mu.Unlock()
	all := len(kept)
	lost := map[string]bool{}
	for len(kept) > 0 {
		n := min(1000, len(kept))
		values, err := master.client.MGet(w.t.Context(), kept[:n]...).Result()
		w.must(err)
		for i, v := range values {
			if v == nil {
				lost[kept[i]] = true
			}
		}
		kept = kept[n:]
	}
	if len(lost) > 0 {
		w.t.Errorf("%s has lost %d of %d acknowledged writes: %v", master.Name(), len(lost), all, lost)
	}
}

// switchover orders one, to a replica or to the best, again and again with the same id until a node answers, and does not wait for its end.
func (s *set) switchover(id string, to *sentinelv1.Address) {
	s.t.Helper()
	s.eventually("the switchover "+id+" is ordered", soon, func(ctx context.Context) error {
		var errs []error
		for _, n := range s.running() {
			once, cancel := context.WithTimeout(ctx, time.Second)
			stream, err := n.admin.SwitchoverMaster(once, &sentinelv1.SwitchoverMasterRequest{Name: s.name, To: to, RequestId: id})
			if err == nil {
				_, err = stream.Recv()
			}
			cancel()
			if err == nil {
				return nil
			}
			errs = append(errs, fmt.Errorf("%s: %w", n.Name(), err))
		}
		return errors.Join(errs...)
	})
}

// ended waits for the end of a switchover. There must be one alone.
func (s *set) ended(id string) *sentinelv1.Failover {
	s.t.Helper()
	var found []*sentinelv1.Failover
	s.eventually("the end of "+id, soon, func(context.Context) error {
		found = nil
		for _, f := range s.failovers() {
			if f.GetOperationId() == id {
				found = append(found, f)
			}
		}
		if len(found) == 0 || found[0].GetOutcome() == sentinelv1.FailoverOutcome_FAILOVER_OUTCOME_UNSPECIFIED {
			return fmt.Errorf("it is open: %v", found)
		}
		return nil
	})
	if len(found) != 1 {
		s.t.Errorf("%s was done %d times: %v", id, len(found), found)
	}
	return found[0]
}

// stands waits until every running node names one and the same server, which is not the one that was harmed, is a master, and
// is written to.
func (s *set) stands(harmed *server) *server {
	s.t.Helper()
	var master *server
	s.eventually(s.name+" has a master", soon, func(ctx context.Context) error {
		names := map[string]bool{}
		for _, n := range s.running() {
			m, err := s.local(ctx, n)
			if err != nil {
				return err
			}
			if f := m.GetFailover(); f != nil && !f.GetSwitched() {
				return fmt.Errorf("%s: failover %d is open", n.Name(), f.GetEpoch())
			}
			names[text(m.GetAddress())] = true
		}
		for _, v := range s.servers {
			if !names[v.at] || len(names) != 1 || v == harmed {
				continue
			}
			master = v
			if role, err := v.role(ctx); err != nil || role != "master" {
				return fmt.Errorf("%s says %q, %w", v.Name(), role, err)
			}
			return nil
		}
		return fmt.Errorf("nodes name %v", names)
	})
	return master
}

// frozen waits until a process has stopped.
func (l *lab) frozen(n *node) {
	l.t.Helper()
	limit := time.Now().Add(soon)
	for !stopped(n.PID()) {
		if time.Now().After(limit) {
			l.t.Fatalf("%s does not come to its point", n.Name())
		}
		time.Sleep(200 * time.Microsecond) // what comes next must happen while its clients' writes are stopped
	}
}

// comesTo waits until a node has frozen, or died, at its point.
func (l *lab) comesTo(n *node, freeze bool) {
	l.t.Helper()
	if freeze {
		l.frozen(n)
	} else {
		l.dies(n)
	}
}

// goesOnAfter has a node that had frozen go on, with time for what it was about to do.
func (l *lab) goesOnAfter(n *node, freeze bool) {
	l.t.Helper()
	if freeze {
		l.must(n.Thaw())
		l.formed()
		l.last(downAfter / 2)
	}
}

func stopped(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(rest, "T")
}

// awake is the set as the nodes other than n tell of it.
func (s *set) awake(n *node) *set {
	var others []*node
	for _, o := range s.nodes {
		if o != n {
			others = append(others, o)
		}
	}
	return &set{lab: &lab{t: s.t, stage: s.stage, nodes: others}, name: s.name, password: s.password, servers: s.servers}
}

// TestSwitchoverLosesItsLeader: the leader dies, or freezes, between two effects of a switchover that clients write through. The
// next leader carries it to its end: one master, nothing lost that was acknowledged, moved once.
func TestSwitchoverLosesItsLeader(t *testing.T) {
	t.Parallel()
	for name, points := range map[string][]executor.Point{
		"early": {executor.BeforePause, executor.AfterPause, executor.BeforeDown, executor.AfterDown, executor.AfterCheck, executor.BeforePromote},
		"late":  {executor.AfterPromote, executor.BeforeSwitch, executor.AfterSwitch, executor.BeforeMove, executor.AfterMove},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			s := l.newSet(name, setOptions{})
			w := s.newLedger()
			for _, p := range points {
				for _, how := range []string{"", ":freeze"} {
					s.losesLeader(w, l.nodes[0], string(p)+how)
					if t.Failed() {
						t.Fatalf("at point %s%s", p, how)
					}
				}
			}
			s.switches(2 * len(points))
		})
	}
}

func (s *set) losesLeader(w *ledger, n *node, point string) {
	s.t.Helper()
	began := time.Now()
	s.arm(n, point)
	awake := s.awake(n)
	freeze := strings.HasSuffix(point, ":freeze")
	ordered := make(chan struct{})
	go func() {
		defer close(ordered)
		awake.switchover(point, nil)
	}()
	s.comesTo(n, freeze)
	<-ordered
	row := awake.ended(point)
	to := awake.stands(nil)
	if !row.GetSwitched() || to.at != text(row.GetTo()) {
		s.t.Errorf("%s: %v, %s; the master is %s", point, row.GetOutcome(), row.GetEndReason(), to.Name())
	}
	w.goesOn()
	s.goesOnAfter(n, freeze)
	awake.settled(to)
	w.check(to)
	s.t.Logf("%s: %v to %s in %v", point, row.GetOutcome(), to.Name(), time.Since(began).Truncate(time.Millisecond))
}

// TestSwitchoverLosesAnInstance: the candidate, or the old master, dies or freezes at a step of a switchover that clients write
// through. It ends, in one master that has all that was acknowledged. Before writes are paused an instance that is lost is a crash
// like any other.
func TestSwitchoverLosesAnInstance(t *testing.T) {
	t.Parallel()
	points := []executor.Point{
		executor.AfterPause, executor.BeforeDown, executor.AfterDown, executor.AfterCheck, executor.BeforePromote, executor.AfterPromote, executor.BeforeSwitch,
	}
	for _, name := range []string{"candidate", "master"} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			s := l.newSet(name, setOptions{})
			w := s.newLedger()
			master := s.servers[0]
			for _, p := range points {
				for _, freeze := range []bool{false, true} {
					master = s.losesInstance(w, l.nodes[0], p, master, name == "master", freeze)
					if t.Failed() {
						t.Fatalf("at point %s, frozen %v", p, freeze)
					}
				}
			}
		})
	}
}

// losesInstance stops the leader at a point, harms an instance, and lets the leader go on: it has no time to lose leadership.
func (s *set) losesInstance(w *ledger, n *node, p executor.Point, master *server, old, freeze bool) *server {
	s.t.Helper()
	began := time.Now()
	s.arm(n, string(p)+":freeze")
	candidate := s.servers[1]
	if candidate == master {
		candidate = s.servers[2]
	}
	harmed := candidate
	if old {
		harmed = master
	}
	id := fmt.Sprintf("%s of %s, %v", p, harmed.Name(), freeze)
	follower := s.awake(n)
	ordered := make(chan struct{})
	go func() {
		defer close(ordered)
		follower.switchover(id, address(candidate.at))
	}()
	s.frozen(n)
	if old && p == executor.AfterPause {
		s.level(master, candidate)
	}
	if freeze {
		s.must(harmed.Freeze())
	} else {
		s.must(harmed.Kill())
	}
	s.must(n.Thaw())
	<-ordered
	row := s.ended(id)
	to := s.stands(harmed)
	w.goesOn()
	if freeze {
		s.must(harmed.Thaw())
	} else {
		s.must(harmed.Restart(s.t.Context()))
	}
	s.settled(to)
	w.check(to)
	s.t.Logf("%s: %v (%s), the master is %s, in %v", id, row.GetOutcome(), row.GetEndReason(), to.Name(), time.Since(began).Truncate(time.Millisecond))
	return to
}

// level waits until a replica has what its paused master has acknowledged. A Redis answers a writer before it sends the write on: one that
// crashes between the two loses it, with a switchover or without.
func (s *set) level(master, replica *server) {
	s.t.Helper()
	s.eventually(replica.Name()+" is level with "+master.Name(), soon, func(ctx context.Context) error {
		whole, err := master.client.InfoMap(ctx, "replication").Result()
		if err != nil {
			return err
		}
		part, err := replica.client.InfoMap(ctx, "replication").Result()
		if err != nil {
			return err
		}
		if at, to := part["Replication"]["slave_repl_offset"], whole["Replication"]["master_repl_offset"]; at != to {
			return fmt.Errorf("it is at %s of %s", at, to)
		}
		return nil
	})
}

// TestSwitchoverLosesItsLeaderInARollback: the candidate freezes after the old master has stepped down, and the leader dies, or
// freezes, on the way back. The next one brings the old master back, which has all that was acknowledged.
func TestSwitchoverLosesItsLeaderInARollback(t *testing.T) {
	l := newLab(t)
	s := l.newSet("rollback", setOptions{})
	w := s.newLedger()
	for _, p := range []executor.Point{executor.BeforeBack, executor.AfterBack} {
		for _, how := range []string{"", ":freeze"} {
			s.losesLeaderOnTheWayBack(w, l.nodes[0], string(p)+how)
			if t.Failed() {
				t.Fatalf("at point %s%s", p, how)
			}
		}
	}
}

func (s *set) losesLeaderOnTheWayBack(w *ledger, n *node, point string) {
	s.t.Helper()
	began := time.Now()
	master, candidate := s.servers[0], s.servers[1]
	s.arm(n, string(executor.AfterDown)+":freeze,"+point)
	awake := s.awake(n)
	ordered := make(chan struct{})
	go func() {
		defer close(ordered)
		awake.switchover(point, address(candidate.at))
	}()
	s.frozen(n)
	s.must(candidate.Freeze())
	s.must(n.Thaw())
	<-ordered
	freeze := strings.HasSuffix(point, ":freeze")
	s.comesTo(n, freeze)
	row := awake.ended(point)
	if to := awake.stands(candidate); row.GetSwitched() || to != master {
		s.t.Errorf("%s: %v, %s; the master is %s", point, row.GetOutcome(), row.GetEndReason(), to.Name())
	}
	w.goesOn()
	s.must(candidate.Thaw())
	s.goesOnAfter(n, freeze)
	awake.settled(master)
	w.check(master)
	s.t.Logf("%s: %v (%s), in %v", point, row.GetOutcome(), row.GetEndReason(), time.Since(began).Truncate(time.Millisecond))
}

// TestCommandComesAfterTheRollback: a command that waited in the connection of an instance which stood still is executed after
// the switchover was rolled back: the old master steps down, or the candidate becomes a master. That is put right at once, long
// before the next reading is due or anybody counts as down.
func TestCommandComesAfterTheRollback(t *testing.T) {
	l := newLab(t)
	s := l.newSet("late", setOptions{downAfter: 20 * time.Second})
	w := s.newLedger()
	master := s.servers[0]
	for _, point := range []executor.Point{executor.BeforeDown, executor.BeforePromote} {
		for _, still := range []time.Duration{600 * time.Millisecond, 1600 * time.Millisecond, 2500 * time.Millisecond} {
			master = s.standsStill(w, l.nodes[0], point, master, still)
			if t.Failed() {
				t.Fatalf("at point %s, for %s", point, still)
			}
		}
	}
}

// standsStill stops an instance for a while just before it is told something in a switchover, and gives the master that is left.
func (s *set) standsStill(w *ledger, n *node, p executor.Point, master *server, still time.Duration) *server {
	s.t.Helper()
	candidate := s.servers[1]
	if candidate == master {
		candidate = s.servers[0]
	}
	v := master
	if p == executor.BeforePromote {
		v = candidate
	}
	s.arm(n, string(p)+":freeze")
	s.settled(master)
	id := fmt.Sprintf("%s, %s", p, still)
	ordered := make(chan struct{})
	go func() {
		defer close(ordered)
		s.awake(n).switchover(id, address(candidate.at))
	}()
	s.frozen(n)
	s.must(v.Freeze())
	s.must(n.Thaw())
	s.last(still)
	s.must(v.Thaw())
	began := time.Now()
	<-ordered
	row := s.ended(id)
	if row.GetSwitched() { // it went on early enough
		master = candidate
	}
	s.eventually("one master, which everybody names", 3*time.Second, func(ctx context.Context) error {
		for _, v := range s.servers {
			role, err := v.role(ctx)
			if err != nil || (role == "master") != (v == master) {
				return fmt.Errorf("%s says %q, %w", v.Name(), role, err)
			}
		}
		return nil
	})
	took := time.Since(began)
	s.settled(master)
	w.goesOn()
	w.check(master)
	s.t.Logf("%s: %v (%s), right again after %v", id, row.GetOutcome(), row.GetEndReason(), took.Truncate(time.Millisecond))
	return master
}
