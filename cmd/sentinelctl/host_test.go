package main

import (
	"context"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// yard is a cluster with instances in maintenance and hosts that can be drained.
type yard struct {
	*cluster
	drained []*sentinelv1.DrainHostResponse
	// lose is after how many instances the first drain loses its node.
	lose   int
	drains int
}

func newYard() *yard {
	c := sample()
	c.masters[0].Instances[1].Maintenance = &sentinelv1.Pause{Actor: "ada", Reason: "new memory", Since: at(0), Until: at(60000)}
	return &yard{cluster: c, lose: -1, drained: []*sentinelv1.DrainHostResponse{
		{
			ClusterId: "c1", Revision: 50, Changed: true, Master: "cache", Instance: addr("10.0.0.1", 6379), InMaintenance: true,
			Switchover: &sentinelv1.Failover{Epoch: 4, Switched: true, To: addr("10.0.0.2", 6379)},
		},
		{ClusterId: "c1", Revision: 51, Master: "queue", Instance: addr("10.0.0.1", 6380), Refusal: "it is the last\nreplica"},
	}}
}

func (y *yard) StartMaintenance(ctx context.Context, q *sentinelv1.StartMaintenanceRequest) (*sentinelv1.StartMaintenanceResponse, error) {
	return &sentinelv1.StartMaintenanceResponse{ClusterId: "c1", Revision: 43, Changed: y.changed, Master: y.masters[0]}, y.note(ctx, q, 0)
}

func (y *yard) EndMaintenance(ctx context.Context, q *sentinelv1.EndMaintenanceRequest) (*sentinelv1.EndMaintenanceResponse, error) {
	return &sentinelv1.EndMaintenanceResponse{ClusterId: "c1", Revision: 43, Changed: y.changed}, y.note(ctx, q, 0)
}

func (y *yard) DrainHost(q *sentinelv1.DrainHostRequest, stream sentinelv1.AdminService_DrainHostServer) error {
	if err := y.note(stream.Context(), q, 0); err != nil {
		return err
	}
	y.drains++
	for i, d := range y.drained {
		if i == y.lose && y.drains == 1 {
			return status.Error(codes.Unavailable, "this node is stopping")
		}
		if err := stream.Send(d); err != nil {
			return err
		}
	}
	return nil
}

func (y *yard) UndrainHost(ctx context.Context, q *sentinelv1.UndrainHostRequest) (*sentinelv1.UndrainHostResponse, error) {
	resp := &sentinelv1.UndrainHostResponse{ClusterId: "c1", Revision: 43, Changed: y.changed}
	if y.changed {
		resp.Instances = []*sentinelv1.Address{addr("10.0.0.2", 6379)}
	}
	return resp, y.note(ctx, q, 0)
}

func TestMaintenanceCommands(t *testing.T) {
	for _, c := range []struct {
		args  []string
		done  string
		same  string
		asked proto.Message
	}{
		{
			[]string{"maintenance", "start", "10.0.0.2:6379", "--for", "60s", "--reason", "new memory", "--force"},
			"10.0.0.2:6379 is in maintenance until 2026-11-22T12:01:00.000Z\n", "10.0.0.2:6379 is in maintenance already; nothing changed\n",
			&sentinelv1.StartMaintenanceRequest{Instance: addr("10.0.0.2", 6379), DurationMs: 60000, Reason: "new memory", Force: true},
		},
		{
			[]string{"maintenance", "end", "10.0.0.2:6379"},
			"the maintenance of 10.0.0.2:6379 has ended\n", "10.0.0.2:6379 is not in maintenance; nothing changed\n",
			&sentinelv1.EndMaintenanceRequest{Instance: addr("10.0.0.2", 6379)},
		},
		{
			[]string{"host", "undrain", "10.0.0.2", "--wait"},
			"10.0.0.2 is undrained: 10.0.0.2:6379\n", "nothing on 10.0.0.2 is in maintenance; nothing changed\n",
			&sentinelv1.UndrainHostRequest{Host: "10.0.0.2"},
		},
		{
			[]string{"host", "undrain", "10.0.0.2", "--reason", "host shutdown"},
			"10.0.0.2 is undrained: 10.0.0.2:6379\n", "nothing on 10.0.0.2 is in maintenance for that reason; nothing changed\n",
			&sentinelv1.UndrainHostRequest{Host: "10.0.0.2", Reason: new("host shutdown")},
		},
	} {
		y := newYard()
		endpoint := serveNode(t, y)
		for _, changed := range []bool{true, false} {
			y.changed = changed
			r := ctl(t.Context(), t, endpoint, nil, c.args...)
			if want := map[bool]string{true: c.done, false: c.same}[changed]; r.status != exitDone || r.stdout != want {
				t.Errorf("%v: exit %d, %q %q, want %q", c.args, r.status, r.stdout, r.stderr, want)
			}
		}
		if !slices.ContainsFunc(y.asked, func(q proto.Message) bool { return proto.Equal(q, c.asked) }) {
			t.Errorf("%v asked %v", c.args, y.asked)
		}
		y.fail = refusal(t, codes.FailedPrecondition, "it is the last replica")
		if r := ctl(t.Context(), t, endpoint, nil, c.args...); r.status != exitRefused || !strings.Contains(r.stderr, "last replica") {
			t.Errorf("%v: exit %d, %q", c.args, r.status, r.stderr)
		}
	}
	for _, args := range [][]string{
		{"maintenance"},
		{"maintenance", "start"},
		{"maintenance", "start", "10.0.0.2"},
		{"maintenance", "start", "a:1", "--for", "-1s"},
		{"maintenance", "end", "a:0"},
		{"host"},
		{"host", "drain"},
		{"host", "drain", "a", "--for", "1us"},
		{"host", "undrain", "a", "--max-wait", "0s"},
	} {
		if r := ctl(t.Context(), t, "127.0.0.1:1", nil, args...); r.status != exitUsage {
			t.Errorf("%v: exit %d, %q", args, r.status, r.stderr)
		}
	}
}

func TestHostDrain(t *testing.T) {
	y := newYard()
	endpoint := serveNode(t, y)
	r := ctl(t.Context(), t, endpoint, nil, "host", "drain", "10.0.0.1", "--for", "1h", "--reason", "kernel")
	if r.status != exitRefused || !strings.Contains(r.stderr, "1 of 2 instances on 10.0.0.1: refused") {
		t.Errorf("exit %d, %q", r.status, r.stderr)
	}
	golden(t, "host-drain", r.stdout)
	q, ok := y.asked[0].(*sentinelv1.DrainHostRequest)
	if !ok || q.GetRequestId() == "" || q.GetDurationMs() != 3600000 || q.GetReason() != "kernel" || q.GetValidateOnly() {
		t.Errorf("asked %v", q)
	}
	r = ctl(t.Context(), t, endpoint, nil, "host", "drain", "10.0.0.1", "--dry-run", "-o", "json")
	id := y.asked[1].(*sentinelv1.DrainHostRequest)
	if r.status != exitRefused || !id.GetValidateOnly() {
		t.Errorf("exit %d, asked %v", r.status, id)
	}
	golden(t, "host-drain.json", strings.ReplaceAll(r.stdout, id.GetRequestId(), "ID"))
	y.drained = y.drained[:1]
	if r = ctl(t.Context(), t, endpoint, nil, "host", "drain", "10.0.0.1"); r.status != exitDone {
		t.Errorf("exit %d, %q", r.status, r.stderr)
	}
	y.fail = refusal(t, codes.NotFound, "no instance there")
	if r = ctl(t.Context(), t, endpoint, nil, "host", "drain", "10.0.0.1"); r.status != exitRefused || r.stdout != "" {
		t.Errorf("exit %d, %q", r.status, r.stdout)
	}
}

// The node that drains is lost after one instance: the drain goes on under the same id, and what was told is told once.
func TestHostDrainOutlivesItsNode(t *testing.T) {
	y := newYard()
	y.lose = 1
	y.drained[1].Refusal, y.drained[1].InMaintenance = "", true
	r := ctl(t.Context(), t, serveNode(t, y), nil, "host", "drain", "10.0.0.1")
	if r.status != exitDone || y.drains != 2 || strings.Count(r.stdout, "10.0.0.1:6379") != 1 || strings.Count(r.stdout, "10.0.0.1:6380") != 1 {
		t.Errorf("exit %d after %d drains, %q %q", r.status, y.drains, r.stdout, r.stderr)
	}
	a, b := y.asked[0].(*sentinelv1.DrainHostRequest), y.asked[1].(*sentinelv1.DrainHostRequest)
	if a.GetRequestId() != b.GetRequestId() {
		t.Errorf("ids %q and %q", a.GetRequestId(), b.GetRequestId())
	}
}

func TestMaintenanceIsShown(t *testing.T) {
	endpoint := serveNode(t, newYard())
	for _, command := range []string{"replicas", "master"} {
		r := ctl(t.Context(), t, endpoint, nil, command, "cache")
		if r.status != exitDone {
			t.Errorf("exit %d, %q", r.status, r.stderr)
		}
		golden(t, "maintenance-"+command, r.stdout)
	}
	for _, args := range [][]string{{"__complete", "maintenance", "end", ""}, {"__complete", "host", "drain", ""}} {
		r := ctl(t.Context(), t, endpoint, nil, args...)
		if want := map[string]string{"end": "10.0.0.2:6379\n", "drain": "10.0.0.1\n"}[args[2]]; !strings.Contains(r.stdout, want) {
			t.Errorf("%v: %q", args, r.stdout)
		}
	}
}
