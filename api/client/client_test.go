package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// TestMovesOn: whatever is wrong with the nodes before it, the one that works answers, and is asked first from then on.
func TestMovesOn(t *testing.T) {
	for name, first := range map[string]*node{
		"refused": nil,
		"frozen":  {frozen: true},
		"cannot":  {fail: cannot(t, "no leader")},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				good := &node{master: set("10.0.0.1", 6379, 7, 70)}
				w := world{"b:26479": good}
				if first != nil {
					w["a:26479"] = first
				}
				c := w.dial(t, "a", "b")
				for range 2 {
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
					m, err := c.Master(ctx, "m")
					cancel()
					want := Master{Name: "m", Addr: "10.0.0.1:6379", Cluster: "c", Epoch: 7, Revision: 70}
					if err != nil || m != want {
						t.Fatalf("%+v, %v", m, err)
					}
				}
				if first != nil && len(first.asked) > 1 {
					t.Errorf("the node that cannot was asked %d times", len(first.asked))
				}
			})
		})
	}
}

// TestRefusalIsAnAnswer: a refusal on the merits is not asked of another node.
func TestRefusalIsAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		second := &node{}
		c := world{"a:26479": {fail: status.Error(codes.NotFound, "no master")}, "b:26479": second}.dial(t, "a", "b")
		if _, err := c.Master(t.Context(), "m"); status.Code(err) != codes.NotFound || len(second.asked) != 0 {
			t.Errorf("%v, second asked %d times", err, len(second.asked))
		}
	})
}

func TestNoNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := world{"b:26479": {frozen: true}}.dial(t, "a:1", "b")
		_, err := c.Master(t.Context(), "m")
		var none *NoNodeError
		if !errors.As(err, &none) || status.Code(err) != codes.Unavailable || none.Sent {
			t.Fatalf("%v", err)
		}
		if want := "no node reachable: a:1: connection refused; b:26479: no answer within 1s"; err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
		c = world{"b:26479": {fail: cannot(t, "no leader that a majority follows")}}.dial(t, "a:1", "b")
		if _, err := c.Master(t.Context(), "m"); errors.As(err, &none) || !strings.Contains(err.Error(), "no leader that") {
			t.Errorf("what the node said is lost: %v", err)
		}
	})
}

// TestFrozenNodesAreAllNamed, those too for which no time was left.
func TestFrozenNodesAreAllNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := world{"a:1": {frozen: true}, "b:1": {frozen: true}, "c:1": {frozen: true}}.dial(t, "a:1", "b:1", "c:1")
		ctx, cancel := context.WithTimeout(t.Context(), 3*connectWithin/2)
		defer cancel()
		_, err := c.Master(ctx, "m")
		want := "no node reachable: a:1: no answer within 1s; b:1: no answer in the time allowed; c:1: not tried in the time allowed"
		if err == nil || err.Error() != want {
			t.Errorf("%v, want %q", err, want)
		}
	})
}

// TestAnotherProtocol: a port that speaks none is told as what it is.
func TestAnotherProtocol(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { // as a Redis does
				defer func() { _ = conn.Close() }()
				_, _ = conn.Read(make([]byte, 1024))
				_, _ = conn.Write([]byte("-ERR unknown command 'PRI', with args beginning with: '*' 'HTTP/2.0' \r\n"))
			})
		}
	})
	c, err := Dial([]string{l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Master(t.Context(), "m")
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()+": does not speak gRPC") {
		t.Error(err)
	}
	_ = c.Close()
	_ = l.Close()
	wg.Wait()
}

// TestFrozenNodesCostLittle: they are given up as soon as another node answers.
func TestFrozenNodesCostLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := world{"a:26479": {frozen: true}, "b:26479": {frozen: true}, "c:26479": {master: set("h", 1, 0, 1)}}
		c := w.dial(t, "a", "b", "c")
		begun := time.Now()
		_, err := c.Master(t.Context(), "m")
		if took := time.Since(begun); err != nil || took > 2*slowAfter {
			t.Errorf("%v after %v", err, took)
		}
	})
}

func TestFrozenNodeIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := &node{fail: status.Error(codes.DeadlineExceeded, "no majority in time")}
		good := &node{master: set("h", 1, 0, 1)}
		c := sentinelv1.NewSentinelServiceClient(world{"a:26479": late, "b:26479": good}.dial(t, "a", "b"))
		q := &sentinelv1.GetMasterRequest{Name: "m"}
		if _, err := c.GetMaster(t.Context(), q); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("first: %v", err)
		}
		if _, err := c.GetMaster(t.Context(), q); err != nil {
			t.Errorf("second: %v", err)
		}
	})
}

func masterUpdate(m *sentinelv1.Master, revision uint64) *sentinelv1.WatchMastersResponse {
	return &sentinelv1.WatchMastersResponse{ClusterId: "c", Revision: revision, Update: &sentinelv1.WatchMastersResponse_Master{Master: m}}
}

func syncedUpdate(revision uint64) *sentinelv1.WatchMastersResponse {
	return &sentinelv1.WatchMastersResponse{
		ClusterId: "c", Revision: revision, Update: &sentinelv1.WatchMastersResponse_Synced{Synced: &sentinelv1.WatchSynced{}},
	}
}

// TestWatchResumesOnAnotherNode: the second node is asked from where the first one left off, and an older value that it
// tells is not passed on.
func TestWatchResumesOnAnotherNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := &node{
			fail:   status.Error(codes.Unavailable, "leaving"),
			script: []*sentinelv1.WatchMastersResponse{masterUpdate(set("a", 1, 1, 10), 10), syncedUpdate(12), masterUpdate(set("b", 2, 2, 13), 13)},
		}
		second := &node{script: []*sentinelv1.WatchMastersResponse{
			masterUpdate(set("a", 1, 1, 10), 12), syncedUpdate(13), masterUpdate(set("c", 3, 3, 20), 20),
			{ClusterId: "c", Revision: 21, Update: &sentinelv1.WatchMastersResponse_Removed{Removed: &sentinelv1.MasterRemoved{Name: "m"}}},
		}}
		c := world{"a:26479": first, "b:26479": second}.dial(t, "a", "b")
		var got []string
		for u, err := range c.Watch(t.Context(), "m") {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprintf("%s %t %t", u.Master.Addr, u.Synced, u.Removed))
			if u.Removed {
				break
			}
		}
		want := []string{"a:1 false false", " true false", "b:2 false false", " true false", "c:3 false false", " false true"}
		if !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		q, ok := second.asked[0].(*sentinelv1.WatchMastersRequest)
		if !ok || q.GetAfterClusterId() != "c" || q.GetAfterRevision() != 13 || !slices.Equal(q.GetNames(), []string{"m"}) {
			t.Errorf("resumed by %v", second.asked)
		}
	})
}

// TestWatchLeavesASilentNode: a node that tells not even its progress is given up.
func TestWatchLeavesASilentNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := &node{script: []*sentinelv1.WatchMastersResponse{syncedUpdate(1)}}
		second := &node{script: []*sentinelv1.WatchMastersResponse{masterUpdate(set("a", 1, 1, 10), 10)}}
		c := world{"a:26479": silent, "b:26479": second}.dial(t, "a", "b")
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		begun := time.Now()
		for u, err := range c.Watch(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			if u.Master.Addr == "a:1" {
				break
			}
		}
		if took := time.Since(begun); took < silentFor || took > silentFor+time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestWatchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := world{"a:26479": {fail: status.Error(codes.PermissionDenied, "protected mode")}}.dial(t, "a")
		for _, err := range c.Watch(t.Context()) {
			if status.Code(err) != codes.PermissionDenied {
				t.Errorf("refused: %v", err)
			}
		}
		c = world{}.dial(t, "a")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var last error
		for _, err := range c.Watch(ctx) {
			last = err
		}
		if !errors.Is(last, context.DeadlineExceeded) {
			t.Errorf("ended: %v", last)
		}
	})
}

// TestEventsResume: from the last event, or from the revision up to which there was none.
func TestEventsResume(t *testing.T) {
	batch := &sentinelv1.WatchEventsResponse{ClusterId: "c", Revision: 9, Update: &sentinelv1.WatchEventsResponse_Batch{
		Batch: &sentinelv1.EventBatch{Events: []*sentinelv1.Event{{Cursor: &sentinelv1.EventCursor{ClusterId: "c", Index: 9, Ordinal: 2}}}},
	}}
	synced := &sentinelv1.WatchEventsResponse{ClusterId: "c", Revision: 5, Update: &sentinelv1.WatchEventsResponse_Synced{Synced: &sentinelv1.WatchSynced{}}}
	for name, c := range map[string]struct {
		script []*sentinelv1.WatchEventsResponse
		index  uint64
	}{"an event": {[]*sentinelv1.WatchEventsResponse{synced, batch}, 9}, "none": {[]*sentinelv1.WatchEventsResponse{synced}, 5}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first := &node{events: c.script, fail: status.Error(codes.Unavailable, "leaving")}
				second := &node{events: []*sentinelv1.WatchEventsResponse{batch}}
				cl := world{"a:26479": first, "b:26479": second}.dial(t, "a", "b")
				for r, err := range cl.WatchEvents(t.Context(), nil, "m") {
					if err != nil {
						t.Fatal(err)
					}
					if len(second.asked) > 0 && r.GetBatch() != nil {
						break
					}
				}
				q, ok := second.asked[0].(*sentinelv1.WatchEventsRequest)
				if !ok || q.GetAfter().GetIndex() != c.index || q.GetAfter().GetClusterId() != "c" || q.GetMaster() != "m" {
					t.Errorf("resumed by %v", second.asked)
				}
			})
		})
	}
}

func TestEndpoint(t *testing.T) {
	for in, want := range map[string]string{
		"h": "h:26479", "h:1": "h:1", "::1": "[::1]:26479", "[::1]": "[::1]:26479", "[::1]:9": "[::1]:9", "10.0.0.1": "10.0.0.1:26479",
		"": "", "h:": "", "h:0": "", "h:70000": "", "a b": "", ":1": "", "[::1]:x": "",
	} {
		got, err := Endpoint(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
	if _, err := Dial(nil); err == nil {
		t.Error("no endpoints were taken")
	}
	if _, err := Dial([]string{"a", "b:0"}); err == nil {
		t.Error("a bad endpoint was taken")
	}
}
