package fakeredis

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Replies in RESP2.
const (
	ok     = "+OK\r\n"
	queued = "+QUEUED\r\n"
)

func fail(format string, args ...any) string { return "-" + fmt.Sprintf(format, args...) + "\r\n" }

func bulk(s string) string { return "$" + strconv.Itoa(len(s)) + "\r\n" + s + "\r\n" }

func integer(n int64) string { return ":" + strconv.FormatInt(n, 10) + "\r\n" }

func array(elements ...string) string {
	return "*" + strconv.Itoa(len(elements)) + "\r\n" + strings.Join(elements, "")
}

// command is a row of the command table. arity counts the name, and is a least where it is negative.
type command struct {
	arity   int
	loading bool // allowed while loading
	stale   bool // allowed on a replica without its link
	busy    bool // allowed while a script blocks
	noAuth  bool // allowed before AUTH
	subs    bool // has subcommands
	run     func(c *client, args []string) string
}

// commands is Redis 7.0's table, as far as monitors use it. COMMAND, MULTI, EXEC and DISCARD have their place in dispatch.
var commands = map[string]command{
	"auth":      {arity: -2, loading: true, stale: true, busy: true, noAuth: true, run: (*client).auth},
	"client":    {arity: -2, loading: true, stale: true, subs: true, run: (*client).client},
	"command":   {arity: -2, loading: true, stale: true, subs: true},
	"config":    {arity: -2, loading: true, stale: true, subs: true, run: (*client).config},
	"discard":   {arity: 1, loading: true, stale: true, busy: true},
	"exec":      {arity: 1, loading: true, stale: true},
	"function":  {arity: -2, stale: true, busy: true, subs: true, run: (*client).kill},
	"info":      {arity: -1, loading: true, stale: true, run: (*client).info},
	"multi":     {arity: 1, loading: true, stale: true, busy: true},
	"ping":      {arity: -1, run: (*client).ping},
	"pubsub":    {arity: -2, loading: true, stale: true, subs: true, run: (*client).pubsub},
	"publish":   {arity: 3, loading: true, stale: true, run: (*client).publish},
	"replicaof": {arity: 3, stale: true, run: (*client).replicaOf},
	"role":      {arity: 1, loading: true, stale: true, run: (*client).role},
	"script":    {arity: -2, stale: true, busy: true, subs: true, run: (*client).kill},
	"slaveof":   {arity: 3, stale: true, run: (*client).replicaOf},
	"subscribe": {arity: -2, loading: true, stale: true, run: (*client).subscribe},
}

// find gives the usual name of the command that the instance calls word.
func (i *Instance) find(word string) (string, command, bool) {
	name := strings.ToLower(word)
	if _, gone := i.renamed[name]; gone {
		return "", command{}, false
	}
	for usual, called := range i.renamed {
		if called == name {
			name = usual
		}
	}
	cmd, found := commands[name]
	return name, cmd, found
}

// dispatch checks a command in Redis's order (server.c, processCommand) and runs or queues it.
func (c *client) dispatch(args []string) []byte {
	name, cmd, found := c.instance.find(args[0])
	if refusal := c.refuse(name, cmd, found, args); refusal != "" {
		c.dirty = c.multi
		if name == "exec" {
			refusal = "-EXECABORT Transaction discarded because of: " + strings.TrimPrefix(refusal[1:], "ERR ")
			c.multi, c.dirty, c.queued = false, false, nil
		}
		c.record(args, refusal)
		return []byte(refusal)
	}
	if c.multi && name != "exec" && name != "discard" && name != "multi" {
		c.queued = append(c.queued, args)
		return []byte(queued)
	}
	var reply string
	switch name {
	case "multi":
		reply = ok
		if c.multi {
			reply = fail("ERR MULTI calls can not be nested")
		}
		c.multi = true
	case "discard":
		reply = ok
		if !c.multi {
			reply = fail("ERR DISCARD without MULTI")
		}
		c.multi, c.dirty, c.queued = false, false, nil
	case "exec":
		reply = c.exec()
	case "command":
		reply = c.command(args)
	default:
		reply = cmd.run(c, args)
	}
	c.record(args, reply)
	return []byte(reply)
}

func (c *client) exec() string {
	if !c.multi {
		return fail("ERR EXEC without MULTI")
	}
	list, dirty := c.queued, c.dirty
	c.multi, c.dirty, c.queued = false, false, nil
	if dirty {
		return fail("EXECABORT Transaction discarded because of previous errors.")
	}
	c.inExec = true
	defer func() { c.inExec = false }()
	replies := make([]string, 0, len(list))
	for _, args := range list {
		_, cmd, _ := c.instance.find(args[0])
		reply := cmd.run(c, args)
		c.record(args, reply)
		replies = append(replies, reply)
	}
	return array(replies...)
}

// refuse is the error reply to a command that may not run now, or "".
func (c *client) refuse(name string, cmd command, found bool, args []string) string {
	i := c.instance
	switch {
	case !found:
		return fail("ERR unknown command '%.128s', with args beginning with: %s", args[0], quoted(args[1:]))
	case cmd.arity > 0 && len(args) != cmd.arity, len(args) < -cmd.arity:
		return fail("ERR wrong number of arguments for '%s' command", name)
	case !c.loggedIn && !cmd.noAuth:
		return fail("NOAUTH Authentication required.")
	case c.denies(name, cmd, args):
		return fail("NOPERM this user has no permissions to run the '%s' command", fullName(name, cmd, args))
	case i.noStale && !i.follows.IsZero() && !i.up() && !cmd.stale:
		return fail("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.")
	case i.loading && !cmd.loading:
		return fail("LOADING Redis is loading the dataset in memory")
	case i.busy && !cmd.busy:
		return fail("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.")
	}
	return ""
}

func (i *Instance) up() bool {
	i.settle(0)
	return i.link.up
}

func (c *client) denies(name string, cmd command, args []string) bool {
	return slices.Contains(c.instance.denied, name) || slices.Contains(c.instance.denied, fullName(name, cmd, args))
}

func fullName(name string, cmd command, args []string) string {
	if cmd.subs {
		return name + "|" + strings.ToLower(args[1])
	}
	return name
}

func quoted(args []string) string {
	var b strings.Builder
	for _, a := range args {
		fmt.Fprintf(&b, "'%.128s' ", a)
	}
	return b.String()
}

func (c *client) record(args []string, reply string) {
	n := c.instance.net
	if !n.keep(args) {
		return
	}
	entry := Command{
		At: time.Now(), Instance: c.instance.addr, Host: c.host, Client: c.name, ClientID: c.id, Args: args, InMulti: c.inExec,
	}
	if text, isError := strings.CutPrefix(reply, "-"); isError {
		entry.Err = strings.TrimRight(text, "\r\n")
	}
	n.log = append(n.log, entry)
}
