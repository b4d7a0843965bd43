package node

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	peerv1 "github.com/raftsentinel/raftsentinel/proto/peer/v1"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

const (
	// formationFirst and formationLast bound the wait between two attempts; it grows from the one to the other.
	formationFirst, formationLast = 100 * time.Millisecond, time.Second
	// formationLimit bounds each question to a peer.
	formationLimit = time.Second
	// joinLimit bounds a request for admission, which commits an entry.
	joinLimit = 5 * time.Second
	// arrivalLimit is how long after the founding the nodes that promised to follow are awaited: one that is lost meanwhile
	// must not be missed for ever.
	arrivalLimit = time.Minute
	// formationSayAfter is how long a reason to wait must last before it is worth a line.
	formationSayAfter = 2 * time.Second
)

// formerOptions of a node that has no state yet.
type formerOptions struct {
	nodeID      string
	clusterName string
	expect      int
	peers       []string // HOST:GRPCPORT
	// self is what Join registers.
	self *raftlogv1.RegisterNode
	// dial connects to a resolved HOST:PORT; the closer ends the connection.
	dial    func(address string) (peerv1.PeerServiceClient, io.Closer, error)
	resolve resolver
	// refusal tells why the node at a resolved address refuses connections of this one; "" where it does not. It may be nil.
	refusal func(address string) string
	// now is the wall clock.
	now func() time.Time
	log *slog.Logger
}

// former finds a cluster, or founds one, for a node without state.
type former struct {
	id *identity
	o  formerOptions

	// waiting is why there is no cluster yet: for an operator who asks.
	waiting atomic.Pointer[string]
	// awaited are the nodes whose promises this node founded its cluster with, and that have not come yet: see arrivalLimit.
	awaited  atomic.Pointer[[]described]
	awaitTil time.Time // of awaited; set before it
	// refusals tells of promises that are not given.
	refusals *sparseLog

	// Of run alone: since when something holds, and what was said; the refusals of this attempt, and the reason that it
	// found to wait.
	since   map[string]time.Time
	said    map[string]bool
	refused []string
	reason  formationStep
}

func newFormer(id *identity, o formerOptions) *former {
	return &former{id: id, o: o, refusals: newSparseLog(o.log), since: map[string]time.Time{}, said: map[string]bool{}}
}

// run returns when this node has a cluster: founded tells that it is to be bootstrapped with this node alone, else it has
// been admitted. The identity records it already. Errors: ctx's, ErrRemoved, or a disk's.
func (f *former) run(ctx context.Context) (clusterID string, founded bool, err error) {
	defer f.waiting.Store(nil)
	for wait := formationFirst; ; wait = min(wait*3/2, formationLast) {
		if f.id.get().Removed {
			return "", false, ErrRemoved
		}
		f.refused, f.reason = nil, formationStep{}
		peers, unknown := f.survey(ctx)
		if ctx.Err() != nil {
			return "", false, ctx.Err()
		}
		step := decideFormation(f.describeSelf(), peers, unknown)
		switch step.act {
		case formationWait:
			if len(f.refused) > 0 && !step.wrong {
				step = formationBlocked("%s", strings.Join(f.refused, "; "))
			}
			f.say(step)
		case formationJoin:
			clusterID, err = f.join(ctx, step.via)
		case formationFound:
			clusterID, err = f.found(ctx, step.ask)
			founded = clusterID != ""
		}
		if clusterID != "" || err != nil {
			return clusterID, founded, err
		}
		why := f.reason.say
		f.waiting.Store(&why)
		// Jitter keeps nodes that started together from asking together for ever.
		select {
		case <-time.After(wait*3/4 + mathrand.N(wait/2)):
		case <-ctx.Done():
			return "", false, ctx.Err()
		}
	}
}

func (f *former) describeSelf() described {
	rec := f.id.get()
	return described{
		raftID: rec.RaftID, nodeID: f.o.nodeID, clusterName: f.o.clusterName, clusterID: rec.ClusterID, expect: f.o.expect,
		promisedTo: rec.PromisedTo, removed: rec.Removed,
	}
}

// peerEntry is one word of cluster-peers and the addresses that it stands for now.
type peerEntry struct {
	addresses []netip.AddrPort
	self      bool // it is this node's announced address
}

// survey asks every peer who it is. unknown is how many more nodes there may be: an entry stands for as many nodes as it has
// addresses of one family, so that a name with IPv4 and IPv6 addresses is not counted twice where one family is deaf.
func (f *former) survey(ctx context.Context) (peers []described, unknown int) {
	entries := f.resolvePeers(ctx)
	answers := f.describeAll(ctx, entries)
	counted := map[netip.AddrPort]bool{}
	for _, e := range entries {
		if e.self {
			continue
		}
		if len(e.addresses) == 0 {
			unknown++
			continue
		}
		ids, v4, v6 := map[raft.ServerID]bool{}, map[raft.ServerID]bool{}, map[raft.ServerID]bool{}
		silent4, silent6 := 0, 0
		for _, a := range e.addresses {
			d, answered := answers[a]
			switch {
			case answered && a.Addr().Is4():
				v4[d.raftID] = true
			case answered:
				v6[d.raftID] = true
			case counted[a]:
			case a.Addr().Is4():
				silent4++
			default:
				silent6++
			}
			if answered {
				ids[d.raftID] = true
				peers = append(peers, d)
			}
			counted[a] = true
		}
		unknown += max(0, max(len(v4)+silent4, len(v6)+silent6)-len(ids))
	}
	return peers, unknown
}

func (f *former) resolvePeers(ctx context.Context) []peerEntry {
	own := raftfsm.AddrOf(f.o.self.GetGrpc())
	entries := make([]peerEntry, len(f.o.peers))
	var wg sync.WaitGroup
	errs := make([]error, len(f.o.peers))
	for i, p := range f.o.peers {
		wg.Go(func() {
			a, err := raftfsm.ParseAddr(p)
			switch {
			case err != nil:
				errs[i] = err
			case a == own:
				entries[i].self = true
			default:
				entries[i].addresses, errs[i] = f.o.resolve.addresses(ctx, a)
			}
		})
	}
	wg.Wait()
	for i, err := range errs {
		f.sayPeer("name", f.o.peers[i], err)
	}
	return entries
}

// describeAll asks each address once, all together.
func (f *former) describeAll(ctx context.Context, entries []peerEntry) map[netip.AddrPort]described {
	type answer struct {
		d   described
		err error
	}
	asked := map[netip.AddrPort]*answer{}
	var order []netip.AddrPort
	for _, e := range entries {
		for _, a := range e.addresses {
			if asked[a] == nil {
				asked[a] = &answer{}
				order = append(order, a)
			}
		}
	}
	var wg sync.WaitGroup
	for a, into := range asked {
		wg.Go(func() { into.d, into.err = f.describe(ctx, a.String()) })
	}
	wg.Wait()
	out := map[netip.AddrPort]described{}
	for _, a := range order {
		if asked[a].err == nil {
			out[a] = asked[a].d
		} else if why := f.refusal(a.String()); why != "" {
			f.refused = append(f.refused, fmt.Sprintf("the node at %s: %s", a, why))
			continue
		}
		f.sayPeer("peer", a.String(), asked[a].err)
	}
	return out
}

func (f *former) refusal(address string) string {
	if f.o.refusal == nil {
		return ""
	}
	return f.o.refusal(address)
}

func (f *former) describe(ctx context.Context, address string) (described, error) {
	var d described
	err := f.call(ctx, address, formationLimit, func(ctx context.Context, c peerv1.PeerServiceClient) error {
		begun := f.o.now()
		r, err := c.Describe(ctx, &peerv1.DescribeRequest{
			ClusterName: f.o.clusterName, NodeId: f.o.nodeID, RaftId: string(f.id.get().RaftID),
		})
		if err == nil && (r.GetRaftId() == "" || r.GetNodeId() == "") {
			err = errors.New("it names neither itself nor its raft id")
		}
		d = described{
			address: address, raftID: raft.ServerID(r.GetRaftId()), nodeID: r.GetNodeId(), clusterName: r.GetClusterName(),
			clusterID: r.GetClusterId(), expect: int(r.GetBootstrapExpect()), promisedTo: raft.ServerID(r.GetPromisedTo()),
			removed: r.GetRemoved(), leader: raftfsm.AddrOf(r.GetLeaderGrpc()),
			clock: toldClock(r.GetNowMs()), here: begun.Add(f.o.now().Sub(begun) / 2), // the middle of the exchange
		}
		return err
	})
	return d, err
}

// call connects to an address for one call.
func (f *former) call(
	ctx context.Context, address string, limit time.Duration, do func(context.Context, peerv1.PeerServiceClient) error,
) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c, closer, err := f.o.dial(address)
	if err != nil {
		return err
	}
	return errors.Join(do(ctx, c), closer.Close())
}

// found seeks the promises and makes the cluster. "" without an error: not yet.
func (f *former) found(ctx context.Context, ask []described) (clusterID string, err error) {
	self := f.id.get().RaftID
	var promised []described
	for _, d := range ask {
		if len(promised) == f.o.expect {
			break
		}
		if d.raftID == self {
			to, err := f.id.promise(self)
			if err != nil {
				return "", err
			}
			if to != self {
				return "", nil // another founder was quicker
			}
		} else if given := f.seekPromise(ctx, d); !given {
			return "", nil
		}
		promised = append(promised, d)
	}
	if len(promised) < f.o.expect || !slices.ContainsFunc(promised, func(d described) bool { return d.raftID == self }) {
		return "", nil
	}
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails: see crypto/rand
	clusterID = hex.EncodeToString(id)
	if err := f.id.found(clusterID); err != nil {
		return "", err
	}
	f.awaitTil = f.o.now().Add(arrivalLimit)
	f.awaited.Store(&promised)
	f.o.log.Info("cluster founded", "cluster_id", clusterID, "promised", names(promised))
	return clusterID, nil
}

// arrived tells that a node was admitted. It is not awaited any more, though it may be removed at once.
func (f *former) arrived(id raft.ServerID) {
	old := f.awaited.Load()
	if old == nil {
		return
	}
	left := slices.DeleteFunc(slices.Clone(*old), func(d described) bool { return d.raftID == id })
	f.awaited.Store(&left)
}

// missing are the ids of the nodes, other than this one, that are awaited.
func (f *former) missing() []string {
	awaited := f.awaited.Load()
	if awaited == nil || f.o.now().After(f.awaitTil) {
		return nil
	}
	var out []string
	for _, d := range *awaited {
		if d.raftID != f.id.get().RaftID {
			out = append(out, d.nodeID)
		}
	}
	return out
}

func (f *former) seekPromise(ctx context.Context, d described) bool {
	var r *peerv1.PromiseResponse
	err := f.call(ctx, d.address, formationLimit, func(ctx context.Context, c peerv1.PeerServiceClient) (err error) {
		r, err = c.Promise(ctx, &peerv1.PromiseRequest{
			ClusterName: f.o.clusterName, FounderNodeId: f.o.nodeID, FounderRaftId: string(f.id.get().RaftID),
			BootstrapExpect: uint32(f.o.expect), NowMs: f.o.now().UnixMilli(),
		})
		return err
	})
	switch {
	case err != nil:
		f.sayPeer("promise", d.address, fmt.Errorf("promise: %w", err))
	case raft.ServerID(r.GetRaftId()) != d.raftID:
		f.say(formationWaits("%s is another node by now: %s", d, printable(r.GetRaftId())))
	case !r.GetGiven():
		step := formationWaits("%s did not promise to follow this node: %s", d, printable(r.GetReason()))
		step.about = d.String() + firstClause(r.GetReason())
		f.say(step)
	default:
		return true
	}
	return false
}

// promise answers PeerService.Promise. It may be called before, during and after run.
func (f *former) promise(req *peerv1.PromiseRequest) (*peerv1.PromiseResponse, error) {
	rec := f.id.get()
	resp := &peerv1.PromiseResponse{NodeId: f.o.nodeID, RaftId: string(rec.RaftID)}
	founder := raft.ServerID(req.GetFounderRaftId())
	switch {
	case founder == "":
		resp.Reason = "the founder does not name itself"
	case req.GetClusterName() != f.o.clusterName:
		resp.Reason = fmt.Sprintf("cluster-name is %q here and %q there", f.o.clusterName, req.GetClusterName())
	case rec.Removed:
		resp.Reason = ErrRemoved.Error()
	case rec.ClusterID != "" || rec.HasState:
		resp.Reason = fmt.Sprintf("this node belongs to cluster %s", rec.ClusterID)
	case f.o.expect == 0:
		resp.Reason = "bootstrap-expect is 0 here: this node only joins"
	case int(req.GetBootstrapExpect()) != f.o.expect:
		resp.Reason = fmt.Sprintf("bootstrap-expect is %d here and %d there", f.o.expect, req.GetBootstrapExpect())
	case req.GetFounderNodeId() == f.o.nodeID && founder != rec.RaftID:
		resp.Reason = fmt.Sprintf("both nodes have the node-id %q", f.o.nodeID)
	case tooFarApart(clocksApart(toldClock(req.GetNowMs()), f.o.now())):
		resp.Reason = sayClocks(f.o.nodeID, f.o.now(), req.GetFounderNodeId(), toldClock(req.GetNowMs()))
	default:
		to, err := f.id.promise(founder)
		if err != nil {
			return nil, err
		}
		if resp.Given = to == founder; !resp.Given {
			resp.Reason = fmt.Sprintf("this node follows the founder %s", to)
			break
		}
		if rec.PromisedTo == "" {
			f.o.log.Info("promised to follow a founder", "founder", req.GetFounderNodeId(), "raft_id", founder)
		}
	}
	if !resp.GetGiven() {
		f.refusals.warn(string(founder)+firstClause(resp.GetReason()), "no promise given to a founder",
			"founder", req.GetFounderNodeId(), "raft_id", founder, "reason", resp.GetReason())
	}
	return resp, nil
}

// join asks the members, or the leader that they name, for admission. "" without an error: not yet.
func (f *former) join(ctx context.Context, via []described) (clusterID string, err error) {
	asked := map[string]bool{}
	var todo []string
	for _, m := range via {
		if !m.leader.IsZero() {
			todo = append(todo, m.leader.String())
		}
	}
	for _, m := range via {
		todo = append(todo, m.address)
	}
	for i := 0; i < len(todo); i++ {
		address := todo[i]
		if asked[address] {
			continue
		}
		asked[address] = true
		resp, err := f.seekAdmission(ctx, address)
		if err != nil {
			f.sayPeer("join", address, fmt.Errorf("join: %w", err))
			continue
		}
		switch {
		case resp.GetRemoved():
			return "", errors.Join(ErrRemoved, f.id.remove())
		case resp.GetAdmitted() && resp.GetClusterId() != "":
			if err := f.id.join(resp.GetClusterId()); err != nil {
				return "", err
			}
			f.o.log.Info("admitted to the cluster", "cluster_id", resp.GetClusterId(), "by", address)
			return resp.GetClusterId(), nil
		case resp.GetLeaderGrpc() != nil:
			todo = slices.Insert(todo, i+1, raftfsm.AddrOf(resp.GetLeaderGrpc()).String())
		case resp.GetNotLeader():
			f.say(formationWaits("%s knows no leader who could admit this node", address))
		default:
			step := formationBlocked("the cluster does not admit this node: %s", resp.GetReason())
			step.about = "admission: " + firstClause(resp.GetReason())
			f.say(step)
		}
	}
	return "", nil
}

func (f *former) seekAdmission(ctx context.Context, address string) (resp *peerv1.JoinResponse, err error) {
	err = f.call(ctx, address, joinLimit, func(ctx context.Context, c peerv1.PeerServiceClient) (err error) {
		resp, err = c.Join(ctx, &peerv1.JoinRequest{Node: f.o.self, ClusterName: f.o.clusterName, NowMs: f.o.now().UnixMilli()})
		return err
	})
	return resp, err
}

// say tells once why this node waits, when that has lasted. Of an attempt's reasons the one counts that an operator can mend.
func (f *former) say(s formationStep) {
	if f.reason.say == "" || s.wrong && !f.reason.wrong {
		f.reason = s
	}
	level := slog.LevelInfo
	if s.wrong {
		level = slog.LevelWarn
	}
	if f.lasts(cmp.Or(s.about, s.say)) {
		f.o.log.Log(context.Background(), level, "no cluster yet", "reason", s.say)
	}
}

// sayPeer tells once that a peer does not answer a question, when that has lasted.
func (f *former) sayPeer(question, address string, err error) {
	prefix := question + " " + address + " "
	if err == nil {
		for what := range f.since {
			if strings.HasPrefix(what, prefix) && !f.said[what] {
				delete(f.since, what)
			}
		}
		return
	}
	// The last clause is the cause; the rest may name ports that differ each time.
	text := err.Error()
	if f.lasts(prefix + text[strings.LastIndex(text, ": ")+1:]) {
		f.o.log.Info("peer does not answer", "peer", address, "error", err)
	}
}

// lasts is true once: when something has held for a while.
func (f *former) lasts(what string) bool {
	since, known := f.since[what]
	switch {
	case !known:
		f.since[what] = time.Now()
	case !f.said[what] && time.Since(since) >= formationSayAfter:
		f.said[what] = true
		return true
	}
	return false
}
