package upgrade

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

const (
	local        = sentinelv1.Consistency_CONSISTENCY_LOCAL
	linearizable = sentinelv1.Consistency_CONSISTENCY_LINEARIZABLE
)

// witness asks every node all the while who is the master of each set, and keeps what contradicts what it was told before: an
// epoch has one master, and who asks the cluster again is told no older one.
type witness struct {
	mu     sync.Mutex
	agreed map[string]map[uint64]string // set, epoch: the master
	asked  int
	faults []string
}

func newWitness() *witness { return &witness{agreed: map[string]map[uint64]string{}} }

// watch asks one node for what it knows.
func (w *witness) watch(ctx context.Context, n *node, sets []*set) {
	for ctx.Err() == nil {
		for _, s := range sets {
			if m, err := ask(ctx, n, s.name, local); err == nil {
				w.note(n, m)
			}
		}
		pause(ctx, 20*time.Millisecond)
	}
}

// confirm asks the nodes in turn for what the cluster has committed.
func (w *witness) confirm(ctx context.Context, nodes []*node, s *set) {
	newest := uint64(0)
	for i := 0; ctx.Err() == nil; i++ {
		n := nodes[i%len(nodes)]
		if m, err := ask(ctx, n, s.name, linearizable); err == nil {
			w.note(n, m)
			if m.GetEpoch() < newest {
				w.fault("%s told of epoch %d of %s, after epoch %d was told", n.Name(), m.GetEpoch(), s.name, newest)
			}
			newest = max(newest, m.GetEpoch())
		}
		pause(ctx, 20*time.Millisecond)
	}
}

func (w *witness) note(n *node, m *sentinelv1.Master) {
	at := text(m.GetAddress())
	w.mu.Lock()
	epochs := w.agreed[m.GetName()]
	if epochs == nil {
		epochs = map[uint64]string{}
		w.agreed[m.GetName()] = epochs
	}
	before, known := epochs[m.GetEpoch()]
	epochs[m.GetEpoch()] = at
	w.asked++
	w.mu.Unlock()
	if known && before != at {
		w.fault("%s told that epoch %d of %s made %s the master; it was told before that %s is", n.Name(), m.GetEpoch(), m.GetName(), at, before)
	}
}

func (w *witness) fault(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = append(w.faults, fmt.Sprintf(format, args...))
}

// ask gives a set as a node tells it.
func ask(ctx context.Context, n *node, name string, c sentinelv1.Consistency) (*sentinelv1.Master, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	r, err := n.api.Masters.GetMaster(ctx, &sentinelv1.GetMasterRequest{Name: name, Consistency: c})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", n.Name(), err)
	}
	return r.GetMaster(), nil
}

func text(a *sentinelv1.Address) string {
	return net.JoinHostPort(a.GetHost(), strconv.Itoa(int(a.GetPort())))
}
