package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"golang.org/x/sync/errgroup"

	peerv1 "github.com/raftsentinel/raftsentinel/proto/peer/v1"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

const (
	// promoteLag is by how many entries a non-voter may be behind the commit index and become a voter.
	promoteLag = 64
	// promoteEvery is how often the leader looks whether one has caught up.
	promoteEvery = 50 * time.Millisecond
	// registerRetry is how soon a node tries again to register.
	registerRetry = time.Second
	// wishEvery is how often a node that has caught up and means not to vote is asked again.
	wishEvery = 10 * time.Second
	// admittedLimit is how long a node that was admitted may stay silent before it has registered; then it is none.
	admittedLimit = 10 * time.Minute
	// changeLimit bounds a change of Raft's configuration.
	changeLimit = 2 * time.Second
)

// lead is what a leader owes its own cluster.
func (n *Node) lead(ctx context.Context, r *raft.Raft, term uint64) error {
	l := n.leads.get()
	if l == nil || l.term != term {
		return nil
	}
	return together(ctx,
		func(ctx context.Context) error { return n.moveSelf(ctx, r) },
		func(ctx context.Context) error { return n.expireReports(ctx, l) },
		func(ctx context.Context) error { return n.tendNonVoters(ctx, r, l) },
		func(ctx context.Context) error { return n.raiseLevel(ctx, r, l) },
		n.watchClocks,
		n.watchStrangers,
		func(ctx context.Context) error { return n.watchAbsences(ctx, r, l) },
	)
}

// together runs duties until all have returned; the first that fails ends the others, and is what it gives.
func together(ctx context.Context, duties ...func(context.Context) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, duty := range duties {
		g.Go(func() error { return duty(ctx) })
	}
	return g.Wait()
}

// await waits for an answer of Raft's, which knows no context.
func (n *Node) await(ctx context.Context, ask func() error) error {
	got := make(chan error, 1)
	n.futures.add()
	go func() {
		defer n.futures.done()
		got <- ask()
	}()
	select {
	case err := <-got:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// nonVoter is what a leader remembers of one.
type nonVoter struct {
	since time.Time // seen first
	asked time.Time // when it last said that it means not to vote
}

// tendNonVoters makes voters of those that were admitted, have caught up and mean to vote, and removes those that went
// silent before they had registered: nobody knows them by a name.
func (n *Node) tendNonVoters(ctx context.Context, r *raft.Raft, l *leadership) error {
	known := map[raft.ServerID]nonVoter{}
	defer n.observers.Store(nil)
	for {
		changed := n.Changed()
		wait := (<-chan time.Time)(nil)
		f := r.GetConfiguration()
		for _, s := range f.Configuration().Servers {
			if s.Suffrage == raft.Voter {
				continue
			}
			v, seen := known[s.ID]
			if !seen {
				v.since = time.Now()
			}
			if time.Since(v.asked) >= wishEvery {
				wait = time.After(promoteEvery)
			} else if wait == nil {
				wait = time.After(wishEvery)
			}
			var done bool
			switch {
			case n.isLost(s.ID, l, v.since):
				done = n.removeLost(ctx, s)
			case n.hasCaughtUp(s.ID, r) && time.Since(v.asked) >= wishEvery:
				switch observes, err := n.observes(ctx, s.ID); {
				case err != nil:
				case observes:
					v.asked = time.Now()
				default:
					v.asked = time.Time{}
					done = n.promote(ctx, r, s, f.Index())
				}
			}
			known[s.ID] = v
			if done {
				break // the configuration has changed
			}
		}
		n.observers.Store(observersAmong(known))
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-wait:
		}
	}
}

// observersAmong are those that said that they mean not to vote.
func observersAmong(known map[raft.ServerID]nonVoter) *[]raft.ServerID {
	var out []raft.ServerID
	for id, v := range known {
		if !v.asked.IsZero() {
			out = append(out, id)
		}
	}
	return &out
}

func (n *Node) hasCaughtUp(id raft.ServerID, r *raft.Raft) bool {
	return n.keepsUp(id, r) && time.Since(n.acks.of(id).at) <= n.o.Timing.Heartbeat
}

// promote makes a voter, and tells whether it did.
func (n *Node) promote(ctx context.Context, r *raft.Raft, s raft.Server, index uint64) bool {
	err := n.await(ctx, func() error { return r.AddVoter(s.ID, s.Address, index, changeLimit).Error() })
	if err != nil {
		n.log.Debug("node not promoted", "raft_id", s.ID, "error", err)
		return false
	}
	n.log.Info("node has caught up and votes from now on", "raft_id", s.ID)
	return true
}

// observes asks a node whether it is an observer. The answer is not kept in the log: it is the node's configuration.
func (n *Node) observes(ctx context.Context, id raft.ServerID) (bool, error) {
	node, registered := n.State().Node(string(id))
	if !registered {
		return false, fmt.Errorf("%s has not registered yet", id)
	}
	d, err := n.whoIs(ctx, node.GRPC.String())
	if err == nil && d.GetRaftId() != node.RaftID {
		err = fmt.Errorf("%s runs at %s", d.GetRaftId(), node.GRPC)
	}
	return d.GetObserver(), err
}

// isLost tells whether a non-voter that has not registered was silent for too long.
func (n *Node) isLost(id raft.ServerID, l *leadership, since time.Time) bool {
	if _, registered := n.State().Node(string(id)); registered {
		return false
	}
	if a := n.acks.of(id); a.term == l.term && a.at.After(since) {
		since = a.at
	}
	return time.Since(since) >= admittedLimit
}

func (n *Node) removeLost(ctx context.Context, s raft.Server) bool {
	if err := n.RemoveNode(ctx, string(s.ID)); err != nil {
		n.log.Debug("lost node not removed", "raft_id", s.ID, "error", err)
		return false
	}
	n.log.Warn("a node that was admitted was never heard and is removed", "raft_id", s.ID, "address", s.Address)
	return true
}

// join decides about a node that asks for admission. Leader only; another node names the leader.
func (n *Node) join(ctx context.Context, req *peerv1.JoinRequest) (*peerv1.JoinResponse, error) {
	if req.GetClusterName() != n.o.ClusterName {
		return refuseJoin("this cluster is named %s, not %s", n.o.ClusterName, req.GetClusterName()), nil
	}
	l, err := n.ready(ctx)
	if err != nil {
		a, _ := n.leaderAddr()
		return &peerv1.JoinResponse{NotLeader: true, Reason: "this node does not lead", LeaderGrpc: a.Proto()}, nil
	}
	s, r := n.State(), n.raft.Load()
	cluster := s.Cluster().ID
	if id := req.GetClusterId(); id != "" && id != cluster && !s.WasCluster(id) {
		return refuseJoin("this is cluster %s, not %s: to join it, empty the node's dir", cluster, id), nil
	}
	f := r.GetConfiguration()
	id := raft.ServerID(req.GetNode().GetRaftId())
	at := slices.IndexFunc(f.Configuration().Servers, func(v raft.Server) bool { return v.ID == id })
	switch {
	case at >= 0 && !s.WasCluster(req.GetClusterId()):
		return n.welcomeBack(ctx, r, f.Configuration().Servers[at], f.Index(), req)
	case req.GetClusterId() != "":
		// It holds state of this cluster, or of the one that was lost and went on as this, and is no member: it was one. Only a
		// leader that still leads may say so.
		if _, err := n.confirm(ctx, l); err != nil {
			return nil, err
		}
		if cluster == req.GetClusterId() && isMember(n.State(), id) {
			return refuseJoin("%s is being removed, and that is not committed yet", id), nil
		}
		return &peerv1.JoinResponse{ClusterId: cluster, Removed: true, Reason: ErrRemoved.Error()}, nil
	}
	if told, now := toldClock(req.GetNowMs()), n.hooks.now(); tooFarApart(clocksApart(told, now)) {
		return refuseJoin("%s", sayClocks(n.o.NodeID, now, req.GetNode().GetNodeId(), told)), nil
	}
	return n.admit(ctx, r, l, f, req.GetNode())
}

func refuseJoin(format string, args ...any) *peerv1.JoinResponse {
	return &peerv1.JoinResponse{Reason: fmt.Sprintf(format, args...)}
}

// welcomeBack answers a member, whose address may have changed.
func (n *Node) welcomeBack(ctx context.Context, r *raft.Raft, v raft.Server, index uint64, req *peerv1.JoinRequest) (*peerv1.JoinResponse, error) {
	cluster := n.State().Cluster().ID
	if req.GetClusterId() == "" && v.Suffrage == raft.Voter {
		return refuseJoin("%s votes in this cluster but has lost its data: remove it from the cluster and empty its dir", v.ID), nil
	}
	addr := raft.ServerAddress(raftfsm.AddrOf(req.GetNode().GetRaft()).String())
	if addr == v.Address {
		return &peerv1.JoinResponse{ClusterId: cluster, Admitted: true}, nil
	}
	err := n.await(ctx, func() error {
		return n.moves.settle(v.ID, v.Address, func() error {
			if v.Suffrage == raft.Voter {
				return r.AddVoter(v.ID, addr, index, changeLimit).Error()
			}
			return r.AddNonvoter(v.ID, addr, index, changeLimit).Error()
		})
	})
	if err != nil {
		return refuseJoin("its new address %s was not committed: %v", addr, err), nil
	}
	n.log.Info("node has moved", "raft_id", v.ID, "from", v.Address, "to", addr)
	return &peerv1.JoinResponse{ClusterId: cluster, Admitted: true}, nil
}

// admit adds a node without state, as a non-voter, after its former self is removed.
func (n *Node) admit(ctx context.Context, r *raft.Raft, l *leadership, f raft.ConfigurationFuture, node *raftlogv1.RegisterNode) (*peerv1.JoinResponse, error) {
	s, index := n.State(), f.Index()
	if node.GetMaxLevel() < s.FeatureLevel() {
		return refuseJoin("the cluster is at feature level %d and node %s supports %d: upgrade it first",
			s.FeatureLevel(), node.GetNodeId(), node.GetMaxLevel()), nil
	}
	for _, v := range f.Configuration().Servers {
		name := madeBy(v.ID)
		old, registered := s.Node(string(v.ID))
		if registered {
			name = old.NodeID
		}
		if name != node.GetNodeId() {
			continue
		}
		switch {
		case registered && n.answers(ctx, old):
			return refuseJoin("a node named %s runs at %s: give this one another node-id; if this one is to replace it, stop that one, and "+
				"this one is admitted once it has been unheard of for %v", name, old.GRPC, replaceAfter), nil
		case l.absences.of(v.ID) < replaceAfter:
			return refuseJoin("the member %s (%s) was heard of lately: this node takes its place once it has been unheard of for %v; "+
				"if both are to run, give this one another node-id", name, v.ID, replaceAfter), nil
		}
		if registered {
			if err := n.refuses(ctx, old); err != nil {
				return refuseJoin("a node runs at %s, where the member %s (%s) is, and does not let the leader in (%v): stop it first", old.GRPC, name, v.ID, err), nil
			}
		}
		if err := n.RemoveNode(ctx, string(v.ID)); err != nil {
			return refuseJoin("the former %s (%s) could not be removed: %v", name, v.ID, err), nil
		}
		n.log.Info("former self of a joining node removed", "node", name, "raft_id", v.ID)
		index = 0
	}
	id, addr := raft.ServerID(node.GetRaftId()), raft.ServerAddress(raftfsm.AddrOf(node.GetRaft()).String())
	if v, taken := holder(r, addr); taken {
		name := n.State().NodeName(string(v.ID))
		return refuseJoin("the address %s belongs to the member %s (%s): if %[2]s is gone for good, run: sentinelctl node remove %[2]s",
			addr, name, v.ID), nil
	}
	err := n.await(ctx, func() error { return r.AddNonvoter(id, addr, index, changeLimit).Error() })
	if err != nil {
		return refuseJoin("not admitted: %v", err), nil
	}
	n.former.arrived(id)
	n.log.Info("node admitted", "node", node.GetNodeId(), "raft_id", id, "address", addr)
	return &peerv1.JoinResponse{ClusterId: s.Cluster().ID, Admitted: true}, nil
}

// holder is the member at a Raft address.
func holder(r *raft.Raft, addr raft.ServerAddress) (raft.Server, bool) {
	members := r.GetConfiguration().Configuration().Servers
	i := slices.IndexFunc(members, func(v raft.Server) bool { return v.Address == addr })
	if i < 0 {
		return raft.Server{}, false
	}
	return members[i], true
}

// answers tells whether a registered node runs as itself.
func (n *Node) answers(ctx context.Context, node *raftfsm.Node) bool {
	d, err := n.whoIs(ctx, node.GRPC.String())
	return err == nil && d.GetRaftId() == node.RaftID && !d.GetRemoved()
}

func (n *Node) whoIs(ctx context.Context, address string) (*peerv1.DescribeResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	c, err := n.conns.client(ctx, address)
	if err != nil {
		return nil, err
	}
	return c.Describe(ctx, &peerv1.DescribeRequest{ClusterName: n.o.ClusterName, NodeId: n.o.NodeID, RaftId: string(n.self)})
}

// RemoveNode takes a member out of Raft's configuration. Leader only. ErrQuorum refuses what would leave no majority of
// voters that are heard.
func (n *Node) RemoveNode(ctx context.Context, raftID string) error {
	l, err := n.ready(ctx)
	if err != nil {
		return err
	}
	r := n.raft.Load()
	f := r.GetConfiguration()
	id := raft.ServerID(raftID)
	voters, heard, found := 0, 0, false
	for _, s := range f.Configuration().Servers {
		if s.ID == id {
			found = true
			continue
		}
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		if a := n.acks.of(s.ID); s.ID == n.self || (a.term == l.term && time.Since(a.at) <= 2*n.o.Timing.Heartbeat) {
			heard++
		}
	}
	switch {
	case !found:
		return nil
	case heard <= voters/2:
		return fmt.Errorf("remove %s: of the %d voters that would be left %d are heard: %w", raftID, voters, heard, ErrQuorum)
	}
	err = n.await(ctx, func() error { return r.RemoveServer(id, f.Index(), changeLimit).Error() })
	switch {
	case err == nil:
		return nil
	case id == n.self && errors.Is(err, raft.ErrLeadershipLost):
		return fmt.Errorf("remove %s: %w: %w", raftID, ErrUnknownOutcome, err)
	}
	return fmt.Errorf("remove %s: %w", raftID, outcome(err))
}

// TransferLeadership hands leadership to a voter that is not drained; "" is the one that is heard and whose log is longest.
// This leadership's scope ends first, and duties return before another node leads, if they do so within half a second. After
// a failure this node takes up a new scope. ErrNoSuccessor: there is no such voter, and nothing has changed.
func (n *Node) TransferLeadership(ctx context.Context, raftID string) error {
	if _, err := n.ready(ctx); err != nil {
		return err
	}
	r := n.raft.Load()
	target, err := n.voter(r, raftID)
	if err != nil {
		return fmt.Errorf("transfer leadership: %w", err)
	}
	return n.handOver(ctx, r, target)
}

// voter is the one that is to lead next.
func (n *Node) voter(r *raft.Raft, raftID string) (raft.Server, error) {
	if raftID == "" {
		return n.successor(r)
	}
	for _, s := range r.GetConfiguration().Configuration().Servers {
		switch {
		case string(s.ID) != raftID || s.Suffrage != raft.Voter:
		case n.State().Drained(raftID):
			return s, fmt.Errorf("%w: %s is drained", ErrNoSuccessor, raftID)
		default:
			return s, nil
		}
	}
	return raft.Server{}, fmt.Errorf("%w: %s is no voter of this cluster", ErrNoSuccessor, raftID)
}

// dutyGrace is how long duties may take to return before leadership is handed over all the same.
const dutyGrace = 500 * time.Millisecond

func (n *Node) handOver(ctx context.Context, r *raft.Raft, target raft.Server) error {
	ctx, cancel := context.WithTimeout(ctx, n.o.Timing.Election+time.Second)
	defer cancel()
	n.leads.end(ErrLeadershipLost)
	grace, done := context.WithTimeout(ctx, dutyGrace)
	_ = n.leads.duties.wait(grace)
	done()
	err := n.await(ctx, func() error { return r.LeadershipTransferToServer(target.ID, target.Address).Error() })
	if err != nil {
		select {
		case n.retake <- struct{}{}:
		default:
		}
		return fmt.Errorf("transfer leadership: %w", err)
	}
	return nil
}

// register keeps what the state says of this node true.
func (n *Node) register(ctx context.Context) {
	refused := newSparseLog(n.log)
	for warned := false; ; {
		changed, announced := n.Changed(), n.announced.next()
		if n.o.Observer && !warned && n.State().IsVoter(string(n.self)) {
			n.log.Warn("node-role is observer, and this node votes: it goes on voting until it is removed and joins anew")
			warned = true
		}
		wait := (<-chan time.Time)(nil)
		if s := n.State(); isMember(s, n.self) && s.Cluster().ID != "" && !n.registered(s) {
			res, err := n.Propose(ctx, &raftlogv1.Command{Op: &raftlogv1.Command_RegisterNode{RegisterNode: n.registration()}})
			if err == nil {
				err = res.Err()
			}
			if err != nil && ctx.Err() == nil {
				refused.write(slog.LevelInfo, err.Error(), "not registered yet", "error", err)
				changed, wait = nil, time.After(registerRetry) // a refusal is a change, too
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-wait:
		case <-changed:
		case <-announced:
		}
	}
}

func (n *Node) registered(s *raftfsm.State) bool {
	v, ok := s.Node(string(n.self))
	return ok && v.NodeID == n.o.NodeID && v.Raft == n.o.Raft && v.GRPC == n.o.GRPC && v.RESP == *n.resp.Load() && v.HTTP == n.o.HTTP &&
		v.Version == n.o.Version && v.MaxLevel == raftfsm.Level
}

// attendEvery is how often a member that hears no leader asks around.
const attendEvery = time.Second

// attend asks the other nodes, while no leader is heard or knows this node by another address, who leads and whether this
// node still belongs: Raft does not tell a removed node that its removal is committed.
func (n *Node) attend(ctx context.Context, r *raft.Raft) {
	log := newSparseLog(n.log)
	tick := time.NewTicker(attendEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if n.attended(r) {
			n.contacts.round(nil)
			continue
		}
		n.contacts.round(n.askAround(ctx, log))
	}
}

// askAround gives when each member answered, zero for one that did not; nil where a leader has answered.
func (n *Node) askAround(ctx context.Context, log *sparseLog) map[raft.ServerID]time.Time {
	asked := map[string]time.Time{}
	for _, a := range n.acquaintances(ctx) {
		if n.ask(ctx, log, a, asked) {
			return nil
		}
	}
	out := map[raft.ServerID]time.Time{}
	for v := range n.State().Nodes() {
		if at, was := asked[v.GRPC.String()]; was {
			out[raft.ServerID(v.RaftID)] = at
		}
	}
	return out
}

func (n *Node) attended(r *raft.Raft) bool {
	if r.State() == raft.Leader {
		return true
	}
	for _, s := range n.State().Servers() {
		if s.ID == string(n.self) && s.Address != n.o.Raft.String() {
			return false
		}
	}
	_, id := r.LeaderWithID()
	return id != "" || time.Since(r.LastContact()) < 2*n.o.Timing.Election
}

// acquaintances are the gRPC addresses at which other nodes may be found: those that they have registered, and what the names
// of cluster-peers stand for now.
func (n *Node) acquaintances(ctx context.Context) []string {
	var out []string
	for v := range n.State().Nodes() {
		if v.RaftID != string(n.self) {
			out = append(out, v.GRPC.String())
		}
	}
	found := make([][]netip.AddrPort, len(n.o.Peers))
	var wg sync.WaitGroup
	for i, p := range n.o.Peers {
		wg.Go(func() {
			if a, err := raftfsm.ParseAddr(p); err == nil && a != n.o.GRPC {
				found[i], _ = n.hooks.resolve.addresses(ctx, a) // a name unknown now is asked for again in a second
			}
		})
	}
	wg.Wait()
	for _, a := range slices.Concat(found...) {
		if p := a.String(); p != n.o.GRPC.String() && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// ask presents this node at an address, and at the leader's if it is sent there, and notes when it was answered. It tells
// whether a leader has answered.
func (n *Node) ask(ctx context.Context, log *sparseLog, address string, asked map[string]time.Time) bool {
	if _, was := asked[address]; was || address == n.o.GRPC.String() {
		return false
	}
	asked[address] = time.Time{}
	call, cancel := context.WithTimeout(ctx, attendEvery)
	defer cancel()
	c, err := n.conns.client(call, address)
	if err != nil {
		return false
	}
	resp, err := c.Join(call, &peerv1.JoinRequest{Node: n.registration(), ClusterName: n.o.ClusterName, ClusterId: n.State().Cluster().ID})
	if err != nil {
		return false
	}
	asked[address] = time.Now()
	switch {
	case resp.GetRemoved():
		n.becomeRemoved()
		return true
	case resp.GetAdmitted():
		return true
	case resp.GetLeaderGrpc() != nil:
		return n.ask(ctx, log, raftfsm.AddrOf(resp.GetLeaderGrpc()).String(), asked)
	}
	if !resp.GetNotLeader() {
		log.warn(resp.GetReason(), "the leader does not take this node back", "reason", resp.GetReason(), "asked", address)
	}
	return false
}
