package instance

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

func certificate(t *testing.T, host string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{host}, NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
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

func TestTLS(t *testing.T) {
	cert, pool := certificate(t, "redis.example")
	d := &Dialer{DialContext: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer func() { _ = server.Close() }()
			s := tls.Server(server, &tls.Config{Certificates: []tls.Certificate{cert}})
			if _, err := s.Read(make([]byte, 100)); err == nil {
				_, _ = s.Write([]byte("+PONG\r\n"))
			}
		}()
		return client, nil
	}}
	config := &tls.Config{RootCAs: pool}
	m := &raftfsm.Master{Options: raftfsm.Options{TLS: "yes"}}
	c, err := d.Dial(bounded(t), TargetOf(m, raftfsm.Addr{Host: "redis.example", Port: 1}, config, false), "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if class, err := c.Ping(bounded(t)); class != detector.ReplyPong || err != nil {
		t.Error(class, err)
	}
	if left := time.Until(c.CertificateEnds()); left <= 0 || left > time.Hour {
		t.Errorf("the certificate ends in %v", left)
	}
	if _, err := d.Dial(bounded(t), TargetOf(m, raftfsm.Addr{Host: "other.example", Port: 1}, config, false), ""); err == nil {
		t.Error("a certificate for another name was accepted")
	}
}

func TestTargetOf(t *testing.T) {
	config := &tls.Config{}
	for _, c := range []struct {
		option   string
		byDef    bool
		config   *tls.Config
		want     bool
		wantSame bool
	}{
		{"", false, config, false, false},
		{"", true, config, true, true},
		{"no", true, config, false, false},
		{"yes", false, config, true, true},
		{"yes", false, nil, true, false},
	} {
		m := &raftfsm.Master{Options: raftfsm.Options{TLS: c.option, AuthUser: "u", AuthPass: raftfsm.NewSecret("p")}}
		got := TargetOf(m, raftfsm.Addr{Host: "h", Port: 1}, c.config, c.byDef)
		if (got.TLS != nil) != c.want || (got.TLS == config) != c.wantSame || got.User != "u" || got.Pass.Reveal() != "p" {
			t.Errorf("%+v: %v", c, got.TLS)
		}
	}
}
