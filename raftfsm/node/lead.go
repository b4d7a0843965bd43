package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// leadership is one unbroken time as leader, from the moment at which this node has applied its own Mark of the term: from
// then on its state holds everything that was committed before.
type leadership struct {
	term   uint64
	since  time.Time
	ctx    context.Context
	end    context.CancelCauseFunc
	quorum confirmer

	absences absences

	// stood is when this node last looked and stood by all of its votes; looking guards it.
	looking sync.Mutex
	stood   time.Time

	mu      sync.Mutex
	renewed map[string]Renewal
}

// dutyPause is how long failed duties rest before they run again in the same leadership.
const dutyPause = time.Second

// establishPause separates two tries to commit a Mark, while a transfer that failed is still being given up.
const establishPause = 10 * time.Millisecond

// Lead runs duties whenever this node leads, after its Mark is applied here, with a context that ends with leadership and
// carries the cause. New duties start only after the old ones have returned. Duties that return nil while this node still
// leads have nothing more to do in this leadership; those that return an error are logged and run again after a second.
// Lead returns ctx's error when ctx ends.
func (n *Node) Lead(ctx context.Context, duties func(ctx context.Context, term uint64) error) error {
	var served *leadership
	for {
		next := n.heard.next()
		if l := n.leads.get(); l != nil && l != served && n.leads.enter(l) {
			again := n.serveTerm(ctx, l, duties)
			if !again {
				served = l
			}
			if ctx.Err() == nil {
				continue
			}
		}
		select {
		case <-next:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// serveTerm runs duties once. again tells whether they failed and may be tried again in the same leadership.
func (n *Node) serveTerm(ctx context.Context, l *leadership, duties func(context.Context, uint64) error) (again bool) {
	scope, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(l.ctx, func() { cancel(context.Cause(l.ctx)) })
	err := func() error {
		defer n.leads.duties.done()
		defer cancel(nil)
		defer stop()
		return duties(scope, l.term)
	}()
	if err == nil || l.ctx.Err() != nil || ctx.Err() != nil {
		return false
	}
	n.log.Warn("a leader's duties failed; they run again", "term", l.term, "error", err)
	select {
	case <-time.After(dutyPause):
	case <-l.ctx.Done():
	case <-ctx.Done():
	}
	return true
}

// stalled tells whether this node's log store hangs. Raft cannot notice: its main loop waits for the store, and says that it
// leads long after the others have elected another.
func (n *Node) stalled() bool {
	t := n.timed.Load()
	return t != nil && t.Stalled()
}

// watchLeadership turns Raft's leadership into scopes. Raft's channel holds the latest change only, and a second true means
// lost and regained; what counts is the state now. A leadership whose log store hangs is over, whatever Raft says; where the
// store answers again before another leads, a new scope begins.
func (n *Node) watchLeadership(ctx context.Context, r *raft.Raft, again <-chan struct{}) {
	look := time.NewTicker(n.o.StallLimit / 4)
	defer look.Stop()
	hung := false
	for {
		select {
		case <-ctx.Done():
			n.leads.end(context.Cause(ctx))
			return
		case <-r.LeaderCh():
		case <-again:
		case <-look.C:
			if n.stalled() == hung {
				continue
			}
			hung = !hung
		}
		if n.leads.end(ErrLeadershipLost) != nil {
			n.log.Info("leadership ended")
		}
		n.heard.wake()
		for r.State() == raft.Leader && ctx.Err() == nil && !n.stalled() {
			err := n.establish(ctx, r)
			if err == nil || errors.Is(err, errStopping) {
				break
			}
			n.log.Debug("leadership not established", "error", err)
			select {
			case <-time.After(establishPause):
			case <-ctx.Done():
			}
		}
	}
}

// establish commits this leadership's Mark and begins its scope. In a cluster that has no identity yet it commits that too.
func (n *Node) establish(ctx context.Context, r *raft.Raft) error {
	ctx, cancel := context.WithTimeout(ctx, n.o.Timing.Election+time.Second)
	defer cancel()
	if n.State().Cluster().ID == "" {
		found := &raftlogv1.FoundCluster{ClusterId: n.id.get().ClusterID, ClusterName: n.o.ClusterName}
		_, data, err := n.encode(&raftlogv1.Command{Op: &raftlogv1.Command_FoundCluster{FoundCluster: found}})
		if err != nil {
			return err
		}
		if _, err := n.commit(ctx, r, data); err != nil {
			return fmt.Errorf("found cluster: %w", err)
		}
	}
	res, err := n.mark(ctx, r, r.CurrentTerm())
	if err != nil {
		return err
	}
	l := &leadership{term: res.Term, since: time.Now(), renewed: map[string]Renewal{}}
	l.ctx, l.end = context.WithCancelCause(context.WithoutCancel(ctx))
	// From a leadership's beginning on the commit index is always that of an entry which the FSM sees: Raft's own no-op of the
	// term lies before the Mark, and nothing here appends a barrier.
	l.quorum.ask = func() (uint64, error) {
		committed := r.CommitIndex()
		return committed, n.askQuorum(r, l)
	}
	if !n.leads.set(l) {
		l.end(errStopping)
		return errStopping
	}
	n.log.Info("leading", "term", l.term, "index", res.Index)
	n.heard.wake()
	return nil
}

// committedIn is the commit index where this node leads in a term; 0 where it does not. The index is read first: terms only
// rise, so that who leads in the term afterwards led in it then, and the index is no later leader's.
func (n *Node) committedIn(term uint64) uint64 {
	r := n.raft.Load()
	if r == nil {
		return 0
	}
	committed := r.CommitIndex()
	if r.State() != raft.Leader || r.CurrentTerm() != term {
		return 0
	}
	return committed
}

// mark commits a Mark, whose header has the cluster's level: a node that does not know that level stops there, although the
// entries so far might not have needed it.
func (n *Node) mark(ctx context.Context, r *raft.Raft, term uint64) (raftfsm.Result, error) {
	_, data, err := n.encode(&raftlogv1.Command{
		Header: &raftlogv1.Header{Level: n.State().FeatureLevel()},
		Op:     &raftlogv1.Command_Mark{Mark: &raftlogv1.Mark{Node: string(n.self), Term: term}},
	})
	if err != nil {
		return raftfsm.Result{}, err
	}
	res, err := n.commit(ctx, r, data)
	if err != nil {
		return res, fmt.Errorf("mark: %w", err)
	}
	return res, nil
}

// ready waits until this node's leadership has begun, where Raft says that it leads.
func (n *Node) ready(ctx context.Context) (*leadership, error) {
	for {
		next := n.heard.next()
		if l := n.leads.get(); l != nil {
			return l, nil
		}
		r := n.raft.Load()
		if r == nil || r.State() != raft.Leader || n.stalled() {
			return nil, ErrNotLeader
		}
		select {
		case <-next:
		case <-n.stopping:
			return nil, ErrNotLeader
		case <-ctx.Done():
			return nil, fmt.Errorf("this leader has not committed its mark: %w", ErrNotLeader)
		}
	}
}

// askQuorum confirms with a majority, by requests sent from now on, that nobody leads a later term.
func (n *Node) askQuorum(r *raft.Raft, l *leadership) error {
	ctx, cancel := context.WithTimeoutCause(l.ctx, confirmLimit, errors.New("no majority answered in time"))
	defer cancel()
	question := n.acks.ask()
	// Its answer is not waited for; asking makes Raft send heartbeats at once.
	r.VerifyLeader()
	n.cadence.Load().hurry()
	config := func() raft.Configuration { return r.GetConfiguration().Configuration() }
	if err := n.acks.majority(ctx, n.self, l.term, question, config); err != nil {
		return fmt.Errorf("%w: %w", ErrNotLeader, err)
	}
	return nil
}

// confirmLimit bounds one confirmation by a quorum.
const confirmLimit = time.Second

// confirm returns when a majority has confirmed l after the call began, with an index at or above what was committed then.
func (n *Node) confirm(ctx context.Context, l *leadership) (uint64, error) {
	committed, err := l.quorum.confirm(ctx, n.future)
	if err != nil {
		return 0, err
	}
	if n.leads.get() != l {
		return 0, fmt.Errorf("term %d is over: %w", l.term, ErrNotLeader)
	}
	return committed, nil
}

// future runs f in a goroutine that the end of this node waits for.
func (n *Node) future(f func()) {
	n.futures.add()
	go func() {
		defer n.futures.done()
		f()
	}()
}

// Verify confirms with a quorum that this node still leads in the given term.
func (n *Node) Verify(ctx context.Context, term uint64) error {
	l := n.leads.get()
	if l == nil || l.term != term {
		return fmt.Errorf("term %d is over: %w", term, ErrNotLeader)
	}
	ctx, cancel := context.WithTimeout(ctx, confirmLimit)
	defer cancel()
	_, err := n.confirm(ctx, l)
	return err
}
