package instance

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Subscribers is how many connections listen to a channel.
func (c *Conn) Subscribers(ctx context.Context, channel string) (int64, error) {
	reply, err := c.Do(ctx, "PUBSUB", "NUMSUB", channel)
	if err != nil {
		return 0, err
	}
	if pair, ok := reply.([]any); ok && len(pair) == 2 {
		if n, ok := pair[1].(int64); ok {
			return n, nil
		}
	}
	return 0, c.fault([]string{"pubsub"}, fmt.Errorf("%w: a %T in reply", errProtocol, reply))
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

// Lacks lists the commands that a failover needs and that the instance does not know under the names that it was dialed
// with. Of REPLICAOF and SLAVEOF one is enough. It asks by COMMAND INFO, which touches nothing.
func (c *Conn) Lacks(ctx context.Context) ([]string, error) {
	command := []string{"COMMAND", "INFO"}
	for _, name := range needs {
		command = append(command, c.called(name))
	}
	reply, err := c.Do(ctx, command...)
	if err != nil {
		return nil, err
	}
	known, ok := reply.([]any)
	if !ok || len(known) != len(needs) {
		return nil, c.fault(command, fmt.Errorf("%w: a %T in reply", errProtocol, reply))
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
