package api

import (
	"sync"

	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// hub encodes what watchers are told, once for all of them. It has no goroutine and no queue: every watcher wakes by itself
// when the node's state changes, and the state is the buffer: its list of changes for masters, its ring for events. A slow
// watcher holds nothing up and costs nothing but its own stream.
type hub struct {
	mu sync.Mutex
	// cluster whose frames these are; indexes mean nothing in another.
	cluster string
	// masters are the frames of the newest state that a watcher has asked for.
	state   *raftfsm.State
	masters map[string]frame
	// events are the frames of whole entries, by index.
	events map[uint64]frame
}

// hubEvents bounds the event frames that are kept; watchers that follow closely need few.
const hubEvents = 512

// frame is an encoded message, shared by streams and never changed.
type frame []byte

func newHub() *hub { return &hub{masters: map[string]frame{}, events: map[uint64]frame{}} }

// master is the message that tells the present value of m in st.
func (h *hub) master(st *raftfsm.State, m *raftfsm.Master) (frame, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.enter(st)
	if h.state != st {
		if h.state != nil && h.state.Index() > st.Index() {
			return encodeMaster(st, m) // a slow watcher; its values are not for others
		}
		h.state = st
		clear(h.masters)
	}
	if f, ok := h.masters[m.Name]; ok {
		return f, nil
	}
	f, err := encodeMaster(st, m)
	if err == nil {
		h.masters[m.Name] = f
	}
	return f, err
}

// enter drops what belongs to another cluster than st's.
func (h *hub) enter(st *raftfsm.State) {
	if id := st.Cluster().Era; h.cluster != id {
		h.cluster, h.state = id, nil
		clear(h.masters)
		clear(h.events)
	}
}

func encodeMaster(st *raftfsm.State, m *raftfsm.Master) (frame, error) {
	return proto.Marshal(&sentinelv1.WatchMastersResponse{
		ClusterId: st.Cluster().Era, Revision: m.Revision,
		Update: &sentinelv1.WatchMastersResponse_Master{Master: view{st: st}.master(m)},
	})
}

// batch is the message with events of one entry. whole tells that these are all of them, so that others may have it too.
func (h *hub) batch(st *raftfsm.State, events []raftfsm.Event, whole bool) (frame, error) {
	index := events[0].Index
	h.mu.Lock()
	defer h.mu.Unlock()
	h.enter(st)
	if f, ok := h.events[index]; ok && whole {
		return f, nil
	}
	v := view{st: st}
	batch := &sentinelv1.EventBatch{}
	for _, e := range events {
		batch.Events = append(batch.Events, v.event(e))
	}
	f, err := proto.Marshal(&sentinelv1.WatchEventsResponse{
		ClusterId: st.Cluster().Era, Revision: index, Update: &sentinelv1.WatchEventsResponse_Batch{Batch: batch},
	})
	if err != nil || !whole {
		return f, err
	}
	if len(h.events) >= hubEvents {
		clear(h.events)
	}
	h.events[index] = f
	return f, nil
}

// frameCodec is gRPC's protobuf codec, which lets frames through as they are.
type frameCodec struct{}

// Name is that of the protobuf codec.
func (frameCodec) Name() string { return grpcproto.Name }

// Marshal encodes a message, or takes a frame's bytes. They are shared: a SliceBuffer is not pooled.
func (frameCodec) Marshal(v any) (mem.BufferSlice, error) {
	if f, ok := v.(frame); ok {
		return mem.BufferSlice{mem.SliceBuffer(f)}, nil
	}
	return encoding.GetCodecV2(grpcproto.Name).Marshal(v)
}

// Unmarshal decodes a message.
func (frameCodec) Unmarshal(data mem.BufferSlice, v any) error {
	return encoding.GetCodecV2(grpcproto.Name).Unmarshal(data, v)
}
