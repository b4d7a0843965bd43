package instance

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

var (
	errDiscarded = errors.New("commands were queued in it and given up; dial again")
	errNoMulti   = errors.New("without MULTI the other commands could not be tried")
)

// used are the commands that we send to instances, with arguments that would change no role and close nothing even where they
// were carried out. MULTI and EXEC are tried apart.
var used = [][]string{
	{"PING"},
	{"INFO", "server"},
	{"ROLE"},
	{"CLIENT", "SETNAME", "sentineld-inspect"},
	{"CLIENT", "LIST"},
	{"CLIENT", "KILL", "ID", "0"},
	{"CLIENT", "PAUSE", "never", "WRITE"},
	{"CLIENT", "UNPAUSE"},
	{"CONFIG", "REWRITE"},
	{"REPLICAOF", "nobody", "none"},
	{"SLAVEOF", "nobody", "none"},
}

// Rights tells which of the commands that we send the user may not use (denied), and which are not known under the names that
// the instance was dialed with (missing), in lower case: "client kill". Nothing of them is carried out: Redis refuses what it
// refuses as it queues a command in a MULTI, and the queue is given up. The connection is of no other use afterwards.
//
// An error tells what could not be found out; what was found stands beside it.
func (c *Conn) Rights(ctx context.Context) (denied, missing []string, err error) {
	defer func() {
		if c.failed == nil {
			c.failed = errDiscarded
		}
	}()
	judge := func(args []string, reply any) error {
		refusal, refused := reply.(ReplyError)
		text := strings.TrimPrefix(refusal.Text, "EXECABORT Transaction discarded because of: ")
		name := nameOf(args)
		switch {
		case !refused, name == "multi" && strings.Contains(text, "can not be nested"): // it is open then, for sure
		case strings.HasPrefix(text, "NOPERM"), strings.Contains(text, "has no permissions"):
			denied = append(denied, name)
		case strings.Contains(text, "unknown command"), strings.Contains(text, "unknown subcommand"):
			missing = append(missing, name)
		default:
			return fmt.Errorf("%s: %w", name, refusal)
		}
		return nil
	}
	// Each step waits for the one before: what follows a MULTI that was refused would be carried out, and a forbidden EXEC ends
	// the MULTI, while an unknown one does not.
	one := func(command string) (fine bool, err error) {
		replies, err := c.exchange(ctx, maxReply, []string{command})
		if err != nil {
			return false, err
		}
		before := len(denied) + len(missing)
		err = judge([]string{command}, replies[0])
		return err == nil && len(denied)+len(missing) == before, err
	}
	for _, command := range []string{"MULTI", "EXEC", "MULTI"} {
		fine, err := one(command)
		switch {
		case err != nil:
			return denied, missing, err
		case !fine && command == "MULTI":
			return denied, missing, errNoMulti
		}
	}
	replies, err := c.exchange(ctx, maxReply, used...)
	if err != nil {
		return denied, missing, err
	}
	slaveof := false
	for i, args := range used {
		if args[0] == "SLAVEOF" {
			_, refused := replies[i].(ReplyError)
			slaveof = !refused
			continue
		}
		err = errors.Join(err, judge(args, replies[i]))
	}
	// The two are one command: Redis before 5 knows SLAVEOF alone, and it is used where the other is not known.
	if last := len(missing) - 1; slaveof && last >= 0 && missing[last] == "replicaof" {
		missing = missing[:last]
	}
	return denied, missing, err
}

// nameOf is how an access list names a command.
func nameOf(args []string) string {
	if args[0] == "CLIENT" || args[0] == "CONFIG" {
		return strings.ToLower(args[0] + " " + args[1])
	}
	return strings.ToLower(args[0])
}

// compared are the settings that [Conn.Settings] reads.
var compared = []string{
	"maxmemory", "maxmemory-policy", "appendonly", "save", "replica-priority", "replica-read-only", "min-replicas-to-write",
	"requirepass", "masterauth",
}

// Settings reads what the configuration of an instance says of memory, persistence, replicas and passwords, by the names of
// redis.conf. A password is told as "set", or "" for none. One that it does not tell is not in the answer; where the user may
// not ask for them, unknown says so, and some are known by INFO all the same.
func (c *Conn) Settings(ctx context.Context) (settings map[string]string, unknown error, err error) {
	commands := make([][]string, 0, len(compared)+2)
	for _, name := range compared {
		commands = append(commands, []string{"CONFIG", "GET", name})
	}
	commands = append(commands, []string{"INFO", "memory"}, []string{"INFO", "persistence"})
	replies, err := c.exchange(ctx, maxReply, commands...)
	if err != nil {
		return nil, nil, err
	}
	settings = map[string]string{}
	for _, r := range replies[len(compared):] {
		if text, ok := r.(string); ok {
			settingsOf(text, settings)
		}
	}
	for i, name := range compared {
		switch r := replies[i].(type) {
		case ReplyError:
			unknown = fmt.Errorf("config get: %w", r)
		case []any:
			if len(r) != 2 {
				continue // an older server knows it by another name, or not at all
			}
			value, _ := r[1].(string)
			if (name == "requirepass" || name == "masterauth") && value != "" {
				value = "set"
			}
			settings[name] = value
		}
	}
	return settings, unknown, nil
}

// settingsOf reads what INFO tells of settings.
func settingsOf(text string, into map[string]string) {
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		switch key {
		case "maxmemory":
			if _, err := strconv.ParseInt(value, 10, 64); err == nil {
				into["maxmemory"] = value
			}
		case "maxmemory_policy":
			into["maxmemory-policy"] = value
		case "aof_enabled":
			into["appendonly"] = map[string]string{"1": "yes", "0": "no"}[value]
		}
	}
}

// CertificateEnds is when the first certificate of the instance's chain ends; zero without TLS.
func (c *Conn) CertificateEnds() time.Time {
	var first time.Time
	link, ok := c.net.(*tls.Conn)
	if !ok {
		return first
	}
	for _, cert := range link.ConnectionState().PeerCertificates {
		if first.IsZero() || cert.NotAfter.Before(first) {
			first = cert.NotAfter
		}
	}
	return first
}
