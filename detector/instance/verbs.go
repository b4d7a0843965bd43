package instance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// What [detector.ParseInfo] wants. INFO takes several sections only from Redis 7.0 on, and all sections cost ten times as
// much: three commands in one write work everywhere, and one is enough where the first reading showed that it will do.
var (
	infoCommands = [][]string{{"INFO", "server"}, {"INFO", "replication"}, {"INFO", "persistence"}}
	infoCommand  = [][]string{{"INFO", "server", "replication", "persistence"}}
)

func (c *Conn) infos() [][]string {
	if c.sections {
		return infoCommand
	}
	return infoCommands
}

// Ping sends PING and classes the reply; err is for a connection that failed.
func (c *Conn) Ping(ctx context.Context) (detector.ReplyClass, error) {
	return pong(c.Do(ctx, "PING"))
}

// PingLate is [Conn.ReadLate] for a PING.
func (c *Conn) PingLate(ctx context.Context) (detector.ReplyClass, error) {
	return pong(c.ReadLate(ctx))
}

func pong(reply any, err error) (detector.ReplyClass, error) {
	var refused ReplyError
	switch {
	case errors.As(err, &refused):
		if class := detector.ClassifyReply(refused.Text); class != detector.ReplyNone && class != detector.ReplyPong {
			return class, nil
		}
		return detector.ReplyOther, nil // "-" and "-PONG"
	case err != nil:
		return detector.ReplyNone, err
	}
	if text, ok := reply.(string); ok && text == "PONG" {
		return detector.ReplyPong, nil
	}
	return detector.ReplyOther, nil
}

// Info sends INFO for the sections that [detector.ParseInfo] reads. A refusal is the [ReplyError].
func (c *Conn) Info(ctx context.Context) (*detector.Info, error) {
	var a infoReply
	err := c.converse(ctx, maxReply, func() error { return a.read(c) }, c.infos()...)
	return a.info, cmp.Or(err, a.refused)
}

// InfoLate is [Conn.ReadLate] for an Info.
func (c *Conn) InfoLate(ctx context.Context) (*detector.Info, error) {
	var a infoReply
	err := c.late(ctx, len(c.infos()), func() error { return a.read(c) })
	return a.info, cmp.Or(err, a.refused)
}

// infoReply is what came of an INFO.
type infoReply struct {
	info    *detector.Info
	refused error // what is the matter with a reply that is whole
}

// read reads and parses the replies where they lie.
func (a *infoReply) read(c *Conn) error {
	replies, err := c.in.texts(len(c.infos()))
	if err != nil {
		return err
	}
	a.info, a.refused = c.parseInfo(replies)
	c.in.done()
	return nil
}

func (c *Conn) parseInfo(replies []any) (*detector.Info, error) {
	var text []byte
	for _, r := range replies {
		switch r := r.(type) {
		case []byte:
			text = joined(text, r)
		case string:
			text = joined(text, []byte(r))
		case ReplyError:
			c.sections = false // it may be several sections that are refused
			return nil, r
		default:
			return nil, c.fault(infoCommands[0], fmt.Errorf("%w: a %T in reply", errProtocol, r))
		}
	}
	info, err := detector.ParseInfo(text)
	if err != nil {
		return nil, c.fault(infoCommands[0], err)
	}
	info.Text = detector.KeepText(text)
	c.sections = takesSections(info.Version)
	return info, nil
}

// joined is one text of two sections; the first alone stays where it lies.
func joined(a, b []byte) []byte {
	if a == nil {
		return b
	}
	return slices.Concat(a, []byte("\r\n"), b)
}

// takesSections tells whether a version of Redis, or the one that a Valkey says it is, takes several sections in one INFO.
func takesSections(version string) bool {
	major, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(major)
	return err == nil && n >= 7
}

// Role sends ROLE.
func (c *Conn) Role(ctx context.Context) (detector.RoleReply, error) {
	reply, err := c.Do(ctx, "ROLE")
	if err != nil {
		return detector.RoleReply{}, err
	}
	return c.parseRole(reply)
}

func (c *Conn) parseRole(reply any) (detector.RoleReply, error) {
	role, err := detector.ParseRole(reply)
	if err != nil {
		return role, c.fault([]string{"role"}, err)
	}
	return role, nil
}

// Promote sends REPLICAOF NO ONE, and ROLE and INFO behind it in the same write. After an error the promotion may or may not have happened, unless the
// error holds a [ReplyError]: then it has not. The configuration file still says what it said: see [Conn.SaveConfig].
func (c *Conn) Promote(ctx context.Context) (*detector.Info, error) {
	replies, _, err := c.transactAndAsk(ctx, append([][]string{{"ROLE"}}, c.infos()...), replicaOf("NO", "ONE"))
	if err != nil {
		return nil, err
	}
	role, err := c.parseRole(replies[0])
	if e, ok := replies[0].(ReplyError); ok {
		// The promotion was accepted: what is refused here must not read like a refused promotion.
		err = c.fault([]string{"role"}, errors.New(e.Text))
	}
	if err != nil {
		return nil, err
	}
	if role.Role != raftfsm.RoleMaster {
		return nil, fmt.Errorf("instance %s: accepted REPLICAOF NO ONE and is a replica of %s again; "+
			"something else reconfigures it", c.addr, role.Master)
	}
	info, err := c.parseInfo(replies[1:])
	if refused, ok := errors.AsType[ReplyError](err); ok {
		err = c.fault([]string{"info"}, errors.New(refused.Text))
	}
	return info, err
}

// Demote makes a master a replica of the one at a, and nothing else: REPLICAOF. After an error it may or may not have
// happened, unless the error holds a [ReplyError]: then it has not. had is as in [Conn.Follow].
func (c *Conn) Demote(ctx context.Context, a raftfsm.Addr) (had int64, err error) {
	var told string
	_, err = c.transact(ctx, replicaOf(a.Host, strconv.Itoa(int(a.Port))), state(&told))
	return offsetIn(told), err
}

// state reads what an instance has as it is told to follow another: an instant before, clients may have written still.
func state(told *string) step {
	return step{args: []string{"INFO", "replication"}, optional: true, text: told}
}

// offsetIn is the replication offset in an INFO; -1 for none.
func offsetIn(text string) int64 {
	info, err := detector.ParseInfo([]byte(text))
	if err != nil {
		return -1
	}
	return info.Offset
}

// PauseWrites sends CLIENT PAUSE with WRITE: writes of clients wait until lease has passed or [Conn.Unpause], reads go on, and
// so does replication. A [ReplyError] comes from a server that cannot: Redis before 6.2.
func (c *Conn) PauseWrites(ctx context.Context, lease time.Duration) error {
	_, err := c.Do(ctx, "CLIENT", "PAUSE", strconv.FormatInt(lease.Milliseconds(), 10), "WRITE")
	return err
}

// Unpause lets the writes go on that [Conn.PauseWrites] has stopped.
func (c *Conn) Unpause(ctx context.Context) error {
	_, err := c.Do(ctx, "CLIENT", "UNPAUSE")
	return err
}

// killBatch is how many connections one write closes: all of an application's at once would come back at once.
const killBatch = 100

// KillClients closes connections by their ids, with a pause after each hundred, and tells how many it has closed; those that
// are gone already do not count.
func (c *Conn) KillClients(ctx context.Context, ids []int64, pause time.Duration) (closed int, err error) {
	for batch := range slices.Chunk(ids, killBatch) {
		if closed > 0 {
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return closed, ctx.Err()
			}
		}
		var commands [][]string
		for _, id := range batch {
			commands = append(commands, []string{"CLIENT", "KILL", "ID", strconv.FormatInt(id, 10)})
		}
		replies, err := c.exchange(ctx, maxReply, commands...)
		if err != nil {
			return closed, err
		}
		for _, r := range replies {
			switch r := r.(type) {
			case int64:
				closed += int(r)
			case ReplyError:
				return closed, r
			}
		}
	}
	return closed, nil
}

// SaveConfig sends CONFIG REWRITE, by which a role outlives a restart. Redis writes the file and waits for its disk twice,
// and answers nobody meanwhile.
func (c *Conn) SaveConfig(ctx context.Context) error {
	save := rewrite()
	_, err := c.Do(ctx, save.args...)
	if refused, ok := errors.AsType[ReplyError](err); ok {
		return save.refused(refused)
	}
	return err
}

// Follow makes the instance a replica of the master at a: REPLICAOF, CONFIG REWRITE, and CLIENT KILL of normal and pubsub
// clients where disconnect is set, in one MULTI. had is its replication offset at that moment, up to which it had what was
// written to it; -1 where it does not tell. rewriteErr tells why the configuration file could not be rewritten, or the
// clients not be disconnected; the instance follows all the same.
func (c *Conn) Follow(ctx context.Context, a raftfsm.Addr, disconnect bool) (had int64, rewriteErr error, err error) {
	var told string
	steps := []step{replicaOf(a.Host, strconv.Itoa(int(a.Port))), state(&told), rewrite()}
	if disconnect {
		steps = append(steps,
			step{args: []string{"CLIENT", "KILL", "TYPE", "normal"}, optional: true},
			step{args: []string{"CLIENT", "KILL", "TYPE", "pubsub"}, optional: true})
	}
	rewriteErr, err = c.transact(ctx, steps...)
	return offsetIn(told), rewriteErr, err
}

// Client is a connection to the instance, as CLIENT LIST tells it.
type Client struct {
	ID   int64
	Name string
	// Host is the other end's address, without its port.
	Host string
	// Subscribed: it listens to channels.
	Subscribed bool
	// Replicates: it is the link to a replica or to the master.
	Replicates bool
}

var clientList = []string{"CLIENT", "LIST"}

// Clients lists the connections that keep wants, by CLIENT LIST.
func (c *Conn) Clients(ctx context.Context, keep func(Client) bool) ([]Client, error) {
	replies, err := c.exchange(ctx, maxClientList, clientList)
	if err != nil {
		return nil, err
	}
	return c.clients(replies[0], keep)
}

// clients reads the reply to CLIENT LIST.
func (c *Conn) clients(reply any, keep func(Client) bool) ([]Client, error) {
	text, ok := reply.(string)
	if !ok {
		return nil, c.wrong("client", reply)
	}
	var found []Client
	for line := range strings.Lines(text) {
		var o Client
		for field := range strings.FieldsSeq(line) {
			switch key, value, _ := strings.Cut(field, "="); key {
			case "id":
				o.ID, _ = strconv.ParseInt(value, 10, 64)
			case "name":
				o.Name = value
			case "addr":
				o.Host, _, _ = net.SplitHostPort(value)
			case "flags":
				o.Subscribed, o.Replicates = strings.Contains(value, "P"), strings.ContainsAny(value, "SM")
			}
		}
		if o.ID > 0 && keep(o) {
			o.Name, o.Host = strings.Clone(o.Name), strings.Clone(o.Host) // the list may be long
			found = append(found, o)
		}
	}
	return found, nil
}

// ControlClients lists the ids of the connections named with the prefix: id to name.
func (c *Conn) ControlClients(ctx context.Context, prefix string) (map[int64]string, error) {
	list, err := c.Clients(ctx, func(o Client) bool { return strings.HasPrefix(o.Name, prefix) })
	if err != nil {
		return nil, err
	}
	found := make(map[int64]string, len(list))
	for _, o := range list {
		found[o.ID] = o.Name
	}
	return found, nil
}

// ownNames begin the names of our own connections, of whatever node.
const ownNames = "sentineld-"

// Applications lists the ids of the connections that are neither replication's nor ours.
func (c *Conn) Applications(ctx context.Context) ([]int64, error) {
	list, err := c.Clients(ctx, func(o Client) bool { return !o.Replicates && !strings.HasPrefix(o.Name, ownNames) })
	if err != nil {
		return nil, err
	}
	ids := make([]int64, len(list))
	for i, o := range list {
		ids[i] = o.ID
	}
	return ids, nil
}

// KillClient closes a connection of the instance by its id; killing one that is gone is no error.
func (c *Conn) KillClient(ctx context.Context, id int64) error {
	_, err := c.Do(ctx, "CLIENT", "KILL", "ID", strconv.FormatInt(id, 10))
	return err
}
