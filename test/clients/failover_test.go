package clients

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/cmd/stage"
	"github.com/raftsentinel/raftsentinel/test/lab"
)

// outageBound is what a client may take, down-after included. Its own waits between tries are the most of it.
const outageBound = 10 * time.Second

// TestClientsGoOn has every client write through a crash of the master and through a failover that is ordered.
func TestClientsGoOn(t *testing.T) {
	s, l := newSet(t)
	clients := newClients(t, s, l.Addrs())
	checked := time.Time{} // up to when acknowledged writes were looked for
	for _, round := range []struct {
		name string
		harm func() error
		// lossless: what was acknowledged before is there afterwards.
		lossless bool
	}{
		// Replication is asynchronous, but a master that is killed has handed its replicas what it acknowledged, and the
		// kernel of this machine, which lives on, delivers that.
		{"the master is killed", func() error { return l.Master.Kill() }, true},
		{"a failover is ordered", func() error { return l.Failover(t.Context()) }, false},
	} {
		old := l.Master
		writing(t, clients)
		begun := time.Now()
		if err := round.harm(); err != nil {
			t.Fatalf("%s: %v", round.name, err)
		}
		promoted, err := l.Promoted(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", round.name, err)
		}
		seen := time.Now()
		for _, c := range clients {
			moved(t, l, c, promoted, seen)
		}
		for _, c := range clients {
			d := c.outage(begun, time.Now())
			t.Logf("%s: %s wrote nothing for %d ms", round.name, c.prefix, d.Milliseconds())
			if d > outageBound {
				t.Errorf("%s: %s wrote nothing for %v, want at most %v", round.name, c.prefix, d, outageBound)
			}
		}
		if err := l.Settle(t.Context()); err != nil {
			t.Fatalf("after %s: %v", round.name, err)
		}
		rested := time.Now()
		if l.Master == old {
			t.Fatalf("after %s the master is the old one", round.name)
		}
		for _, c := range clients {
			total, lost := c.lost(t, l, checked)
			t.Logf("%s: of %d acknowledged writes of %s %d are lost", round.name, total, c.prefix, lost)
			if round.lossless && lost > 0 {
				t.Errorf("%s: %d acknowledged writes of %s are lost", round.name, lost, c.prefix)
			}
		}
		checked = rested
	}
	writing(t, clients)
}

// writing waits until every client has had a hundred writes acknowledged from now on.
func writing(t *testing.T, clients []*client) {
	t.Helper()
	from := time.Now()
	for _, c := range clients {
		eventually(t, c.prefix+" writes", func() error {
			if err := c.catchUp(); err != nil {
				return err
			}
			if n := len(c.acked(from)); n < 100 {
				return fmt.Errorf("%d writes since %v; last: %v", n, from, c.last())
			}
			return nil
		})
	}
}

// last is what the client has told last.
func (c *client) last() write {
	if len(c.writes) == 0 {
		return write{error: "nothing"}
	}
	return c.writes[len(c.writes)-1]
}

// moved waits until the new master holds what the client wrote after it was one: nothing else can have brought that there.
func moved(t *testing.T, l *lab.Set, c *client, master *stage.Redis, since time.Time) {
	t.Helper()
	eventually(t, c.prefix+" writes to the new master", func() error {
		if err := c.catchUp(); err != nil {
			return err
		}
		acked := c.acked(since)
		if len(acked) == 0 {
			return fmt.Errorf("no write since %v; last: %v", since, c.last())
		}
		there, err := l.Client(master).Exists(t.Context(), c.key(acked[len(acked)-1])).Result()
		if err == nil && there == 0 {
			err = errors.New("it writes elsewhere")
		}
		return err
	})
}

// lost counts the writes that were acknowledged from a moment on, and those of them that the master does not hold.
func (c *client) lost(t *testing.T, l *lab.Set, from time.Time) (total, lost int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), lab.Limit)
	defer cancel()
	pipe := l.Client(l.Master).Pipeline()
	for _, w := range c.acked(from) {
		total++
		pipe.Exists(ctx, c.key(w))
	}
	there, err := pipe.Exec(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, cmd := range there {
		if cmd.(interface{ Val() int64 }).Val() == 0 {
			lost++
		}
	}
	return total, lost
}
