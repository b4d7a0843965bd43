package daemon

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/cmd/conf"
	"github.com/raftsentinel/raftsentinel/detector/instance"
	"github.com/raftsentinel/raftsentinel/doctor"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// TestHouseConfig: what the file says now is compared with what holds.
func TestHouseConfig(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		live := w.config(1, 1, "cluster-name prod")
		var next *conf.Config
		var warnings []conf.Warning
		var fault error
		o := w.options(live)
		o.ConfigFile = "/etc/sentineld.conf"
		o.Reload = func() (*conf.Config, []conf.Warning, error) { return next, warnings, fault }
		d, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		next = live
		got := house{d}.Config()
		if got.File != o.ConfigFile || got.ClusterName != "prod" || got.RaftTiming != "default" || got.BootstrapExpect != 1 ||
			len(got.Peers) != 1 || len(got.Faults)+len(got.Warnings)+len(got.ReloadPending)+len(got.RestartPending) != 0 {
			t.Errorf("%+v", got)
		}
		next, warnings = w.config(1, 1, "cluster-name test", "loglevel debug"), []conf.Warning{{Text: "odd"}}
		got = house{d}.Config()
		if fmt.Sprint(got.ReloadPending, got.RestartPending, got.Warnings) != "[loglevel] [cluster-name] [configuration: odd]" || got.ClusterName != "prod" {
			t.Errorf("%+v", got)
		}
		next, fault = nil, conf.Faults{{Text: "one"}, {Text: "two"}}
		if got = (house{d}).Config(); len(got.Faults) != 2 || len(got.ReloadPending) != 0 {
			t.Errorf("%+v", got)
		}
		fault = errors.New("no working directory")
		if got = (house{d}).Config(); fmt.Sprint(got.Faults) != "[no working directory]" {
			t.Errorf("%+v", got)
		}
		if disk := (house{d}).Disk(); disk.Dir != live.Dir || disk.Unknown != "" || disk.Free <= 0 || disk.Size < disk.Free {
			t.Errorf("%+v", disk)
		}
		if disk := diskOf(filepath.Join(live.Dir, "none")); disk.Unknown == "" {
			t.Errorf("%+v", disk)
		}
		if err := errors.Join(d.node.Close(), d.output.Close(), d.sentinel.now.listener.Close(), d.grpcListener.Close(), d.httpListener.Close()); err != nil {
			t.Error(err)
		}
	})
}

// TestCheckUp: what a visit for the doctor tells in each case, and that it changes nothing.
func TestCheckUp(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		i := inspector{&instance.Dialer{DialContext: w.redis.From("10.9.9.9")}}
		redis := w.redis.Add("10.0.0.1:6379")
		a := redis.Addr()
		check := func(o raftfsm.Options) doctor.Instance {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			return i.CheckUp(ctx, a, o)
		}
		var o raftfsm.Options
		got := check(o)
		if got.Silent+got.Rejected+got.RightsUnknown+got.SettingsUnknown != "" || len(got.Denied)+len(got.Missing) != 0 ||
			got.Role != raftfsm.RoleMaster || got.Version == "" || got.Priority != -1 || got.Settings["replica-priority"] != "100" {
			t.Errorf("well: %+v", got)
		}
		redis.Deny("config|rewrite", "client|kill")
		if got = check(o); fmt.Sprint(got.Denied) != "[client kill config rewrite]" || got.RightsUnknown != "" {
			t.Errorf("denied: %+v", got)
		}
		redis.Deny("info")
		if got = check(o); fmt.Sprint(got.Denied) != "[info]" || got.Rejected != "" || got.Settings != nil {
			t.Errorf("without INFO: %+v", got)
		}
		redis.Deny("config|get")
		if got = check(o); !strings.Contains(got.SettingsUnknown, "NOPERM") || len(got.Denied) != 0 {
			t.Errorf("without CONFIG GET: %+v", got)
		}
		redis.Deny()
		redis.SetLoading(true)
		if got = check(o); !strings.Contains(got.RightsUnknown, "LOADING") || got.Silent != "" {
			t.Errorf("loading: %+v", got)
		}
		redis.SetLoading(false)
		redis.SetAuth("", "geheim")
		if got = check(o); got.Rejected == "" || got.Silent != "" {
			t.Errorf("without a password: %+v", got)
		}
		o.AuthPass = raftfsm.NewSecret("geheim")
		if got = check(o); got.Rejected != "" || strings.Contains(fmt.Sprintf("%+v", got), "geheim") || got.Settings == nil {
			t.Errorf("with the password: %+v", got)
		}
		if !redis.State().Follows.IsZero() {
			t.Error("it is a replica now")
		}
		for _, c := range w.redis.Log() {
			changes := c.Args[0] == "REPLICAOF" || c.Args[0] == "SLAVEOF" || c.Args[0] == "CONFIG" && c.Args[1] != "GET"
			if changes && c.Err == "" {
				t.Errorf("%v was carried out", c.Args)
			}
		}
		redis.Crash()
		if got = check(o); got.Silent == "" || strings.HasPrefix(got.Silent, "instance") {
			t.Errorf("down: %+v", got)
		}
	})
}

// TestCheckUpOfAnExpiredCertificate: why TLS fails is told as what it is.
func TestCheckUpOfAnExpiredCertificate(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"redis.example"}, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	i := inspector{&instance.Dialer{DialContext: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer close(served)
			s := tls.Server(server, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
			_ = s.Handshake()
			_ = s.Close()
		}()
		return client, nil
	}}}
	got := i.CheckUp(t.Context(), raftfsm.Addr{Host: "redis.example", Port: 6379}, raftfsm.Options{TLS: "yes"})
	<-served
	if !got.Expired || !strings.Contains(got.Silent, "expired") {
		t.Errorf("%+v", got)
	}
}

// TestLogTail: the end of the log is kept, in whole lines and within bounds.
func TestLogTail(t *testing.T) {
	var all bytes.Buffer
	l, err := openLog(&all, "")
	if err != nil {
		t.Fatal(err)
	}
	tail := func() string {
		var out bytes.Buffer
		if err := l.writeTail(&out); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	if tail() != "" {
		t.Error("there is something before anything was written")
	}
	for i := range 20000 {
		if _, err := fmt.Fprintf(l, "line %d of many, so that the bound is passed more than once\n", i); err != nil {
			t.Fatal(err)
		}
		if i == 2 && tail() != all.String() {
			t.Errorf("the first lines: %q", tail())
		}
	}
	got := tail()
	if !strings.HasSuffix(all.String(), got) || !strings.HasPrefix(got, "line ") || len(got) < tailSize-100 || len(got) > 2*tailSize {
		t.Errorf("%d bytes, from %q", len(got), got[:min(50, len(got))])
	}
	if _, err := l.Write(bytes.Repeat([]byte("x"), 3*tailSize)); err != nil || len(l.tail) > 2*tailSize {
		t.Errorf("%d bytes are kept, %v", len(l.tail), err)
	}
}
