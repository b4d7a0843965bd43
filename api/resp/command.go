package resp

import (
	"context"
	"fmt"
	"strings"

	"github.com/raftsentinel/raftsentinel/api"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// command is a row of the table: arity counts the command's words, negative means at least that many.
type command struct {
	arity  int
	answer func(s *Server, ctx context.Context, args []string) reply
}

// commands are those beside SENTINEL.
var commands = map[string]command{
	"ping": {-1, (*Server).ping},
	"info": {-1, (*Server).info},
	"quit": {-1, func(*Server, context.Context, []string) reply { return simple("OK") }},
}

// subcommands of SENTINEL; args of their answers begin behind the subcommand.
var subcommands = map[string]command{
	"master":                   {3, (*Server).master},
	"primary":                  {3, (*Server).master},
	"masters":                  {2, (*Server).masters},
	"primaries":                {2, (*Server).masters},
	"replicas":                 {3, (*Server).replicas},
	"slaves":                   {3, (*Server).replicas},
	"get-master-addr-by-name":  {3, (*Server).masterAddr},
	"get-primary-addr-by-name": {3, (*Server).masterAddr},
	"monitor":                  {6, (*Server).monitor},
	"remove":                   {3, (*Server).remove},
	"set":                      {-5, (*Server).set},
	"ckquorum":                 {3, (*Server).ckquorum},
	"myid":                     {2, (*Server).myid},
}

// answer runs one command. quit tells that the connection is to be closed behind the answer.
func (s *Server) answer(ctx context.Context, args []string) (r reply, quit bool) {
	name := strings.ToLower(args[0])
	if name == "sentinel" {
		return s.sentinel(ctx, args), false
	}
	c, ok := commands[name]
	if !ok {
		return unknownCommand(args), false
	}
	if !fits(c.arity, len(args)) {
		return arity(name), false
	}
	return c.answer(s, ctx, args[1:]), name == "quit"
}

func (s *Server) sentinel(ctx context.Context, args []string) reply {
	if len(args) < 2 {
		return arity("sentinel")
	}
	sub := strings.ToLower(args[1])
	c, ok := subcommands[sub]
	if !ok {
		return failure(fmt.Sprintf("ERR unknown subcommand '%s'. Try SENTINEL HELP.", shorten(args[1], 128)))
	}
	if !fits(c.arity, len(args)) {
		return arity("sentinel|" + sub)
	}
	return c.answer(s, ctx, args[2:])
}

func fits(arity, n int) bool { return n == arity || (arity < 0 && n >= -arity) }

func arity(name string) reply {
	return failure(fmt.Sprintf("ERR wrong number of arguments for '%s' command", name))
}

// unknownCommand is Redis's text (server.c, commandCheckExistence), with its space at the end.
func unknownCommand(args []string) reply {
	var b strings.Builder
	for _, a := range args[1:] {
		if b.Len() >= 128 {
			break
		}
		fmt.Fprintf(&b, "'%s' ", shorten(a, 128-b.Len()))
	}
	return failure(fmt.Sprintf("ERR unknown command '%s', with args beginning with: %s", shorten(args[0], 128), b.String()))
}

func shorten(s string, n int) string { return s[:min(len(s), n)] }

func (s *Server) ping(_ context.Context, args []string) reply {
	switch len(args) {
	case 0:
		return simple("PONG")
	case 1:
		return bulk(args[0])
	}
	return arity("ping")
}

func (s *Server) myid(context.Context, []string) reply { return bulk(api.SentinelID(s.o.Node.Status().NodeID)) }

// local is the state that look-ups are answered from, or why there is none to tell.
func (s *Server) local() (*raftfsm.State, reply) {
	st, _, err := s.o.Node.Local()
	if err == nil {
		return st, nil
	}
	switch s.o.Classify(err) {
	case api.FailureLoading:
		return nil, failure("LOADING sentineld has not caught up with its cluster since it started")
	case api.FailureRemoved:
		return nil, failure("ERR this node was removed from its cluster; ask another one")
	case api.FailureOther, api.FailureNoLeader, api.FailureUnknownOutcome:
	}
	return nil, failure("ERR " + err.Error())
}

// find is the state and a master of it, or the error to answer.
func (s *Server) find(name string) (*raftfsm.State, *raftfsm.Master, reply) {
	st, refusal := s.local()
	if refusal != nil {
		return nil, nil, refusal
	}
	m, ok := st.Master(name)
	if !ok {
		return nil, nil, errNoMaster
	}
	return st, m, nil
}

const errNoMaster = failure("ERR No such master with that name")

func (s *Server) masterAddr(_ context.Context, args []string) reply {
	_, m, refusal := s.find(args[0])
	switch {
	case refusal == errNoMaster:
		return nullArray{}
	case refusal != nil:
		return refusal
	}
	return fields{m.Address.Host, port(m.Address)}
}
