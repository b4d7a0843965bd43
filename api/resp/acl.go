package resp

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

var aclCommands = map[string]command{
	"cat":     {arity: -2, answer: (*Server).aclCat},
	"deluser": {arity: -3, answer: (*Server).aclDelUser},
	"dryrun":  {arity: -4, answer: (*Server).aclDryRun},
	"genpass": {arity: -2, answer: (*Server).aclGenPass},
	"getuser": {arity: 3, answer: (*Server).aclGetUser},
	"help":    {arity: 2, answer: help("acl")},
	"list":    {arity: 2, answer: (*Server).aclList},
	"load":    {arity: 2, answer: (*Server).aclFile},
	"log":     {arity: -2, answer: (*Server).aclLog},
	"save":    {arity: 2, answer: (*Server).aclFile},
	"setuser": {arity: -3, answer: (*Server).aclSetUser},
	"users":   {arity: 2, answer: (*Server).aclUsers},
	"whoami":  {arity: 2, answer: (*Server).aclWhoAmI},
}

// categories are Redis's, in its order.
var categories = strings.Fields("keyspace read write set sortedset list hash string bitmap hyperloglog geo stream pubsub admin " +
	"fast slow blocking dangerous connection transaction scripting")

func (s *Server) aclCat(_ context.Context, _ *conn, args []string) reply {
	out := array{}
	switch len(args) {
	case 0:
		for _, name := range categories {
			out = append(out, bulk(name))
		}
		return out
	case 1:
	default:
		return wrongUse("ACL", "CAT")
	}
	wanted := strings.ToLower(args[0])
	if !slices.Contains(categories, wanted) {
		return failure("ERR Unknown category '" + shorten(args[0], 128) + "'")
	}
	for _, e := range s.catalogue.all {
		if slices.Contains(e.categories, wanted) {
			out = append(out, bulk(e.name))
		}
	}
	return out
}

// errUsers is for every change of users.
const errUsers = failure("ERR users cannot be changed here: there is the default user alone, without a password, and no ACL file")

func (s *Server) aclSetUser(context.Context, *conn, []string) reply { return errUsers }

func (s *Server) aclFile(context.Context, *conn, []string) reply { return errUsers }

// aclDelUser finds no user that could be deleted.
func (s *Server) aclDelUser(_ context.Context, _ *conn, args []string) reply {
	if slices.Contains(args, defaultUser) {
		return failure("ERR The 'default' user cannot be removed")
	}
	return integer(0)
}

func (s *Server) aclDryRun(_ context.Context, _ *conn, args []string) reply {
	if args[0] != defaultUser {
		return failure("ERR User '" + shorten(args[0], 128) + "' not found")
	}
	cmd, known := find(s.catalogue.commands, args[1])
	words := len(args) - 1
	if known && cmd.subcommands != nil && words > 1 {
		cmd, known = find(cmd.subcommands, args[2])
	}
	switch {
	case !known:
		return failure("ERR Command '" + shorten(args[1], 128) + "' not found")
	case !fits(cmd.arity, words):
		return arity(cmd.name)
	}
	return simple("OK")
}

func (s *Server) aclGenPass(_ context.Context, _ *conn, args []string) reply {
	const most = 4096
	bits := 256
	switch len(args) {
	case 0:
	case 1:
		n, err := strconv.ParseInt(args[0], 10, 64)
		if err != nil {
			return errNoNumber
		}
		if n < 1 || n > most {
			return failure("ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096")
		}
		bits = int(n)
	default:
		return wrongUse("ACL", "GENPASS")
	}
	digits := (bits + 3) / 4
	secret := make([]byte, (digits+1)/2)
	_, _ = rand.Read(secret) // it never fails
	return bulk(hex.EncodeToString(secret)[:digits])
}

func (s *Server) aclGetUser(_ context.Context, _ *conn, args []string) reply {
	if args[0] != defaultUser {
		return null{}
	}
	return mapping{
		bulk("flags"),
		set{bulk("on"), bulk("nopass")},
		bulk("passwords"),
		array{},
		bulk("commands"), bulk("+@all"),
		bulk("keys"), bulk("~*"), bulk("channels"), bulk("&*"), bulk("selectors"),
		array{},
	}
}

func (s *Server) aclList(context.Context, *conn, []string) reply {
	return array{bulk("user default on nopass ~* &* +@all")}
}

func (s *Server) aclUsers(context.Context, *conn, []string) reply { return array{bulk(defaultUser)} }

func (s *Server) aclWhoAmI(context.Context, *conn, []string) reply { return bulk(defaultUser) }

// aclLog tells who was not let in, newest first.
func (s *Server) aclLog(_ context.Context, _ *conn, args []string) reply {
	count := int64(10)
	switch {
	case len(args) > 1:
		return wrongUse("ACL", "LOG")
	case len(args) == 1 && strings.EqualFold(args[0], "reset"):
		s.denials.reset()
		return simple("OK")
	case len(args) == 1:
		n, err := strconv.ParseInt(args[0], 10, 64)
		if err != nil {
			return errNoNumber
		}
		count = max(0, n)
	}
	out := array{}
	for _, d := range s.denials.newest(count) {
		out = append(out, d.entry(time.Now()))
	}
	return out
}

// denial is a login that was refused, or several that were alike.
type denial struct {
	id int64
	// object is the command, user whom it named, client the line of the connection that tried last.
	object, user, client string
	count                int64
	created, at          time.Time
}

func (d denial) entry(now time.Time) reply {
	return mapping{
		bulk("count"), integer(d.count), bulk("reason"), bulk("auth"), bulk("context"), bulk("toplevel"), bulk("object"), bulk(d.object),
		bulk("username"), bulk(d.user), bulk("age-seconds"), double(float64(now.Sub(d.at).Milliseconds()) / 1000), bulk("client-info"), bulk(d.client),
		bulk("entry-id"), integer(d.id), bulk("timestamp-created"), integer(d.created.UnixMilli()),
		bulk("timestamp-last-updated"), integer(d.at.UnixMilli()),
	}
}

const (
	// denialLimit bounds the log, as Redis's acllog-max-len does.
	denialLimit = 128
	// denialSpan is how long attempts that are alike count as one entry.
	denialSpan = time.Minute
)

// denials are the logins that were refused, newest first.
type denials struct {
	mu   sync.Mutex
	all  []denial
	last int64
}

func (l *denials) add(d denial) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	d.user, d.count, d.created, d.at = shorten(d.user, 128), 1, now, now
	alike := func(o denial) bool {
		return o.object == d.object && o.user == d.user && now.Sub(o.created) <= denialSpan
	}
	if i := slices.IndexFunc(l.all, alike); i >= 0 {
		old := l.all[i]
		d.id, d.count, d.created = old.id, old.count+1, old.created
		l.all = slices.Delete(l.all, i, i+1)
	} else {
		d.id = l.last
		l.last++
	}
	l.all = slices.Insert(l.all, 0, d)
	l.all = l.all[:min(len(l.all), denialLimit)]
}

func (l *denials) newest(n int64) []denial {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all[:min(n, int64(len(l.all)))])
}

func (l *denials) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = nil
}
