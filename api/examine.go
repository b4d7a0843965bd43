package api

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/raftsentinel/raftsentinel/doctor"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

const (
	// reachLimit bounds the try of one port, and the look-up of one name; lookUps are made at a time, and resolveLimit bounds all.
	reachLimit   = time.Second
	lookUps      = 64
	resolveLimit = 2 * time.Second
	// maxUnreached bounds how many instances a node tells that it does not reach: a third of what gRPC clients accept.
	maxUnreached = 10_000
)

// ExamineNode is what this node sees of itself, of the other nodes' ports and of the instances.
func (s *Server) ExamineNode(ctx context.Context, req *sentinelv1.ExamineNodeRequest) (*sentinelv1.ExamineNodeResponse, error) {
	return s.examine(ctx, req.GetNames()), nil
}

func (s *Server) examine(ctx context.Context, names []string) *sentinelv1.ExamineNodeResponse {
	askedAt := timestamppb.Now()
	st, status := s.node.State(), s.node.Status()
	out := &sentinelv1.ExamineNodeResponse{
		NodeId: status.NodeID, RaftId: status.RaftID, Version: s.version, MaxLevel: raftfsm.Level, Role: nodeRoles[status.Role],
		Loading: status.Loading, Waiting: status.Waiting, Probes: s.fleet != nil, AskedAt: askedAt,
	}
	if status.LeaderID != "" {
		out.LeaderNodeId = st.NodeName(status.LeaderID)
	}
	masters := chosen(st, names)
	var wg sync.WaitGroup
	if s.house != nil {
		out.Config, out.Disk = configMessage(s.house.Config()), diskMessage(s.house.Disk(), status.FsyncP50)
		wg.Go(func() { out.Ports = s.ports(ctx, st, status.RaftID) })
	}
	wg.Go(func() { out.Unresolved = s.unresolved(ctx, out.GetConfig().GetClusterPeers(), masters) })
	if s.fleet != nil {
		out.Braked = s.fleet.Braked()
		out.Unreached, out.MoreUnreached = s.unreached(masters)
	}
	wg.Wait()
	out.AnsweredAt = timestamppb.Now()
	return out
}

// chosen are the masters of those names, in name order; of no names, all.
func chosen(st *raftfsm.State, names []string) []*raftfsm.Master {
	var out []*raftfsm.Master
	for m := range st.Masters() {
		if len(names) == 0 || slices.Contains(names, m.Name) {
			out = append(out, m)
		}
	}
	return out
}

// ports tries those of every other member, side by side.
func (s *Server) ports(ctx context.Context, st *raftfsm.State, self string) []*sentinelv1.PortExamination {
	var out []*sentinelv1.PortExamination
	var wg sync.WaitGroup
	ctx, cancel := context.WithTimeout(ctx, reachLimit)
	defer cancel()
	for n := range st.Nodes() {
		if n.RaftID == self {
			continue
		}
		for _, p := range []struct {
			kind sentinelv1.PortKind
			at   raftfsm.Addr
		}{
			{sentinelv1.PortKind_PORT_KIND_SENTINEL, n.RESP},
			{sentinelv1.PortKind_PORT_KIND_GRPC, n.GRPC},
			{sentinelv1.PortKind_PORT_KIND_RAFT, n.Raft},
			{sentinelv1.PortKind_PORT_KIND_HTTP, n.HTTP},
		} {
			if p.at.IsZero() {
				continue
			}
			one := &sentinelv1.PortExamination{RaftId: n.RaftID, Kind: p.kind, Address: address(p.at)}
			out = append(out, one)
			wg.Go(func() {
				if err := s.house.Reach(ctx, p.at); err != nil {
					one.Error = err.Error()
				}
			})
		}
	}
	wg.Wait()
	return out
}

// unresolved looks up the host names of cluster-peers and of instances, each once.
func (s *Server) unresolved(ctx context.Context, peers []string, masters []*raftfsm.Master) []*sentinelv1.NameExamination {
	var all []*sentinelv1.NameExamination
	known := map[string]bool{}
	add := func(host, master string) {
		if _, err := netip.ParseAddr(host); err == nil || known[host] {
			return
		}
		known[host] = true
		all = append(all, &sentinelv1.NameExamination{Host: host, Master: master})
	}
	for _, p := range peers {
		if a, err := raftfsm.ParseAddr(p); err == nil {
			add(a.Host, "")
		}
	}
	for _, m := range masters {
		for _, in := range m.Instances {
			add(in.Addr.Host, m.Name)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, resolveLimit)
	defer cancel()
	inTurn(all, lookUps, func(n *sentinelv1.NameExamination) {
		if ctx.Err() != nil {
			return // the names that took so long are told
		}
		one, cancel := context.WithTimeout(ctx, reachLimit)
		defer cancel()
		if _, err := s.lookupHost(one, n.GetHost()); err != nil {
			n.Error = err.Error()
		}
	})
	return slices.DeleteFunc(all, func(n *sentinelv1.NameExamination) bool { return n.GetError() == "" })
}

// inTurn does something for every item, most at a time.
func inTurn[T any](items []T, most int, do func(T)) {
	turn := make(chan struct{}, most)
	var wg sync.WaitGroup
	for _, item := range items {
		turn <- struct{}{}
		wg.Go(func() {
			defer func() { <-turn }()
			do(item)
		})
	}
	wg.Wait()
}

// unreached are the instances that this node's probes have no use of.
func (s *Server) unreached(masters []*raftfsm.Master) (out []*sentinelv1.InstanceExamination, more bool) {
	for _, m := range masters {
		for _, in := range m.Instances {
			o, probed := s.fleet.Observe(in.Addr)
			reason := ""
			switch {
			case !probed: // it will be soon
			case o.AuthRejected:
				reason = "it rejects the login"
			case o.Down && o.Cause != raftfsm.CauseError && o.Cause != raftfsm.CauseReboot: // which are answers
				reason = raftfsm.CauseWord(o.Cause)
			case o.LastAnyReply.IsZero():
				reason = "it has never answered"
			}
			if reason == "" {
				continue
			}
			if len(out) == maxUnreached {
				return out, true
			}
			out = append(out, &sentinelv1.InstanceExamination{
				Master: m.Name, Address: address(in.Addr), Reason: reason, Rejected: o.AuthRejected,
			})
		}
	}
	return out, false
}

func configMessage(c doctor.Config) *sentinelv1.ConfigExamination {
	return &sentinelv1.ConfigExamination{
		File: c.File, Faults: c.Faults, Warnings: c.Warnings, ReloadPending: c.ReloadPending, RestartPending: c.RestartPending,
		ClusterName: c.ClusterName, RaftTiming: c.RaftTiming, BootstrapExpect: uint32(c.BootstrapExpect), ClusterPeers: c.Peers,
	}
}

func diskMessage(d doctor.Disk, fsync time.Duration) *sentinelv1.DiskExamination {
	return &sentinelv1.DiskExamination{
		Dir: d.Dir, Error: d.Unknown, Memory: d.Memory, FreeBytes: d.Free, SizeBytes: d.Size, FreeInodes: d.FreeInodes,
		Inodes: d.Inodes, FsyncP50Ms: float64(fsync) / float64(time.Millisecond),
	}
}
