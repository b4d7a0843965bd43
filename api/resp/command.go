package resp

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/raftsentinel/raftsentinel/api"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// command is a row of a table.
type command struct {
	// arity counts the command's words; negative means at least that many.
	arity int
	// answer gets the words behind the command, or behind the subcommand, which are valid until it returns. nil is no answer.
	answer func(s *Server, ctx context.Context, c *conn, args []string) reply
	// subscribed: a RESP2 connection with subscriptions may send it too. Other answers it could not tell from messages.
	subscribed bool
}

// commands are all that are known.
var commands = map[string]command{
	"ping":         {-1, (*Server).ping, true},
	"quit":         {-1, (*Server).quit, true},
	"reset":        {1, (*Server).resetConn, true},
	"subscribe":    {-2, byChannel.subscribe, true},
	"unsubscribe":  {-1, byChannel.unsubscribe, true},
	"psubscribe":   {-2, byPattern.subscribe, true},
	"punsubscribe": {-1, byPattern.unsubscribe, true},
	"info":         {arity: -1, answer: (*Server).info},
	"sentinel":     {arity: -2, answer: container("sentinel", subcommands)},
}

// subcommands of SENTINEL; args of their answers begin behind the subcommand.
var subcommands = map[string]command{
	"master":                   {arity: 3, answer: (*Server).master},
	"primary":                  {arity: 3, answer: (*Server).master},
	"masters":                  {arity: 2, answer: (*Server).masters},
	"primaries":                {arity: 2, answer: (*Server).masters},
	"replicas":                 {arity: 3, answer: (*Server).replicas},
	"slaves":                   {arity: 3, answer: (*Server).replicas},
	"get-master-addr-by-name":  {arity: 3, answer: (*Server).masterAddr},
	"get-primary-addr-by-name": {arity: 3, answer: (*Server).masterAddr},
	"monitor":                  {arity: 6, answer: (*Server).monitor},
	"remove":                   {arity: 3, answer: (*Server).remove},
	"set":                      {arity: -5, answer: (*Server).set},
	"ckquorum":                 {arity: 3, answer: (*Server).ckquorum},
	"myid":                     {arity: 2, answer: (*Server).myid},
}

// answer runs one command.
func (s *Server) answer(ctx context.Context, c *conn, args []string) reply {
	cmd, ok := find(commands, args[0])
	switch {
	case !ok:
		return unknownCommand(args)
	case !fits(cmd.arity, len(args)):
		return arity(strings.ToLower(args[0]))
	case c.proto < 3 && c.subscriptions.count() > 0 && !cmd.subscribed:
		return failure(fmt.Sprintf("ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
			strings.ToLower(args[0])))
	}
	return cmd.answer(s, ctx, c, args[1:])
}

// container answers a command whose second word is a command of the table.
func container(name string, table map[string]command) func(*Server, context.Context, *conn, []string) reply {
	return func(s *Server, ctx context.Context, c *conn, args []string) reply {
		cmd, ok := find(table, args[0])
		switch {
		case !ok:
			return failure(fmt.Sprintf("ERR unknown subcommand '%s'. Try %s HELP.", shorten(args[0], 128), strings.ToUpper(name)))
		case !fits(cmd.arity, len(args)+1):
			return arity(name + "|" + strings.ToLower(args[0]))
		}
		return cmd.answer(s, ctx, c, args[1:])
	}
}

// longestName bounds the names of commands.
const longestName = 32

// find looks a command up by its name in any case.
func find(table map[string]command, word string) (command, bool) {
	var name [longestName]byte
	if len(word) > longestName {
		return command{}, false
	}
	for i := range len(word) {
		name[i] = word[i]
		if c := word[i]; c >= 'A' && c <= 'Z' {
			name[i] = c + 'a' - 'A'
		}
	}
	cmd, ok := table[string(name[:len(word)])]
	return cmd, ok
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

func (s *Server) ping(_ context.Context, c *conn, args []string) reply {
	listening := c.proto < 3 && c.subscriptions.count() > 0
	switch {
	case len(args) > 1:
	case listening:
		return push{bulk("pong"), bulk(strings.Join(args, ""))}
	case len(args) == 0:
		return simple("PONG")
	default:
		return bulk(args[0])
	}
	return arity("ping")
}

// quit is answered although Redis 7's Sentinel does not know it: health checks of old send it.
func (s *Server) quit(_ context.Context, c *conn, _ []string) reply {
	c.quit = true
	return simple("OK")
}

// resetConn makes a connection like a new one.
func (s *Server) resetConn(_ context.Context, c *conn, _ []string) reply {
	s.subscribers.leave(c)
	c.speak(2)
	c.mute, c.skip = false, false
	c.tell(func(t *clientTold) { t.name, t.channels, t.patterns = "", 0, 0 })
	return simple("RESET")
}

func (s *Server) myid(context.Context, *conn, []string) reply {
	return bulk(api.SentinelID(s.o.Node.Status().NodeID))
}

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

// lookup is the state and a master of it, or the error to answer.
func (s *Server) lookup(name string) (*raftfsm.State, *raftfsm.Master, reply) {
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

func (s *Server) masterAddr(_ context.Context, _ *conn, args []string) reply {
	_, m, refusal := s.lookup(args[0])
	switch {
	case refusal == errNoMaster:
		return nullArray{}
	case refusal != nil:
		return refusal
	}
	return endpoint(m.Address)
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
