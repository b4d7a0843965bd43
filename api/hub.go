package api

import (
	"slices"
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
	// masters are the frames of the newest state that a watcher has asked for, and news those that tell what is new in it, by
	// the index that the watchers have come to.
	state   *raftfsm.State
	masters map[string]frame
	news    map[uint64][]frame
	// events are the frames of whole entries, by index.
	events map[uint64]frame
}

// hubEvents bounds the event frames that are kept; watchers that follow closely need few.
const hubEvents = 512

// frame is an encoded message as gRPC takes it, shared by streams and never changed.
type frame mem.BufferSlice

// encode makes a frame. Its buffer is not pooled: whoever has sent it leaves it as it is.
func encode(m proto.Message) (frame, error) {
	b, err := proto.Marshal(m)
	if err != nil {
		return nil, err
	}
	return frame{mem.SliceBuffer(b)}, nil
}

func newHub() *hub {
	return &hub{masters: map[string]frame{}, news: map[uint64][]frame{}, events: map[uint64]frame{}}
}

// since are the messages that tell what is new in st after an index, in the order of the last changes; of the named masters
// alone, unless there are none. All watchers without names that have come as far share them.
func (h *hub) since(st *raftfsm.State, after uint64, names []string) ([]frame, error) {
	if len(names) > 0 {
		return h.gather(st, after, names)
	}
	if frames, ok := h.known(st, after); ok {
		return frames, nil
	}
	frames, err := h.gather(st, after, nil)
	if err == nil {
		h.keep(st, after, frames)
	}
	return frames, err
}

func (h *hub) known(st *raftfsm.State, after uint64) ([]frame, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.enter(st) {
		return nil, false
	}
	frames, ok := h.news[after]
	return frames, ok
}

func (h *hub) keep(st *raftfsm.State, after uint64, frames []frame) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.enter(st) {
		h.news[after] = frames
	}
}

// gather tells of present values and of removals. Who has nothing, being at index 0, needs no removals.
func (h *hub) gather(st *raftfsm.State, after uint64, names []string) ([]frame, error) {
	var out []frame
	for name := range st.ChangedSince(after) {
		if len(names) > 0 && !slices.Contains(names, name) {
			continue
		}
		var f frame
		m, ok := st.Master(name)
		var err error
		switch {
		case ok:
			f, err = h.master(st, m)
		case after == 0:
			continue
		default:
			f, err = encodeRemoval(st, name, after)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

// master is the message that tells the present value of m in st.
func (h *hub) master(st *raftfsm.State, m *raftfsm.Master) (frame, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.enter(st) {
		return encodeMaster(st, m) // a slow watcher; its values are not for others
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

// enter drops what belongs to another cluster than st's, and what a newer state makes old. It tells whether st is the newest.
func (h *hub) enter(st *raftfsm.State) (newest bool) {
	if id := st.Cluster().Era; h.cluster != id {
		h.cluster, h.state = id, nil
		clear(h.events)
	}
	if h.state == st {
		return true
	}
	if h.state != nil && h.state.Index() > st.Index() {
		return false
	}
	h.state = st
	clear(h.masters)
	clear(h.news)
	return true
}

func encodeMaster(st *raftfsm.State, m *raftfsm.Master) (frame, error) {
	return encode(&sentinelv1.WatchMastersResponse{
		ClusterId: st.Cluster().Era, Revision: m.Revision,
		Update: &sentinelv1.WatchMastersResponse_Master{Master: view{st: st}.master(m)},
	})
}

func encodeRemoval(st *raftfsm.State, name string, after uint64) (frame, error) {
	at, ok := st.Tombstone(name)
	if !ok {
		at = after
	}
	return encode(&sentinelv1.WatchMastersResponse{
		ClusterId: st.Cluster().Era, Revision: at,
		Update: &sentinelv1.WatchMastersResponse_Removed{Removed: &sentinelv1.MasterRemoved{Name: name}},
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
	f, err := encode(&sentinelv1.WatchEventsResponse{
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

// Marshal encodes a message, or takes a frame as it is.
func (frameCodec) Marshal(v any) (mem.BufferSlice, error) {
	if f, ok := v.(frame); ok {
		return mem.BufferSlice(f), nil
	}
	return encoding.GetCodecV2(grpcproto.Name).Marshal(v)
}

// Unmarshal decodes a message.
func (frameCodec) Unmarshal(data mem.BufferSlice, v any) error {
	return encoding.GetCodecV2(grpcproto.Name).Unmarshal(data, v)
}
