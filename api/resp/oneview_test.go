package resp

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// addressesIn finds 10.0.0.N where it stands for the master's address.
var addressesIn = regexp.MustCompile(`\[10\.0\.0\.(\d) 6379\]|name m ip 10\.0\.0\.(\d) |address=10\.0\.0\.(\d):`)

// TestOneView: commands that come together tell of one state, however the master moves meanwhile; and what comes later never
// tells of an older one.
func TestOneView(t *testing.T) {
	for name, r := range map[string]*rig{"pipe": newRig(t, nil), "socket": newRigOnTCP(t)} {
		t.Run(name, func(t *testing.T) {
			r.client(t).converse(step{"SENTINEL MONITOR m 10.0.0.1 6379 2", "+OK"})
			r.node.replica(t, "10.0.0.2")
			var done atomic.Bool
			var wg sync.WaitGroup
			wg.Go(func() {
				defer done.Store(true)
				for range 300 { // the master's epoch tells its address: even at 10.0.0.1, odd at 10.0.0.2
					r.node.beginForced(t)
					r.node.switches(t)
					r.node.ends(t, raftfsm.OutcomeCompleted, "")
				}
			})
			for range 4 {
				c := r.client(t)
				wg.Go(func() { hammer(t, c, &done) })
			}
			wg.Wait()
			if m, _ := r.node.State().Master("m"); m.Epoch != 300 {
				t.Errorf("the master moved %d times", m.Epoch)
			}
		})
	}
}

// hammer sends batches until the master moves no more.
func hammer(t *testing.T, c *peer, done *atomic.Bool) {
	t.Helper()
	batch := []string{"SENTINEL MASTER m", "SENTINEL MASTERS", "INFO sentinel", "SENTINEL GET-MASTER-ADDR-BY-NAME m", "SENTINEL MASTER m"}
	epoch := -1
	for last := false; !last; {
		last = done.Load()
		c.write(strings.Join(batch, "\r\n") + "\r\n")
		var replies []string
		for range batch {
			replies = append(replies, c.read())
		}
		_, after, _ := strings.Cut(replies[0], " config-epoch ")
		now := 0
		if _, err := fmt.Sscan(after, &now); err != nil {
			t.Fatalf("%v: %s", err, replies[0])
		}
		if now < epoch {
			t.Fatalf("epoch %d after %d", now, epoch)
		}
		epoch = now
		want := fmt.Sprint(1 + epoch%2)
		for i, r := range replies {
			found := addressesIn.FindStringSubmatch(r)
			if found == nil || found[1]+found[2]+found[3] != want {
				t.Fatalf("at epoch %d %s tells\n%s\nand the first\n%s", epoch, batch[i], r, replies[0])
			}
		}
	}
}

// TestChangesShowAtOnce: what comes behind a change in the same batch sees it.
func TestChangesShowAtOnce(t *testing.T) {
	c := newRig(t, nil).client(t)
	c.write("SENTINEL GET-MASTER-ADDR-BY-NAME m\r\nSENTINEL MONITOR m 10.0.0.1 6379 2\r\nSENTINEL GET-MASTER-ADDR-BY-NAME m\r\n" +
		"SENTINEL REMOVE m\r\nSENTINEL GET-MASTER-ADDR-BY-NAME m\r\n")
	for _, want := range []string{"null", "+OK", "[10.0.0.1 6379]", "+OK", "null"} {
		if got := c.read(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// TestALookupBehindASubscriptionIsFresh: a switch before it is seen in its answer, a later one is heard as a message. A state
// from before the subscription could miss one in between.
func TestALookupBehindASubscriptionIsFresh(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(t)
	c.converse(step{"HELLO 3", "…"}, step{"SENTINEL MONITOR m 10.0.0.1 6379 2", "+OK"})
	r.node.replica(t, "10.0.0.2")
	r.node.beginForced(t)
	// The switch comes when the subscription is being made: the publisher's lock is where that can be held up.
	r.server.subscribers.mu.Lock()
	c.write("SENTINEL GET-MASTER-ADDR-BY-NAME m\r\nSUBSCRIBE x\r\nSENTINEL GET-MASTER-ADDR-BY-NAME m\r\n")
	if got := c.read(); got != "[10.0.0.1 6379]" {
		t.Fatal(got)
	}
	r.node.switches(t)
	r.server.subscribers.mu.Unlock()
	for _, want := range []string{">[subscribe x :1]", "[10.0.0.2 6379]"} {
		if got := c.read(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
