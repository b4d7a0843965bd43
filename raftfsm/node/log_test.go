package node

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// What Raft says of a dead peer, or without a quorum, comes once a minute for each peer, and says how often it did not.
func TestRaftLogIsSparse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := newRaftLog(slog.New(slog.NewTextHandler(&out, nil)))
		for i := range 150 {
			for _, id := range []string{"n2-b", "n3-c"} {
				peer := raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress(id + ":1")}
				log.Error("failed to appendEntries to", "peer", peer, "error", fmt.Errorf("port %d: refused", 1000+i))
			}
			log.Warn("Election timeout reached, restarting election")
			log.Warn("heartbeat timeout reached, starting election", "last-leader-id", "n2-b", "backoff time", i)
			time.Sleep(time.Second)
		}
		for line, want := range map[string]int{"n2-b at n2-b:1": 3, "n3-c at n3-c:1": 3, "heartbeat timeout reached": 3, "left_out=59": 8, "restarting election": 3, "last_leader_id": 3, "backoff_time": 3} {
			if got := strings.Count(out.String(), line); got != want {
				t.Errorf("%q is there %d times, want %d", line, got, want)
			}
		}
		if t.Failed() {
			t.Log(out.String())
		}
	})
}

// What happens whenever a cluster forms, or a node joins or stops, is no news.
func TestRaftLogHidesWhatIsOrdinary(t *testing.T) {
	var out bytes.Buffer
	log := newRaftLog(slog.New(slog.NewTextHandler(&out, nil)))
	log.Error("failed to appendEntries to", "peer", "n2:1", "error", refusedBy(errNoState.reason))
	log.Error("failed to decode incoming command", "error", errors.New("transport shutdown"))
	log.Error("failed to make requestVote RPC", "target", "n2:1", "error", &net.OpError{Op: "dial", Err: net.ErrClosed})
	log.Warn("appendEntries rejected, sending older logs", "peer", "n2:1", "next", 1)
	if out.Len() > 0 {
		t.Error(out.String())
	}
}
