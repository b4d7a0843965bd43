package node

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

const (
	// linkMagic opens every connection from node to node. Neither HTTP/2 nor TLS begins with a zero byte.
	linkMagic = "\x00snode1\n"
	// linkFrameLimit bounds what an unknown peer can make this node read at once, bytes.
	linkFrameLimit = 4096
	// linkReasonLimit bounds what of a peer's words is shown, characters.
	linkReasonLimit = 300
	// handshakeLimit is how long an inbound connection may take to say who it is.
	handshakeLimit = 3 * time.Second
)

// Purposes of a connection. A proof for one is worth nothing for another.
const (
	purposeRaft = "raft"
	purposeGRPC = "grpc"
)

// linkAuth is what this node presents and demands when nodes open connections to each other.
type linkAuth struct {
	clusterName string
	secret      raftfsm.Secret
	raftID      raft.ServerID
}

// linkAuthNow is what holds now: each handshake takes it once. Connections that stand are not asked again.
type linkAuthNow struct{ atomic.Pointer[linkAuth] }

// rekey has the handshakes from now on use a secret, and tells whether it is another than before.
func (a *linkAuthNow) rekey(secret raftfsm.Secret) (changed bool) {
	next := *a.Load()
	changed = next.secret != secret
	next.secret = secret
	a.Store(&next)
	return changed
}

// The four messages of a handshake, in order: the dialler's hello, the acceptor's challenge, the dialler's proof, the
// acceptor's verdict. Each is a frame of two bytes of length and JSON. Both proofs are HMAC-SHA256 by the cluster secret
// over role, hello and challenge as they were sent: with a nonce from either side, neither can be replayed, turned round
// or used for another node, cluster or purpose. The dialler proves itself first, so that a stranger who connects gets
// nothing to guess the secret from.
type (
	linkHello struct {
		Purpose     string        `json:"purpose"`
		ClusterName string        `json:"cluster_name"`
		Secured     bool          `json:"secured"`
		From        raft.ServerID `json:"from"`
		// To and ClusterID bind a Raft connection to one member of one cluster.
		To        raft.ServerID `json:"to,omitempty"`
		ClusterID string        `json:"cluster_id,omitempty"`
		Nonce     []byte        `json:"nonce"`
	}
	linkChallenge struct {
		Refusal string `json:"refusal,omitempty"`
		Nonce   []byte `json:"nonce,omitempty"`
	}
	linkProof struct {
		MAC []byte `json:"mac"`
	}
	linkVerdict struct {
		Refusal string `json:"refusal,omitempty"`
		MAC     []byte `json:"mac,omitempty"`
	}
)

// linkRefusal is a connection refused on its merits, by this side or the other.
type linkRefusal struct{ reason string }

func (r linkRefusal) Error() string { return r.reason }

var errLinkProof = linkRefusal{"the cluster secrets differ: give every node the same cluster-secret-file"}

// dial proves this node to the other side of conn and has it prove itself. The caller sets conn's deadline.
func (a linkAuth) dial(conn net.Conn, h linkHello) error {
	h.ClusterName, h.Secured, h.From, h.Nonce = a.clusterName, !a.secret.IsZero(), a.raftID, linkNonce()
	hello, err := encodeFrame(h)
	if err != nil {
		return err
	}
	if _, err := conn.Write(append([]byte(linkMagic), hello...)); err != nil {
		return err
	}
	var c linkChallenge
	challenge, err := readFrame(conn, &c)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, net.ErrClosed):
		return fmt.Errorf("it did not answer the handshake: %w", err)
	case err != nil:
		return fmt.Errorf("its answer is not a node's, is this its %s port? %w", h.Purpose, err)
	}
	if c.Refusal != "" {
		return refusedBy(c.Refusal)
	}
	if _, err := writeFrame(conn, linkProof{MAC: a.mac("dialler", hello, challenge)}); err != nil {
		return err
	}
	var v linkVerdict
	if _, err := readFrame(conn, &v); err != nil {
		return err
	}
	if v.Refusal != "" {
		return refusedBy(v.Refusal)
	}
	if !hmac.Equal(v.MAC, a.mac("acceptor", hello, challenge)) {
		return errLinkProof
	}
	return nil
}

// accept lets the other side of conn prove itself, asks admit, and proves this node. The caller sets conn's deadline.
func (a linkAuth) accept(conn net.Conn, purpose string, admit func(linkHello) error) (linkHello, error) {
	magic := make([]byte, len(linkMagic))
	if _, err := io.ReadFull(conn, magic); err != nil {
		return linkHello{}, err
	}
	if string(magic) != linkMagic {
		return linkHello{}, linkRefusal{fmt.Sprintf("not a node: it began with %q", magic)}
	}
	var h linkHello
	hello, err := readFrame(conn, &h)
	if err != nil {
		return h, err
	}
	if err := a.greet(h, purpose, conn.RemoteAddr()); err != nil {
		_, werr := writeFrame(conn, linkChallenge{Refusal: err.Error()})
		return h, errors.Join(err, werr)
	}
	challenge, err := writeFrame(conn, linkChallenge{Nonce: linkNonce()})
	if err != nil {
		return h, err
	}
	var p linkProof
	if _, err := readFrame(conn, &p); err != nil {
		return h, err
	}
	err = errLinkProof
	if hmac.Equal(p.MAC, a.mac("dialler", hello, challenge)) {
		err = admit(h)
	}
	if err != nil {
		_, werr := writeFrame(conn, linkVerdict{Refusal: err.Error()})
		return h, errors.Join(err, werr)
	}
	_, err = writeFrame(conn, linkVerdict{MAC: a.mac("acceptor", hello, challenge)})
	return h, err
}

// greet refuses what no proof could mend.
func (a linkAuth) greet(h linkHello, purpose string, remote net.Addr) error {
	switch {
	case h.Purpose != purpose:
		return linkRefusal{fmt.Sprintf("this is a node's %s port, not its %s port", purpose, printable(h.Purpose))}
	case h.ClusterName != a.clusterName:
		return linkRefusal{fmt.Sprintf("cluster-name is %s on %s and %s on %s", a.clusterName, a.raftID, plain(h.ClusterName), plain(string(h.From)))}
	case h.From == "":
		return linkRefusal{"it names no raft id"}
	case len(h.Nonce) < linkNonceSize:
		return linkRefusal{"its nonce is too short"}
	case !h.Secured && a.secret.IsZero() && !isLocal(remote):
		return linkRefusal{"without a cluster-secret-file only nodes of the same machine are let in"}
	case h.Secured == a.secret.IsZero():
		return linkRefusal{"one of the two nodes has no cluster-secret-file: give every node the same one"}
	case h.From == a.raftID && purpose == purposeRaft:
		return linkRefusal{"this node itself, under another address"}
	}
	return nil
}

const linkNonceSize = 32

func linkNonce() []byte {
	n := make([]byte, linkNonceSize)
	_, _ = rand.Read(n) // never fails: see crypto/rand
	return n
}

func (a linkAuth) mac(role string, hello, challenge []byte) []byte {
	m := hmac.New(sha256.New, []byte(a.secret.Reveal()))
	for _, part := range [][]byte{[]byte("sentineld link 1"), []byte(role), hello, challenge} {
		_ = binary.Write(m, binary.BigEndian, uint32(len(part)))
		m.Write(part)
	}
	return m.Sum(nil)
}

// isLocal tells whether a connection's other end is on this machine. Networks other than TCP do not leave it.
func isLocal(remote net.Addr) bool {
	tcp, ok := remote.(*net.TCPAddr)
	return !ok || tcp.IP.IsLoopback()
}

func encodeFrame(v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if len(body) > linkFrameLimit {
		return nil, fmt.Errorf("handshake of %d bytes: at most %d are allowed", len(body), linkFrameLimit)
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(body))), body...), nil
}

// writeFrame gives the frame as it was sent, for the proofs.
func writeFrame(w io.Writer, v any) ([]byte, error) {
	frame, err := encodeFrame(v)
	if err == nil {
		_, err = w.Write(frame)
	}
	return frame, err
}

// readFrame gives the frame as it was received. It reads no byte beyond it.
func readFrame(r io.Reader, into any) ([]byte, error) {
	frame := make([]byte, 2)
	if _, err := io.ReadFull(r, frame); err != nil {
		return nil, err
	}
	size := int(binary.BigEndian.Uint16(frame))
	if size > linkFrameLimit {
		return nil, errors.New("handshake message is too long")
	}
	frame = append(frame, make([]byte, size)...)
	if _, err := io.ReadFull(r, frame[2:]); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(bytes.TrimSpace(frame[2:]), into); err != nil {
		return nil, fmt.Errorf("handshake message: %w", err)
	}
	return frame, nil
}

func refusedBy(reason string) error {
	return linkRefusal{"refused by the other node: " + printable(reason)}
}

// plain is a name as it is where it is nothing but a name, else printable.
func plain(name string) string {
	if shown := printable(name); shown != `"`+name+`"` {
		return shown
	}
	return name
}

// printable makes a stranger's words fit for a line of the log.
func printable(s string) string {
	if r := []rune(s); len(r) > linkReasonLimit {
		s = string(r[:linkReasonLimit]) + "..."
	}
	return strconv.Quote(s)
}
