package goredis

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/raftsentinel/raftsentinel/api/client"
)

// noRetry shows every error of a command.
var noRetry = redis.Options{MaxRetries: -1}

// busy makes n connections to the master, which are idle afterwards.
func (r *rig) busy(c *Client, n int) {
	r.t.Helper()
	r.a.Hang()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if err := c.Ping(r.t.Context()).Err(); err != nil {
				r.t.Error(err)
			}
		})
	}
	synctest.Wait()
	r.a.Resume()
	wg.Wait()
	if got := len(r.a.Clients()); got != n {
		r.t.Fatalf("%d connections, want %d", got, n)
	}
}

// TestFollowsTheSwitch: at once, with every connection, and no command sees anything of it.
func TestFollowsTheSwitch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.cluster.tell(addrA)
		c := r.follow(noRetry)
		r.busy(c, 8)
		r.cluster.tell(addrB)
		synctest.Wait()
		if left := len(r.a.Clients()); left != 0 {
			t.Errorf("%d connections to the former master are left", left)
		}
		for range 10 {
			r.wantPing(c, addrB)
		}
		if asked := r.cluster.timesAsked(); asked != 0 {
			t.Errorf("the cluster was asked %d times", asked)
		}
		r.cluster.tell(addrA)
		synctest.Wait()
		r.wantPing(c, addrA)
	})
}

// TestBlockedCommand: what waits on the former master fails at the switch, and is repeated on the new one.
func TestBlockedCommand(t *testing.T) {
	for name, retries := range map[string]int{"repeated": 3, "not repeated": -1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.cluster.tell(addrA)
				c := r.follow(redis.Options{MaxRetries: retries, ReadTimeout: time.Hour})
				r.wantPing(c, addrA)
				r.a.Hang()
				time.AfterFunc(time.Minute, func() { r.cluster.tell(addrB) })
				begun := time.Now()
				at, err := r.ping(c)
				if took := time.Since(begun) - time.Minute; took < 0 || took > 100*time.Millisecond {
					t.Errorf("it ended %v after the switch", took)
				}
				if retries > 0 && (at != addrB || err != nil) {
					t.Errorf("it went to %s: %v", at, err)
				}
				if want := "the master of m is " + addrB + " now"; retries < 0 && (err == nil || !strings.Contains(err.Error(), want)) {
					t.Errorf("it says %v, want %q", err, want)
				}
				r.wantPing(c, addrB)
			})
		})
	}
}

// TestSwitchDuringDial: a connection that is ready only after its address has stopped being the master's is never used,
// and a dial that hangs is given up.
func TestSwitchDuringDial(t *testing.T) {
	for name, heeds := range map[string]bool{"given up": true, "ready too late": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.cluster.tell(addrA)
				opt := noRetry
				opt.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
					if addr == addrA {
						select {
						case <-time.After(2 * time.Second):
						case <-ctx.Done():
							if heeds {
								return nil, ctx.Err()
							}
							time.Sleep(time.Second)
						}
					}
					return r.net.DialContext(context.WithoutCancel(ctx), network, addr)
				}
				c := r.follow(opt)
				time.AfterFunc(time.Second, func() { r.cluster.tell(addrB) })
				begun := time.Now()
				r.wantPing(c, addrB)
				if took := time.Since(begun); heeds && took != time.Second {
					t.Errorf("it took %v", took)
				}
				synctest.Wait()
				if left := len(r.a.Clients()); left != 0 {
					t.Errorf("%d connections to the former master are left", left)
				}
			})
		})
	}
}

// TestSwitchDuringHandshake: a connection that is dropped, or closed by the master, before it is ready costs one of go-redis's
// short waits, not all of them.
func TestSwitchDuringHandshake(t *testing.T) {
	for name, end := range map[string]func(*rig){
		"dropped": func(r *rig) { r.cluster.tell(addrB) },
		"closed":  func(r *rig) { r.a.Crash(); r.cluster.tell(addrB) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.cluster.tell(addrA)
				c := r.follow(redis.Options{})
				r.a.Hang()
				time.AfterFunc(time.Second, func() { end(r) })
				begun := time.Now()
				r.wantPing(c, addrB)
				if took := time.Since(begun) - time.Second; took > 3*minRetryBackoff {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// TestDroppedBetweenStepsOfTheHandshake: whatever go-redis does next with a connection that was dropped, or closed, in its
// handshake must not look to it like something that passes.
func TestDroppedBetweenStepsOfTheHandshake(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	socket, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := &conn{Conn: socket, follower: newFollower(nil, "m", nil, time.Second)}
	c.drop(errors.New("moved"))
	_, read := c.Read(make([]byte, 1))
	_, wrote := c.Write([]byte("*1\r\n$5\r\nHELLO\r\n"))
	for what, err := range map[string]error{
		"read": read, "write": wrote, "deadline": c.SetDeadline(time.Now()), "read deadline": c.SetReadDeadline(time.Now()),
		"write deadline": c.SetWriteDeadline(time.Now()),
	} {
		var marked interface{ Timeout() bool }
		if err == nil || errors.As(err, &marked) || errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestFirstMaster is waited for, within DialTimeout and the command's context.
func TestFirstMaster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		c := r.follow(redis.Options{DialTimeout: 3 * time.Second})
		begun := time.Now()
		_, err := r.ping(c)
		if took := time.Since(begun); took != 3*time.Second {
			t.Errorf("it took %v", took)
		}
		if err == nil || !strings.Contains(err.Error(), "the master of m is not known") || status.Code(err) != codes.NotFound {
			t.Errorf("it says %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun = time.Now()
		if err := c.Ping(ctx).Err(); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		begun = time.Now()
		time.AfterFunc(2*time.Second, func() { r.cluster.tell(addrA) })
		r.wantPing(c, addrA)
		if took := time.Since(begun); took > 2*time.Second+redialEvery {
			t.Errorf("it took %v", took)
		}
	})
}

// TestOutage: while the master refuses connections commands wait, and go on the moment another one is told, whatever the
// size of the pool: a failed dial would have go-redis wait for a second.
func TestOutage(t *testing.T) {
	for name, size := range map[string]int{"one connection": 1, "many": 10} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.cluster.tell(addrA)
				c := r.follow(redis.Options{PoolSize: size})
				r.wantPing(c, addrA)
				r.a.Crash()
				begun := time.Now()
				time.AfterFunc(4*time.Second, func() { r.cluster.tell(addrB) })
				var wg sync.WaitGroup
				for range size { // go-redis's queue for a full pool has timers that outlive a bubble
					wg.Go(func() {
						if err := c.Ping(t.Context()).Err(); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				if took := time.Since(begun); took != 4*time.Second {
					t.Errorf("it took %v", took)
				}
				r.wantPing(c, addrB)
			})
		})
	}
}

// TestRestart: a master that is back where it was is found without any news of it.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.cluster.tell(addrA)
		c := r.follow(redis.Options{})
		r.wantPing(c, addrA)
		r.a.Crash()
		begun := time.Now()
		time.AfterFunc(2*time.Second, func() { r.a.Restart(false) })
		r.wantPing(c, addrA)
		if took := time.Since(begun); took > 2*time.Second+redialEvery {
			t.Errorf("it took %v", took)
		}
	})
}

// TestUnreachableMaster: a command fails after DialTimeout, with what the master said.
func TestUnreachableMaster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.cluster.tell(addrA)
		r.a.Crash()
		c := r.follow(noRetry)
		begun := time.Now()
		_, err := r.ping(c)
		if took := time.Since(begun); took != dialTimeout || err == nil || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// TestWatchedNodeDiesToo: when the master gives trouble and the watch says nothing, the cluster is asked.
func TestWatchedNodeDiesToo(t *testing.T) {
	for name, end := range map[string]func(r *rig){
		"refused": func(r *rig) { r.a.Crash() },
		"silent":  func(r *rig) { r.a.Drop() },
		"frozen":  func(r *rig) { r.a.Hang() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.cluster.tell(addrA)
				c := r.follow(redis.Options{ReadTimeout: time.Second})
				r.wantPing(c, addrA)
				end(r)
				r.cluster.change(func() { r.cluster.mute = true })
				r.cluster.tell(addrB)
				begun := time.Now()
				for {
					if at, err := r.ping(c); err == nil && at == addrB {
						break
					}
					if time.Since(begun) > 10*time.Second {
						t.Fatal("the new master is not found")
					}
				}
				if took := time.Since(begun); took > 5*time.Second {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// TestTroubleIsNotPolled: at rest nothing is asked, in an outage once a second.
func TestTroubleIsNotPolled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.cluster.tell(addrA)
		c := r.follow(redis.Options{})
		sub := c.Subscribe(t.Context(), "ch")
		defer func() { _ = sub.Close() }()
		for range 20 {
			r.wantPing(c, addrA)
			_, _ = sub.ReceiveTimeout(t.Context(), time.Second)
		}
		if asked := r.cluster.timesAsked(); asked != 0 {
			t.Errorf("asked %d times at rest", asked)
		}
		r.a.Crash()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_ = c.Ping(ctx).Err()
		if asked := r.cluster.timesAsked(); asked == 0 || asked > 20 {
			t.Errorf("asked %d times in 20 s", asked)
		}
	})
}

// TestKeepsTheMaster: whatever happens to the watch.
func TestKeepsTheMaster(t *testing.T) {
	for name, happens := range map[string]func(c *cluster){
		"the set is removed":  func(c *cluster) { c.tell("") },
		"the watch is closed": func(c *cluster) { c.change(func() { c.refuse = status.Error(codes.PermissionDenied, "not you") }) },
		"no node works":       func(c *cluster) { c.change(func() { c.refuse = status.Error(codes.Unavailable, "leaving") }) },
		"an older value":      func(c *cluster) { c.change(func() { c.at, c.master = 1, masterAt(addrB, 1) }) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.cluster.tell(addrB)
				r.cluster.tell(addrA)
				c := r.follow(redis.Options{})
				r.wantPing(c, addrA)
				happens(r.cluster)
				time.Sleep(time.Minute)
				r.wantPing(c, addrA)
				r.cluster.change(func() { r.cluster.refuse, r.cluster.at = nil, 10 })
				r.cluster.tell(addrB)
				time.Sleep(2 * watchAgain)
				r.wantPing(c, addrB)
			})
		})
	}
}

// TestNothingOlder: a late answer of one cluster is not gone back to; another cluster counts anew.
func TestNothingOlder(t *testing.T) {
	f := newFollower(nil, "m", nil, 0)
	for _, step := range []struct {
		told client.Master
		want string
	}{
		{client.Master{Cluster: "c", Addr: addrA, Revision: 5}, addrA},
		{client.Master{Cluster: "c", Addr: addrB, Revision: 4}, addrA},
		{client.Master{Cluster: "c", Addr: addrB, Revision: 6}, addrB},
		{client.Master{Cluster: "c", Addr: addrA, Revision: 6}, addrB},
		{client.Master{Cluster: "d", Addr: addrA, Revision: 1}, addrA},
	} {
		f.take(step.told)
		if got, _ := f.present(); got != step.want {
			t.Errorf("told %+v it is at %s", step.told, got)
		}
	}
}

// TestSubscriberMoves to the new master by itself.
func TestSubscriberMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.cluster.tell(addrA)
		c := r.follow(redis.Options{})
		sub := c.Subscribe(t.Context(), "ch")
		defer func() { _ = sub.Close() }()
		messages := sub.Channel()
		synctest.Wait()
		r.cluster.tell(addrB)
		time.Sleep(time.Second)
		if err := c.Do(t.Context(), "PUBLISH", "ch", "hello").Err(); err != nil {
			t.Fatal(err)
		}
		if m := <-messages; m.Payload != "hello" {
			t.Errorf("%v", m)
		}
	})
}

// TestClose ends all that waits, and everything that runs: else the bubble would not end.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		c := r.follow(redis.Options{MinIdleConns: 2})
		time.AfterFunc(time.Second, func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
		begun := time.Now()
		if _, err := r.ping(c); !errors.Is(err, redis.ErrClosed) || time.Since(begun) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		if _, err := r.client.Master(t.Context(), "m"); status.Code(err) != codes.NotFound {
			t.Errorf("the cluster's client is closed too: %v", err)
		}
	})
}

func TestOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		given := redis.Options{
			Addr: "elsewhere:1", PoolSize: 3, MinIdleConns: 2, DB: 4, Username: "u", Password: "p", ReadTimeout: time.Minute, DialTimeout: time.Hour,
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeEnabled},
		}
		o := r.follow(given).Options()
		if o.Addr != "m" || o.PoolSize != 3 || o.MinIdleConns != 2 || o.DB != 4 || o.Username != "u" || o.Password != "p" ||
			o.ReadTimeout != time.Minute || o.DialTimeout != time.Hour || o.DialerRetries != 1 || o.MaintNotificationsConfig.Mode != maintnotifications.ModeDisabled {
			t.Errorf("%+v", o)
		}
		if given.Addr != "elsewhere:1" || given.Dialer != nil {
			t.Error("the caller's options were changed")
		}
		c := New(r.client, "m", nil)
		defer func() { _ = c.Close() }()
		if got := c.String(); got != "Redis<m db:0>" {
			t.Errorf("it calls itself %s", got)
		}
	})
}
