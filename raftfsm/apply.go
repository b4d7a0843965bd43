package raftfsm

import (
	"fmt"
	"slices"
	"unicode/utf8"

	iradix "github.com/hashicorp/go-immutable-radix/v2"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
)

// Apply gives the state after the command at index. It never fails: a command refused on its merits changes nothing but
// the index, and Result.Code says why. It panics on a command that this build cannot understand, which [Decode] has
// refused before.
func Apply(old *State, index uint64, c *raftlogv1.Command) (*State, Result) {
	b := NewBatch(old)
	res := b.Apply(index, c)
	return b.State(), res
}

// ApplyServers is [ApplyServersAt] at a time that is not known.
func ApplyServers(old *State, index uint64, servers []Server) *State {
	return ApplyServersAt(old, index, 0, servers)
}

// ApplyServersAt gives the state after Raft's configuration changed at index, and at a time by the leader's clock in Unix
// milliseconds; 0 stands for the time of the last command. Verdicts of nodes that vote no more cease to count, and those of
// nodes that are members no more are dropped.
func ApplyServersAt(old *State, index uint64, atMs int64, servers []Server) *State {
	b := NewBatch(old)
	b.ApplyServersAt(index, atMs, servers)
	return b.State()
}

// dropNodes forgets the nodes that are no members.
func (d *draft) dropNodes(members []Server) {
	for n := range d.s.Nodes() {
		if !slices.ContainsFunc(members, func(v Server) bool { return v.ID == n.RaftID }) {
			d.s.nodes, _, _ = d.s.nodes.Delete([]byte(n.RaftID))
			d.emit(Event{Kind: EventNodeGone, Node: n.RaftID, Detail: n.NodeID})
		}
	}
}

// verdict is how a command ended.
type verdict struct {
	code   Code
	detail string
	epoch  uint64
}

func done() verdict { return verdict{} }

func refuse(code Code, format string, args ...any) verdict {
	return verdict{code: code, detail: fmt.Sprintf(format, args...)}
}

// draft is the next state while one command builds it.
type draft struct {
	s     *State
	index uint64
	head  *raftlogv1.Header
	// edited masters, and their names in the order of their first edit: map order must not reach the state.
	edited map[string]*Master
	order  []string
	// retold masters have changed for clients, whether or not anything of their own has.
	retold  map[string]bool
	late    late
	changed bool
}

func newDraft(old *State, index uint64, head *raftlogv1.Header) *draft {
	next := *old
	next.index, next.atMs = index, head.GetProposedAtMs()
	return &draft{s: &next, index: index, head: head, edited: map[string]*Master{}, retold: map[string]bool{}}
}

func (d *draft) apply(c *raftlogv1.Command) verdict {
	if term := d.head.GetTerm(); term != 0 && term < d.s.term {
		return refuse(StaleTerm, "decided in term %d; term %d has begun since", term, d.s.term)
	}
	if err := d.s.CheckLevel(c); err != nil {
		return refuse(LevelTooHigh, "%v", err)
	}
	switch op := c.GetOp().(type) {
	case *raftlogv1.Command_Mark:
		d.s.term = max(d.s.term, op.Mark.GetTerm())
		return done()
	case *raftlogv1.Command_FoundCluster:
		return d.foundCluster(op.FoundCluster)
	case *raftlogv1.Command_RegisterNode:
		return d.registerNode(op.RegisterNode)
	case *raftlogv1.Command_SetFeatureLevel:
		return d.setFeatureLevel(op.SetFeatureLevel)
	case *raftlogv1.Command_DrainNode:
		return d.drainNode(op.DrainNode)
	case *raftlogv1.Command_Restore:
		return d.restore(op.Restore)
	case *raftlogv1.Command_Monitor:
		return d.monitor(op.Monitor)
	case *raftlogv1.Command_Remove:
		return d.remove(op.Remove)
	case *raftlogv1.Command_Set:
		return d.set(op.Set)
	case *raftlogv1.Command_Reset_:
		return d.reset(op.Reset_)
	case *raftlogv1.Command_Forget:
		return d.forget(op.Forget)
	case *raftlogv1.Command_Pause:
		return d.pause(op.Pause)
	case *raftlogv1.Command_Resume:
		return d.resume(op.Resume)
	case *raftlogv1.Command_Hold:
		return d.hold(op.Hold)
	case *raftlogv1.Command_Settle:
		return d.settle(op.Settle)
	case *raftlogv1.Command_Maintain:
		return d.maintain(op.Maintain)
	case *raftlogv1.Command_Configure:
		return d.configure(op.Configure)
	case *raftlogv1.Command_Report:
		return d.report(op.Report)
	case *raftlogv1.Command_ExpireReports:
		return d.expireReports(op.ExpireReports)
	case *raftlogv1.Command_StateFacts:
		return d.stateFacts(op.StateFacts)
	case *raftlogv1.Command_ResolveHosts:
		return d.resolveHosts(op.ResolveHosts)
	case *raftlogv1.Command_BeginFailover:
		return d.beginFailover(op.BeginFailover)
	case *raftlogv1.Command_SwitchMaster:
		return d.switchMaster(op.SwitchMaster)
	case *raftlogv1.Command_RecordStep:
		return d.recordStep(op.RecordStep)
	case *raftlogv1.Command_EndFailover:
		return d.endFailover(op.EndFailover)
	case *raftlogv1.Command_Adopt:
		return d.adopt(op.Adopt)
	case *raftlogv1.Command_Correct:
		return d.correct(op.Correct)
	case *raftlogv1.Command_Delivered:
		return d.deliver(op.Delivered)
	}
	panic(fmt.Sprintf("raftfsm: entry %d holds a command that this build (level %d) does not know", d.index, Level))
}

// edit gives a copy of a master to change. The command must not be refused any more once it has changed one.
func (d *draft) edit(name string) *Master {
	if m, ok := d.edited[name]; ok {
		return m
	}
	m, ok := d.s.Master(name)
	if !ok {
		return nil
	}
	c := *m
	d.track(&c)
	return &c
}

func (d *draft) track(m *Master) {
	d.edited[m.Name] = m
	d.order = append(d.order, m.Name)
}

// emit adds an event of this entry.
func (d *draft) emit(e Event) {
	e.Cursor = Cursor{Index: d.index, Ordinal: uint32(len(d.late.events))}
	e.AtMs = d.head.GetProposedAtMs()
	e.Actor = d.head.GetProposer()
	d.late.events = append(d.late.events, e)
}

// emitOn adds an event about an instance of m.
func (d *draft) emitOn(m *Master, kind string, instance Addr, e Event) {
	e.Kind, e.Master, e.Instance, e.MasterAddr = kind, m.Name, instance, m.Address
	e.Role = RoleReplica
	if instance == m.Address {
		e.Role = RoleMaster
	}
	d.tellOf(m, &e)
	d.emit(e)
}

// commit enters the edits.
func (d *draft) commit() {
	entered := make([]*Master, 0, len(d.order))
	for _, name := range d.order {
		m := d.edited[name]
		before, existed := d.s.Master(name)
		if existed && same(before, m) && !d.retold[name] {
			continue
		}
		m.Revision = d.index
		d.changed = true
		d.own(before, m)
		d.note(name)
		entered = append(entered, m)
	}
	d.s.enter(entered)
}

// note has a name stand at the newest end of the list of changes. What it is then bears the entry's index: the master's revision, or the
// tombstone.
func (d *draft) note(name string) { d.late.changes = append(d.late.changes, change{name, d.index}) }

// same tells whether an edit came to nothing. What is dear to compare comes last: most edits change something.
func same(a, b *Master) bool {
	return a.Generation == b.Generation && a.Address == b.Address && a.Epoch == b.Epoch &&
		a.ODown == b.ODown && a.Failover == b.Failover && a.Pause == b.Pause && a.Hold == b.Hold && a.Enforce == b.Enforce && a.Restored == b.Restored &&
		a.AutomaticAtMs == b.AutomaticAtMs && a.AutomaticBeforeMs == b.AutomaticBeforeMs &&
		slices.Equal(a.Instances, b.Instances) && slices.Equal(a.Votes, b.Votes) && slices.Equal(a.Conflicts, b.Conflicts) &&
		slices.Equal(a.History, b.History) && a.Options.Equal(b.Options)
}

// enter puts each in the place of what was known under its name; dismiss takes one away.
func (s *State) enter(edits []*Master) {
	if len(edits) == 0 {
		return
	}
	masters, accused := s.masters.Txn(), s.accused.Txn()
	for _, m := range edits {
		masters.Insert([]byte(m.Name), m)
		if len(m.Votes) > 0 {
			accused.Insert([]byte(m.Name), m)
		} else {
			accused.Delete([]byte(m.Name))
		}
	}
	s.masters, s.accused = masters.Commit(), accused.Commit()
}

func (s *State) dismiss(m *Master) {
	s.masters, _, _ = s.masters.Delete([]byte(m.Name))
	s.accused, _, _ = s.accused.Delete([]byte(m.Name))
}

// own keeps the indexes of addresses and processes in step with the instances of m.
func (d *draft) own(before, m *Master) {
	if before != nil && slices.EqualFunc(before.Instances, m.Instances, func(a, b Instance) bool { return a.Addr == b.Addr && a.RunID == b.RunID }) {
		return
	}
	if before != nil {
		d.s.disown(before)
	}
	d.s.owns(m)
}

func (s *State) disown(m *Master) {
	owners, processes := s.owners.Txn(), s.processes.Txn()
	for _, in := range m.Instances {
		owners.Delete([]byte(in.Addr.String()))
		processes.Delete([]byte(in.RunID + "\x00" + m.Name))
	}
	s.owners, s.processes = owners.Commit(), processes.Commit()
}

func (s *State) owns(m *Master) {
	owners, processes := s.owners.Txn(), s.processes.Txn()
	own(owners, processes, m)
	s.owners, s.processes = owners.Commit(), processes.Commit()
}

// own enters the instances of m in the indexes of addresses and processes.
func own(owners, processes *iradix.Txn[string], m *Master) {
	for _, in := range m.Instances {
		owners.Insert([]byte(in.Addr.String()), m.Name)
		if in.RunID != "" {
			processes.Insert([]byte(in.RunID+"\x00"+m.Name), m.Name)
		}
	}
}

// maxText bounds a text that the state keeps, in bytes.
const maxText = 512

// clip cuts a text at the bound, between two characters.
func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	cut := maxText
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut]
}

func insert[T any](t *iradix.Tree[T], key string, v T) *iradix.Tree[T] {
	t, _, _ = t.Insert([]byte(key), v)
	return t
}

func cmpString(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
