package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

const (
	// bundleLimit bounds what one node takes to tell its files.
	bundleLimit = 30 * time.Second
	// bundlePart is how much of a file one message has at most, in bytes.
	bundlePart = 256 << 10
)

var (
	errBundleSilent = fmt.Errorf("no answer within %v", examineLimit)
	errBundleLate   = fmt.Errorf("not all of it came within %v", bundleLimit)
)

// bundleStream takes the files of a bug report.
type bundleStream = grpc.ServerStreamingServer[sentinelv1.CollectBundleResponse]

// CollectBundle tells the files of a bug report: this node's own, then those of each other one. What fails is told and ends
// nothing.
func (s *Server) CollectBundle(req *sentinelv1.CollectBundleRequest, stream bundleStream) error {
	if err := s.ownBundle(stream); err != nil || req.GetOwnOnly() {
		return err
	}
	st, self := s.node.State(), s.node.Status().RaftID
	for _, v := range st.Servers() {
		if v.ID == self {
			continue
		}
		if err := s.relayBundle(st, v.ID, stream); err != nil {
			return err
		}
	}
	return nil
}

// relayBundle hands on what another node tells. An error is the stream's.
func (s *Server) relayBundle(st *raftfsm.State, id string, to bundleStream) error {
	missing := func(why string) error {
		return to.Send(&sentinelv1.CollectBundleResponse{NodeId: st.NodeName(id), Error: why})
	}
	conn, err := s.node.NodeConn(to.Context(), id)
	if err != nil {
		return missing(silence(err))
	}
	ctx, cancel := context.WithTimeoutCause(asNode(to.Context()), bundleLimit, errBundleLate)
	defer cancel()
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	first := time.AfterFunc(examineLimit, func() { giveUp(errBundleSilent) })
	defer first.Stop()
	from, err := sentinelv1.NewDiagnoseServiceClient(conn).CollectBundle(ctx, &sentinelv1.CollectBundleRequest{OwnOnly: true})
	if err != nil {
		return missing(silence(err))
	}
	for {
		part, err := from.Recv()
		first.Stop()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case to.Context().Err() != nil:
			return to.Context().Err()
		case ctx.Err() != nil:
			return missing(context.Cause(ctx).Error())
		case err != nil:
			return missing(silence(err))
		}
		if err := to.Send(part); err != nil {
			return err
		}
	}
}

// ownBundle tells this node's files: what the API knows, then the papers of the process.
func (s *Server) ownBundle(to bundleStream) error {
	st := s.node.State()
	papers := []Paper{
		{"status.json", func(w io.Writer) error { return writeJSON(w, s.status()) }},
		{"nodes.json", func(w io.Writer) error { return s.writeNodes(w, st) }},
		{"masters.json", func(w io.Writer) error { return s.writeMasters(w, st) }},
		{"history.json", func(w io.Writer) error { return s.writeHistory(w, st) }},
		{"events.json", func(w io.Writer) error { return s.writeEvents(w, st) }},
		{"examination.json", func(w io.Writer) error { return writeJSON(w, s.examine(to.Context(), nil)) }},
	}
	if s.house != nil {
		papers = append(papers, s.house.Papers()...)
	}
	id := s.node.Status().NodeID
	for _, p := range papers {
		var text bytes.Buffer
		last := &sentinelv1.CollectBundleResponse{NodeId: id, Name: p.Name}
		if err := p.Write(&text); err != nil {
			last.Error = cut(err.Error(), maxReason)
		}
		for part := range slices.Chunk(text.Bytes(), bundlePart) {
			if err := to.Send(&sentinelv1.CollectBundleResponse{NodeId: id, Name: p.Name, Data: part}); err != nil {
				return err
			}
		}
		if text.Len() > 0 && last.Error == "" {
			continue
		}
		if err := to.Send(last); err != nil {
			return err
		}
	}
	return nil
}

func writeJSON(w io.Writer, m proto.Message) error {
	_, err := w.Write(append(sentinelv1.JSON(m), '\n'))
	return err
}

// writeList writes messages as one document, a line for each.
func writeList(w io.Writer, st *raftfsm.State, key string, items iter.Seq[proto.Message]) error {
	if _, err := fmt.Fprintf(w, "{\"cluster_id\":%q,\"revision\":%d,%q:[", st.Cluster().Era, st.Index(), key); err != nil {
		return err
	}
	between := "\n"
	for m := range items {
		if _, err := w.Write(append([]byte(between), sentinelv1.JSON(m)...)); err != nil {
			return err
		}
		between = ",\n"
	}
	_, err := io.WriteString(w, "\n]}\n")
	return err
}

// asMessages turns what there is into messages.
func asMessages[In any, Out proto.Message](items iter.Seq[In], convert func(In) Out) iter.Seq[proto.Message] {
	return func(yield func(proto.Message) bool) {
		for item := range items {
			if !yield(convert(item)) {
				return
			}
		}
	}
}

func (s *Server) writeNodes(w io.Writer, st *raftfsm.State) error {
	v, status, contacts := s.view(st), s.node.Status(), s.node.Contacts()
	return writeList(w, st, "nodes", asMessages(slices.Values(st.Servers()), func(m raftfsm.Server) *sentinelv1.Node {
		return v.node(m, status, contacts)
	}))
}

func (s *Server) writeMasters(w io.Writer, st *raftfsm.State) error {
	return writeList(w, st, "masters", asMessages(st.Masters(), s.view(st).master))
}

func (s *Server) writeHistory(w io.Writer, st *raftfsm.State) error {
	v := s.view(st)
	return writeList(w, st, "failovers", asMessages(slices.Values(failoverRows(st, "", "")), func(r row) *sentinelv1.Failover {
		return v.failover(r.master, r.f)
	}))
}

func (s *Server) writeEvents(w io.Writer, st *raftfsm.State) error {
	events, _ := st.EventsSince(raftfsm.Cursor{})
	return writeList(w, st, "events", asMessages(events, s.view(st).event))
}
