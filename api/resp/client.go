package resp

import (
	"context"
	"math"
	"strconv"
	"strings"
	"time"
)

var clientCommands = map[string]command{
	"caching":      {arity: 3, answer: (*Server).clientCaching},
	"getname":      {arity: 2, answer: (*Server).clientGetName},
	"getredir":     {arity: 2, answer: (*Server).clientGetRedir},
	"help":         {arity: 2, answer: help("client")},
	"id":           {arity: 2, answer: (*Server).clientID},
	"info":         {arity: 2, answer: (*Server).clientInfo},
	"kill":         {arity: -3, answer: (*Server).clientKill},
	"list":         {arity: -2, answer: (*Server).clientList},
	"no-evict":     {arity: 3, answer: (*Server).clientNoEvict},
	"pause":        {arity: -3, answer: (*Server).clientPause},
	"reply":        {arity: 3, answer: (*Server).clientReply},
	"setinfo":      {arity: 4, answer: (*Server).clientSetInfo},
	"setname":      {arity: 3, answer: (*Server).clientSetName},
	"tracking":     {arity: -3, answer: (*Server).clientTracking},
	"trackinginfo": {arity: 2, answer: (*Server).clientTrackingInfo},
	"unblock":      {arity: -3, answer: (*Server).clientUnblock},
	"unpause":      {arity: 2, answer: (*Server).clientUnpause},
}

const errClientName = failure("ERR Client names cannot contain spaces, newlines or special characters.")

// maxTold bounds what a client may say of itself, in bytes.
const maxTold = 256

// printable tells whether a text may stand in a line of CLIENT LIST.
func printable(text string) bool {
	return len(text) <= maxTold && !strings.ContainsFunc(text, func(r rune) bool { return r < '!' || r > '~' })
}

func (s *Server) clientID(_ context.Context, c *conn, _ []string) reply { return integer(c.id) }

func (s *Server) clientGetName(_ context.Context, c *conn, _ []string) reply {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.told.name == "" {
		return null{}
	}
	return bulk(c.told.name)
}

func (s *Server) clientSetName(_ context.Context, c *conn, args []string) reply {
	if !printable(args[0]) {
		return errClientName
	}
	c.tell(func(t *clientTold) { t.name = args[0] })
	return simple("OK")
}

func (s *Server) clientSetInfo(_ context.Context, c *conn, args []string) reply {
	attribute, value := strings.ToLower(args[0]), args[1]
	if attribute != "lib-name" && attribute != "lib-ver" {
		return failure("ERR Unrecognized option '" + shorten(args[0], 128) + "'")
	}
	if !printable(value) {
		return failure("ERR " + attribute + " cannot contain spaces, newlines or special characters.")
	}
	c.tell(func(t *clientTold) {
		if attribute == "lib-name" {
			t.libName = value
		} else {
			t.libVersion = value
		}
	})
	return simple("OK")
}

func (s *Server) clientReply(_ context.Context, c *conn, args []string) reply {
	switch strings.ToLower(args[0]) {
	case "on":
		c.mute, c.skip = false, false
		return simple("OK")
	case "off":
		c.mute = true
	case "skip":
		c.skipNext = !c.mute
	default:
		return errSyntax
	}
	return nil
}

// clientNoEvict is accepted: nobody is evicted here.
func (s *Server) clientNoEvict(_ context.Context, _ *conn, args []string) reply {
	if !strings.EqualFold(args[0], "on") && !strings.EqualFold(args[0], "off") {
		return errSyntax
	}
	return simple("OK")
}

// clientUnblock finds nobody blocked: no command waits for a key.
func (s *Server) clientUnblock(_ context.Context, _ *conn, args []string) reply {
	if len(args) > 2 {
		return wrongUse("CLIENT", "UNBLOCK")
	}
	if len(args) == 2 && !strings.EqualFold(args[1], "timeout") && !strings.EqualFold(args[1], "error") {
		return failure("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
	}
	if _, err := strconv.ParseInt(args[0], 10, 64); err != nil {
		return errNoNumber
	}
	return integer(0)
}

// clientPause holds every command back for a while. In the mode WRITE there is none to hold back.
func (s *Server) clientPause(_ context.Context, _ *conn, args []string) reply {
	all := true
	switch {
	case len(args) > 2:
		return wrongUse("CLIENT", "PAUSE")
	case len(args) == 2 && strings.EqualFold(args[1], "write"):
		all = false
	case len(args) == 2 && !strings.EqualFold(args[1], "all"):
		return failure("ERR CLIENT PAUSE mode must be WRITE or ALL")
	}
	n, err := strconv.ParseInt(args[0], 10, 64)
	switch {
	case err != nil || n > math.MaxInt64/int64(time.Millisecond):
		return failure("ERR timeout is not an integer or out of range")
	case n < 0:
		return failure("ERR timeout is negative")
	}
	if all {
		s.pause.begin(time.Duration(n) * time.Millisecond)
	}
	return simple("OK")
}

func (s *Server) clientUnpause(context.Context, *conn, []string) reply {
	s.pause.end()
	return simple("OK")
}
