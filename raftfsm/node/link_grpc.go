package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// linkCredentials shake hands before HTTP/2 where both ends are nodes, and let everyone else pass as anonymous. Whether
// anonymous callers may do anything is for the server's interceptors to say.
type linkCredentials struct {
	auth linkAuthNow
	log  *sparseLog

	mu sync.Mutex
	// refused holds, by the address that was dialled, why the last handshake there was refused.
	refused map[string]string
}

// newLinkCredentials authenticates node-to-node gRPC on both sides; servers admit other clients as anonymous.
func newLinkCredentials(auth linkAuth, log *slog.Logger) *linkCredentials {
	c := &linkCredentials{log: newSparseLog(log), refused: map[string]string{}}
	c.auth.Store(&auth)
	return c
}

// refusal is why the node at an address, a resolved HOST:PORT, refused this one on its merits when it was dialled last; ""
// where it did not. gRPC gives the callers of a method a text only.
func (c *linkCredentials) refusal(address string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refused[address]
}

func (c *linkCredentials) noteDial(address string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.refused, address)
	if r, ok := errors.AsType[linkRefusal](err); ok {
		c.refused[address] = r.reason
	}
}

// ClientHandshake implements credentials.TransportCredentials. It gives up when ctx does.
func (c *linkCredentials) ClientHandshake(ctx context.Context, _ string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	limit := time.Now().Add(handshakeLimit)
	if d, ok := ctx.Deadline(); ok && d.Before(limit) {
		limit = d
	}
	if err := conn.SetDeadline(limit); err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	err := c.auth.Load().dial(conn, linkHello{Purpose: purposeGRPC})
	if !stop() {
		err = errors.Join(ctx.Err(), err)
	}
	c.noteDial(conn.RemoteAddr().String(), err)
	if err != nil {
		return nil, nil, fmt.Errorf("node at %s: %w", conn.RemoteAddr(), err)
	}
	return conn, newLinkInfo(""), conn.SetDeadline(time.Time{})
}

// ServerHandshake implements credentials.TransportCredentials. The deadline that it sets holds until gRPC has read the
// client's first frame and lifts it.
func (c *linkCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if err := conn.SetDeadline(time.Now().Add(handshakeLimit)); err != nil {
		return nil, nil, err
	}
	first, whole, err := firstByte(conn)
	if err != nil {
		return nil, nil, err
	}
	if first != linkMagic[0] {
		return whole, newLinkInfo(""), nil
	}
	hello, err := c.auth.Load().accept(whole, purposeGRPC, func(linkHello) error { return nil })
	if err != nil {
		c.log.warn(refusalKey(conn, err), "connection of another node refused",
			"remote", conn.RemoteAddr().String(), "from", printable(string(hello.From)), "error", err)
		return nil, nil, err
	}
	return conn, newLinkInfo(hello.From), nil
}

// Info implements credentials.TransportCredentials.
func (c *linkCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "sentineld-link"}
}

// Clone implements credentials.TransportCredentials. All connections of a node share what is known of refusals.
func (c *linkCredentials) Clone() credentials.TransportCredentials { return c }

// OverrideServerName implements credentials.TransportCredentials; there is no server name to override.
func (c *linkCredentials) OverrideServerName(string) error { return nil }

// linkInfo says which node, if any, opened a connection.
type linkInfo struct {
	credentials.CommonAuthInfo
	from raft.ServerID // "" for anyone who is not a node
}

func newLinkInfo(from raft.ServerID) linkInfo {
	return linkInfo{credentials.CommonAuthInfo{SecurityLevel: credentials.NoSecurity}, from}
}

// AuthType implements credentials.AuthInfo.
func (i linkInfo) AuthType() string {
	if i.from == "" {
		return "anonymous"
	}
	return "node"
}

// ValidateAuthority implements credentials.AuthorityValidator: no name is claimed, so none is wrong.
func (linkInfo) ValidateAuthority(string) error { return nil }

// peerRaftID is the raft id of the node that opened the connection of a call; false for anyone else.
func peerRaftID(ctx context.Context) (raft.ServerID, bool) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return "", false
	}
	info, ok := p.AuthInfo.(linkInfo)
	return info.from, ok && info.from != ""
}

// firstByte waits for the first byte that the other end sends. whole is the connection with all that it sends, this byte
// included: a TCP connection itself, because gRPC holds no buffer for one that is idle.
func firstByte(conn net.Conn) (first byte, whole net.Conn, err error) {
	if tcp, ok := conn.(*net.TCPConn); ok && canPeek {
		first, err = peek(tcp)
		return first, conn, err
	}
	b := make([]byte, 1)
	if _, err := io.ReadFull(conn, b); err != nil {
		return 0, nil, err
	}
	return b[0], &replayConn{Conn: conn, r: io.MultiReader(bytes.NewReader(b), conn)}, nil
}

// replayConn gives back what was read to see who is there.
type replayConn struct {
	net.Conn
	r io.Reader
}

func (c *replayConn) Read(b []byte) (int, error) { return c.r.Read(b) }
