package instance

import (
	"context"
	"errors"
	"os"
)

// Idle listens on a connection on which nothing is asked, so that a break is known the moment it happens and not at the
// next command. It returns at the context's deadline or cancellation with an error that is [context.DeadlineExceeded] or
// [context.Canceled]; the connection is then as good as before. After any other error it is useless.
func (c *Conn) Idle(ctx context.Context) error {
	what := []string{"idle"}
	if c.failed != nil {
		return c.fault(what, c.failed)
	}
	err := c.within(ctx, func() error {
		if err := c.in.begin(); err != nil {
			return err
		}
		return c.in.fill()
	})
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.Canceled):
		return err
	case err == nil:
		err = errUnasked
	}
	c.failed = err
	return c.fault(what, err)
}
