package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// transportTimeout bounds each exchange between two nodes' Rafts.
	transportTimeout = time.Second
	// handOverLimit bounds giving up leadership at the end.
	handOverLimit = time.Second
	// drainLimit is how long answers that Raft still owes are waited for at the end.
	drainLimit = 300 * time.Millisecond
	// endLimit bounds the end of Raft, and the closing of its stores, where a disk hangs.
	endLimit = 700 * time.Millisecond
)

// Run opens the stores, forms or joins a cluster, and serves until ctx ends; it hands leadership over first, and returns
// after its last goroutine has ended. It returns an error where this node cannot go on: a store that cannot be opened, or a
// log entry that this build does not understand. A node that was removed keeps running and refuses. It can be called once.
func (n *Node) Run(ctx context.Context) (err error) {
	if !n.running.CompareAndSwap(false, true) {
		return errors.New("node: Run was called before")
	}
	defer func() { err = errors.Join(err, n.conns.Close(), n.id.Close()) }()
	defer n.stop()
	defer n.runLink(ctx)()

	if n.id.get().Removed {
		n.becomeRemoved()
		n.toldRecalled()
		<-ctx.Done()
		return nil
	}
	st, err := n.openStores()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.closeStores(st)) }()
	founded, err := n.recall(ctx, st)
	if errors.Is(err, ErrRemoved) {
		n.becomeRemoved()
		<-ctx.Done()
		return nil
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	r, err := n.startRaft(st, founded)
	if err != nil {
		return err
	}
	return n.serve(ctx, r)
}

// runLink runs the link until the function it gives is called.
func (n *Node) runLink(ctx context.Context) (stop func()) {
	if n.link == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := n.link.Run(ctx); err != nil && ctx.Err() == nil {
			n.log.Error("no more connections from other nodes", "error", err)
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

func (n *Node) stop() { n.stopOnce.Do(func() { close(n.stopping) }) }

// recall loads what this node knew before, and finds or founds a cluster where it knew none. founded tells that Raft must be
// bootstrapped with this node alone.
func (n *Node) recall(ctx context.Context, st *stores) (founded bool, err error) {
	n.fsm.applied = diskApplied{st.applied, &n.disk}
	floor, err := n.fsm.recall(st.snaps, st.logs)
	if err != nil {
		return false, err
	}
	has, err := raft.HasExistingState(st.logs, st.stable, st.snaps)
	if err != nil {
		return false, fmt.Errorf("look for raft state: %w", err)
	}
	n.floor.Store(floor)
	n.toldRecalled()
	rec := n.id.get()
	switch {
	case has || n.hooks.voters != nil:
		return false, nil
	case rec.HasState:
		return false, fmt.Errorf("dir %s: the log of node %s is gone: remove it from the cluster, empty the dir and let it join again", n.o.Dir, rec.RaftID)
	case rec.Founding:
		return true, nil
	case rec.ClusterID != "":
		return false, nil
	}
	_, founded, err = n.former.run(ctx)
	return founded, err
}

// maxAppend is how many entries share a write to the disks: where hundreds of failovers run side by side, each has one waiting.
const maxAppend = 512

func (n *Node) raftConfig() *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = n.self
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = n.o.Timing.Heartbeat, n.o.Timing.Election, n.o.Timing.Lease
	c.MaxAppendEntries = maxAppend
	c.CommitTimeout = n.o.Timing.Lease // the herald tells of commits before, and heartbeats are signs of life
	c.TrailingLogs, c.SnapshotThreshold, c.SnapshotInterval = trailing, compactAfter, compactEvery
	c.ShutdownOnRemove = false
	c.NoSnapshotRestoreOnStart = true // recall has done it
	c.NoLegacyTelemetry = true
	c.Logger = newRaftLog(n.log)
	return c
}

// startRaft makes Raft over the stores, and opens the link to members.
func (n *Node) startRaft(st *stores, founded bool) (*raft.Raft, error) {
	timed := newTimedStore(st.logs, n.o.StallLimit)
	n.timed.Store(timed)
	cached, err := raft.NewLogCache(logCache, diskLogs{timed, &n.disk})
	if err != nil {
		return nil, err
	}
	var trans quietable
	if n.hooks.transport != nil {
		trans = n.hooks.transport()
	} else {
		trans = newLinkTransport(n.link, transportTimeout, newRaftLog(n.log))
	}
	trans = movedTransport{quietable: trans, moves: &n.moves}
	trans = ackTransport{quietable: newSilentTransport(trans, timed.Stalled), book: n.acks}
	cadence := newCadence(trans, n.o.Timing.Heartbeat/10, n.acks)
	herald := newHerald(cadence, n.committedIn)
	pulsing := newPulseTransport(patientTransport{quietable: herald, still: n.replicates})
	began := time.Now()
	trans = reluctantTransport{quietable: pulsing, standsBack: func() bool { return n.standsBack(began) }}
	conf := n.raftConfig()
	begin := n.hooks.voters
	if founded {
		begin = []raft.Server{{ID: n.self, Address: trans.LocalAddr(), Suffrage: raft.Voter}}
	}
	if begin != nil {
		err := raft.BootstrapCluster(conf, cached, st.stable, st.snaps, trans, raft.Configuration{Servers: begin})
		if err != nil && !errors.Is(err, raft.ErrCantBootstrap) {
			return nil, errors.Join(fmt.Errorf("found cluster: %w", err), trans.Close())
		}
		if err := n.id.keepState(); err != nil {
			return nil, errors.Join(err, trans.Close())
		}
	}
	r, err := raft.NewRaft(conf, n.fsm, cached, diskStable{st.stable, &n.disk}, diskSnaps{st.snaps, &n.disk}, trans)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start raft: %w", err), trans.Close())
	}
	n.trans.Store(&trans)
	n.herald.Store(herald)
	n.cadence.Store(cadence)
	n.pulse.Store(pulsing)
	n.raft.Store(r)
	if n.link != nil {
		n.link.Open(n.id.get().ClusterID)
	}
	return r, nil
}

// serve is a member's life: until ctx ends, the state cannot go on, or the node is removed.
func (n *Node) serve(ctx context.Context, r *raft.Raft) error {
	life, end := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { n.watchLeadership(life, r, n.retake) })
	wg.Go(func() { n.watchLeader(life, r) })
	wg.Go(func() { n.renewReports(life, r) })
	wg.Go(func() { n.register(life) })
	wg.Go(func() { n.attend(life, r) })
	wg.Go(func() { n.keepState(life) })
	wg.Go(func() { n.compact(life, r) })
	wg.Go(func() { n.feelPulse(life, n.pulse.Load()) })
	wg.Go(func() { n.yield(life) })
	wg.Go(func() {
		_ = n.Lead(life, func(ctx context.Context, term uint64) error { return n.lead(ctx, r, term) })
	})
	var err error
	select {
	case <-ctx.Done():
	case <-n.removed:
		err = n.id.remove()
	case <-n.fsm.Failed():
		err = n.fsm.Err()
		n.log.Error("this node cannot go on", "error", err)
	}
	n.leads.close(errStopping)
	if ctx.Err() != nil && r.State() == raft.Leader && len(n.State().Servers()) > 1 {
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), handOverLimit)
		next, err := n.awaitSuccessor(limit, r)
		if err == nil {
			err = n.handOver(limit, r, next)
		}
		if err != nil {
			n.log.Info("leadership not handed over", "error", err)
		}
		cancel()
	}
	if !n.isRemoved() {
		n.stop()
	}
	end(errStopping)
	wg.Wait()
	n.shutdown(ctx, r)
	if n.isRemoved() && err == nil {
		<-ctx.Done()
	}
	return err
}

// shutdown ends Raft after it has answered what it owes. A log store that hangs would hold it for ever, and is left behind.
func (n *Node) shutdown(ctx context.Context, r *raft.Raft) {
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainLimit)
	defer cancel()
	_ = n.futures.wait(limit)
	n.raft.Store(nil)
	end := r.Shutdown()
	// Raft waits for the exchanges under way, and a peer that says nothing would hold them: they end with the transport.
	if trans := n.trans.Load(); trans != nil {
		_ = (*trans).Close()
	}
	told, cancelTold := context.WithTimeout(context.WithoutCancel(ctx), drainLimit)
	defer cancelTold()
	_ = n.herald.Load().wait(told) // what was under way has ended with the transport
	if err := within(endLimit, end.Error); err != nil {
		n.log.Warn("raft did not end", "error", err)
	}
}

func (n *Node) closeStores(st *stores) error {
	if t := n.timed.Load(); t != nil && t.Stalled() {
		return errors.New("the log store hangs and is not closed")
	}
	return within(endLimit, st.Close)
}

// within gives do's error, or gives up waiting for it.
func within(limit time.Duration, do func() error) error {
	done := make(chan error, 1)
	go func() { done <- do() }()
	select {
	case err := <-done:
		return err
	case <-time.After(limit):
		return errors.New("the disk does not answer")
	}
}

// watchLeader wakes those who wait for a leader, notes when the last one was heard, and connects to it before it is asked anything.
func (n *Node) watchLeader(ctx context.Context, r *raft.Raft) {
	seen := make(chan raft.Observation, 16)
	o := raft.NewObserver(seen, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	})
	r.RegisterObserver(o)
	defer r.DeregisterObserver(o)
	for {
		_, id := r.LeaderWithID()
		n.contacts.follow(id, r.LastContact())
		if a, err := n.leaderAddr(); err == nil && a != n.o.GRPC {
			n.conns.warm(a.String())
		}
		n.heard.wake()
		select {
		case <-ctx.Done():
			return
		case <-seen:
		}
	}
}

// keepState notes, once, that this node holds entries: an empty log beside that note is a loss.
func (n *Node) keepState(ctx context.Context) {
	for {
		changed := n.Changed()
		if n.State().Index() > 0 {
			if err := n.id.keepState(); err != nil {
				n.log.Error("identity not written", "error", err)
			}
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}
