package resp

import (
	"context"
	"fmt"
	"strings"
)

// command is a row of a table.
type command struct {
	// name in full, such as client|list; the table gives it.
	name string
	// arity counts the command's words; negative means at least that many.
	arity int
	// answer gets the words behind the command, or behind the subcommand, which are valid until it returns. nil is no answer.
	answer func(s *Server, ctx context.Context, c *conn, args []string) reply
	// subcommands are told apart by the second word. Without one, answer answers.
	subcommands map[string]command
	// subscribed: a RESP2 connection with subscriptions may send it too. Other answers it could not tell from messages.
	subscribed bool
	// instant: it changes nothing and waits for nobody, so that what came together with it may be answered from one state.
	instant bool
	// unlisted: COMMAND does not tell of it, because a Sentinel does not have it.
	unlisted bool
}

// commands are all that are known.
var commands = named("", map[string]command{
	"acl":          {arity: -2, subcommands: named("acl|", aclCommands)},
	"auth":         {arity: -2, answer: (*Server).auth},
	"client":       {arity: -2, subcommands: named("client|", clientCommands)},
	"command":      {arity: -1, answer: (*Server).commandAll, subcommands: named("command|", commandCommands)},
	"host:":        {arity: -1, answer: (*Server).foreign, subscribed: true, unlisted: true},
	"hello":        {arity: -1, answer: (*Server).hello},
	"info":         {arity: -1, answer: (*Server).info, instant: true},
	"ping":         {arity: -1, answer: (*Server).ping, subscribed: true, instant: true},
	"post":         {arity: -1, answer: (*Server).foreign, subscribed: true, unlisted: true},
	"psubscribe":   {arity: -2, answer: (*Server).psubscribe, subscribed: true},
	"publish":      {arity: 3, answer: (*Server).publish},
	"punsubscribe": {arity: -1, answer: (*Server).punsubscribe, subscribed: true},
	"quit":         {arity: -1, answer: (*Server).quit, subscribed: true, unlisted: true},
	"reset":        {arity: 1, answer: (*Server).resetConn, subscribed: true, unlisted: true},
	"role":         {arity: 1, answer: (*Server).role, instant: true},
	"sentinel":     {arity: -2, subcommands: named("sentinel|", sentinelCommands)},
	"shutdown":     {arity: -1, answer: (*Server).shutdown},
	"subscribe":    {arity: -2, answer: (*Server).subscribe, subscribed: true},
	"unsubscribe":  {arity: -1, answer: (*Server).unsubscribe, subscribed: true},
})

var sentinelCommands = map[string]command{
	"ckquorum":                 {arity: 3, answer: (*Server).ckquorum},
	"config":                   {arity: -4, answer: (*Server).config},
	"debug":                    {arity: -2, answer: (*Server).debug},
	"failover":                 {arity: -3, answer: (*Server).failover},
	"flushconfig":              {arity: 2, answer: (*Server).flushConfig},
	"get-master-addr-by-name":  {arity: 3, answer: (*Server).masterAddr, instant: true},
	"get-primary-addr-by-name": {arity: 3, answer: (*Server).masterAddr, instant: true, unlisted: true},
	"help":                     {arity: 2, answer: help("sentinel")},
	"info-cache":               {arity: -3, answer: (*Server).infoCache, instant: true},
	"is-master-down-by-addr":   {arity: 6, answer: (*Server).isMasterDown, instant: true},
	"is-primary-down-by-addr":  {arity: 6, answer: (*Server).isMasterDown, instant: true, unlisted: true},
	"master":                   {arity: 3, answer: (*Server).master, instant: true},
	"masters":                  {arity: 2, answer: (*Server).masters, instant: true},
	"monitor":                  {arity: 6, answer: (*Server).monitor},
	"myid":                     {arity: 2, answer: (*Server).myid, instant: true},
	"pending-scripts":          {arity: 2, answer: (*Server).pendingScripts, instant: true},
	"primaries":                {arity: 2, answer: (*Server).masters, instant: true, unlisted: true},
	"primary":                  {arity: 3, answer: (*Server).master, instant: true, unlisted: true},
	"remove":                   {arity: 3, answer: (*Server).remove},
	"replicas":                 {arity: 3, answer: (*Server).replicas, instant: true},
	"reset":                    {arity: 3, answer: (*Server).reset},
	"sentinels":                {arity: 3, answer: (*Server).sentinels},
	"set":                      {arity: -5, answer: (*Server).set},
	"simulate-failure":         {arity: -3, answer: (*Server).simulateFailure},
	"slaves":                   {arity: 3, answer: (*Server).replicas, instant: true},
}

// named gives the rows of a table their names.
func named(prefix string, table map[string]command) map[string]command {
	out := make(map[string]command, len(table))
	for name, cmd := range table {
		cmd.name = prefix + name
		out[name] = cmd
	}
	return out
}

// answer runs one command.
func (s *Server) answer(ctx context.Context, c *conn, args []string) reply {
	cmd, rest, bad := resolve(args)
	if bad != nil {
		return bad
	}
	if c.proto < 3 && c.subscriptions.count() > 0 && !cmd.subscribed {
		return failure(fmt.Sprintf("ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
			cmd.name))
	}
	c.last = cmd.name
	paused := s.pause.on.Load() && cmd.name != "client|unpause"
	if cmd.instant && !paused {
		return cmd.answer(s, ctx, c, rest)
	}
	// What was answered before does not wait for what may take a while.
	if !c.flush() || paused && !s.pause.sitOut(ctx) {
		c.quit = true
		return nil
	}
	c.st = nil
	r := cmd.answer(s, ctx, c, rest)
	c.st = nil
	return r
}

// foreign closes the connection without an answer: what it speaks is HTTP. A page in a browser on this machine could have it
// send commands in a request's body, and loopback is served to everybody (Redis: server.c, securityWarningCommand).
func (s *Server) foreign(_ context.Context, c *conn, _ []string) reply {
	s.o.Log.Warn("a request of another protocol, connection closed", "client", c.addr)
	c.quit = true
	return nil
}

// resolve finds the command that the words name, and the words behind its name. It checks in Redis's order.
func resolve(args []string) (cmd command, rest []string, bad reply) {
	cmd, ok := find(commands, args[0])
	rest = args[1:]
	switch {
	case !ok:
		return cmd, nil, unknownCommand(args)
	case !fits(cmd.arity, len(args)):
		return cmd, nil, arity(cmd.name)
	case cmd.subcommands == nil || len(rest) == 0:
		return cmd, rest, nil
	}
	parent := cmd
	cmd, ok = find(parent.subcommands, rest[0])
	switch {
	case !ok:
		return cmd, nil, failure(fmt.Sprintf("ERR unknown subcommand '%s'. Try %s HELP.", shorten(rest[0], 128), strings.ToUpper(parent.name)))
	case !fits(cmd.arity, len(args)):
		return cmd, nil, arity(cmd.name)
	}
	return cmd, rest[1:], nil
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

func arity(name string) failure {
	return failure(fmt.Sprintf("ERR wrong number of arguments for '%s' command", name))
}

// wrongUse is for a subcommand with more words than it takes.
func wrongUse(container, name string) reply {
	return failure("ERR unknown subcommand or wrong number of arguments for '" + name + "'. Try " + container + " HELP.")
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

const (
	errSyntax   = failure("ERR syntax error")
	errNoNumber = failure("ERR value is not an integer or out of range")
)
