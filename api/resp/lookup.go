package resp

import (
	"context"
	"strconv"

	"github.com/raftsentinel/raftsentinel/api"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// local is the state that look-ups are answered from, or why there is none to tell. Look-ups that came together and follow
// one upon the other get the same one: their answers agree with each other.
func (s *Server) local(c *conn) (*raftfsm.State, reply) {
	if c.st != nil {
		return c.st, nil
	}
	st, _, err := s.o.Node.Local()
	if err == nil {
		c.st = st
		return st, nil
	}
	switch s.o.Classify(err) {
	case api.FailureLoading:
		return nil, failure("LOADING sentineld has not caught up with its cluster since it started")
	case api.FailureRemoved:
		return nil, failure("ERR this node was removed from its cluster; ask another one")
	case api.FailureOther, api.FailureNoLeader, api.FailureUnknownOutcome, api.FailureRefused:
	}
	return nil, failure("ERR " + err.Error())
}

// lookup is the state and a master of it, or the error to answer.
func (s *Server) lookup(c *conn, name string) (*raftfsm.State, *raftfsm.Master, reply) {
	st, refusal := s.local(c)
	if refusal != nil {
		return nil, nil, refusal
	}
	m, known := st.Master(name)
	if !known {
		return nil, nil, errNoMaster
	}
	return st, m, nil
}

const errNoMaster = failure("ERR No such master with that name")

func (s *Server) myid(context.Context, *conn, []string) reply {
	return bulk(api.SentinelID(s.o.Node.Status().NodeID))
}

func (s *Server) masterAddr(_ context.Context, c *conn, args []string) reply {
	st, m, refusal := s.lookup(c, args[0])
	switch {
	case refusal == errNoMaster:
		return nullArray{}
	case refusal != nil:
		return refusal
	}
	return endpoint(st.Told(m.Address))
}

// endpoint is an address as a pair of host and port.
type endpoint raftfsm.Addr

func (r endpoint) append(b []byte, _ int) []byte {
	b = appendBulk(header(b, '*', 2), r.Host)
	var digits [5]byte
	number := strconv.AppendUint(digits[:0], uint64(r.Port), 10)
	b = append(header(b, '$', len(number)), number...)
	return append(b, "\r\n"...)
}

// role is a Sentinel's: the names of the masters.
func (s *Server) role(_ context.Context, c *conn, _ []string) reply {
	st, refusal := s.local(c)
	if refusal != nil {
		return refusal
	}
	names := make(array, 0, st.MasterCount())
	for m := range st.Masters() {
		names = append(names, bulk(m.Name))
	}
	return array{bulk("sentinel"), names}
}

// isMasterDown is this node's own verdict on the master at an address. An old Sentinel that asks for a vote gets none: here
// the log decides, and nobody is elected for one master.
func (s *Server) isMasterDown(_ context.Context, c *conn, args []string) reply {
	n, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return errNoNumber
	}
	if _, err := strconv.ParseInt(args[2], 10, 64); err != nil {
		return errNoNumber
	}
	st, refusal := s.local(c)
	if refusal != nil {
		return refusal
	}
	down := integer(0)
	if n >= 1 && n <= 65535 {
		if m := masterAt(st, raftfsm.Addr{Host: args[0], Port: uint16(n)}); m != nil && s.lookAtMaster(st, m).sdown() {
			down = 1
		}
	}
	return array{down, bulk("*"), integer(0)}
}

// masterAt finds the set whose master is at an address, as it is known or as clients are told; nil for none.
func masterAt(st *raftfsm.State, a raftfsm.Addr) *raftfsm.Master {
	if m, owned := st.Owner(a); owned {
		return choose(m.Address == a, m, nil)
	}
	for m := range st.Masters() {
		if m.Address.Port == a.Port && m.Address.IsName() && st.Told(m.Address) == a {
			return m
		}
	}
	return nil
}

// infoCache answers with what the masters that are named, and their replicas, said of themselves last, and how long ago.
func (s *Server) infoCache(_ context.Context, c *conn, args []string) reply {
	st, refusal := s.local(c)
	if refusal != nil {
		return refusal
	}
	out, told := array{}, map[string]bool{}
	for _, name := range args {
		m, known := st.Master(name)
		if !known || told[m.Name] {
			continue
		}
		told[m.Name] = true
		api.HeedSet(s.o.Fleet, m)
		all := array{s.lookAtMaster(st, m).cached()}
		for _, in := range m.Replicas() {
			all = append(all, s.look(st, m, in).cached())
		}
		out = append(out, bulk(m.Name), all)
	}
	return out
}

func (l look) cached() reply {
	if l.seen.Info == nil {
		return array{integer(0), null{}}
	}
	return array{integer(l.since(l.seen.InfoAt)), bulk(l.seen.Info.Text)}
}
