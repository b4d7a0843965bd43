package raftfsm

import (
	"slices"
	"strings"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
)

func (d *draft) foundCluster(c *raftlogv1.FoundCluster) verdict {
	switch d.s.cluster.ID {
	case "":
	case c.GetClusterId():
		return done()
	default:
		return refuse(AlreadyFounded, "cluster %s exists; it cannot be founded again as %s", d.s.cluster.ID, c.GetClusterId())
	}
	d.s.cluster = Cluster{ID: c.GetClusterId(), Name: c.GetClusterName(), Era: c.GetClusterId()}
	d.s.level = 1
	d.changed = true
	d.emit(Event{Kind: EventFounded, Detail: c.GetClusterId()})
	return done()
}

func (d *draft) registerNode(c *raftlogv1.RegisterNode) verdict {
	id := c.GetRaftId()
	if !slices.ContainsFunc(d.s.servers, func(v Server) bool { return v.ID == id }) {
		return refuse(UnknownNode, "node %s (%s) is not a member of the cluster", c.GetNodeId(), id)
	}
	if c.GetMaxLevel() < d.s.level {
		return refuse(LevelTooHigh, "node %s supports feature level %d; the cluster is at %d: upgrade the node",
			c.GetNodeId(), c.GetMaxLevel(), d.s.level)
	}
	for n := range d.s.Nodes() {
		if n.NodeID == c.GetNodeId() && n.RaftID != id {
			return refuse(Duplicate, "a node named %s is a member already (%s)", n.NodeID, n.RaftID)
		}
	}
	next := Node{
		RaftID: id, NodeID: c.GetNodeId(), Raft: AddrOf(c.GetRaft()), GRPC: AddrOf(c.GetGrpc()), RESP: AddrOf(c.GetResp()),
		HTTP: AddrOf(c.GetHttp()), Version: c.GetVersion(), MaxLevel: c.GetMaxLevel(),
	}
	before, known := d.s.Node(id)
	if known {
		next.ReportBase, next.Revision, next.Drain = before.ReportBase, before.Revision, before.Drain
		if next == *before {
			return done()
		}
	}
	next.Revision = d.index
	d.s.nodes = insert(d.s.nodes, id, &next)
	d.changed = true
	if !known {
		d.emit(Event{Kind: EventNode, Node: id, Instance: next.RESP, Detail: next.NodeID})
	}
	return done()
}

// drainNode keeps a member from leading, or lets it lead again. One voter that may lead is always left.
func (d *draft) drainNode(c *raftlogv1.DrainNode) verdict {
	n, ok := d.s.Node(c.GetNode())
	if !ok {
		return refuse(UnknownNode, "node %s is not registered", c.GetNode())
	}
	next := *n
	next.Revision = d.index
	if c.GetEnd() {
		if n.Drain == nil {
			return done()
		}
		next.Drain = nil
		d.s.nodes = insert(d.s.nodes, n.RaftID, &next)
		d.changed = true
		d.emit(Event{Kind: EventDrainEnd, Node: n.RaftID, Detail: n.NodeID})
		return done()
	}
	p := Pause{Actor: d.head.GetActor(), Reason: clip(c.GetReason()), SinceMs: d.head.GetProposedAtMs()}
	if n.Drain != nil {
		if n.Drain.Reason == p.Reason {
			return done()
		}
		p.SinceMs = n.Drain.SinceMs
	}
	if !slices.ContainsFunc(d.s.servers, func(v Server) bool { return v.Voter && v.ID != n.RaftID && !d.s.Drained(v.ID) }) {
		return refuse(TooMany, "no voter beside node %s may lead: undrain another one, or add one, first", n.NodeID)
	}
	next.Drain = &p
	d.s.nodes = insert(d.s.nodes, n.RaftID, &next)
	d.changed = true
	d.emit(Event{Kind: EventDrain, Node: n.RaftID, Detail: strings.TrimSpace(n.NodeID + " " + p.Reason)})
	return done()
}

func (d *draft) setFeatureLevel(c *raftlogv1.SetFeatureLevel) verdict {
	level := c.GetLevel()
	if level <= d.s.level {
		return done()
	}
	for _, v := range d.s.servers {
		n, ok := d.s.Node(v.ID)
		if v.Voter && (!ok || n.MaxLevel < level) {
			return refuse(LevelTooHigh, "node %s does not support feature level %d", d.s.NodeName(v.ID), level)
		}
	}
	d.s.level = level
	d.s.weigh()
	d.changed = true
	d.emit(Event{Kind: EventFeatureLevel})
	return done()
}

// deliver moves the cursor of the webhooks. It never goes back: what was delivered is not delivered again.
func (d *draft) deliver(c *raftlogv1.Delivered) verdict {
	to := Cursor{Index: c.GetIndex(), Ordinal: c.GetOrdinal()}
	if to.Index >= d.index {
		return refuse(InvalidArgument, "no event of entry %d is delivered yet: this is entry %d", to.Index, d.index)
	}
	if to.Compare(d.s.delivered) > 0 {
		d.s.delivered = to
		d.changed = true
	}
	return done()
}

// report takes a node's difference. Entries of it that the set has outgrown are passed over: the node sees in the state
// that they are missing and judges anew.
func (d *draft) report(c *raftlogv1.Report) verdict {
	n, ok := d.s.Node(c.GetNode())
	if !ok {
		return refuse(UnknownNode, "node %s is not registered", c.GetNode())
	}
	if n.ReportBase != c.GetBase() {
		return refuse(StaleBase, "node %s reports on base %d; its last report is %d", n.NodeID, c.GetBase(), n.ReportBase)
	}
	d.rebase(n)
	for _, v := range c.GetUp() {
		if m := d.judged(v); m != nil {
			d.takeBack(m, n.RaftID, AddrOf(v.GetInstance()))
		}
	}
	for _, v := range c.GetDown() {
		if m := d.judged(v); m != nil {
			d.holdDown(m, n.RaftID, v)
		}
	}
	for _, name := range d.order {
		d.recount(d.edited[name])
	}
	return done()
}

// rebase makes this entry the base of the node's next report.
func (d *draft) rebase(n *Node) {
	next := *n
	next.ReportBase = d.index
	d.s.nodes = insert(d.s.nodes, n.RaftID, &next)
	d.changed = true
}

// judged finds the master that a verdict is about; nil where it was judged under another generation or of no instance here.
func (d *draft) judged(v *raftlogv1.Verdict) *Master {
	m, ok := d.s.Master(v.GetMaster())
	if !ok || m.Generation != v.GetGeneration() {
		return nil
	}
	if _, ok := m.Instance(AddrOf(v.GetInstance())); !ok {
		return nil
	}
	return d.edit(m.Name)
}

func (d *draft) takeBack(m *Master, node string, a Addr) {
	i := slices.IndexFunc(m.Votes, func(v Vote) bool { return v.Node == node && v.Instance == a })
	if i < 0 {
		return
	}
	kind := EventSDownEnd
	if !Counts(m.Votes[i].Cause) {
		kind = EventAuthEnd
	}
	m.Votes = slices.Delete(slices.Clone(m.Votes), i, i+1)
	d.emitOn(m, kind, a, Event{Node: node})
}

func (d *draft) holdDown(m *Master, node string, v *raftlogv1.Verdict) {
	a := AddrOf(v.GetInstance())
	vote := Vote{
		Instance: a, Node: node, Cause: v.GetCause(), SinceMs: v.GetSinceMs(),
		ReportedAtMs: d.head.GetProposedAtMs(), Index: d.index,
	}
	votes := slices.Clone(m.Votes)
	i, found := slices.BinarySearchFunc(votes, vote, compareVotes)
	switch {
	case found && votes[i].Cause == vote.Cause:
		return
	case found && Counts(votes[i].Cause) == Counts(vote.Cause):
		// Refused today, a time-out before: the same verdict with fresher evidence, and no event.
		votes[i].Cause = vote.Cause
		m.Votes = votes
		return
	case found:
		d.takeBack(m, node, a)
		votes = slices.Insert(slices.Clone(m.Votes), i, vote)
	default:
		votes = slices.Insert(votes, i, vote)
	}
	m.Votes = votes
	kind := EventSDown
	if !Counts(vote.Cause) {
		kind = EventAuth
	}
	d.emitOn(m, kind, a, Event{Node: node, Cause: vote.Cause})
}

func compareVotes(a, b Vote) int {
	if c := a.Instance.Compare(b.Instance); c != 0 {
		return c
	}
	return cmpString(a.Node, b.Node)
}

func (d *draft) expireReports(c *raftlogv1.ExpireReports) verdict {
	n, ok := d.s.Node(c.GetNode())
	if !ok {
		return refuse(UnknownNode, "node %s is not registered", c.GetNode())
	}
	if n.ReportBase != c.GetBase() {
		return refuse(StaleBase, "node %s has reported since", n.NodeID)
	}
	d.rebase(n)
	for m := range d.s.Accused() {
		if !slices.ContainsFunc(m.Votes, func(v Vote) bool { return v.Node == n.RaftID }) {
			continue
		}
		e := d.edit(m.Name)
		e.Votes = slices.DeleteFunc(slices.Clone(e.Votes), func(v Vote) bool { return v.Node == n.RaftID })
		d.emitOn(e, EventReportsExpired, e.Address, Event{Node: n.RaftID})
		d.recount(e)
	}
	return done()
}

// recount decides objective down: as many voters as the quorum hold the committed master down. That the entry committed
// implies a majority of the cluster.
func (d *draft) recount(m *Master) {
	d.reopen(m)
	votes := d.s.DownVotes(m, m.Address)
	down := votes >= m.Options.Quorum
	switch {
	case down && m.ODown == 0:
		m.ODown, m.ODownAtMs = d.index, d.head.GetProposedAtMs()
		d.emitOn(m, EventODown, m.Address, Event{Detail: quorumText(votes, m.Options.Quorum)})
	case !down && m.ODown != 0:
		m.ODown, m.ODownAtMs = 0, 0
		d.emitOn(m, EventODownEnd, m.Address, Event{})
	}
}

// reopen forgets that addresses are other addresses of this set's instances once one of those is held down: its process may
// have moved to one of them.
func (d *draft) reopen(m *Master) {
	own := func(c Conflict) bool { return c.Other == m.Name }
	if !slices.ContainsFunc(m.Conflicts, own) {
		return
	}
	for _, in := range m.Replicas() {
		if d.s.DownVotes(m, in.Addr) >= m.Options.Quorum {
			m.Conflicts = slices.DeleteFunc(slices.Clone(m.Conflicts), own)
			return
		}
	}
}
