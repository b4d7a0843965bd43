package resp

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// client is one connection as CLIENT LIST tells it.
type client struct {
	*conn
	told          clientTold
	queued, count int // bytes and pieces that wait for it
	ended         bool
}

// about takes what a connection tells, at one moment.
func about(c *conn) client {
	c.mu.Lock()
	defer c.mu.Unlock()
	return client{c, c.told, c.queued, len(c.queue), c.ended.Load()}
}

func (c client) subscriber() bool { return c.told.channels+c.told.patterns > 0 }

// line is the connection in Redis's words (networking.c, catClientInfoString). What there is none of here is 0.
func (c client) line(now time.Time) string {
	flags := ""
	if c.subscriber() {
		flags += "P"
	}
	if c.told.tracking {
		flags += "t"
	}
	if flags == "" {
		flags = "N"
	}
	return fmt.Sprintf("id=%d addr=%s laddr=%s fd=%d name=%s age=%d idle=%d flags=%s db=0 sub=%d psub=%d ssub=0 multi=-1 "+
		"qbuf=%d qbuf-free=%d argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=%d omem=%d tot-mem=%d events=%s cmd=%s user=%s redir=-1 "+
		"resp=%d lib-name=%s lib-ver=%s",
		c.id, c.addr, c.laddr, c.fd, c.told.name, int64(now.Sub(c.began).Seconds()), int64(now.Sub(c.told.at).Seconds()), flags,
		c.told.channels, c.told.patterns, c.told.unread, max(0, bufferSize-c.told.unread), c.count, c.queued, c.told.unread+c.queued,
		choose(c.count > 0, "rw", "r"), c.told.command, defaultUser, c.told.proto, c.told.libName, c.told.libVersion)
}

// describe is the line of the connection that runs a command now.
func (s *Server) describe(c *conn) string {
	c.tell(func(t *clientTold) { t.command, t.at = c.last, time.Now() })
	return about(c).line(time.Now())
}

func (s *Server) clientInfo(_ context.Context, c *conn, _ []string) reply {
	return text(s.describe(c) + "\n")
}

// clientTypes are what connections are told apart by. There are no replication links.
var clientTypes = []string{"normal", "master", "replica", "slave", "pubsub"}

func (c client) is(kind string) bool {
	return kind == choose(c.subscriber(), "pubsub", "normal")
}

func unknownType(word string) reply {
	return failure("ERR Unknown client type '" + shorten(word, 128) + "'")
}

// clientList lists all, or those of one type, or those with the ids given.
func (s *Server) clientList(_ context.Context, c *conn, args []string) reply {
	wanted := func(client) bool { return true }
	switch {
	case len(args) == 0:
	case len(args) == 2 && strings.EqualFold(args[0], "type"):
		kind := strings.ToLower(args[1])
		if !slices.Contains(clientTypes, kind) {
			return unknownType(args[1])
		}
		wanted = func(v client) bool { return v.is(kind) }
	case len(args) > 1 && strings.EqualFold(args[0], "id"):
		ids := map[int64]bool{}
		for _, word := range args[1:] {
			id, err := strconv.ParseInt(word, 10, 64)
			if err != nil {
				return failure("ERR Invalid client ID")
			}
			ids[id] = true
		}
		wanted = func(v client) bool { return ids[v.id] }
	default:
		return errSyntax
	}
	s.describe(c)
	var b strings.Builder
	now := time.Now()
	for _, other := range s.clients() {
		if v := about(other); !v.ended && wanted(v) {
			b.WriteString(v.line(now))
			b.WriteByte('\n')
		}
	}
	return text(b.String())
}

// clientKill ends connections: the one from an address, in the old form, or all that meet every filter.
func (s *Server) clientKill(_ context.Context, c *conn, args []string) reply {
	if len(args) == 1 {
		if s.killAllThat(c, func(v client) bool { return v.addr == args[0] }) == 0 {
			return failure("ERR No such client")
		}
		return simple("OK")
	}
	filters, bad := killFilters(c, args)
	if bad != nil {
		return bad
	}
	return integer(s.killAllThat(c, func(v client) bool {
		return !slices.ContainsFunc(filters, func(meets func(client) bool) bool { return !meets(v) })
	}))
}

// killFilters reads pairs of an option and its value. The asking connection is spared unless SKIPME says no.
func killFilters(self *conn, args []string) (filters []func(client) bool, bad reply) {
	spare := true
	for ; len(args) > 0; args = args[2:] {
		if len(args) == 1 {
			return nil, errSyntax
		}
		value := args[1]
		var meets func(client) bool
		switch strings.ToLower(args[0]) {
		case "id":
			id, err := strconv.ParseInt(value, 10, 64)
			if err != nil || id < 1 {
				return nil, failure("ERR client-id should be greater than 0")
			}
			meets = func(v client) bool { return v.id == id }
		case "type":
			kind := strings.ToLower(value)
			if !slices.Contains(clientTypes, kind) {
				return nil, unknownType(value)
			}
			meets = func(v client) bool { return v.is(kind) }
		case "addr":
			meets = func(v client) bool { return v.addr == value }
		case "laddr":
			meets = func(v client) bool { return v.laddr == value }
		case "user":
			if value != defaultUser {
				return nil, failure("ERR No such user '" + shorten(value, 128) + "'")
			}
			continue
		case "skipme":
			if !strings.EqualFold(value, "yes") && !strings.EqualFold(value, "no") {
				return nil, errSyntax
			}
			spare = strings.EqualFold(value, "yes")
			continue
		default:
			return nil, errSyntax
		}
		filters = append(filters, meets)
	}
	if spare {
		filters = append(filters, func(v client) bool { return v.conn != self })
	}
	return filters, nil
}

// killAllThat ends connections and counts them. The asking one hears the answer before it ends.
func (s *Server) killAllThat(self *conn, meets func(client) bool) int {
	n := 0
	for _, other := range s.clients() {
		v := about(other)
		switch {
		case v.ended || !meets(v):
			continue
		case other == self:
			self.quit = true
		default:
			other.kill()
		}
		n++
	}
	return n
}
