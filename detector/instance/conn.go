package instance

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// Target is how one instance is reached.
type Target struct {
	Addr raftfsm.Addr
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
// default, asks for it.
func TargetOf(m *raftfsm.Master, a raftfsm.Addr, tlsConfig *tls.Config, tlsDefault bool) Target {
	panic("contract only")
}

// Dialer opens connections. The zero value dials TCP.
type Dialer struct {
	// DialContext replaces the network, in tests.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
}

// Dial connects, authenticates and names the connection; the context bounds all of it.
func (d *Dialer) Dial(ctx context.Context, t Target, clientName string) (*Conn, error) {
	panic("contract only")
}

// Conn is one connection. It is for one goroutine at a time, and useless after its first error that is no [ReplyError].
type Conn struct{}

// ReplyError is an error reply: the instance lives and says no. Text is the reply without its leading '-'.
type ReplyError struct{ Text string }

func (e ReplyError) Error() string { return e.Text }

// Do sends one command and reads its reply: string, int64, nil, []any, or ReplyError as the error. The context's deadline
// is the connection's.
func (c *Conn) Do(ctx context.Context, args ...string) (any, error) { panic("contract only") }

// Close closes.
func (c *Conn) Close() error { panic("contract only") }

// LocalAddr is the local end.
func (c *Conn) LocalAddr() net.Addr { panic("contract only") }

// Ping sends PING and classes the reply; err is for a connection that failed.
func (c *Conn) Ping(ctx context.Context) (detector.ReplyClass, error) { panic("contract only") }

// Info sends INFO for the sections that [detector.ParseInfo] reads.
func (c *Conn) Info(ctx context.Context) (*detector.Info, error) { panic("contract only") }

// Role sends ROLE.
func (c *Conn) Role(ctx context.Context) (detector.RoleReply, error) { panic("contract only") }

// Promote sends REPLICAOF NO ONE with CONFIG REWRITE in one MULTI, then ROLE and INFO. rewriteErr tells why the
// configuration file could not be rewritten; the promotion holds all the same.
func (c *Conn) Promote(ctx context.Context) (info *detector.Info, rewriteErr error, err error) {
	panic("contract only")
}

// Follow makes the instance a replica of the master at a: REPLICAOF, CONFIG REWRITE, and CLIENT KILL of normal and pubsub
// clients where disconnect is set, in one MULTI.
func (c *Conn) Follow(ctx context.Context, a raftfsm.Addr, disconnect bool) (rewriteErr error, err error) {
	panic("contract only")
}

// ControlClients lists the ids of the connections named with the prefix, by CLIENT LIST: id to name.
func (c *Conn) ControlClients(ctx context.Context, prefix string) (map[int64]string, error) {
	panic("contract only")
}

// KillClient closes a connection of the instance by its id; killing one that is gone is no error.
func (c *Conn) KillClient(ctx context.Context, id int64) error { panic("contract only") }

// RTT is the time that the last reply took.
func (c *Conn) RTT() time.Duration { panic("contract only") }

// ReadLate reads the reply to a command whose deadline fired before its reply was seen, within a fresh deadline. Go reports
// an exceeded deadline even where the answer already waits in the socket; a node that was itself paused must therefore
// look again before it calls an instance silent. It is allowed only after a deadline error of a single command, once;
// after a reply the connection is whole again, after any other outcome it stays useless.
func (c *Conn) ReadLate(ctx context.Context) (reply any, err error) { panic("contract only") }
