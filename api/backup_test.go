package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// level4 raises the feature level to where backups can be restored.
func (r *rig) level4(t *testing.T) *rig {
	t.Helper()
	r.node.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_SetFeatureLevel{SetFeatureLevel: &raftlogv1.SetFeatureLevel{Level: 4}}})
	return r
}

// backup fetches a backup and gives how many messages it took.
func (r *rig) backup(t *testing.T, c sentinelv1.Consistency) (data []byte, pieces int, err error) {
	t.Helper()
	stream, err := r.cluster.CreateBackup(t.Context(), &sentinelv1.CreateBackupRequest{Consistency: c})
	if err != nil {
		t.Fatal(err)
	}
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return data, pieces, nil
		}
		if err != nil {
			return nil, 0, err
		}
		if part.GetClusterId() != r.node.State().Cluster().Era || part.GetRevision() != r.node.State().Index() {
			t.Errorf("a piece of cluster %s at %d", part.GetClusterId(), part.GetRevision())
		}
		data = append(data, part.GetData()...)
		pieces++
	}
}

// restore sends a backup in pieces. The first message alone says how.
func (r *rig) restore(ctx context.Context, t *testing.T, data []byte, how *sentinelv1.RestoreBackupRequest) (*sentinelv1.RestoreBackupResponse, error) {
	t.Helper()
	stream, err := r.cluster.RestoreBackup(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for part := range slices.Chunk(data, 1000) {
		how.Data = part
		if err := stream.Send(how); err != nil {
			break
		}
		how = &sentinelv1.RestoreBackupRequest{}
	}
	return stream.CloseAndRecv()
}

func TestBackup(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Version = "1.2.3" })
	for i := range 1500 {
		r.node.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_Monitor{Monitor: &raftlogv1.Monitor{
			Name: fmt.Sprintf("m%04d", i), Address: &raftlogv1.Address{Host: fmt.Sprintf("10.%d.%d.1", i/250, i%250), Port: 6379},
			Options: []*raftlogv1.OptionValue{{Name: "quorum", Value: "2"}, {Name: "auth-pass", Value: "secret"}},
		}}})
	}
	data, pieces, err := r.backup(t, 0)
	if err != nil || pieces < 2 {
		t.Fatalf("%d pieces, %v", pieces, err)
	}
	b, err := raftfsm.ReadBackup(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if m, _ := b.State.Master("m0000"); b.State.MasterCount() != 1500 || m.Options.AuthPass.Reveal() != "secret" {
		t.Errorf("%d masters, %+v", b.State.MasterCount(), m)
	}
	if b.Node != "a" || b.Version != "1.2.3" || b.Local || b.AgeMs != 0 || time.Since(time.UnixMilli(b.TakenAtMs)) > time.Minute {
		t.Errorf("%+v", b)
	}
	// Without a leader it is the node's own, and says so.
	r.node.set(func(n *fakeNode) { n.readErr = errNoLeader })
	_, _, err = r.backup(t, 0)
	wantError(t, err, codes.Unavailable, sentinelv1.ErrorReason_ERROR_REASON_NO_LEADER)
	data, _, err = r.backup(t, sentinelv1.Consistency_CONSISTENCY_LOCAL)
	if err != nil {
		t.Fatal(err)
	}
	if b, err = raftfsm.ReadBackup(bytes.NewReader(data)); err != nil || !b.Local || b.AgeMs != 7 || b.State.MasterCount() != 1500 {
		t.Errorf("%+v, %v", b, err)
	}
}

func TestRestore(t *testing.T) {
	from := newRig(t).level4(t)
	from.monitor(t, "a", "10.0.0.1")
	from.monitor(t, "b", "10.0.0.2")
	data, _, err := from.backup(t, 0)
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t).level4(t)
	same := func() *sentinelv1.RestoreBackupRequest { return &sentinelv1.RestoreBackupRequest{} }
	before := r.node.State()
	dry, err := r.restore(t.Context(), t, data, &sentinelv1.RestoreBackupRequest{ValidateOnly: true})
	if err != nil || !dry.GetChanged() || dry.GetMasters() != 2 || dry.GetClusterId() != "c1" || r.node.State() != before {
		t.Fatalf("validate only: %v, %v", dry, err)
	}
	done, err := r.restore(t.Context(), t, data, same())
	if err != nil || !done.GetChanged() || done.GetMasters() != 2 || done.GetEpoch() <= from.node.State().Epoch() {
		t.Fatalf("%v, %v", done, err)
	}
	if got := r.node.State().Cluster(); got.ID != "c1" || got.Era == "c1" || got.Era != done.GetClusterId() {
		t.Errorf("%+v, %v", got, done)
	}
	resp, err := r.app.GetMaster(t.Context(), &sentinelv1.GetMasterRequest{Name: "a"})
	if err != nil || resp.GetClusterId() != done.GetClusterId() || !strings.HasPrefix(resp.GetMaster().GetPause().GetReason(), "restored from a backup of ") {
		t.Errorf("%v, %v", resp, err)
	}
	// Who does not know whether it was done asks again, and nothing happens twice.
	proposed := r.node.proposed
	again, err := r.restore(t.Context(), t, data, same())
	if err != nil || again.GetChanged() || again.GetClusterId() != done.GetClusterId() || r.node.proposed != proposed {
		t.Errorf("%v, %v", again, err)
	}
	r.remove(t, "a")
	_, err = r.restore(t.Context(), t, data, same())
	wantError(t, err, codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_CONFLICT)
	r.monitor(t, "c", "10.0.0.3")
	replaced, err := r.restore(t.Context(), t, data, &sentinelv1.RestoreBackupRequest{Replace: true})
	if err != nil || !replaced.GetChanged() || !slices.Equal(replaced.GetRemoved(), []string{"c"}) || replaced.GetEpoch() <= done.GetEpoch() ||
		replaced.GetClusterId() == done.GetClusterId() {
		t.Errorf("%v, %v", replaced, err)
	}
	// Emptied by hand, the cluster takes it once more.
	r.remove(t, "a")
	r.remove(t, "b")
	if once, err := r.restore(t.Context(), t, data, same()); err != nil || !once.GetChanged() {
		t.Errorf("%v, %v", once, err)
	}
}

func TestRestoreRefuses(t *testing.T) {
	from := newRig(t).level4(t)
	from.monitor(t, "a", "10.0.0.1")
	data, _, err := from.backup(t, 0)
	if err != nil {
		t.Fatal(err)
	}
	low := newRig(t)
	_, err = low.restore(t.Context(), t, data, &sentinelv1.RestoreBackupRequest{})
	wantError(t, err, codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_FEATURE_LEVEL)
	r := newRig(t).level4(t)
	flipped := bytes.Clone(data)
	flipped[len(data)/2] ^= 1
	for name, bad := range map[string][]byte{"nothing": nil, "cut": data[:len(data)-1], "flipped": flipped, "text": []byte("hello")} {
		before := r.node.proposed
		_, err := r.restore(t.Context(), t, bad, &sentinelv1.RestoreBackupRequest{})
		wantError(t, err, codes.InvalidArgument, sentinelv1.ErrorReason_ERROR_REASON_INVALID_ARGUMENT)
		if r.node.proposed != before {
			t.Errorf("%s was proposed", name)
		}
	}
	stream, err := r.cluster.RestoreBackup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = stream.Send(&sentinelv1.RestoreBackupRequest{Data: make([]byte, maxPiece+1)}) // the answer says why
	_, err = stream.CloseAndRecv()
	wantError(t, err, codes.InvalidArgument, sentinelv1.ErrorReason_ERROR_REASON_INVALID_ARGUMENT)
}

// Any node takes a backup, and passes it on.
func TestRestoreAtAFollower(t *testing.T) {
	from := newRig(t).level4(t)
	from.monitor(t, "a", "10.0.0.1")
	data, _, err := from.backup(t, 0)
	if err != nil {
		t.Fatal(err)
	}
	leader, follower := newRig(t).level4(t), newRig(t).level4(t)
	follower.node.set(func(n *fakeNode) { n.status.Role = "follower" })
	_, err = follower.restore(t.Context(), t, data, &sentinelv1.RestoreBackupRequest{})
	wantError(t, err, codes.Unavailable, sentinelv1.ErrorReason_ERROR_REASON_NO_LEADER)
	follower.node.set(func(n *fakeNode) { n.leader = leader.conn })
	done, err := follower.restore(t.Context(), t, data, &sentinelv1.RestoreBackupRequest{})
	if err != nil || !done.GetChanged() || leader.node.State().MasterCount() != 1 || follower.node.State().MasterCount() != 0 {
		t.Fatalf("%v, %v", done, err)
	}
	_, err = follower.restore(t.Context(), t, data[:40], &sentinelv1.RestoreBackupRequest{})
	wantError(t, err, codes.InvalidArgument, sentinelv1.ErrorReason_ERROR_REASON_INVALID_ARGUMENT)
	leader.node.set(func(n *fakeNode) { n.proposeErr = errUnknown })
	_, err = follower.restore(t.Context(), t, data, &sentinelv1.RestoreBackupRequest{Replace: true})
	wantError(t, err, codes.DeadlineExceeded, sentinelv1.ErrorReason_ERROR_REASON_UNKNOWN_OUTCOME)
	// Nobody passes on what was passed on.
	leader.node.set(func(n *fakeNode) { n.status.Role, n.leader = "follower", follower.conn })
	_, err = follower.restore(t.Context(), t, data, &sentinelv1.RestoreBackupRequest{})
	wantError(t, err, codes.Unavailable, sentinelv1.ErrorReason_ERROR_REASON_NO_LEADER)
}

// Those who watch hear that all they know is void, and get the whole state; what happened is told once, and goes on where it was.
func TestWatchesHearOfARestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t).level4(t)
		r.monitor(t, "a", "10.0.0.1")
		r.monitor(t, "b", "10.0.0.2")
		data, _, err := r.backup(t, 0)
		if err != nil {
			t.Fatal(err)
		}
		seen := r.node.State().Index()
		r.monitor(t, "c", "10.0.0.3")
		masters, events := r.watch(t, &sentinelv1.WatchMastersRequest{}), r.events(t, &sentinelv1.WatchEventsRequest{})
		want(t, masters, "a quorum 2", "b quorum 2", "c quorum 2", "synced")
		want(t, events, "synced")
		done, err := r.restore(t.Context(), t, data, &sentinelv1.RestoreBackupRequest{Replace: true})
		if err != nil {
			t.Fatal(err)
		}
		want(t, masters, "reset", "a quorum 2", "b quorum 2", "synced")
		want(t, events, "reset", "+new-epoch, -monitor c, +restored", "synced")
		r.monitor(t, "d", "10.0.0.4")
		want(t, masters, "d quorum 2")
		want(t, events, "+monitor d")
		// Who was away hears it from the cursor that it has.
		want(t, r.watch(t, &sentinelv1.WatchMastersRequest{AfterClusterId: "c1", AfterRevision: seen}), "reset", "a quorum 2", "b quorum 2", "d quorum 2", "synced")
		want(t, r.events(t, &sentinelv1.WatchEventsRequest{Master: "d", After: &sentinelv1.EventCursor{ClusterId: "c1", Index: seen}}), "reset", "+monitor d", "synced")
		want(t, r.events(t, &sentinelv1.WatchEventsRequest{Master: "d", After: &sentinelv1.EventCursor{ClusterId: done.GetClusterId(), Index: done.GetRevision()}}),
			"+monitor d", "synced")
	})
}
