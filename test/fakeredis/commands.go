package fakeredis

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

func (c *client) ping(args []string) string {
	switch {
	case len(args) > 2:
		return fail("ERR wrong number of arguments for 'ping' command")
	case len(c.channels) > 0:
		return array(bulk("pong"), bulk(""))
	case len(args) > 1:
		return bulk(args[1])
	}
	return "+PONG\r\n"
}

func (c *client) auth(args []string) string {
	users := c.instance.passwords
	user, pass := "default", args[len(args)-1]
	switch {
	case len(args) > 3:
		return fail("ERR syntax error")
	case len(args) == 3:
		user = args[1]
	case len(users["default"]) == 0:
		return fail("ERR AUTH <password> called without any password configured for the default user. " +
			"Are you sure your configuration is correct?")
	}
	if !slices.Contains(users[user], pass) && !(user == "default" && len(users[user]) == 0) {
		return fail("WRONGPASS invalid username-password pair or user is disabled.")
	}
	c.loggedIn = true
	return ok
}

func (c *client) client(args []string) string {
	p := c.process
	switch sub := strings.ToLower(args[1]); {
	case sub == "id" && len(args) == 2:
		return integer(c.id)
	case sub == "getname" && len(args) == 2:
		if c.name == "" {
			return "$-1\r\n"
		}
		return bulk(c.name)
	case sub == "setname" && len(args) == 3:
		if strings.ContainsFunc(args[2], func(r rune) bool { return r < '!' || r > '~' }) {
			return fail("ERR Client names cannot contain spaces, newlines or special characters.")
		}
		c.name = args[2]
		return ok
	case sub == "list":
		return c.clientList()
	case sub == "kill" && len(args) > 2:
		return c.clientKill(args[2:])
	case sub == "pause" && (len(args) == 3 || len(args) == 4):
		ms, err := strconv.ParseInt(args[2], 10, 64)
		mode := "all"
		if len(args) == 4 {
			mode = strings.ToLower(args[3])
		}
		if err != nil || ms < 0 || (mode != "all" && mode != "write") {
			return fail("ERR timeout is not an integer or out of range")
		}
		c.instance.settle(0)
		p.pausedUntil, p.pausedAll = time.Now().Add(time.Duration(ms)*time.Millisecond), mode == "all"
		return ok
	case sub == "unpause" && len(args) == 2:
		c.instance.settle(0)
		p.pausedUntil, p.pausedAll = time.Time{}, false
		c.instance.accrued = time.Now()
		return ok
	}
	return fail("ERR unknown subcommand '%.128s'. Try CLIENT HELP.", args[1])
}

// clients are the open connections in the order they came.
func (i *Instance) clients() []*client {
	if i.process == nil {
		return nil
	}
	var list []*client
	for _, c := range i.process.clients {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *client) int { return cmp.Compare(a.id, b.id) })
	return list
}

func (c *client) clientList() string {
	var b strings.Builder
	for _, o := range c.instance.clients() {
		flags := "N"
		if len(o.channels) > 0 {
			flags = "P"
		}
		age := int64(time.Since(o.opened) / time.Second)
		fmt.Fprintf(&b, "id=%d addr=%s laddr=%s fd=%d name=%s age=%d idle=0 flags=%s db=0 sub=%d psub=0 ssub=0 multi=-1 "+
			"qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=1024 rbp=0 obl=0 oll=0 omem=0 tot-mem=1800 events=r "+
			"cmd=ping user=default redir=-1 resp=2\n",
			o.id, o.conn.RemoteAddr(), o.conn.LocalAddr(), o.id+5, o.name, age, flags, len(o.channels))
	}
	return bulk(b.String())
}

// clientKill knows CLIENT KILL addr, and the filters ID, ADDR, TYPE and SKIPME.
func (c *client) clientKill(args []string) string {
	if len(args) == 1 {
		if c.killWhere(false, func(o *client) bool { return o.conn.RemoteAddr().String() == args[0] }) == 0 {
			return fail("ERR No such client")
		}
		return ok
	}
	skipMe := true
	var filters []func(*client) bool
	if len(args)%2 != 0 {
		return fail("ERR syntax error")
	}
	for f := range slices.Chunk(args, 2) {
		value := f[1]
		switch strings.ToLower(f[0]) {
		case "id":
			id, err := strconv.ParseInt(value, 10, 64)
			if err != nil || id < 1 {
				return fail("ERR client-id should be greater than 0")
			}
			filters = append(filters, func(o *client) bool { return o.id == id })
		case "addr":
			filters = append(filters, func(o *client) bool { return o.conn.RemoteAddr().String() == value })
		case "type":
			pubsub := strings.EqualFold(value, "pubsub")
			if !pubsub && !strings.EqualFold(value, "normal") {
				return fail("ERR Unknown client type '%s'", value)
			}
			filters = append(filters, func(o *client) bool { return len(o.channels) > 0 == pubsub })
		case "skipme":
			skipMe = !strings.EqualFold(value, "no")
		default:
			return fail("ERR syntax error")
		}
	}
	return integer(c.killWhere(skipMe, func(o *client) bool {
		return !slices.ContainsFunc(filters, func(f func(*client) bool) bool { return !f(o) })
	}))
}

func (c *client) killWhere(skipMe bool, match func(*client) bool) (killed int64) {
	for _, o := range c.instance.clients() {
		switch {
		case (o == c && skipMe) || !match(o):
			continue
		case o == c:
			c.closing = true
		default:
			delete(c.process.clients, o.id)
			_ = o.conn.Close()
		}
		killed++
	}
	return killed
}

func (c *client) config(args []string) string {
	i := c.instance
	switch sub := strings.ToLower(args[1]); {
	case sub == "rewrite" && len(args) == 2:
		if i.rewriteErr != "" {
			return fail("%s", i.rewriteErr)
		}
		i.saved = i.follows
		return ok
	case sub == "get" && len(args) > 2:
		var found []string
		for _, name := range args[2:] {
			name = strings.ToLower(name)
			if name == "replica-priority" || name == "slave-priority" {
				found = append(found, bulk(name), bulk(strconv.Itoa(i.priority)))
			} else if v, known := i.config[name]; known {
				found = append(found, bulk(name), bulk(v))
			}
		}
		return array(found...)
	case sub == "set" && len(args) > 3 && len(args)%2 == 0:
		for pair := range slices.Chunk(args[2:], 2) {
			if refusal := i.configSet(strings.ToLower(pair[0]), pair[1]); refusal != "" {
				return refusal
			}
		}
		return ok
	}
	return fail("ERR unknown subcommand '%.128s'. Try CONFIG HELP.", args[1])
}

func (i *Instance) configSet(name, value string) (refusal string) {
	if name == "replica-priority" || name == "slave-priority" {
		p, err := strconv.Atoi(value)
		if err != nil || p < 0 {
			return fail("ERR CONFIG SET failed (possibly related to argument '%s') - argument couldn't be parsed into an integer", name)
		}
		i.priority = p
		return ""
	}
	if _, known := i.config[name]; !known {
		return fail("ERR Unknown option or number of arguments for CONFIG SET - '%s'", name)
	}
	i.config[name] = value
	return ""
}

func (c *client) replicaOf(args []string) string {
	i := c.instance
	if strings.EqualFold(args[1], "no") && strings.EqualFold(args[2], "one") {
		i.promote()
		return ok
	}
	port, err := strconv.Atoi(args[2])
	if err != nil || port < 0 || port > 65535 {
		return fail("ERR Invalid master port")
	}
	master := raftfsm.Addr{Host: args[1], Port: uint16(port)}
	if i.follows == master {
		return "+OK Already connected to specified master\r\n"
	}
	i.follow(master)
	return ok
}

func (c *client) publish(args []string) string {
	var heard int64
	for _, o := range c.instance.clients() {
		if o.channels[args[1]] {
			heard++
			_, _ = o.conn.Write([]byte(array(bulk("message"), bulk(args[1]), bulk(args[2])))) // a lost subscriber misses it
		}
	}
	return integer(heard)
}

func (c *client) subscribe(args []string) string {
	var b strings.Builder
	for _, channel := range args[1:] {
		if c.channels == nil {
			c.channels = map[string]bool{}
		}
		c.channels[channel] = true
		b.WriteString(array(bulk("subscribe"), bulk(channel), integer(int64(len(c.channels)))))
	}
	return b.String()
}

// command knows COMMAND INFO, and tells of a command its name and arity.
func (c *client) command(args []string) string {
	if !strings.EqualFold(args[1], "info") {
		return fail("ERR unknown subcommand '%.128s'. Try COMMAND HELP.", args[1])
	}
	var out []string
	for _, word := range args[2:] {
		entry := "*-1\r\n"
		if _, cmd, known := c.instance.find(word); known {
			entry = array(bulk(strings.ToLower(word)), integer(int64(cmd.arity)))
		}
		out = append(out, entry)
	}
	return array(out...)
}

// pubsub knows PUBSUB NUMSUB.
func (c *client) pubsub(args []string) string {
	if !strings.EqualFold(args[1], "numsub") {
		return fail("ERR unknown subcommand '%.128s'. Try PUBSUB HELP.", args[1])
	}
	var out []string
	for _, channel := range args[2:] {
		var listening int64
		for _, o := range c.instance.clients() {
			if o.channels[channel] {
				listening++
			}
		}
		out = append(out, bulk(channel), integer(listening))
	}
	return array(out...)
}

// kill is SCRIPT KILL and FUNCTION KILL.
func (c *client) kill(args []string) string {
	switch {
	case !strings.EqualFold(args[1], "kill"):
		return fail("ERR unknown subcommand '%.128s'. Try %s HELP.", args[1], strings.ToUpper(args[0]))
	case !c.instance.busy:
		return fail("NOTBUSY No scripts in execution right now.")
	}
	c.instance.busy = false
	return ok
}
