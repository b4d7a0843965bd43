package node

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	peerv1 "github.com/raftsentinel/raftsentinel/proto/peer/v1"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

const (
	// renewEvery is how often a node with live reports renews them at the leader.
	renewEvery = time.Second
	// renewRetry is how soon it tries again where that failed.
	renewRetry = 100 * time.Millisecond
	// expireAfter is how long reports live that are not renewed.
	expireAfter = 3 * time.Second
	// expireEvery is how often the leader looks for those.
	expireEvery = 250 * time.Millisecond
)

var errDoubt = errors.New("what this node has seen for itself does not bear out its reports")

// Renewal is the last sign of a node that stands by its reports.
type Renewal struct {
	// Base of the node's next report, as the node sees it.
	Base uint64
	At   time.Time
}

func (l *leadership) renew(node string, base uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.renewed[node] = Renewal{Base: base, At: time.Now()}
}

func (l *leadership) renewals() map[string]Renewal {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.renewed)
}

// Renewals are, on the leader, the nodes whose live reports were renewed in this leadership and when; the leader itself
// counts as renewed now, where it stands by its votes. A node that proposed a report to this leadership counts too. Nil
// elsewhere.
func (n *Node) Renewals() map[string]Renewal {
	l := n.leads.get()
	if l == nil {
		return nil
	}
	out := l.renewals()
	s := n.State()
	if !l.stands(n, s) {
		return out
	}
	self := Renewal{At: time.Now()}
	if node, ok := s.Node(string(n.self)); ok {
		self.Base = node.ReportBase
	}
	out[string(n.self)] = self
	return out
}

// standsFor is for how long it serves that the leader stood by all of its votes. To look is dear with hundreds of them, and each
// step of hundreds of failovers asks; whose vote is to count is looked at once more, master by master.
const standsFor = 100 * time.Millisecond

// stands tells whether the leader stands by its votes in s, or did so a moment ago.
func (l *leadership) stands(n *Node, s *raftfsm.State) bool {
	l.looking.Lock() // what one has found serves all others who ask at the same time
	defer l.looking.Unlock()
	if now := time.Now(); now.Sub(l.stood) >= standsFor {
		if !n.stands(s) {
			return false
		}
		l.stood = now
	}
	return true
}

// stands tells whether this node stands by all of its votes in s. One that has just started knows of them from the log
// alone.
func (n *Node) stands(s *raftfsm.State) bool {
	if n.o.StandsBy == nil {
		return true
	}
	for m := range s.Accused() {
		for _, v := range m.Votes {
			if v.Node == string(n.self) && !n.o.StandsBy(v) {
				return false
			}
		}
	}
	return true
}

// reporters are the nodes that hold votes in s.
func reporters(s *raftfsm.State) map[string]bool {
	out := map[string]bool{}
	for m := range s.Accused() {
		for _, v := range m.Votes {
			out[v.Node] = true
		}
	}
	return out
}

// reports tells whether a node holds votes in s.
func reports(s *raftfsm.State, node string) bool {
	for m := range s.Accused() {
		if slices.ContainsFunc(m.Votes, func(v raftfsm.Vote) bool { return v.Node == node }) {
			return true
		}
	}
	return false
}

// renewReports tells the leader that this node stands by its reports in the state: every second, and at once when the leader
// changes or the first report appears.
func (n *Node) renewReports(ctx context.Context, r *raft.Raft) {
	var (
		seen   *raftfsm.State
		live   bool
		at     time.Time
		leader raft.ServerID
	)
	for {
		changed, heard := n.Changed(), n.heard.next()
		if s := n.State(); s != seen {
			seen, live = s, reports(s, string(n.self))
		}
		_, id := r.LeaderWithID()
		wait := (<-chan time.Time)(nil)
		if live && id != "" && id != n.self {
			if due := time.Until(at.Add(renewEvery)); due <= 0 || id != leader {
				leader, at = id, time.Now()
				if err := n.renewAt(ctx, seen); err != nil {
					n.log.Debug("reports not renewed", "error", err)
					at = at.Add(renewRetry - renewEvery)
				}
				continue
			}
			wait = time.After(time.Until(at.Add(renewEvery)))
		}
		select {
		case <-ctx.Done():
			return
		case <-wait:
		case <-changed:
		case <-heard:
		}
	}
}

func (n *Node) renewAt(ctx context.Context, s *raftfsm.State) error {
	ctx, cancel := context.WithTimeout(ctx, renewEvery)
	defer cancel()
	ctx, stop := n.whileLeads(ctx)
	defer stop()
	if !n.stands(s) {
		return errDoubt
	}
	client, err := n.leaderClient(ctx)
	if err != nil {
		return err
	}
	req := &peerv1.RenewRequest{RaftId: string(n.self)}
	if node, ok := s.Node(string(n.self)); ok {
		req.Base = node.ReportBase
	}
	_, err = client.Renew(ctx, req)
	return err
}

// expireReports is the leader's duty towards nodes that cannot be heard: their reports have no say. A node's time runs from
// its last renewal, or from the beginning of this leadership.
func (n *Node) expireReports(ctx context.Context, l *leadership) error {
	tick := time.NewTicker(expireEvery)
	defer tick.Stop()
	var (
		seen *raftfsm.State
		live map[string]bool
	)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		s, renewed := n.State(), n.Renewals()
		if renewed == nil {
			return nil // this leadership is over
		}
		if s != seen {
			seen, live = s, reporters(s)
		}
		for node := range s.Nodes() {
			since := l.since
			if r, ok := renewed[node.RaftID]; ok {
				since = r.At
			}
			if time.Since(since) <= expireAfter || !live[node.RaftID] {
				continue
			}
			expire := &raftlogv1.ExpireReports{Node: node.RaftID, Base: node.ReportBase}
			res, err := n.Propose(ctx, &raftlogv1.Command{Op: &raftlogv1.Command_ExpireReports{ExpireReports: expire}})
			if err != nil {
				return err
			}
			if res.Code == raftfsm.OK {
				n.log.Info("reports expired", "node", node.NodeID, "silent_for", time.Since(since))
			}
		}
	}
}
