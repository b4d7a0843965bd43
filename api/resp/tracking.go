package resp

import (
	"context"
	"slices"
	"strconv"
	"strings"
)

// tracking is what a client asked of CLIENT TRACKING. There is no key here that could become invalid: it is remembered, so
// that libraries which ask for it find what they asked for, and nothing is ever sent.
type tracking struct {
	on, bcast, optIn, optOut, noLoop bool
	caching                          string // what CLIENT CACHING said of the next command: "" or its flag
	redirect                         int64
	prefixes                         []string
}

// maxPrefixes bounds what one connection has remembered.
const maxPrefixes = 16

func (s *Server) clientTracking(_ context.Context, c *conn, args []string) reply {
	next, bad := s.readTracking(args[1:])
	if bad != nil {
		return bad
	}
	now := c.tracking
	switch {
	case strings.EqualFold(args[0], "off"):
		next = tracking{}
	case !strings.EqualFold(args[0], "on"):
		return errSyntax
	case !next.bcast && len(next.prefixes) > 0:
		return failure("ERR PREFIX option requires BCAST mode to be enabled")
	case now.on && now.bcast != next.bcast:
		return failure("ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode.")
	case next.bcast && (next.optIn || next.optOut):
		return failure("ERR OPTIN and OPTOUT are not compatible with BCAST")
	case next.optIn && next.optOut:
		return failure("ERR You can't specify both OPTIN mode and OPTOUT mode")
	case now.optIn && next.optOut, now.optOut && next.optIn:
		return failure("ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a different mode.")
	default:
		if bad := overlap(now.prefixes, next.prefixes); bad != nil {
			return bad
		}
		if len(now.prefixes)+len(next.prefixes) > maxPrefixes {
			return failure("ERR too many prefixes on one connection")
		}
		next.on = true
		next.prefixes = append(slices.Clip(now.prefixes), next.prefixes...)
		if next.bcast && len(next.prefixes) == 0 {
			next.prefixes = []string{""}
		}
	}
	c.tracking = next
	c.tell(func(t *clientTold) { t.tracking = next.on })
	return simple("OK")
}

// readTracking reads the options.
func (s *Server) readTracking(args []string) (t tracking, bad reply) {
	for len(args) > 0 {
		used := 1
		switch word := strings.ToLower(args[0]); {
		case word == "redirect" && len(args) > 1:
			used = 2
			id, err := strconv.ParseInt(args[1], 10, 64)
			switch {
			case t.redirect != 0:
				return t, failure("ERR A client can only redirect to a single other client")
			case err != nil:
				return t, errNoNumber
			case !slices.ContainsFunc(s.clients(), func(c *conn) bool { return c.id == id }):
				return t, failure("ERR The client ID you want redirect to does not exist")
			}
			t.redirect = id
		case word == "prefix" && len(args) > 1:
			used = 2
			if len(args[1]) > maxTold {
				return t, failure("ERR the prefix is too long")
			}
			t.prefixes = append(t.prefixes, args[1])
		case word == "bcast":
			t.bcast = true
		case word == "optin":
			t.optIn = true
		case word == "optout":
			t.optOut = true
		case word == "noloop":
			t.noLoop = true
		default:
			return t, errSyntax
		}
		args = args[used:]
	}
	return t, nil
}

// overlap refuses a prefix that another one begins with, or that begins with another one.
func overlap(old, added []string) reply {
	for i, p := range added {
		for j, other := range slices.Concat(added[i+1:], old) {
			if !strings.HasPrefix(p, other) && !strings.HasPrefix(other, p) {
				continue
			}
			kind := choose(j < len(added[i+1:]), "another provided", "an existing")
			return failure("ERR Prefix '" + p + "' overlaps with " + kind + " prefix '" + other + "'. Prefixes for a single client must not overlap.")
		}
	}
	return nil
}

func (s *Server) clientCaching(_ context.Context, c *conn, args []string) reply {
	switch word := strings.ToLower(args[0]); {
	case !c.tracking.on:
		return failure("ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled")
	case word == "yes" && !c.tracking.optIn:
		return failure("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.")
	case word == "no" && !c.tracking.optOut:
		return failure("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.")
	case word != "yes" && word != "no":
		return errSyntax
	default:
		c.tracking.caching = "caching-" + word
	}
	return simple("OK")
}

func (s *Server) clientGetRedir(_ context.Context, c *conn, _ []string) reply {
	return c.tracking.target()
}

// target is where invalidations would go: -1 without tracking, 0 to the client itself.
func (t tracking) target() integer {
	if !t.on {
		return -1
	}
	return integer(t.redirect)
}

func (s *Server) clientTrackingInfo(_ context.Context, c *conn, _ []string) reply {
	t := c.tracking
	flags := set{bulk(choose(t.on, "on", "off"))}
	for _, f := range []struct {
		on   bool
		name string
	}{
		{t.bcast, "bcast"}, {t.optIn, "optin"}, {t.optOut, "optout"}, {t.caching != "", t.caching}, {t.noLoop, "noloop"},
	} {
		if f.on {
			flags = append(flags, bulk(f.name))
		}
	}
	prefixes := array{}
	for _, p := range t.prefixes {
		prefixes = append(prefixes, bulk(p))
	}
	return mapping{bulk("flags"), flags, bulk("redirect"), t.target(), bulk("prefixes"), prefixes}
}
