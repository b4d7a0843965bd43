package web

import (
	"cmp"
	"io"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/raftsentinel/raftsentinel/api"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// Clients are those of the Sentinel port. Connections and Subscribers are of now, the others count since the port was opened.
type Clients struct {
	Connections, Subscribers   int
	Accepted, Rejected         int64
	Commands, Errors, Messages int64
}

// Scripts are those of this node. Running and Waiting are of now, Runs and Failures count since it started.
type Scripts struct {
	Running, Waiting int
	Runs, Failures   uint64
}

// Outlook is what an automatic failover of a set, were its master down now, and a switchover would meet.
type Outlook struct {
	// FailoverBlockers and SwitchoverBlockers are codes of what stands in the way, each once; none: it could happen.
	FailoverBlockers, SwitchoverBlockers []string
	// LossBytes is how far the replica that a failover would promote is behind; negative for unknown.
	LossBytes int64
}

// metrics gathers all of them at each scrape from the state and from what this node sees. Nothing is kept up to date in
// between, and nothing is kept at all but what has been counted.
type metrics struct {
	o     Options
	began time.Time
	// process are Go's and the process's own, by the names that they have everywhere.
	process *prometheus.Registry
	tally   tally
}

func newMetrics(o Options, began time.Time) *metrics {
	m := &metrics{o: o, began: began, process: prometheus.NewRegistry(), tally: tally{began: began.UnixMilli()}}
	m.process.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(m.o.Log.Handler(), slog.LevelWarn), ErrorHandling: promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes, EnableOpenMetrics: true,
	})
}

// Gather implements [prometheus.Gatherer]. It makes the families itself: a registry would check every sample of every master
// against every other one, at each scrape.
func (m *metrics) Gather() ([]*dto.MetricFamily, error) {
	out, err := m.process.Gather()
	s := m.scrape()
	for _, f := range families {
		if made := f.make(s); made != nil {
			out = append(out, made)
		}
	}
	slices.SortFunc(out, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	return out, err
}

// WriteMetrics tells what /metrics does, in Prometheus's text format.
func (s *Server) WriteMetrics(w io.Writer) error {
	families, err := s.metrics.Gather()
	if err != nil {
		return err
	}
	enc := expfmt.NewEncoder(w, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, f := range families {
		if err := enc.Encode(f); err != nil {
			return err
		}
	}
	return nil
}

// scrape is what one scrape tells, from one state.
type scrape struct {
	now    time.Time
	o      Options
	status api.NodeStatus
	// st is nil while the node may not tell it: then it tells of itself alone.
	st        *raftfsm.State
	rows      []row
	instances struct{ masters, replicas, probed, connected int }
	clients   Clients
	served    bool
	scripts   Scripts
}

func (m *metrics) scrape() *scrape {
	s := &scrape{now: time.Now(), o: m.o, status: m.o.Node.Status()}
	if m.o.Clients != nil {
		s.clients, s.served = m.o.Clients()
	}
	if m.o.Scripts != nil {
		s.scripts = m.o.Scripts()
	}
	st, _, err := m.o.Node.Local()
	if err != nil {
		return s
	}
	s.st = st
	s.rows = make([]row, 0, st.MasterCount())
	for master := range st.Masters() {
		s.rows = append(s.rows, s.row(master))
	}
	m.tally.count(s.rows)
	return s
}

// family is a metric. It tells either of the node, of each master, or several values of each master.
type family struct {
	name, help string
	kind       dto.MetricType
	node       func(s *scrape, add adder)
	master     func(r *row) float64 // NaN: not known, and left out
	masters    func(r *row, add adder)
}

// adder takes a value, and names and values of its labels in turn, in the order of the names.
type adder func(v float64, labels ...string)

// sample is a metric with what it points to, so that many are one allocation.
type sample struct {
	metric  dto.Metric
	gauge   dto.Gauge
	counter dto.Counter
	value   float64
}

func (x *sample) set(kind dto.MetricType, v float64, labels []*dto.LabelPair) *dto.Metric {
	x.value, x.metric.Label = v, labels
	if kind == dto.MetricType_COUNTER {
		x.counter.Value = &x.value
		x.metric.Counter = &x.counter
	} else {
		x.gauge.Value = &x.value
		x.metric.Gauge = &x.gauge
	}
	return &x.metric
}

// make is the family's samples; nil where there is none.
func (f *family) make(s *scrape) *dto.MetricFamily {
	var out []*dto.Metric
	add := func(base []*dto.LabelPair) adder {
		return func(v float64, labels ...string) {
			out = append(out, new(sample).set(f.kind, v, pairs(base, labels...)))
		}
	}
	switch {
	case f.node != nil:
		f.node(s, add(nil))
	case f.master != nil:
		block := make([]sample, len(s.rows))
		out = make([]*dto.Metric, 0, len(s.rows))
		for i := range s.rows {
			if v := f.master(&s.rows[i]); !math.IsNaN(v) {
				out = append(out, block[i].set(f.kind, v, s.rows[i].labels))
			}
		}
	case f.masters != nil:
		for i := range s.rows {
			f.masters(&s.rows[i], add(s.rows[i].labels))
		}
	}
	if len(out) == 0 {
		return nil
	}
	return &dto.MetricFamily{Name: &f.name, Help: &f.help, Type: &f.kind, Metric: out}
}

// pairs are labels in the order of their names.
func pairs(base []*dto.LabelPair, labels ...string) []*dto.LabelPair {
	if len(labels) == 0 {
		return base
	}
	out := slices.Clone(base)
	for i := 0; i < len(labels); i += 2 {
		out = append(out, &dto.LabelPair{Name: &labels[i], Value: &labels[i+1]})
	}
	slices.SortFunc(out, func(a, b *dto.LabelPair) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return out
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
