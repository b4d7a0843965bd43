//go:build linux

package systemd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

const (
	// soon bounds what takes a moment, patience what waits for a time-out of somebody's.
	soon     = 30 * time.Second
	patience = 90 * time.Second
)

// lab is three hosts that see each other.
type lab struct {
	network *network
	hosts   []*host
	begun   time.Time
}

// newLab boots the hosts, which know each other's names.
func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{begun: time.Now()}
	var err error
	if l.network, err = newNetwork(); err != nil {
		t.Fatal(err)
	}
	for place := 1; place <= 3; place++ {
		h, err := newHost(l.network, place)
		if err != nil {
			t.Fatal(err)
		}
		l.hosts = append(l.hosts, h)
	}
	t.Cleanup(func() {
		if t.Failed() {
			l.dump(t)
		}
	})
	for _, h := range l.hosts {
		must(t, l.naming(h, l.hosts))
		must(t, h.boot(t.Context()))
	}
	l.say(t, "three hosts are up, %s", strings.TrimSpace(firstLine(sh(t, l.hosts[0], "systemctl", "--version"))))
	return l
}

// naming has one host know the names of others, and its own.
func (l *lab) naming(h *host, others []*host) error {
	text := "127.0.0.1 localhost\n" + h.addr + " " + h.name + "\n"
	for _, o := range others {
		if o != h {
			text += o.addr + " " + o.name + "\n"
		}
	}
	return h.write("/etc/hosts", text, 0o644)
}

// say tells what was seen, and when.
func (l *lab) say(t *testing.T, format string, args ...any) {
	t.Helper()
	t.Logf("%6.1f s  %s", time.Since(l.begun).Seconds(), fmt.Sprintf(format, args...))
}

// dump tells the last of what every host's journal has.
func (l *lab) dump(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	for _, h := range l.hosts {
		out, err := h.run(ctx, "journalctl", "--no-pager", "--lines=80", "--output=short-precise")
		if err != nil {
			out = fmt.Sprintf("no journal: %v\n%s", err, h.consoleTail())
		}
		t.Logf("--- %s\n%s", h.name, out)
	}
}

// eventually asks until the answer is no error.
func eventually(t *testing.T, what string, limit time.Duration, ask func(context.Context) error) {
	t.Helper()
	if err := until(t.Context(), limit, ask); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// sh runs a command that must succeed on a host, and gives what it has printed.
func sh(t *testing.T, h *host, args ...string) string {
	t.Helper()
	out, err := h.run(t.Context(), args...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return strings.TrimSpace(out)
}

// fails runs a command that must fail on a host, and gives how.
func fails(t *testing.T, h *host, args ...string) *failed {
	t.Helper()
	out, err := h.run(t.Context(), args...)
	f, ok := errors.AsType[*failed](err)
	if !ok {
		t.Fatalf("%s: %s ends with %v\n%s", h.name, strings.Join(args, " "), err, out)
	}
	return f
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndex(text, "\n")+1:]
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// api is what a host's node serves over gRPC.
type api struct {
	masters sentinelv1.SentinelServiceClient
	admin   sentinelv1.AdminServiceClient
	cluster sentinelv1.ClusterServiceClient
}

func newAPI(addr string) (*api, error) {
	conn, err := grpc.NewClient("passthrough:///"+net.JoinHostPort(addr, "26479"),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		// A host that was off is found again at once.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1, MaxDelay: 100 * time.Millisecond},
			MinConnectTimeout: time.Second,
		}))
	if err != nil {
		return nil, err
	}
	return &api{
		sentinelv1.NewSentinelServiceClient(conn), sentinelv1.NewAdminServiceClient(conn), sentinelv1.NewClusterServiceClient(conn),
	}, nil
}

// status is the node's own account.
func (a *api) status(ctx context.Context) (*sentinelv1.GetStatusResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return a.cluster.GetStatus(ctx, &sentinelv1.GetStatusRequest{Consistency: sentinelv1.Consistency_CONSISTENCY_LOCAL})
}

// leader waits until one of the hosts leads, and gives it.
func (l *lab) leader(t *testing.T, among ...*host) *host {
	t.Helper()
	if len(among) == 0 {
		among = l.hosts
	}
	var leader *host
	eventually(t, "a leader", soon, func(ctx context.Context) error {
		for _, h := range among {
			s, err := h.api.status(ctx)
			if err == nil && s.GetRole() == sentinelv1.NodeRole_NODE_ROLE_LEADER {
				leader = h
				return nil
			}
		}
		return errors.New("no node leads")
	})
	return leader
}

// others are the hosts but those.
func (l *lab) others(not ...*host) []*host {
	var out []*host
	for _, h := range l.hosts {
		if !slices.Contains(not, h) {
			out = append(out, h)
		}
	}
	return out
}

// healthy waits as operators do until nothing is wrong, with every host a voter.
func (l *lab) healthy(t *testing.T, asked *host) {
	t.Helper()
	begun := time.Now()
	sh(t, asked, "sentinelctl", "status", "--wait", "healthy", "--max-wait", "80s")
	eventually(t, "every node is a voter that has heard the leader", soon, func(ctx context.Context) error {
		for _, h := range l.hosts {
			s, err := h.api.status(ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", h.name, err)
			}
			if int(s.GetVoters()) != len(l.hosts) || s.GetLeaderNodeId() == "" || s.GetLoading() {
				return fmt.Errorf("%s: %v", h.name, s)
			}
		}
		return nil
	})
	l.say(t, "%s: sentinelctl status --wait healthy, after %.1f s", asked.name, time.Since(begun).Seconds())
}

func text(a *sentinelv1.Address) string {
	return net.JoinHostPort(a.GetHost(), strconv.Itoa(int(a.GetPort())))
}
