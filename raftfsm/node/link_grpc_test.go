package node

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	peerv1 "github.com/raftsentinel/raftsentinel/proto/peer/v1"
)

// whoServer tells a caller who it takes it for.
type whoServer struct {
	peerv1.UnimplementedPeerServiceServer
}

func (whoServer) Describe(ctx context.Context, _ *peerv1.DescribeRequest) (*peerv1.DescribeResponse, error) {
	id, ok := peerRaftID(ctx)
	return &peerv1.DescribeResponse{RaftId: string(id), Removed: !ok}, nil
}

func credsOf(id, secret string) credentials.TransportCredentials {
	return newLinkCredentials(authOf(id, secret), slog.New(slog.DiscardHandler))
}

func serveWho(t *testing.T, creds credentials.TransportCredentials) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.Creds(creds))
	peerv1.RegisterPeerServiceServer(s, whoServer{})
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Serve(l) })
	t.Cleanup(func() {
		s.Stop()
		wg.Wait()
	})
	return l.Addr().String()
}

func askWho(t *testing.T, addr string, creds credentials.TransportCredentials) (*peerv1.DescribeResponse, error) {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return peerv1.NewPeerServiceClient(conn).Describe(ctx, &peerv1.DescribeRequest{})
}

func TestCredentialsTellNodesFromOthers(t *testing.T) {
	for _, tc := range []struct {
		name           string
		server, client credentials.TransportCredentials
		want           string // raft id; "" for anonymous
		refused        string
	}{
		{"node", credsOf("n2-b", "s3cret"), credsOf("n1-a", "s3cret"), "n1-a", ""},
		{"itself", credsOf("n2-b", "s3cret"), credsOf("n2-b", "s3cret"), "n2-b", ""},
		{"application", credsOf("n2-b", "s3cret"), insecure.NewCredentials(), "", ""},
		{"node of the same machine, no secret", credsOf("n2-b", ""), credsOf("n1-a", ""), "n1-a", ""},
		{"application, no secret", credsOf("n2-b", ""), insecure.NewCredentials(), "", ""},
		{"other secret", credsOf("n2-b", "s3cret"), credsOf("n1-a", "other"), "", "cluster secrets differ"},
		{"nameless", credsOf("n2-b", "s3cret"), credsOf("", "s3cret"), "", "names no raft id"},
		{"a server that is no node", insecure.NewCredentials(), credsOf("n1-a", "s3cret"), "", "not a node's"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := askWho(t, serveWho(t, tc.server), tc.client)
			if tc.refused != "" {
				if err == nil || !strings.Contains(err.Error(), tc.refused) {
					t.Errorf("got %v, want %q", err, tc.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.GetRaftId() != tc.want || got.GetRemoved() != (tc.want == "") {
				t.Errorf("taken for %q, want %q", got.GetRaftId(), tc.want)
			}
		})
	}
}

func TestCredentialsGiveUpWithTheirContext(t *testing.T) {
	near, far := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, far) }()
	ctx, cancel := context.WithCancel(t.Context())
	go cancel()
	if _, _, err := credsOf("n1-a", "s").ClientHandshake(ctx, "", near); err == nil {
		t.Error("a silent server was taken for a node")
	}
}

func TestFromNodeOutsideACall(t *testing.T) {
	if id, ok := peerRaftID(t.Context()); ok {
		t.Errorf("taken for node %q", id)
	}
}

// TestFirstByte: it is seen, and still comes to whoever reads the connection next; over TCP the connection itself.
func TestFirstByte(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dial := func() (near, far net.Conn) {
		near, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if far, err = l.Accept(); err != nil {
			t.Fatal(err)
		}
		return near, far
	}
	for _, c := range []struct {
		name  string
		conns func() (near, far net.Conn)
		wraps bool
	}{{"pipe", net.Pipe, true}, {"TCP", dial, !canPeek}} {
		t.Run(c.name, func(t *testing.T) {
			near, far := c.conns()
			defer near.Close()
			defer far.Close()
			go func() {
				_, _ = io.WriteString(near, "hello")
				_ = near.Close()
			}()
			first, whole, err := firstByte(far)
			if err != nil || first != 'h' || (whole != far) != c.wraps {
				t.Fatalf("%q, wrapped %v, %v", first, whole != far, err)
			}
			if all, err := io.ReadAll(whole); err != nil || string(all) != "hello" {
				t.Errorf("then %q, %v", all, err)
			}
			if _, _, err := firstByte(far); err == nil {
				t.Error("a connection that has ended has another byte")
			}
		})
	}
	near, far := dial()
	defer near.Close()
	defer far.Close()
	if err := far.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := firstByte(far); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a silent connection past its deadline: %v", err)
	}
}
