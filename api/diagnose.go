package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/raftsentinel/raftsentinel/doctor"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

const (
	// diagnoseLimit bounds a diagnosis that brings no deadline.
	diagnoseLimit = time.Minute
	// examineLimit is how long another node may take to look at itself, which takes it little more than reachLimit.
	examineLimit = 3 * time.Second
	// checkUpLimit is how long an instance may take. Of them, checkUps are visited at a time.
	checkUpLimit = 2 * time.Second
	checkUps     = 64
	// findingsAtOnce are how many findings one message has at most: less than a tenth of what gRPC clients accept.
	findingsAtOnce = 500
)

// Diagnose gathers facts, has them judged, and tells the findings. Nothing that fails ends it: it becomes a finding.
func (s *Server) Diagnose(req *sentinelv1.DiagnoseRequest, stream grpc.ServerStreamingServer[sentinelv1.DiagnoseResponse]) error {
	ctx, cancel := context.WithTimeout(stream.Context(), diagnoseLimit)
	defer cancel()
	st, age, local := s.vouched(ctx, req.GetConsistency())
	for _, name := range req.GetNames() {
		if _, ok := st.Master(name); !ok {
			return noMaster(name)
		}
	}
	facts := s.facts(ctx, st, req.GetNames())
	findings := doctor.Judge(facts)
	head := func(more []*sentinelv1.Finding, summary *sentinelv1.DiagnosisSummary) *sentinelv1.DiagnoseResponse {
		return &sentinelv1.DiagnoseResponse{
			ClusterId: st.Cluster().Era, Revision: st.Index(), AgeMs: age, Local: local, NodeId: s.node.Status().NodeID,
			Findings: more, Summary: summary,
		}
	}
	summary := summaryOf(facts, findings)
	if !req.GetIncludePassed() {
		findings = slices.DeleteFunc(findings, func(f doctor.Finding) bool { return f.Severity == doctor.OK })
	}
	for part := range slices.Chunk(findings, findingsAtOnce) {
		var out []*sentinelv1.Finding
		for _, f := range part {
			out = append(out, findingMessage(f))
		}
		if err := stream.Send(head(out, nil)); err != nil {
			return err
		}
	}
	return stream.Send(head(nil, summary))
}

// vouched is the state that a leader vouches for, if one does soon, and else this node's own.
func (s *Server) vouched(ctx context.Context, c sentinelv1.Consistency) (st *raftfsm.State, ageMs int64, local bool) {
	if c != sentinelv1.Consistency_CONSISTENCY_LOCAL {
		ctx, cancel := context.WithTimeout(ctx, leaderSilence)
		defer cancel()
		if st, age, err := s.read(ctx, c); err == nil {
			return st, age, false
		}
	}
	return s.node.State(), contactMs(s.node.Status().LastContact), true
}

// facts asks every node and visits every instance, side by side. A tenth of the time is left to tell what was found.
func (s *Server) facts(ctx context.Context, st *raftfsm.State, names []string) doctor.Facts {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-time.Until(deadline)/10))
		defer cancel()
	}
	self := s.node.Status()
	out := doctor.Facts{Now: time.Now(), Asked: self.NodeID, Level: st.FeatureLevel(), Voters: st.Voters()}
	if self.LeaderID != "" {
		out.Leader = st.NodeName(self.LeaderID)
	}
	members := st.Servers()
	if !slices.ContainsFunc(members, func(v raftfsm.Server) bool { return v.ID == self.RaftID }) {
		members = append(slices.Clone(members), raftfsm.Server{ID: self.RaftID}) // without a cluster, or removed from it
	}
	out.Nodes = make([]doctor.Node, len(members))
	var wg sync.WaitGroup
	for i, v := range members {
		wg.Go(func() { out.Nodes[i] = s.nodeFacts(ctx, st, v.ID, names) })
	}
	wg.Go(func() { out.Sets = s.setFacts(ctx, st, names) })
	wg.Wait()
	return out
}

// nodeFacts are what a member tells of itself.
func (s *Server) nodeFacts(ctx context.Context, st *raftfsm.State, id string, names []string) doctor.Node {
	self := s.node.Status()
	if id == self.RaftID {
		return nodeOf(st, s.examine(ctx, names), doctor.Clock{})
	}
	out := doctor.Node{ID: st.NodeName(id), RaftID: id}
	known, registered := st.Node(id)
	if !registered {
		out.Unregistered = true
		return out
	}
	out.Version, out.MaxLevel = known.Version, known.MaxLevel
	ctx, cancel := context.WithTimeout(asNode(ctx), examineLimit)
	defer cancel()
	conn, err := s.node.NodeConn(ctx, id)
	if err != nil {
		out.Silent = silence(err)
		return out
	}
	asked := time.Now()
	seen, err := sentinelv1.NewDiagnoseServiceClient(conn).ExamineNode(ctx, &sentinelv1.ExamineNodeRequest{Names: names})
	switch {
	case status.Code(err) == codes.Unimplemented:
		out.Unable = "its version, " + known.Version + ", has no doctor"
	case err != nil:
		out.Silent = silence(err)
	default:
		return nodeOf(st, seen, clockOf(asked, time.Now(), seen.GetAskedAt().AsTime(), seen.GetAnsweredAt().AsTime()))
	}
	return out
}

// silence is why a node does not answer, without what gRPC packs around it.
func silence(err error) string {
	text := status.Convert(err).Message()
	if _, inner, packed := strings.Cut(text, `desc = "`); packed {
		text = strings.TrimSuffix(inner, `"`)
	}
	text = strings.TrimPrefix(strings.TrimPrefix(text, "transport: "), "Error while dialing: ")
	if errors.Is(err, context.DeadlineExceeded) || status.Code(err) == codes.DeadlineExceeded {
		text = fmt.Sprintf("no answer within %v", examineLimit)
	}
	return cut(text, maxReason)
}

// asNode marks a call to another node as one that is not to be passed on.
func asNode(ctx context.Context) context.Context {
	return metadata.NewOutgoingContext(ctx, metadata.Pairs(forwardedKey, "1"))
}

// clockOf compares another node's clock by a question and its answer, as NTP does (RFC 5905, section 8): what the ways there
// and back have in common falls out, and what they need not have is the uncertainty.
func clockOf(asked, heard, there, back time.Time) doctor.Clock {
	onTheWay := heard.Sub(asked) - back.Sub(there)
	return doctor.Clock{
		Ahead:  (there.Sub(asked) + back.Sub(heard)) / 2,
		Within: max(0, onTheWay/2),
	}
}

func nodeOf(st *raftfsm.State, r *sentinelv1.ExamineNodeResponse, clock doctor.Clock) doctor.Node {
	c, d := r.GetConfig(), r.GetDisk()
	out := doctor.Node{
		ID: r.GetNodeId(), RaftID: r.GetRaftId(), Version: r.GetVersion(), MaxLevel: r.GetMaxLevel(),
		Role:   strings.ToLower(strings.TrimPrefix(r.GetRole().String(), "NODE_ROLE_")),
		Leader: r.GetLeaderNodeId(), Loading: r.GetLoading(), Waiting: r.GetWaiting(), Braked: r.GetBraked(), Clock: clock,
		Config: doctor.Config{
			File: c.GetFile(), Faults: c.GetFaults(), Warnings: c.GetWarnings(), ReloadPending: c.GetReloadPending(),
			RestartPending: c.GetRestartPending(), ClusterName: c.GetClusterName(), RaftTiming: c.GetRaftTiming(),
			BootstrapExpect: int(c.GetBootstrapExpect()), Peers: c.GetClusterPeers(),
		},
		Disk: doctor.Disk{
			Dir: d.GetDir(), Unknown: d.GetError(), Memory: d.GetMemory(), Free: d.GetFreeBytes(), Size: d.GetSizeBytes(),
			FreeInodes: d.GetFreeInodes(), Inodes: d.GetInodes(),
			FsyncP50: time.Duration(d.GetFsyncP50Ms() * float64(time.Millisecond)),
		},
		Probes: r.GetProbes(), MoreUnreached: r.GetMoreUnreached(),
	}
	if known, ok := st.Node(r.GetRaftId()); ok {
		out.Drain = known.Drain
	}
	for _, p := range r.GetPorts() {
		out.Ports = append(out.Ports, doctor.Port{
			Of: st.NodeName(p.GetRaftId()), Kind: strings.ToLower(strings.TrimPrefix(p.GetKind().String(), "PORT_KIND_")),
			Addr: addrOf(p.GetAddress()), Closed: p.GetError(),
		})
	}
	for _, n := range r.GetUnresolved() {
		out.Unresolved = append(out.Unresolved, doctor.Name{Host: n.GetHost(), Master: n.GetMaster(), Error: n.GetError()})
	}
	for _, u := range r.GetUnreached() {
		out.Unreached = append(out.Unreached, doctor.Unreached{
			Master: u.GetMaster(), Addr: addrOf(u.GetAddress()), Reason: u.GetReason(), Rejected: u.GetRejected(),
		})
	}
	return out
}

func addrOf(a *sentinelv1.Address) raftfsm.Addr {
	return raftfsm.Addr{Host: a.GetHost(), Port: uint16(a.GetPort())}
}

// setFacts visits every instance of the sets.
func (s *Server) setFacts(ctx context.Context, st *raftfsm.State, names []string) []doctor.Set {
	type visitee struct {
		m  *raftfsm.Master
		in *doctor.Instance
	}
	var out []doctor.Set
	var all []visitee
	for _, m := range chosen(st, names) {
		set := doctor.Set{Master: m, DownVotes: st.DownVotes(m, m.Address), Instances: make([]doctor.Instance, len(m.Instances))}
		for i, in := range m.Instances {
			set.Instances[i] = doctor.Instance{Addr: in.Addr, Unvisited: true}
			all = append(all, visitee{m, &set.Instances[i]})
		}
		out = append(out, set)
	}
	if s.inspector == nil {
		return out
	}
	inTurn(all, checkUps, func(v visitee) {
		if ctx.Err() != nil {
			return
		}
		one, cancel := context.WithTimeout(ctx, checkUpLimit)
		defer cancel()
		if seen := s.inspector.CheckUp(one, v.in.Addr, v.m.Options); ctx.Err() == nil {
			*v.in = seen
		}
	})
	return out
}

func findingMessage(f doctor.Finding) *sentinelv1.Finding {
	return &sentinelv1.Finding{
		Severity: sentinelv1.Severity(f.Severity), Code: f.Code, Subject: f.Subject.String(), NodeId: f.Subject.Node,
		Master: f.Subject.Master, Instance: address(f.Instance), What: f.What, Why: f.Why, Advice: f.Advice,
	}
}

func summaryOf(f doctor.Facts, findings []doctor.Finding) *sentinelv1.DiagnosisSummary {
	out := &sentinelv1.DiagnosisSummary{Nodes: uint32(len(f.Nodes))}
	for _, x := range findings {
		switch x.Severity {
		case doctor.OK:
			out.Passed++
		case doctor.Warning:
			out.Warnings++
		case doctor.Problem:
			out.Problems++
		}
	}
	for _, n := range f.Nodes {
		if !n.Unregistered && cmp.Or(n.Silent, n.Unable) == "" {
			out.NodesAnswered++
		}
	}
	for _, s := range f.Sets {
		for _, in := range s.Instances {
			out.Instances++
			if !in.Unvisited {
				out.InstancesVisited++
			}
		}
	}
	return out
}
