package goredis

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/raftsentinel/raftsentinel/test/fakeredis"
)

// certificate is one that 127.0.0.1 made for itself, and a pool with it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// front serves an instance by TLS.
func front(t *testing.T, i *fakeredis.Instance, cert tls.Certificate) string {
	t.Helper()
	plain, err := i.Listen()
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", plain.String())
			if err != nil {
				_ = near.Close()
				continue
			}
			for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
				go func() {
					_, _ = io.Copy(way[0], way[1])
					_ = way[0].Close()
				}()
			}
		}
	}()
	return l.Addr().String()
}

// TestTLS: the options' TLS is that of the connections, and idle ones are left at the switch without an error.
func TestTLS(t *testing.T) {
	r := newRig(t)
	cert, pool := certificate(t)
	atA, atB := front(t, r.a, cert), front(t, r.b, cert)
	r.cluster.tell(atA)
	c := New(r.client, "m", &redis.Options{MaxRetries: -1, TLSConfig: &tls.Config{RootCAs: pool}})
	defer func() { _ = c.Close() }()
	var held []*redis.Conn
	for range 8 {
		conn := c.Conn()
		if err := conn.Ping(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		held = append(held, conn)
	}
	for _, conn := range held {
		_ = conn.Close()
	}
	if n := len(r.a.Clients()); n != 8 {
		t.Fatalf("%d connections", n)
	}
	r.cluster.tell(atB)
	for len(r.a.Clients()) > 0 {
		select {
		case <-time.After(time.Millisecond):
		case <-t.Context().Done():
			t.Fatal("connections to the former master are left")
		}
	}
	for range 10 {
		r.wantPing(c, addrB)
	}
}

// farewell is a connection whose Close takes time, as one under TLS may.
type farewell struct {
	net.Conn
	said bool
}

func (f *farewell) NetConn() net.Conn { return f.Conn }
func (f *farewell) Close() error      { f.said = true; return f.Conn.Close() }

// TestDropUnderTLS: the connection is cut, without a farewell, and go-redis can tell that it was.
func TestDropUnderTLS(t *testing.T) {
	near, far := net.Pipe()
	defer func() { _ = far.Close() }()
	under := &farewell{Conn: near}
	c := &conn{Conn: under, follower: newFollower(nil, "m", nil, 0)}
	check := func() error {
		raw, err := c.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		return raw.Read(func(uintptr) bool { t.Error("the socket is looked into"); return true })
	}
	if err := check(); err != nil {
		t.Error(err)
	}
	c.drop(errors.New("moved"))
	if err := check(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("go-redis is told %v", err)
	}
	if _, err := c.Write([]byte("x")); err == nil || under.said || !strings.HasPrefix(err.Error(), "moved: ") {
		t.Errorf("%v, farewell %v", err, under.said)
	}
}
