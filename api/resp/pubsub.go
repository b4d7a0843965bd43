package resp

import (
	"context"
	"maps"
	"math"
	"slices"
	"sync"

	"github.com/raftsentinel/raftsentinel/api"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// subscriptionLimit bounds what the subscriptions of one connection take in memory, in bytes: about a thousand.
const subscriptionLimit = 256 << 10

// kind is one of the two ways to subscribe, with the commands that begin and end it and that its answers begin with.
type kind int

const (
	byChannel kind = iota
	byPattern
)

var kindWords = [2]struct{ on, off string }{{"subscribe", "unsubscribe"}, {"psubscribe", "punsubscribe"}}

// subscriptions are those of one connection; its own goroutine's.
type subscriptions struct {
	names [2]map[string]struct{}
	bytes int
}

func (s *subscriptions) count() int { return len(s.names[byChannel]) + len(s.names[byPattern]) }

// subscribers finds who listens to a channel.
type subscribers struct {
	mu        sync.Mutex
	audiences [2]audience
	messages  int64 // that were sent
}

// audience are the connections that subscribed to each name.
type audience map[string]map[*conn]struct{}

func (a audience) add(name string, c *conn) {
	if a[name] == nil {
		a[name] = map[*conn]struct{}{}
	}
	a[name][c] = struct{}{}
}

func (a audience) remove(name string, c *conn) {
	delete(a[name], c)
	if len(a[name]) == 0 {
		delete(a, name)
	}
}

// leave ends all subscriptions of a connection.
func (s *subscribers) leave(c *conn) {
	if c.subscriptions.count() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, names := range c.subscriptions.names {
		for name := range names {
			s.audiences[k].remove(name, c)
		}
	}
	c.subscriptions = subscriptions{}
}

func (s *Server) subscribe(_ context.Context, c *conn, names []string) reply {
	return byChannel.subscribe(s, c, names)
}

func (s *Server) psubscribe(_ context.Context, c *conn, names []string) reply {
	return byPattern.subscribe(s, c, names)
}

func (s *Server) unsubscribe(_ context.Context, c *conn, names []string) reply {
	return byChannel.unsubscribe(s, c, names)
}

func (s *Server) punsubscribe(_ context.Context, c *conn, names []string) reply {
	return byPattern.unsubscribe(s, c, names)
}

// subscribe answers (P)SUBSCRIBE, once for each name. The answer goes out under the lock under which messages do: none of the
// channel comes before it, and none after it is missed.
func (k kind) subscribe(s *Server, c *conn, names []string) reply {
	defer c.countSubscriptions()
	own := &c.subscriptions.names[k]
	for _, name := range names {
		if _, has := (*own)[name]; !has {
			if c.subscriptions.bytes+cost(name) > subscriptionLimit {
				return failure("ERR too many subscriptions on one connection")
			}
			c.subscriptions.bytes += cost(name)
		}
		s.subscribers.mu.Lock()
		if *own == nil {
			*own = map[string]struct{}{}
		}
		(*own)[name] = struct{}{}
		s.subscribers.audiences[k].add(name, c)
		c.send(push{bulk(kindWords[k].on), bulk(name), integer(c.subscriptions.count())}.append(nil, c.proto))
		s.subscribers.mu.Unlock()
	}
	return nil
}

// cost is about what a subscription takes in memory, in bytes.
func cost(name string) int { return len(name) + 256 }

// unsubscribe answers (P)UNSUBSCRIBE, once for each name; without names it ends all of the kind. As in Redis that it is
// confirmed is no reply, which CLIENT REPLY could keep back.
func (k kind) unsubscribe(s *Server, c *conn, names []string) reply {
	own := c.subscriptions.names[k]
	if len(names) == 0 {
		names = slices.Sorted(maps.Keys(own))
	}
	if len(names) == 0 {
		c.out = push{bulk(kindWords[k].off), null{}, integer(c.subscriptions.count())}.append(c.out, c.proto)
		return nil
	}
	s.subscribers.mu.Lock()
	for _, name := range names {
		if _, has := own[name]; has {
			c.subscriptions.bytes -= cost(name)
			delete(own, name)
			s.subscribers.audiences[k].remove(name, c)
		}
		c.out = push{bulk(kindWords[k].off), bulk(name), integer(c.subscriptions.count())}.append(c.out, c.proto)
	}
	s.subscribers.mu.Unlock()
	c.countSubscriptions()
	return nil
}

// speak sets the protocol version; the publisher reads it under the same lock.
func (c *conn) speak(proto int) {
	c.s.subscribers.mu.Lock()
	c.proto = proto
	c.s.subscribers.mu.Unlock()
	c.tell(func(t *clientTold) { t.proto = proto })
}

func (c *conn) countSubscriptions() {
	c.tell(func(t *clientTold) {
		t.channels, t.patterns = len(c.subscriptions.names[byChannel]), len(c.subscriptions.names[byPattern])
	})
}

// message is what is published, encoded once for everyone who gets the same bytes.
type message struct {
	head   push
	frames [4][]byte // by protocol version
}

func (m *message) frame(proto int) []byte {
	if m.frames[proto] == nil {
		m.frames[proto] = m.head.append(nil, proto)
	}
	return m.frames[proto]
}

// publish sends a message to everyone who listens: to the subscribers of the channel first, as Redis does. Each gets
// what the connection takes at once; nobody is waited for.
func (s *subscribers) publish(channel, payload string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := message{head: push{bulk("message"), bulk(channel), bulk(payload)}}
	for c := range s.audiences[byChannel][channel] {
		c.send(m.frame(c.proto))
		s.messages++
	}
	for pattern, listeners := range s.audiences[byPattern] {
		if !raftfsm.Glob(pattern, channel) {
			continue
		}
		m := message{head: push{bulk("pmessage"), bulk(pattern), bulk(channel), bulk(payload)}}
		for c := range listeners {
			c.send(m.frame(c.proto))
			s.messages++
		}
	}
}

func (s *subscribers) count() (channels, patterns int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.audiences[byChannel]), len(s.audiences[byPattern])
}

func (s *subscribers) none() bool {
	channels, patterns := s.count()
	return channels == 0 && patterns == 0
}

// Publish tells subscribers what only this node knows, such as that a script failed.
func (s *Server) Publish(channel, payload string) { s.subscribers.publish(channel, payload) }

// tellEvents publishes the events of the replicated state as they are applied here, in their order, until ctx ends. What was
// applied before the node could answer is history.
func (s *Server) tellEvents(ctx context.Context) {
	var cluster, self string
	var after raftfsm.Cursor
	for {
		changed := s.o.Node.Changed()
		st, _, err := s.o.Node.Local()
		if err == nil {
			if id := st.Cluster().ID; id != cluster {
				cluster, self, after = id, s.o.Node.Status().RaftID, endOf(st)
			}
			s.tell(st, self, after)
			after = endOf(st)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// endOf is the cursor behind every event of a state.
func endOf(st *raftfsm.State) raftfsm.Cursor {
	return raftfsm.Cursor{Index: st.Index(), Ordinal: math.MaxUint32 - 1}
}

// tell publishes the events after a cursor. self is this node's Raft id, which is the same for as long as it is in one cluster.
func (s *Server) tell(st *raftfsm.State, self string, after raftfsm.Cursor) {
	if after.Index == st.Index() || s.subscribers.none() {
		return
	}
	events, _ := st.EventsSince(after)
	for e := range events {
		for _, n := range api.Notices(st, self, e) {
			s.subscribers.publish(n.Channel, n.Payload)
		}
	}
}
