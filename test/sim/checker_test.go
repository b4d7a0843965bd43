package sim

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// checker holds what must be true at every moment of every run.
type checker struct {
	// masters is the one committed master of each epoch.
	masters map[uint64]raftfsm.Addr
	// epochs is the highest that each node has shown since it started, and indexes likewise.
	epochs map[*simNode]uint64
	// states are snapshots by index, of any node.
	states   map[uint64][]byte
	compared time.Time
	logged   int
	terms    map[raftfsm.Addr]uint64
	failed   bool
}

func newChecker() checker {
	return checker{
		masters: map[uint64]raftfsm.Addr{}, epochs: map[*simNode]uint64{}, states: map[uint64][]byte{}, terms: map[raftfsm.Addr]uint64{},
	}
}

// look checks all invariants now. It reports the first violation alone.
func (w *world) look() {
	w.t.Helper()
	if w.checker.failed {
		return
	}
	for _, fault := range []string{w.oneMasterPerEpoch(), w.sameStateAtSameIndex(), w.termsRise()} {
		if fault != "" {
			w.checker.failed = true
			w.t.Errorf("%s\n%s", fault, w.describe())
		}
	}
}

func (w *world) oneMasterPerEpoch() string {
	c := &w.checker
	for _, n := range w.alive() {
		m, ok := n.State().Master("m")
		if !ok {
			continue
		}
		if m.Epoch < c.epochs[n] {
			return fmt.Sprintf("n%d: epoch fell from %d to %d", n.number, c.epochs[n], m.Epoch)
		}
		c.epochs[n] = m.Epoch
		if m.Epoch == 0 {
			continue
		}
		seen := func(epoch uint64, at raftfsm.Addr) string {
			if was, ok := c.masters[epoch]; ok && was != at {
				return fmt.Sprintf("n%d: epoch %d has master %s, and had %s", n.number, epoch, at, was)
			}
			c.masters[epoch] = at
			return ""
		}
		if fault := seen(m.Epoch, m.Address); fault != "" {
			return fault
		}
		last := uint64(0)
		for _, f := range m.History {
			if f.Epoch <= last {
				return fmt.Sprintf("n%d: the history's epochs do not rise: %d after %d", n.number, f.Epoch, last)
			}
			last = f.Epoch
			if f.Switched {
				if fault := seen(f.Epoch, f.To); fault != "" {
					return fault
				}
			}
		}
	}
	return ""
}

// sameStateAtSameIndex compares snapshots about once a second.
func (w *world) sameStateAtSameIndex() string {
	c := &w.checker
	if time.Since(c.compared) < time.Second {
		return ""
	}
	c.compared = time.Now()
	clear(c.states)
	for _, n := range w.alive() {
		s := n.State()
		var b bytes.Buffer
		if err := raftfsm.WriteSnapshot(&b, s); err != nil {
			return fmt.Sprintf("n%d: %v", n.number, err)
		}
		if was, ok := c.states[s.Index()]; ok && !bytes.Equal(was, b.Bytes()) {
			return fmt.Sprintf("n%d has another state than another node at index %d", n.number, s.Index())
		}
		c.states[s.Index()] = b.Bytes()
	}
	return ""
}

// termsRise: once a term has spoken at an instance, no earlier one changes anything there.
func (w *world) termsRise() string {
	c := &w.checker
	log := w.redis.Log()
	for _, cmd := range log[c.logged:] {
		word := strings.ToLower(cmd.Args[0])
		if cmd.Err != "" || word != "replicaof" && word != "slaveof" {
			continue
		}
		parts := strings.Split(cmd.Client, ":")
		if len(parts) != 4 || parts[0] != "sentineld-control" {
			return fmt.Sprintf("%s: %v came over a connection named %q", cmd.Instance, cmd.Args, cmd.Client)
		}
		term, err := strconv.ParseUint(parts[2], 10, 64)
		if err != nil {
			return fmt.Sprintf("a control connection is named %q", cmd.Client)
		}
		if term < c.terms[cmd.Instance] {
			return fmt.Sprintf("%s obeyed term %d after term %d: %v", cmd.Instance, term, c.terms[cmd.Instance], cmd.Args)
		}
		c.terms[cmd.Instance] = term
	}
	c.logged = len(log)
	return ""
}
