package raftfsm

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	iradix "github.com/hashicorp/go-immutable-radix/v2"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
)

// snapshotFormat is raised when the layout of the records changes, not when a record gains a field.
const snapshotFormat = 1

const (
	// maxRecord bounds one record of a snapshot.
	maxRecord = 64 << 20
	// snapshotBuffer is how much of one is read at a time.
	snapshotBuffer = 64 << 10
)

// ErrDamaged: a snapshot that is cut short or does not match its checksum.
var ErrDamaged = errors.New("snapshot is damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// WriteSnapshot writes a whole state: a header, records in key order, and a trailer with their number and checksum.
func WriteSnapshot(w io.Writer, s *State) error { return writeSnapshot(w, s, nil) }

func writeSnapshot(w io.Writer, s *State, backup *raftlogv1.Backup) error {
	out := &recordWriter{w: bufio.NewWriterSize(w, 64<<10)}
	head := &raftlogv1.SnapshotHeader{
		Format: snapshotFormat, Index: s.index, Level: s.level, ClusterId: s.cluster.ID, ClusterName: s.cluster.Name, Epoch: s.epoch,
		Term: s.term, AtMs: s.atMs, Settings: s.settings.values(), Delivered: deliveredRecord(s.delivered),
		EventsDropped:    &raftlogv1.EventRecord{Index: s.events.dropped.Index, Ordinal: s.events.dropped.Ordinal},
		FormerClusterIds: s.former, Backup: backup,
	}
	if s.cluster.Era != s.cluster.ID {
		head.Era = s.cluster.Era
	}
	for _, v := range s.servers {
		head.Servers = append(head.Servers, &raftlogv1.RaftServer{Id: v.ID, Address: v.Address, Voter: v.Voter})
	}
	out.put(head)
	for n := range s.Nodes() {
		out.record(&raftlogv1.SnapshotRecord{Record: &raftlogv1.SnapshotRecord_Node{Node: nodeRecord(n)}})
	}
	for m := range s.Masters() {
		out.record(&raftlogv1.SnapshotRecord{Record: &raftlogv1.SnapshotRecord_Master{Master: masterRecord(m)}})
	}
	it := s.tombstones.Root().Iterator()
	for name, index, ok := it.Next(); ok; name, index, ok = it.Next() {
		t := &raftlogv1.TombstoneRecord{Name: string(name), Index: index}
		out.record(&raftlogv1.SnapshotRecord{Record: &raftlogv1.SnapshotRecord_Tombstone{Tombstone: t}})
	}
	for e := range s.events.since(Cursor{}) {
		out.record(&raftlogv1.SnapshotRecord{Record: &raftlogv1.SnapshotRecord_Event{Event: eventRecord(e)}})
	}
	trailer := &raftlogv1.SnapshotTrailer{Records: out.records, Crc32C: out.crc}
	out.put(&raftlogv1.SnapshotRecord{Record: &raftlogv1.SnapshotRecord_Trailer{Trailer: trailer}})
	if out.err != nil {
		return fmt.Errorf("write snapshot: %w", out.err)
	}
	return out.w.Flush()
}

// recordWriter writes length-delimited messages; its first error sticks.
type recordWriter struct {
	w       *bufio.Writer
	records uint64
	crc     uint32
	err     error
}

func (o *recordWriter) record(m proto.Message) {
	o.records++
	o.put(m)
}

func (o *recordWriter) put(m proto.Message) {
	if o.err != nil {
		return
	}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		o.err = err
		return
	}
	framed := append(binary.AppendUvarint(nil, uint64(len(data))), data...)
	o.crc = crc32.Update(o.crc, castagnoli, framed)
	_, o.err = o.w.Write(framed)
}

// crcReader sums what is read of it.
type crcReader struct {
	r   *bufio.Reader
	crc uint32
}

func (c *crcReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.crc = crc32.Update(c.crc, castagnoli, p[:n])
	return n, err
}

func (c *crcReader) ReadByte() (byte, error) {
	b, err := c.r.ReadByte()
	if err == nil {
		c.crc = crc32.Update(c.crc, castagnoli, []byte{b})
	}
	return b, err
}

// ReadSnapshot reads what WriteSnapshot wrote, and refuses a truncated or damaged one.
func ReadSnapshot(r io.Reader) (*State, error) {
	s, _, err := readSnapshot(r)
	return s, err
}

func readSnapshot(r io.Reader) (*State, *raftlogv1.Backup, error) {
	in := &crcReader{r: bufio.NewReaderSize(r, snapshotBuffer)}
	opts := protodelim.UnmarshalOptions{MaxSize: maxRecord}
	var head raftlogv1.SnapshotHeader
	if err := opts.UnmarshalFrom(in, &head); err != nil {
		return nil, nil, fmt.Errorf("%w: header: %v", ErrDamaged, err) //nolint:errorlint // the cause is text; the kind is ErrDamaged
	}
	if head.GetFormat() != snapshotFormat || head.GetLevel() > Level {
		return nil, nil, fmt.Errorf("%w: snapshot format %d level %d; this build knows format %d level %d: upgrade this node",
			ErrTooNew, head.GetFormat(), head.GetLevel(), snapshotFormat, Level)
	}
	var err error
	s := New()
	s.index, s.level, s.epoch = head.GetIndex(), head.GetLevel(), head.GetEpoch()
	s.term, s.atMs = head.GetTerm(), head.GetAtMs()
	s.cluster = Cluster{ID: head.GetClusterId(), Name: head.GetClusterName(), Era: cmp.Or(head.GetEra(), head.GetClusterId())}
	s.former = head.GetFormerClusterIds()
	s.delivered = Cursor{Index: head.GetDelivered().GetIndex(), Ordinal: head.GetDelivered().GetOrdinal()}
	if s.settings, err = s.settings.with(head.GetSettings(), false); err != nil {
		return nil, nil, fmt.Errorf("%w: header: %v", ErrDamaged, err) //nolint:errorlint // as above
	}
	s.events.dropped = Cursor{Index: head.GetEventsDropped().GetIndex(), Ordinal: head.GetEventsDropped().GetOrdinal()}
	for _, v := range head.GetServers() {
		s.servers = append(s.servers, Server{ID: v.GetId(), Address: v.GetAddress(), Voter: v.GetVoter()})
	}
	l := s.loading()
	for records := uint64(0); ; records++ {
		sum := in.crc
		var rec raftlogv1.SnapshotRecord
		if err := opts.UnmarshalFrom(in, &rec); err != nil {
			return nil, nil, fmt.Errorf("%w: record %d: %v", ErrDamaged, records, err) //nolint:errorlint // as above
		}
		if t := rec.GetTrailer(); t != nil {
			if t.GetRecords() != records || t.GetCrc32C() != sum {
				return nil, nil, fmt.Errorf("%w: %d records, checksum %08x; its trailer says %d, %08x",
					ErrDamaged, records, sum, t.GetRecords(), t.GetCrc32C())
			}
			l.finish()
			return s, head.GetBackup(), nil
		}
		if err := l.load(&rec); err != nil {
			return nil, nil, err
		}
	}
}

// loading is a state in the making. Its large indexes are built in place: to copy a path for each record takes longer than all else.
type loading struct {
	*State
	masters           *iradix.Txn[*Master]
	owners, processes *iradix.Txn[string]
	changes           []change
	events            []Event
}

func (s *State) loading() *loading {
	return &loading{
		State: s, masters: s.masters.Txn(), owners: s.owners.Txn(), processes: s.processes.Txn(),
	}
}

func (l *loading) finish() {
	s := l.State
	s.masters, s.owners, s.processes = l.masters.Commit(), l.owners.Commit(), l.processes.Commit()
	s.changes, s.events = sorted(l.changes), s.events.with(l.events)
}

func (l *loading) load(rec *raftlogv1.SnapshotRecord) error {
	s := l.State
	switch rec := rec.GetRecord().(type) {
	case *raftlogv1.SnapshotRecord_Node:
		n := nodeOf(rec.Node)
		s.nodes = insert(s.nodes, n.RaftID, n)
	case *raftlogv1.SnapshotRecord_Master:
		m, err := masterOf(rec.Master)
		if err != nil {
			return err
		}
		l.masters.Insert([]byte(m.Name), m)
		if len(m.Votes) > 0 {
			s.accused = insert(s.accused, m.Name, m)
		}
		own(l.owners, l.processes, m)
		s.archive = s.archive.file(m, s.level)
		l.changes = append(l.changes, change{m.Name, m.Revision})
	case *raftlogv1.SnapshotRecord_Tombstone:
		name, index := rec.Tombstone.GetName(), rec.Tombstone.GetIndex()
		s.tombstones = insert(s.tombstones, name, index)
		l.changes = append(l.changes, change{name, index})
	case *raftlogv1.SnapshotRecord_Event:
		l.events = append(l.events, eventOf(rec.Event))
	default:
		return fmt.Errorf("%w: it holds a record that this build (level %d) does not know", ErrTooNew, Level)
	}
	return nil
}

func nodeRecord(n *Node) *raftlogv1.NodeRecord {
	return &raftlogv1.NodeRecord{
		Registration: &raftlogv1.RegisterNode{
			RaftId: n.RaftID, NodeId: n.NodeID, Raft: n.Raft.Proto(), Grpc: n.GRPC.Proto(), Resp: n.RESP.Proto(),
			Http: n.HTTP.Proto(), Version: n.Version, MaxLevel: n.MaxLevel,
		},
		ReportBase: n.ReportBase, Revision: n.Revision, Drain: pauseRecord(n.Drain),
	}
}

func nodeOf(r *raftlogv1.NodeRecord) *Node {
	g := r.GetRegistration()
	return &Node{
		RaftID: g.GetRaftId(), NodeID: g.GetNodeId(), Raft: AddrOf(g.GetRaft()), GRPC: AddrOf(g.GetGrpc()), RESP: AddrOf(g.GetResp()),
		HTTP: AddrOf(g.GetHttp()), Version: g.GetVersion(), MaxLevel: g.GetMaxLevel(),
		ReportBase: r.GetReportBase(), Revision: r.GetRevision(), Drain: pauseOf(r.GetDrain()),
	}
}

func masterRecord(m *Master) *raftlogv1.MasterRecord {
	r := &raftlogv1.MasterRecord{
		Name: m.Name, Options: m.Options.Values(), Generation: m.Generation, Revision: m.Revision, Address: m.Address.Proto(),
		Epoch: m.Epoch, Votes: voteRecords(m.Votes), OdownIndex: m.ODown, OdownAtMs: m.ODownAtMs,
		Pause: pauseRecord(m.Pause), Hold: pauseRecord(m.Hold), Enforce: m.Enforce,
		AutomaticAtMs: m.AutomaticAtMs, AutomaticBeforeMs: m.AutomaticBeforeMs, Restored: m.Restored,
	}
	for _, in := range m.Instances {
		r.Instances = append(r.Instances, &raftlogv1.InstanceRecord{
			Facts: in.facts(), Unconfirmed: in.Unconfirmed, Since: in.Since, Ip: in.IP,
			Maintenance: pauseRecord(in.Maintenance),
		})
	}
	if m.Failover != nil {
		r.Failover = failoverRecord(m.Failover)
	}
	for _, f := range m.History {
		r.History = append(r.History, failoverRecord(f))
	}
	for _, c := range m.Conflicts {
		r.Conflicts = append(r.Conflicts, &raftlogv1.ConflictRecord{Address: c.Addr.Proto(), Other: c.Other})
	}
	return r
}

func masterOf(r *raftlogv1.MasterRecord) (*Master, error) {
	opts, err := DefaultOptions().With(r.GetOptions())
	if err != nil {
		return nil, fmt.Errorf("%w: master %s: %v", ErrDamaged, r.GetName(), err) //nolint:errorlint // the cause is text
	}
	m := &Master{
		Name: r.GetName(), Options: opts, Generation: r.GetGeneration(), Revision: r.GetRevision(), Address: AddrOf(r.GetAddress()),
		Epoch: r.GetEpoch(), Votes: votesOf(r.GetVotes()), ODown: r.GetOdownIndex(), ODownAtMs: r.GetOdownAtMs(),
		Pause: pauseOf(r.GetPause()), Hold: pauseOf(r.GetHold()), Enforce: r.GetEnforce(),
		AutomaticAtMs: r.GetAutomaticAtMs(), AutomaticBeforeMs: r.GetAutomaticBeforeMs(), Restored: r.GetRestored(),
	}
	m.Instances = make([]Instance, 0, len(r.GetInstances()))
	for _, in := range r.GetInstances() {
		i := withFacts(Instance{Addr: AddrOf(in.GetFacts().GetAddress())}, in.GetFacts())
		i.SyncedReplID = in.GetFacts().GetSyncedReplId()
		i.Unconfirmed, i.Since, i.IP = in.GetUnconfirmed(), in.GetSince(), in.GetIp()
		i.Maintenance = pauseOf(in.GetMaintenance())
		i.share(m.Instances)
		m.Instances = append(m.Instances, i)
	}
	if r.GetFailover() != nil {
		m.Failover = failoverOf(r.GetFailover())
	}
	for _, f := range r.GetHistory() {
		m.History = append(m.History, failoverOf(f))
	}
	for _, c := range r.GetConflicts() {
		m.Conflicts = append(m.Conflicts, Conflict{Addr: AddrOf(c.GetAddress()), Other: c.GetOther()})
	}
	return m, nil
}

func deliveredRecord(c Cursor) *raftlogv1.Delivered {
	if c == (Cursor{}) {
		return nil
	}
	return &raftlogv1.Delivered{Index: c.Index, Ordinal: c.Ordinal}
}

func (in Instance) facts() *raftlogv1.InstanceFacts {
	return &raftlogv1.InstanceFacts{
		Address: in.Addr.Proto(), RunId: in.RunID, Role: in.Role, ReplId: in.ReplID, ReplId2: in.ReplID2,
		SecondOffset: in.SecondOffset, SyncedReplId: in.SyncedReplID,
	}
}

func voteRecords(votes []Vote) []*raftlogv1.VoteRecord {
	out := make([]*raftlogv1.VoteRecord, 0, len(votes))
	for _, v := range votes {
		out = append(out, &raftlogv1.VoteRecord{
			Node: v.Node, Instance: v.Instance.Proto(), Cause: v.Cause, SinceMs: v.SinceMs, Index: v.Index, ReportedAtMs: v.ReportedAtMs,
		})
	}
	return out
}

func votesOf(rs []*raftlogv1.VoteRecord) []Vote {
	out := make([]Vote, 0, len(rs))
	for _, r := range rs {
		out = append(out, Vote{
			Node: r.GetNode(), Instance: AddrOf(r.GetInstance()), Cause: r.GetCause(), SinceMs: r.GetSinceMs(),
			Index: r.GetIndex(), ReportedAtMs: r.GetReportedAtMs(),
		})
	}
	return slices.Clip(out)
}

func pauseRecord(p *Pause) *raftlogv1.PauseRecord {
	if p == nil {
		return nil
	}
	return &raftlogv1.PauseRecord{Actor: p.Actor, Reason: p.Reason, SinceMs: p.SinceMs, UntilMs: p.UntilMs}
}

func pauseOf(r *raftlogv1.PauseRecord) *Pause {
	if r == nil {
		return nil
	}
	return &Pause{Actor: r.GetActor(), Reason: r.GetReason(), SinceMs: r.GetSinceMs(), UntilMs: r.GetUntilMs()}
}

func failoverRecord(f *Failover) *raftlogv1.FailoverRecord {
	r := &raftlogv1.FailoverRecord{
		OperationId: f.OperationID, Epoch: f.Epoch, Kind: f.Kind, From: f.From.Proto(), To: f.To.Proto(), Switched: f.Switched,
		Reason: f.Reason, Votes: voteRecords(f.Votes), Outcome: f.Outcome, EndReason: f.EndReason,
		Loss:       &raftlogv1.Loss{Kind: f.Loss.Kind, Bytes: f.Loss.Bytes},
		BegunIndex: f.BegunIndex, BegunAtMs: f.BegunAtMs, SwitchedIndex: f.SwitchedIndex, SwitchedAtMs: f.SwitchedAtMs,
		EndedIndex: f.EndedIndex, EndedAtMs: f.EndedAtMs, Replaces: f.Replaces, OldOffset: f.OldOffset,
		OldOffsetAgeMs: f.OldOffsetAgeMs, OldReplId: f.OldReplID, OdownAtMs: f.ODownAtMs, Leader: f.Leader,
		PromotedOffset: f.PromotedOffset, MaxWaitMs: f.MaxWaitMs, Actor: f.Actor,
	}
	for _, c := range f.Candidates {
		r.Candidates = append(r.Candidates, c.Proto())
	}
	for _, s := range f.Steps {
		r.Steps = append(r.Steps, s.Proto())
	}
	return r
}

func failoverOf(r *raftlogv1.FailoverRecord) *Failover {
	return &Failover{
		OperationID: r.GetOperationId(), Epoch: r.GetEpoch(), Kind: r.GetKind(), From: AddrOf(r.GetFrom()), To: AddrOf(r.GetTo()),
		Switched: r.GetSwitched(), Reason: r.GetReason(), Votes: votesOf(r.GetVotes()), Candidates: candidatesOf(r.GetCandidates()),
		Steps: stepsOf(r.GetSteps()), Outcome: r.GetOutcome(), EndReason: r.GetEndReason(),
		Loss:   Loss{Kind: r.GetLoss().GetKind(), Bytes: r.GetLoss().GetBytes()},
		Leader: r.GetLeader(), Replaces: r.GetReplaces(), OldOffset: r.GetOldOffset(), OldOffsetAgeMs: r.GetOldOffsetAgeMs(),
		OldReplID: r.GetOldReplId(), PromotedOffset: r.GetPromotedOffset(), ODownAtMs: r.GetOdownAtMs(), BegunIndex: r.GetBegunIndex(),
		BegunAtMs: r.GetBegunAtMs(), SwitchedIndex: r.GetSwitchedIndex(), SwitchedAtMs: r.GetSwitchedAtMs(),
		EndedIndex: r.GetEndedIndex(), EndedAtMs: r.GetEndedAtMs(), MaxWaitMs: r.GetMaxWaitMs(), Actor: r.GetActor(),
	}
}

// Proto is c as the log holds it.
func (c Candidate) Proto() *raftlogv1.Candidate {
	return &raftlogv1.Candidate{
		Address: c.Addr.Proto(), Chosen: c.Chosen, Rejection: c.Rejection, Detail: c.Detail, Offset: c.Offset,
		Priority: int32(c.Priority), RunId: c.RunID, AgeMs: c.AgeMs,
		BehindBytes: known(c.BehindBytes), BehindMs: known(c.BehindMs),
	}
}

// Proto is s as the log holds it.
func (s Step) Proto() *raftlogv1.Step {
	return &raftlogv1.Step{Name: s.Name, Instance: s.Instance.Proto(), AtMs: s.AtMs, TookMs: s.TookMs, Detail: s.Detail}
}

func eventRecord(e Event) *raftlogv1.EventRecord {
	return &raftlogv1.EventRecord{
		Index: e.Index, Ordinal: e.Ordinal, Kind: e.Kind, AtMs: e.AtMs, Master: e.Master, Role: e.Role, Instance: e.Instance.Proto(),
		MasterAddress: e.MasterAddr.Proto(), Node: e.Node, Detail: e.Detail, Epoch: e.Epoch, From: e.From.Proto(), To: e.To.Proto(),
		Cause: e.Cause, Actor: e.Actor, AtOffsetMs: e.OffsetMs,
		InstanceIp: e.InstanceIP, MasterIp: e.MasterIP, FromIp: e.FromIP, ToIp: e.ToIP,
	}
}

func eventOf(r *raftlogv1.EventRecord) Event {
	return Event{
		Cursor: Cursor{Index: r.GetIndex(), Ordinal: r.GetOrdinal()}, Kind: r.GetKind(), AtMs: r.GetAtMs(), Master: r.GetMaster(),
		Role: r.GetRole(), Instance: AddrOf(r.GetInstance()), MasterAddr: AddrOf(r.GetMasterAddress()), Node: r.GetNode(),
		Detail: r.GetDetail(), Epoch: r.GetEpoch(), From: AddrOf(r.GetFrom()), To: AddrOf(r.GetTo()), Cause: r.GetCause(),
		Actor: r.GetActor(), OffsetMs: r.GetAtOffsetMs(),
		InstanceIP: r.GetInstanceIp(), MasterIP: r.GetMasterIp(), FromIP: r.GetFromIp(), ToIP: r.GetToIp(),
	}
}
