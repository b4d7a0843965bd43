package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

const (
	// backupPiece is how much of a backup one message holds, and maxPiece how much one may.
	backupPiece = 256 << 10
	maxPiece    = 1 << 20
)

// CreateBackup streams the state, as a backup that can be restored.
func (s *Server) CreateBackup(req *sentinelv1.CreateBackupRequest, stream grpc.ServerStreamingServer[sentinelv1.CreateBackupResponse]) error {
	st, age, err := s.read(stream.Context(), req.GetConsistency())
	if err != nil {
		return err
	}
	out := &pieces{send: func(data []byte) error {
		return stream.Send(&sentinelv1.CreateBackupResponse{ClusterId: st.Cluster().Era, Revision: st.Index(), AgeMs: age, Data: data})
	}}
	err = raftfsm.WriteBackup(out, &raftfsm.Backup{
		State: st, TakenAtMs: time.Now().UnixMilli(), Node: s.node.Status().NodeID, Version: s.version,
		Local: req.GetConsistency() == sentinelv1.Consistency_CONSISTENCY_LOCAL, AgeMs: age,
	})
	if err == nil {
		err = out.flush()
	}
	if err != nil {
		return s.readError(err)
	}
	s.log.Info("backup taken", "actor", s.actor(stream.Context()), "index", st.Index(), "masters", st.MasterCount())
	return nil
}

// pieces sends what is written in messages of about [backupPiece].
type pieces struct {
	buf  []byte
	send func([]byte) error
}

func (p *pieces) Write(data []byte) (int, error) {
	p.buf = append(p.buf, data...)
	if len(p.buf) < backupPiece {
		return len(data), nil
	}
	return len(data), p.flush()
}

func (p *pieces) flush() error {
	if len(p.buf) == 0 {
		return nil
	}
	err := p.send(p.buf)
	p.buf = nil
	return err
}

// RestoreBackup takes the state back to a backup. Whole it is proposed by the leader: what nodes tell each other one by one is
// smaller than a backup may be.
func (s *Server) RestoreBackup(stream grpc.ClientStreamingServer[sentinelv1.RestoreBackupRequest, sentinelv1.RestoreBackupResponse]) error {
	wish, err := receiveBackup(stream)
	if err != nil {
		return err
	}
	ctx, cancel := bound(stream.Context())
	defer cancel()
	restore := s.restoreHere
	if s.node.Status().Role != RoleLeader {
		restore = s.restoreAtLeader
	}
	out, err := restore(ctx, wish)
	if err != nil {
		return err
	}
	return stream.SendAndClose(out)
}

// receiveBackup gives the first message with all data.
func receiveBackup(stream grpc.ClientStreamingServer[sentinelv1.RestoreBackupRequest, sentinelv1.RestoreBackupResponse]) (*sentinelv1.RestoreBackupRequest, error) {
	var wish *sentinelv1.RestoreBackupRequest
	for {
		part, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF) && wish == nil:
			return nil, invalid("data: there is none")
		case errors.Is(err, io.EOF):
			return wish, nil
		case err != nil:
			return nil, err
		case len(part.GetData()) > maxPiece:
			return nil, invalid("data: a piece has %d bytes; at most %d are allowed", len(part.GetData()), maxPiece)
		case wish == nil:
			wish = part
		default:
			wish.Data = append(wish.GetData(), part.GetData()...)
		}
		if len(wish.GetData()) > raftfsm.MaxBackupBytes {
			return nil, invalid("data: a backup of more than %d bytes cannot be restored", raftfsm.MaxBackupBytes)
		}
	}
}

// restoreAtLeader passes a backup on.
func (s *Server) restoreAtLeader(ctx context.Context, wish *sentinelv1.RestoreBackupRequest) (*sentinelv1.RestoreBackupResponse, error) {
	conn, out, err := s.toLeader(ctx, true)
	if err != nil {
		return nil, err
	}
	stream, err := sentinelv1.NewClusterServiceClient(conn).RestoreBackup(out)
	if err != nil {
		return nil, s.forwardError(err, true)
	}
	for part := range slices.Chunk(wish.GetData(), backupPiece) {
		err := stream.Send(&sentinelv1.RestoreBackupRequest{Replace: wish.GetReplace(), ValidateOnly: wish.GetValidateOnly(), Data: part})
		if err != nil {
			break // the answer says why
		}
	}
	resp, err := stream.CloseAndRecv()
	if err != nil {
		return nil, s.forwardError(err, true)
	}
	return resp, nil
}

// restoreHere is the leader's part.
func (s *Server) restoreHere(ctx context.Context, wish *sentinelv1.RestoreBackupRequest) (*sentinelv1.RestoreBackupResponse, error) {
	b, err := raftfsm.ReadBackup(bytes.NewReader(wish.GetData()))
	if errors.Is(err, raftfsm.ErrTooNew) {
		return nil, fail(codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_FEATURE_LEVEL, "%v", err)
	}
	if err != nil {
		return nil, invalid("data: %v", err)
	}
	base, err := s.fresh(ctx)
	if err != nil {
		return nil, err
	}
	era := eraOf(base.Cluster().ID, wish.GetData(), "")
	if !wish.GetReplace() && base.Cluster().Era == era && holds(base, b.State) {
		return restored(base, base.Index(), b.State), nil
	}
	if wish.GetReplace() || base.Cluster().Era == era { // it comes back once more
		era = eraOf(base.Cluster().ID, wish.GetData(), rand.Text())
	}
	restore, err := b.Restore(era, wish.GetReplace())
	if err != nil {
		return nil, invalid("data: %v", err)
	}
	if size := proto.Size(restore); size > raftfsm.MaxRestoreBytes {
		return nil, fail(codes.FailedPrecondition, sentinelv1.ErrorReason_ERROR_REASON_CONFLICT,
			"the backup takes %d bytes in the log; at most %d are allowed", size, raftfsm.MaxRestoreBytes)
	}
	out, err := s.carryOut(ctx, base, change{
		command:  &raftlogv1.Command{Op: &raftlogv1.Command_Restore{Restore: restore}},
		validate: wish.GetValidateOnly(),
	})
	if err != nil {
		return nil, err
	}
	s.record(ctx, "restore", "", out, wish.GetValidateOnly())
	resp := restored(out.st, out.index, b.State)
	resp.Changed = out.changed
	for m := range base.Masters() {
		if _, stays := b.State.Master(m.Name); !stays {
			resp.Removed = append(resp.Removed, m.Name)
		}
	}
	if wish.GetValidateOnly() {
		resp.ClusterId = base.Cluster().Era
	}
	return resp, nil
}

func restored(st *raftfsm.State, revision uint64, from *raftfsm.State) *sentinelv1.RestoreBackupResponse {
	return &sentinelv1.RestoreBackupResponse{
		ClusterId: st.Cluster().Era, Revision: revision, Masters: uint32(from.MasterCount()), Epoch: st.Epoch(),
	}
}

// eraOf is the id that a cluster is known by once a backup is restored. It is made from both, so that whoever does not know
// whether that was done can ask for it again. The nonce, "" for none, makes it another one.
func eraOf(cluster string, backup []byte, nonce string) string {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%s\x00%s\x00", cluster, nonce) // a hash takes everything
	_, _ = h.Write(backup)
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// holds tells whether a state has every master of another one.
func holds(st, other *raftfsm.State) bool {
	for m := range other.Masters() {
		if _, ok := st.Master(m.Name); !ok {
			return false
		}
	}
	return true
}
