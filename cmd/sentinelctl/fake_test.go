package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// cluster is a node that answers what a test puts into it, and keeps what it was asked.
type cluster struct {
	sentinelv1.UnimplementedSentinelServiceServer
	sentinelv1.UnimplementedAdminServiceServer
	sentinelv1.UnimplementedClusterServiceServer
	sentinelv1.UnimplementedDiagnoseServiceServer

	masters   []*sentinelv1.Master
	failovers []*sentinelv1.Failover
	events    []*sentinelv1.Event
	status    *sentinelv1.GetStatusResponse
	nodes     []*sentinelv1.Node
	quorumOK  bool
	explain   *sentinelv1.ExplainMasterResponse
	// diagnosis comes in as many messages; bundle likewise, and after it bundleErr.
	diagnosis []*sentinelv1.DiagnoseResponse
	bundle    []*sentinelv1.CollectBundleResponse
	bundleErr error
	// fail is the answer to every call that changes, or needs a leader.
	fail error
	// hang makes the same calls wait for the caller to give up.
	hang bool
	// silent operations are never told to end.
	silent bool
	// backup is what CreateBackup gives.
	backup []byte
	// changed is what changes answer.
	changed bool

	mu    sync.Mutex
	asked []proto.Message
}

func (c *cluster) serve(t *testing.T) string {
	t.Helper()
	return serveNode(t, c)
}

// services are those of a node.
type services interface {
	sentinelv1.SentinelServiceServer
	sentinelv1.AdminServiceServer
	sentinelv1.ClusterServiceServer
	sentinelv1.DiagnoseServiceServer
}

func serveNode(t *testing.T, c services) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	sentinelv1.RegisterSentinelServiceServer(s, c)
	sentinelv1.RegisterAdminServiceServer(s, c)
	sentinelv1.RegisterClusterServiceServer(s, c)
	sentinelv1.RegisterDiagnoseServiceServer(s, c)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func (c *cluster) note(ctx context.Context, q proto.Message, how sentinelv1.Consistency) error {
	c.mu.Lock()
	c.asked = append(c.asked, q)
	c.mu.Unlock()
	if how == sentinelv1.Consistency_CONSISTENCY_LOCAL {
		return nil
	}
	if c.hang {
		<-ctx.Done()
		return status.FromContextError(ctx.Err()).Err()
	}
	return c.fail
}

func ageOf(how sentinelv1.Consistency) int64 {
	if how == sentinelv1.Consistency_CONSISTENCY_LOCAL {
		return 2500
	}
	return 0
}

func (c *cluster) find(name string) (*sentinelv1.Master, error) {
	for _, m := range c.masters {
		if m.GetName() == name {
			return m, nil
		}
	}
	return nil, status.Errorf(codes.NotFound, "no master named %q", name)
}

func (c *cluster) GetMaster(ctx context.Context, q *sentinelv1.GetMasterRequest) (*sentinelv1.GetMasterResponse, error) {
	if err := c.note(ctx, q, q.GetConsistency()); err != nil {
		return nil, err
	}
	m, err := c.find(q.GetName())
	return &sentinelv1.GetMasterResponse{ClusterId: "c1", Revision: 42, AgeMs: ageOf(q.GetConsistency()), Master: m}, err
}

// ListMasters gives one master a page, whatever the page's size.
func (c *cluster) ListMasters(ctx context.Context, q *sentinelv1.ListMastersRequest) (*sentinelv1.ListMastersResponse, error) {
	if err := c.note(ctx, q, q.GetConsistency()); err != nil {
		return nil, err
	}
	r := &sentinelv1.ListMastersResponse{ClusterId: "c1", Revision: 42, AgeMs: ageOf(q.GetConsistency()), Total: uint32(len(c.masters))}
	for i, m := range c.masters {
		if m.GetName() > q.GetPageToken() {
			r.Masters = append(r.Masters, m)
			if i < len(c.masters)-1 {
				r.NextPageToken = m.GetName()
			}
			break
		}
	}
	return r, nil
}

func (c *cluster) ListReplicas(ctx context.Context, q *sentinelv1.ListReplicasRequest) (*sentinelv1.ListReplicasResponse, error) {
	if err := c.note(ctx, q, q.GetConsistency()); err != nil {
		return nil, err
	}
	m, err := c.find(q.GetName())
	r := &sentinelv1.ListReplicasResponse{ClusterId: "c1", Revision: 42, AgeMs: ageOf(q.GetConsistency()), Epoch: m.GetEpoch()}
	for _, in := range m.GetInstances() {
		if in.GetRole() == sentinelv1.Role_ROLE_REPLICA {
			r.Replicas = append(r.Replicas, in)
		}
	}
	return r, err
}

func (c *cluster) WatchEvents(q *sentinelv1.WatchEventsRequest, s sentinelv1.SentinelService_WatchEventsServer) error {
	if q.GetAfter() != nil {
		for _, e := range c.events {
			batch := &sentinelv1.WatchEventsResponse_Batch{Batch: &sentinelv1.EventBatch{Events: []*sentinelv1.Event{e}}}
			if err := s.Send(&sentinelv1.WatchEventsResponse{ClusterId: "c1", Revision: e.GetCursor().GetIndex(), Update: batch}); err != nil {
				return err
			}
		}
	}
	synced := &sentinelv1.WatchEventsResponse_Synced{Synced: &sentinelv1.WatchSynced{}}
	if err := s.Send(&sentinelv1.WatchEventsResponse{ClusterId: "c1", Revision: 42, Update: synced}); err != nil {
		return err
	}
	<-s.Context().Done()
	return nil
}

func (c *cluster) MonitorMaster(ctx context.Context, q *sentinelv1.MonitorMasterRequest) (*sentinelv1.MonitorMasterResponse, error) {
	return &sentinelv1.MonitorMasterResponse{
		ClusterId: "c1", Revision: 43, Changed: c.changed, Master: &sentinelv1.Master{Name: q.GetName(), Address: q.GetAddress()},
		Warnings: []string{"the quorum is above the number of voters"},
	}, c.note(ctx, q, 0)
}

func (c *cluster) UpdateMaster(ctx context.Context, q *sentinelv1.UpdateMasterRequest) (*sentinelv1.UpdateMasterResponse, error) {
	return &sentinelv1.UpdateMasterResponse{ClusterId: "c1", Revision: 43, Changed: c.changed}, c.note(ctx, q, 0)
}

func (c *cluster) RemoveMaster(ctx context.Context, q *sentinelv1.RemoveMasterRequest) (*sentinelv1.RemoveMasterResponse, error) {
	return &sentinelv1.RemoveMasterResponse{ClusterId: "c1", Revision: 43, Changed: c.changed}, c.note(ctx, q, 0)
}

func (c *cluster) ResetMasters(ctx context.Context, q *sentinelv1.ResetMastersRequest) (*sentinelv1.ResetMastersResponse, error) {
	return &sentinelv1.ResetMastersResponse{ClusterId: "c1", Revision: 43, Changed: c.changed, Names: []string{"a", "b"}}, c.note(ctx, q, 0)
}

func (c *cluster) ForgetReplica(ctx context.Context, q *sentinelv1.ForgetReplicaRequest) (*sentinelv1.ForgetReplicaResponse, error) {
	return &sentinelv1.ForgetReplicaResponse{ClusterId: "c1", Revision: 43, Changed: c.changed}, c.note(ctx, q, 0)
}

// SwitchoverMaster answers an open row; WatchOperation tells how it ended.
func (c *cluster) SwitchoverMaster(q *sentinelv1.SwitchoverMasterRequest, s sentinelv1.AdminService_SwitchoverMasterServer) error {
	if err := c.note(s.Context(), q, 0); err != nil {
		return err
	}
	answer := &sentinelv1.SwitchoverMasterResponse{ClusterId: "c1", Revision: 43, Epoch: 4}
	if !proto.Equal(q.GetTo(), c.masters[0].GetAddress()) {
		answer.Changed, answer.OperationId, answer.Failover = true, q.GetRequestId(), c.open()
		answer.Warnings = []string{"the master is old"}
	}
	if err := s.Send(answer); err != nil {
		return err
	}
	<-s.Context().Done()
	return nil
}

// open is the first failover as it was when it was begun.
func (c *cluster) open() *sentinelv1.Failover {
	f := proto.CloneOf(c.failovers[0])
	f.Outcome, f.Switched, f.SwitchedAt, f.EndedAt, f.Steps = 0, false, nil, nil, nil
	return f
}

// WatchOperation tells the first failover as it was begun, and then, unless silent, as it is.
func (c *cluster) WatchOperation(q *sentinelv1.WatchOperationRequest, s sentinelv1.AdminService_WatchOperationServer) error {
	if err := c.note(s.Context(), q, 0); err != nil {
		return err
	}
	if q.GetOperationId() != c.failovers[0].GetOperationId() {
		return status.Error(codes.NotFound, "no such operation")
	}
	if err := s.Send(&sentinelv1.WatchOperationResponse{ClusterId: "c1", Revision: 43, Failover: c.open()}); err != nil {
		return err
	}
	if c.silent {
		<-s.Context().Done()
		return nil
	}
	return s.Send(&sentinelv1.WatchOperationResponse{ClusterId: "c1", Revision: 47, Failover: c.failovers[0]})
}

// FailoverMaster answers an open failover; WatchOperation tells how it ended.
func (c *cluster) FailoverMaster(ctx context.Context, q *sentinelv1.FailoverMasterRequest) (*sentinelv1.FailoverMasterResponse, error) {
	if err := c.note(ctx, q, 0); err != nil {
		return nil, err
	}
	open := c.open()
	if proto.Equal(q.GetTo(), c.masters[0].GetAddress()) {
		return &sentinelv1.FailoverMasterResponse{ClusterId: "c1", Revision: 43, Epoch: open.GetEpoch()}, nil
	}
	return &sentinelv1.FailoverMasterResponse{
		ClusterId: "c1", Revision: 43, Changed: true, OperationId: q.GetRequestId(), Epoch: open.GetEpoch(), Failover: open,
	}, nil
}

func (c *cluster) PauseMaster(ctx context.Context, q *sentinelv1.PauseMasterRequest) (*sentinelv1.PauseMasterResponse, error) {
	return &sentinelv1.PauseMasterResponse{ClusterId: "c1", Revision: 43, Changed: c.changed}, c.note(ctx, q, 0)
}

func (c *cluster) ResumeMaster(ctx context.Context, q *sentinelv1.ResumeMasterRequest) (*sentinelv1.ResumeMasterResponse, error) {
	return &sentinelv1.ResumeMasterResponse{
		ClusterId: "c1", Revision: 43, Changed: c.changed, Master: &sentinelv1.Master{Name: q.GetName(), Address: addr("10.0.0.1", 6379)},
	}, c.note(ctx, q, 0)
}

func (c *cluster) CheckQuorum(ctx context.Context, q *sentinelv1.CheckQuorumRequest) (*sentinelv1.CheckQuorumResponse, error) {
	if err := c.note(ctx, q, q.GetConsistency()); err != nil {
		return nil, err
	}
	if _, err := c.find(q.GetName()); err != nil {
		return nil, err
	}
	return &sentinelv1.CheckQuorumResponse{
		ClusterId: "c1", Revision: 42, AgeMs: ageOf(q.GetConsistency()), Ok: c.quorumOK, Usable: 3, Voters: 3, Quorum: 2,
		QuorumReachable: true, MajorityReachable: true,
		Message: "OK 3 usable Sentinels. Quorum and failover authorization can be reached",
	}, nil
}

func (c *cluster) ExplainMaster(ctx context.Context, q *sentinelv1.ExplainMasterRequest) (*sentinelv1.ExplainMasterResponse, error) {
	return c.explain, c.note(ctx, q, q.GetConsistency())
}

func (c *cluster) ListFailovers(ctx context.Context, q *sentinelv1.ListFailoversRequest) (*sentinelv1.ListFailoversResponse, error) {
	if err := c.note(ctx, q, q.GetConsistency()); err != nil {
		return nil, err
	}
	r := &sentinelv1.ListFailoversResponse{ClusterId: "c1", Revision: 42, AgeMs: ageOf(q.GetConsistency())}
	for _, f := range c.failovers {
		if id := q.GetOperationId(); id == "" || id == f.GetOperationId() {
			r.Failovers = append(r.Failovers, f)
		}
	}
	return r, nil
}

func (c *cluster) GetStatus(context.Context, *sentinelv1.GetStatusRequest) (*sentinelv1.GetStatusResponse, error) {
	return c.status, nil
}

func (c *cluster) ListNodes(ctx context.Context, q *sentinelv1.ListNodesRequest) (*sentinelv1.ListNodesResponse, error) {
	if err := c.note(ctx, q, q.GetConsistency()); err != nil {
		return nil, err
	}
	return &sentinelv1.ListNodesResponse{ClusterId: "c1", Revision: 42, AgeMs: ageOf(q.GetConsistency()), Nodes: c.nodes}, nil
}

func (c *cluster) RemoveNode(ctx context.Context, q *sentinelv1.RemoveNodeRequest) (*sentinelv1.RemoveNodeResponse, error) {
	return &sentinelv1.RemoveNodeResponse{ClusterId: "c1", Revision: 43, Changed: c.changed}, c.note(ctx, q, 0)
}

func (c *cluster) DrainNode(ctx context.Context, q *sentinelv1.DrainNodeRequest) (*sentinelv1.DrainNodeResponse, error) {
	return &sentinelv1.DrainNodeResponse{ClusterId: "c1", Revision: 43, Changed: c.changed, LeaderNodeId: "n2"}, c.note(ctx, q, 0)
}

func (c *cluster) UndrainNode(ctx context.Context, q *sentinelv1.UndrainNodeRequest) (*sentinelv1.UndrainNodeResponse, error) {
	return &sentinelv1.UndrainNodeResponse{ClusterId: "c1", Revision: 43, Changed: c.changed}, c.note(ctx, q, 0)
}

func (c *cluster) TransferLeadership(ctx context.Context, q *sentinelv1.TransferLeadershipRequest) (*sentinelv1.TransferLeadershipResponse, error) {
	return &sentinelv1.TransferLeadershipResponse{ClusterId: "c1", Revision: 43, Changed: c.changed, LeaderNodeId: "n2"}, c.note(ctx, q, 0)
}

func addr(host string, port uint32) *sentinelv1.Address {
	return &sentinelv1.Address{Host: host, Port: port}
}

func at(ms int64) *timestamppb.Timestamp {
	return timestamppb.New(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC).Add(time.Duration(ms) * time.Millisecond))
}

// sample is a cluster with something of everything.
func sample() *cluster {
	quorum, downAfter, user := int32(2), int64(5000), "sentinel"
	options := &sentinelv1.MasterOptions{
		Quorum: &quorum, DownAfterMs: &downAfter, AuthUser: &user, AuthPassSet: true,
		RenameCommand: map[string]string{"config": "CFG", "bgsave": "BG"},
	}
	follows := func(port uint32, up bool, lag int64) *sentinelv1.Observation {
		return &sentinelv1.Observation{
			Connected: true, InfoAgeMs: 120, Follows: addr("10.0.0.1", port), LinkUp: up, LagBytes: lag, OffsetBytes: 9007199254740993,
			Priority: 100, PingMs: 0.25, LinkDownMs: map[bool]int64{true: 0, false: 12500}[up], Version: "7.0.15",
		}
	}
	cache := &sentinelv1.Master{
		Name: "cache", Address: addr("10.0.0.1", 6379), Epoch: 3, Revision: 40, Status: sentinelv1.MasterStatus_MASTER_STATUS_OK,
		Options: options, Voters: 3, ReplicaCount: 2, HistoryCount: 1,
		Instances: []*sentinelv1.Instance{
			{Address: addr("10.0.0.1", 6379), Role: sentinelv1.Role_ROLE_MASTER},
			{Address: addr("10.0.0.2", 6379), Role: sentinelv1.Role_ROLE_REPLICA, Observation: follows(6379, true, 0)},
			{
				Address: addr("fe80::1", 6380), Role: sentinelv1.Role_ROLE_REPLICA, Observation: follows(6379, false, 12_345_678),
				Votes: []*sentinelv1.Vote{{NodeId: "n1", Cause: sentinelv1.Cause_CAUSE_TIMEOUT}},
			},
		},
	}
	queue := &sentinelv1.Master{
		Name: "queue-with-a-longer-name", Address: addr("fe80::2", 7000), Status: sentinelv1.MasterStatus_MASTER_STATUS_SDOWN,
		Options: &sentinelv1.MasterOptions{Quorum: &quorum}, Voters: 3, DownVotes: 1,
		Pause: &sentinelv1.Pause{Actor: "op", Reason: "kernel\x1b[2J update", Since: at(0)},
	}
	done := &sentinelv1.Failover{
		OperationId: "OP1", Master: "cache", Epoch: 3, Kind: sentinelv1.FailoverKind_FAILOVER_KIND_AUTOMATIC,
		From: addr("10.0.0.3", 6379), To: addr("10.0.0.1", 6379), Switched: true, Reason: "objectively down, 2 of 2 votes",
		Outcome: sentinelv1.FailoverOutcome_FAILOVER_OUTCOME_COMPLETED, LossKind: sentinelv1.LossKind_LOSS_KIND_LOWER_BOUND, LossBytes: new(int64(4200)),
		LeaderNodeId: "n2", BegunAt: at(1001), SwitchedAt: at(1012), EndedAt: at(1040), BegunRevision: 30, SwitchedRevision: 31, EndedRevision: 34,
		Votes: []*sentinelv1.FailoverVote{{NodeId: "n1", Cause: sentinelv1.Cause_CAUSE_REFUSED, Since: at(0), ReportedAt: at(1000)}},
		Candidates: []*sentinelv1.Candidate{
			{Address: addr("10.0.0.1", 6379), Chosen: true, OffsetBytes: 900, Priority: 100, AgeMs: 3, BehindBytes: 0, BehindMs: 1003},
			{Address: addr("10.0.0.2", 6379), Rejection: "OFFSET", Detail: "14 bytes behind", OffsetBytes: 886, Priority: 100, AgeMs: 3, BehindBytes: 14, BehindMs: -1},
		},
		Steps: []*sentinelv1.Step{{Name: "promote", Instance: addr("10.0.0.1", 6379), AtMs: 3.25, TookMs: 1.5}},
	}
	return &cluster{
		masters: []*sentinelv1.Master{cache, queue}, failovers: []*sentinelv1.Failover{done}, quorumOK: true, changed: true,
		events: []*sentinelv1.Event{
			{
				Cursor: &sentinelv1.EventCursor{ClusterId: "c1", Index: 29}, Kind: "+sdown", At: at(1000), Master: "cache", NodeId: "n1",
				Cause: sentinelv1.Cause_CAUSE_REFUSED, Payload: "master cache 10.0.0.3 6379",
			},
			{
				Cursor: &sentinelv1.EventCursor{ClusterId: "c1", Index: 31, Ordinal: 1}, Kind: "+switch-master", At: at(1012), Master: "cache",
				Payload: "cache 10.0.0.3 6379 10.0.0.1 6379",
			},
		},
		status: &sentinelv1.GetStatusResponse{
			ClusterId: "c1", ClusterName: "sentineld", Revision: 42, AgeMs: 12, NodeId: "n1", Role: sentinelv1.NodeRole_NODE_ROLE_FOLLOWER,
			LeaderNodeId: "n2", Term: 4, CommitIndex: 43, AppliedIndex: 42, Members: 3, Voters: 3, Version: "v0.1.0", FsyncP50Ms: 1.25,
			Masters: 2, MastersOk: 1, MastersSdown: 1, MastersPaused: 1, Epoch: 3, Healthy: false, Problems: []string{"queue is paused"},
			FeatureLevel: 1, Versions: []*sentinelv1.RunningVersion{
				{Version: "v0.1.0", FeatureLevel: 1, NodeIds: []string{"n1", "n2"}}, {Version: "v0.2.0", FeatureLevel: 2, NodeIds: []string{"n3"}},
			},
			UptimeMs: 95_000, InstancesProbed: 5, Drained: []string{"n1"},
		},
		nodes: []*sentinelv1.Node{
			{
				NodeId: "n1", RaftId: "n1-aa", Voter: true, Self: true, Grpc: addr("10.0.1.1", 26479), Resp: addr("10.0.1.1", 26379),
				Raft: addr("10.0.1.1", 26579), Version: "v0.1.0", Votes: 1, Registered: true, Heard: new(true), LastContactMs: new(int64(40)),
				Role: new(sentinelv1.NodeRole_NODE_ROLE_FOLLOWER), Term: new(uint64(4)), AppliedIndex: new(uint64(42)), LagEntries: new(uint64(1)),
				UptimeMs: new(int64(90_061_000)), InstancesProbed: new(uint32(5)), Drain: &sentinelv1.Pause{Actor: "ada", Reason: "slow disk", Since: at(0)},
			},
			{NodeId: "n2", RaftId: "n2-bb", Voter: true, Leader: true, Grpc: addr("10.0.1.2", 26479), Raft: addr("10.0.1.2", 26579), Version: "v0.1.0", Registered: true, Heard: new(false), LastContactMs: new(int64(95_000))},
			{RaftId: "n3-cc", Raft: addr("10.0.1.3", 26579)},
			{
				NodeId: "n4", RaftId: "n4-dd", Raft: addr("10.0.1.4", 26579), Grpc: addr("10.0.1.4", 26479), Registered: true, Version: "v0.1.0", Heard: new(true),
				LastContactMs: new(int64(0)), Role: new(sentinelv1.NodeRole_NODE_ROLE_OBSERVER), Term: new(uint64(4)), AppliedIndex: new(uint64(43)),
				LagEntries: new(uint64(0)), UptimeMs: new(int64(7_000)), InstancesProbed: new(uint32(0)),
			},
		},
		explain: &sentinelv1.ExplainMasterResponse{
			ClusterId: "c1", Revision: 42, CanFailover: true, Winner: addr("10.0.0.2", 6379), NodeId: "n2", FromLeader: true,
			Candidates: []*sentinelv1.Candidate{
				{Address: addr("10.0.0.2", 6379), Chosen: true, OffsetBytes: 900, Priority: 100, AgeMs: 20, BehindBytes: 14, BehindMs: 320},
				{
					Address: addr("fe80::1", 6380), Rejection: "LINK_DOWN", Detail: "link down for 12.5 s", OffsetBytes: 800, Priority: 100,
					AgeMs: -1, BehindBytes: -1, BehindMs: -1,
				},
			},
			PredictedLossKind: sentinelv1.LossKind_LOSS_KIND_LOWER_BOUND, PredictedLossBytes: new(int64(14)), MasterAgeMs: 35,
			PlannedWinner: addr("10.0.0.2", 6379),
			PlannedCandidates: []*sentinelv1.Candidate{
				{Address: addr("10.0.0.2", 6379), Chosen: true, OffsetBytes: 900, Priority: 100, AgeMs: 20, BehindBytes: 14, BehindMs: 320},
				{
					Address: addr("fe80::1", 6380), Rejection: "LINK_DOWN", Detail: "link down for 12.5 s", OffsetBytes: 800, Priority: 100,
					AgeMs: -1, BehindBytes: -1, BehindMs: -1,
				},
			},
			SwitchoverBlockers: []*sentinelv1.Blocker{{Code: "master_busy", Detail: "master 10.0.0.1:6379 is in a FAILOVER that it was told by itself"}},
		},
	}
}

// result is what a command did.
type result struct {
	status         int
	stdout, stderr string
}

// ctl runs one command line against a node. Nothing of the machine's own configuration takes part.
func ctl(ctx context.Context, t *testing.T, endpoints string, stdin io.Reader, args ...string) result {
	t.Helper()
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Setenv("SENTINELCTL_ENDPOINTS", endpoints)
	var stdout, stderr bytes.Buffer
	if stdin == nil {
		stdin = strings.NewReader("")
	}
	code := run(ctx, args, stdin, &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

// hung runs a command against a node that answers no change, with ever more time until the node has been asked for it: on a
// busy machine a short time may be over before, and then nothing is unknown. Each node is a new one, which nothing can have
// asked later than it was looked at.
func hung(t *testing.T, args ...string) (r result, endpoint string) {
	t.Helper()
	for timeout := 50 * time.Millisecond; timeout < time.Minute; timeout *= 2 {
		fake := sample()
		fake.hang = true
		endpoint = fake.serve(t)
		r = ctl(t.Context(), t, endpoint, nil, append(args, "--timeout", timeout.String())...)
		if fake.askedToChange() {
			return r, endpoint
		}
	}
	t.Fatalf("the node was never asked: exit %d, stderr %q", r.status, r.stderr)
	return r, endpoint
}

// askedToChange tells whether the last request was not one that reads.
func (c *cluster) askedToChange() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.asked) == 0 {
		return false
	}
	_, reads := c.asked[len(c.asked)-1].(interface {
		GetConsistency() sentinelv1.Consistency
	})
	return !reads
}

// refusal is an error as sentineld gives it.
func refusal(t *testing.T, code codes.Code, text string) error {
	t.Helper()
	s, err := status.New(code, text).WithDetails(&errdetails.ErrorInfo{Domain: "sentineld"})
	if err != nil {
		t.Fatal(err)
	}
	return s.Err()
}
