package web

import (
	"math"
	"slices"
	"strings"
	"sync"

	dto "github.com/prometheus/client_model/go"

	"github.com/raftsentinel/raftsentinel/api"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// row is what one scrape tells of one master.
type row struct {
	m      *raftfsm.Master
	told   raftfsm.Addr
	labels []*dto.LabelPair
	// seen is the master as this node sees it; zero where it does not.
	seen      api.Observation
	downVotes int
	// replicas are the known ones, then those of them that this node reaches, and those that follow with the master's history.
	replicas, connected, inSync int
	maintenance                 int
	// lag is the greatest of the replicas' in bytes; NaN where it is known of none.
	lag float64
	// last is the latest failover that switched the master; nil for none.
	last *raftfsm.Failover
	// outlook is nil where it cannot be known.
	outlook *Outlook
	counts  *counts
}

func (s *scrape) row(m *raftfsm.Master) row {
	name := "master"
	r := row{
		m: m, told: s.st.Told(m.Address), labels: []*dto.LabelPair{{Name: &name, Value: &m.Name}},
		downVotes: s.st.DownVotes(m, m.Address), lag: math.NaN(), last: lastSwitch(m),
	}
	for _, in := range m.Instances {
		o, probed := s.observe(in.Addr)
		if in.Maintenance != nil {
			r.maintenance++
		}
		if in.Addr == m.Address {
			r.seen = o
			s.instances.masters++
		} else {
			s.replica(&r, in.Addr, o)
		}
		if probed {
			s.instances.probed++
			s.instances.connected += int(truth(o.Connected && !o.Down))
		}
	}
	if s.o.Outlook != nil {
		outlook := s.o.Outlook(s.st, m)
		r.outlook = &outlook
	}
	return r
}

// observe is what this node sees of an instance; zero where it does not probe it.
func (s *scrape) observe(a raftfsm.Addr) (api.Observation, bool) {
	if s.o.Fleet == nil {
		return api.Observation{}, false
	}
	return s.o.Fleet.Observe(a)
}

// replica counts a replica in.
func (s *scrape) replica(r *row, a raftfsm.Addr, o api.Observation) {
	s.instances.replicas++
	r.replicas++
	if !o.Connected || o.Down {
		return
	}
	r.connected++
	master, _ := s.observe(r.m.Address)
	if !sameHistory(master, o) {
		return
	}
	if bytes, known := lag(a, master, o, s.now); known && (math.IsNaN(r.lag) || float64(bytes) > r.lag) {
		r.lag = float64(bytes)
	}
	if o.Info.Role == raftfsm.RoleReplica && o.Info.MasterLinkUp && !o.Info.Loading {
		r.inSync++
	}
}

// lastSwitch is the latest failover of a set that switched its master, the open one included.
func lastSwitch(m *raftfsm.Master) *raftfsm.Failover {
	if f := m.Failover; f != nil && f.Switched {
		return f
	}
	for _, f := range slices.Backward(m.History) {
		if f.Switched {
			return f
		}
	}
	return nil
}

// up tells whether neither the cluster nor this node holds the master down, and it was reached at all.
func (r *row) up() bool {
	in, _ := r.m.Instance(r.m.Address)
	reached := in.Role != raftfsm.RoleUnknown || r.seen.Info != nil
	return reached && !r.m.IsODown() && !r.sdown()
}

// sdown is this node's own verdict.
func (r *row) sdown() bool { return r.seen.Down && raftfsm.Counts(r.seen.Cause) }

func (r *row) rejected() bool {
	if r.seen.AuthRejected {
		return true
	}
	for _, v := range r.m.Votes {
		if v.Instance == r.m.Address && v.Cause == raftfsm.CauseAuth {
			return true
		}
	}
	return false
}

// How failovers are told apart. A removed set is not told of any more, so that outcome is not among them.
var (
	kinds    = [...]raftfsm.FailoverKind{raftfsm.KindAutomatic, raftfsm.KindForced, raftfsm.KindPlanned}
	outcomes = [...]raftfsm.FailoverOutcome{
		raftfsm.OutcomeCompleted, raftfsm.OutcomeTimedOut, raftfsm.OutcomeAborted, raftfsm.OutcomeOvertaken,
	}
	kindNames    = names("FAILOVER_KIND_", kinds[:])
	outcomeNames = names("FAILOVER_OUTCOME_", outcomes[:])
)

// names are those of the public enums, without their prefix, in lower case.
func names[T interface{ String() string }](prefix string, values []T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = strings.ToLower(strings.TrimPrefix(v.String(), prefix))
	}
	return out
}

// counts are a master's failovers that ended since this process began, by kind and outcome.
type counts struct {
	upTo uint64 // the epoch of the last of them, which a restore does not change
	n    [len(kinds)][len(outcomes)]uint64
}

// tally counts failovers. The state itself keeps no count of them: its history forgets the oldest, and a counter that fell
// would read as many new ones. What ended before this process began is left to what counted it then.
type tally struct {
	began int64 // Unix milliseconds

	mu      sync.Mutex
	masters map[string]*counts
}

// count takes in what has ended since the last scrape, and forgets the masters that are gone.
func (t *tally) count(rows []row) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := make(map[string]*counts, len(rows))
	for i := range rows {
		r := &rows[i]
		c := new(counts)
		if known := t.masters[r.m.Name]; known != nil {
			*c = *known // another scrape may be reading that one
		}
		for _, f := range r.m.History {
			c.take(f, t.began)
		}
		now[r.m.Name], r.counts = c, c
	}
	t.masters = now
}

func (c *counts) take(f *raftfsm.Failover, began int64) {
	if f.Epoch <= c.upTo {
		return
	}
	c.upTo = f.Epoch
	if f.EndedAtMs < began {
		return
	}
	for i, k := range kinds {
		for j, o := range outcomes {
			if f.Kind == k && f.Outcome == o {
				c.n[i][j]++
			}
		}
	}
}

// lossKnown and loss are of the last failover.
func (r *row) lossKnown() bool { return r.last.Loss.Kind == raftfsm.LossExact }

func (r *row) loss() float64 {
	if r.lossKnown() || r.last.Loss.Kind == raftfsm.LossLowerBound {
		return float64(r.last.Loss.Bytes)
	}
	return math.NaN()
}
