package instance

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// Target is how one instance is reached.
type Target struct {
	Addr raftfsm.Addr
	// User is the ACL user, "" for the default one.
	User string
	Pass raftfsm.Secret
	// FormerPass is tried where Pass is rejected.
	FormerPass raftfsm.Secret
	// Rename maps a lower-case command to what the instance calls it.
	Rename map[string]string
	// TLS is nil for a plain connection.
	TLS *tls.Config
}

// TargetOf is how the instance a of the set m is reached. tlsConfig is used where the set's option tls, or the node's
// default, asks for it; nil is then the system's roots.
func TargetOf(m *raftfsm.Master, a raftfsm.Addr, tlsConfig *tls.Config, tlsDefault bool) Target {
	o := m.Options
	t := Target{Addr: a, User: o.AuthUser, Pass: o.AuthPass, FormerPass: o.FormerAuthPass, Rename: o.RenameCommand}
	if o.TLS == "yes" || (o.TLS == "" && tlsDefault) {
		t.TLS = cmp.Or(tlsConfig, &tls.Config{MinVersion: tls.VersionTLS12})
	}
	return t
}

// Dialer opens connections. The zero value dials TCP.
type Dialer struct {
	// DialContext replaces the network, in tests.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
}

// Dial connects, authenticates and names the connection; the context bounds all of it. "" as the name leaves it
// unnamed. A [ReplyError] inside the error is an instance that lives and refuses us.
//
// An instance that is loading or busy may be unable to set the name: the connection then serves for probes, and
// [Conn.Promote] and [Conn.Follow] refuse on it, because a connection without its name cannot be fenced.
func (d *Dialer) Dial(ctx context.Context, t Target, clientName string) (*Conn, error) {
	dial := d.DialContext
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	nc, err := dial(ctx, "tcp", t.Addr.String())
	if err != nil {
		return nil, fmt.Errorf("instance %s: connect: %w", t.Addr, err)
	}
	if t.TLS != nil {
		tc := tls.Client(nc, tlsFor(t))
		if err := tc.HandshakeContext(ctx); err != nil {
			_ = nc.Close()
			return nil, fmt.Errorf("instance %s: TLS handshake: %w", t.Addr, err)
		}
		nc = tc
	}
	c := &Conn{net: nc, addr: t.Addr, rename: t.Rename, in: reader{src: nc}, born: time.Now()}
	if err := c.open(ctx, t, clientName); err != nil {
		_ = nc.Close()
		return nil, err
	}
	return c, nil
}

func tlsFor(t Target) *tls.Config {
	if t.TLS.ServerName != "" {
		return t.TLS
	}
	config := t.TLS.Clone()
	config.ServerName = t.Addr.Host
	return config
}

func (c *Conn) open(ctx context.Context, t Target, clientName string) error {
	if !t.Pass.IsZero() {
		if err := c.auth(ctx, t); err != nil {
			return err
		}
	}
	if clientName == "" {
		return nil
	}
	_, err := c.Do(ctx, "CLIENT", "SETNAME", clientName)
	if refused, ok := errors.AsType[ReplyError](err); ok {
		err = fmt.Errorf("instance %s: client setname: %w", c.addr, refused)
		switch detector.ClassifyReply(refused.Text) {
		case detector.ReplyLoading, detector.ReplyMasterDown, detector.ReplyBusy:
			c.unnamed, err = err, nil
		default:
		}
	}
	return err
}

// auth presents the password, then the former one.
func (c *Conn) auth(ctx context.Context, t Target) error {
	err := c.present(ctx, t.User, t.Pass)
	if errors.Is(err, errPassword) && !t.FormerPass.IsZero() {
		if c.present(ctx, t.User, t.FormerPass) == nil {
			return nil
		}
		if c.failed != nil {
			return c.fault([]string{"auth"}, c.failed)
		}
	}
	return err
}

// present sends AUTH. An instance that has no password set accepts any: Redis Sentinel works with such, so do we.
func (c *Conn) present(ctx context.Context, user string, pass raftfsm.Secret) error {
	args := []string{"AUTH", pass.Reveal()}
	if user != "" {
		args = []string{"AUTH", user, pass.Reveal()}
	}
	_, err := c.Do(ctx, args...)
	refused, ok := errors.AsType[ReplyError](err)
	if !ok {
		return err
	}
	for _, open := range []string{"no password is set", "without any password configured"} {
		if strings.Contains(refused.Text, open) {
			return nil
		}
	}
	return c.fault(args, fmt.Errorf("%w: %w", errPassword, ReplyError{Text: withoutSecret(refused.Text, pass)}))
}

// withoutSecret drops what an instance echoes of our words: an unknown command is answered with its arguments.
func withoutSecret(text string, pass raftfsm.Secret) string {
	text, _, _ = strings.Cut(text, ", with args")
	return strings.ReplaceAll(text, pass.Reveal(), pass.String())
}
