package resp

import (
	"context"
	"strconv"
	"strings"
)

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
	c.mute, c.skip, c.tracking = false, false, tracking{}
	c.tell(func(t *clientTold) { t.name, t.channels, t.patterns, t.tracking = "", 0, 0, false })
	return simple("RESET")
}

// defaultUser is the only one: without a password, with every right.
const defaultUser = "default"

const errWrongPass = failure("WRONGPASS invalid username-password pair or user is disabled.")

func (s *Server) auth(_ context.Context, c *conn, args []string) reply {
	switch len(args) {
	case 1:
		return failure("ERR AUTH <password> called without any password configured for the default user. " +
			"Are you sure your configuration is correct?")
	case 2:
		if s.admits(c, "AUTH", args[0]) {
			return simple("OK")
		}
		return errWrongPass
	}
	return errSyntax
}

// admits tells whether the user may come in; the default user needs no password, so that any will do.
func (s *Server) admits(c *conn, command, user string) bool {
	if user == defaultUser {
		return true
	}
	s.denials.add(denial{object: command, user: user, client: s.describe(c)})
	s.o.Log.Warn("login refused", "client", c.addr, "user", shorten(user, 128))
	return false
}

// hello checks everything before it changes anything.
func (s *Server) hello(_ context.Context, c *conn, args []string) reply {
	proto := c.proto
	if len(args) > 0 {
		n, err := strconv.ParseInt(args[0], 10, 64)
		if err != nil {
			return failure("ERR Protocol version is not an integer or out of range")
		}
		if n != 2 && n != 3 {
			return failure("NOPROTO unsupported protocol version")
		}
		proto, args = int(n), args[1:]
	}
	var user, name *string
	for len(args) > 0 {
		word := strings.ToUpper(args[0])
		switch {
		case word == "AUTH" && len(args) > 2:
			user, args = &args[1], args[3:]
		case word == "SETNAME" && len(args) > 1:
			if !printable(args[1]) {
				return errClientName
			}
			name, args = &args[1], args[2:]
		default:
			return failure("ERR Syntax error in HELLO option '" + shorten(args[0], 128) + "'")
		}
	}
	if user != nil && !s.admits(c, "HELLO", *user) {
		return errWrongPass
	}
	if name != nil {
		c.tell(func(t *clientTold) { t.name = *name })
	}
	if proto != c.proto {
		c.speak(proto)
	}
	return mapping{
		bulk("server"), bulk("redis"), bulk("version"), bulk(redisVersion), bulk("proto"), integer(proto),
		bulk("id"), integer(c.id), bulk("mode"), bulk("sentinel"), bulk("modules"),
		array{},
	}
}

// helloChannel is where Sentinels find each other.
const helloChannel = "__sentinel__:hello"

// publish takes what an old Sentinel says of itself, and does nothing with it: here members find each other by Raft, and
// anybody could say so.
func (s *Server) publish(_ context.Context, _ *conn, args []string) reply {
	if args[0] != helloChannel {
		return failure("ERR Only HELLO messages are accepted by Sentinel instances.")
	}
	return integer(1)
}

// shutdown stops the node as SIGTERM does. It is not answered: the connection ends when the node does.
func (s *Server) shutdown(_ context.Context, c *conn, args []string) reply {
	words := map[string]bool{}
	for _, a := range args {
		words[strings.ToLower(a)] = true
	}
	known := 0
	for _, w := range []string{"nosave", "save", "now", "force", "abort"} {
		if words[w] {
			known++
		}
	}
	switch {
	case known != len(words), words["nosave"] && words["save"], words["abort"] && known > 1:
		return errSyntax
	case words["abort"]:
		return failure("ERR No shutdown in progress.")
	case s.o.Shutdown == nil:
		return failure("ERR this node cannot be stopped over this port")
	}
	s.o.Log.Warn("node is stopped by a client", "client", c.addr)
	s.o.Shutdown()
	return nil
}
