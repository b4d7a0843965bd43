package instance

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/raftsentinel/raftsentinel/detector"
)

// Survey is what an instance tells a visitor. Each question but the first answers for itself: a user may have no right to it, and a list of
// clients may be too long.
type Survey struct {
	Info *detector.Info
	// Lacks are the commands that a failover needs and that the instance does not know under the names that it was dialed with. Of
	// REPLICAOF and SLAVEOF one is enough.
	Lacks        []string
	LacksUnknown error
	// Listening is how many connections listen to the channel that was asked for.
	Listening        int64
	ListeningUnknown error
	// Clients are the connections that were wanted.
	Clients        []Client
	ClientsUnknown error
}

// Survey asks for all but the clients in one write: many instances may be visited at a time. It touches nothing. An error is INFO's, or the
// connection's.
func (c *Conn) Survey(ctx context.Context, channel string, keep func(Client) bool) (*Survey, error) {
	commands := append(slices.Clone(c.infos()), c.commandInfo(), []string{"PUBSUB", "NUMSUB", channel})
	replies, err := c.exchange(ctx, maxReply, commands...)
	if err != nil {
		return nil, err
	}
	n := len(replies) - 2
	s := &Survey{}
	s.Lacks, s.LacksUnknown = c.lacks(replies[n])
	s.Listening, s.ListeningUnknown = c.subscribers(replies[n+1])
	if s.Info, err = c.parseInfo(replies[:n]); err != nil {
		return nil, err
	}
	s.Clients, s.ClientsUnknown = c.Clients(ctx, keep)
	return s, nil
}

// wrong is what is the matter with a reply that is not of the kind that was asked for.
func (c *Conn) wrong(command string, reply any) error {
	if refused, ok := reply.(ReplyError); ok {
		return refused
	}
	return c.fault([]string{command}, fmt.Errorf("%w: a %T in reply", errProtocol, reply))
}

// subscribers reads the reply to PUBSUB NUMSUB for one channel.
func (c *Conn) subscribers(reply any) (int64, error) {
	if pair, ok := reply.([]any); ok && len(pair) == 2 {
		if n, ok := pair[1].(int64); ok {
			return n, nil
		}
	}
	return 0, c.wrong("pubsub", reply)
}

// Listen subscribes to a channel and hands over its messages, until heard wants no more or the context ends. The connection
// is of no other use afterwards.
func (c *Conn) Listen(ctx context.Context, channel string, heard func(message string) bool) error {
	if _, err := c.Do(ctx, "SUBSCRIBE", channel); err != nil {
		return err
	}
	c.failed = errListens
	for {
		var push []any
		err := c.within(ctx, func() (err error) {
			push, err = c.in.push()
			return err
		})
		if err != nil {
			return c.fault([]string{"subscribe"}, err)
		}
		message, ok := push[len(push)-1].(string)
		if ok && push[0] == "message" && !heard(message) {
			return nil
		}
	}
}

// needs are the commands that a failover uses.
var needs = []string{"REPLICAOF", "SLAVEOF", "CONFIG", "CLIENT", "MULTI", "EXEC", "INFO", "ROLE"}

// commandInfo asks for them under the names that the instance has for them.
func (c *Conn) commandInfo() []string {
	command := []string{"COMMAND", "INFO"}
	for _, name := range needs {
		command = append(command, c.called(name))
	}
	return command
}

// lacks reads the reply to it.
func (c *Conn) lacks(reply any) ([]string, error) {
	known, ok := reply.([]any)
	if !ok || len(known) != len(needs) {
		return nil, c.wrong("command", reply)
	}
	var lacks []string
	for i, entry := range known {
		if entry == nil {
			lacks = append(lacks, strings.ToLower(needs[i]))
		}
	}
	// The first two are one command: Redis before 5 knows the second alone.
	both := len(lacks) > 1 && lacks[0] == "replicaof" && lacks[1] == "slaveof"
	switch {
	case both:
		return slices.Delete(lacks, 1, 2), nil
	case len(lacks) > 0 && (lacks[0] == "replicaof" || lacks[0] == "slaveof"):
		return lacks[1:], nil
	}
	return lacks, nil
}
