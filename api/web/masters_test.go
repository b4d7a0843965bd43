package web

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/api"
	"github.com/raftsentinel/raftsentinel/detector"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

const (
	one, two, three, four = "10.0.0.1:6379", "10.0.0.2:6379", "10.0.0.3:6379", "10.0.0.4:6379"
)

// checked is a set with a master and replicas in many states, and a set with another master.
func checked(t *testing.T) (*fakeNode, fakeFleet) {
	t.Helper()
	n := newFakeNode(t)
	n.monitor(t, "m", one, two, three, four, "10.0.0.5:6379", "10.0.0.6:6379", "10.0.0.7:6379", "10.0.0.8:6379")
	n.monitor(t, "other", "10.0.9.1:6379", "10.0.9.2:6379")
	n.maintain(t, four)
	fleet := fakeFleet{
		one:             alive(raftfsm.RoleMaster, 1000),
		two:             alive(raftfsm.RoleReplica, 900),
		three:           alive(raftfsm.RoleReplica, 900, func(o *api.Observation) { o.Info.MasterLinkUp = false }),
		four:            alive(raftfsm.RoleReplica, 1000),
		"10.0.0.5:6379": alive(raftfsm.RoleReplica, 1000, func(o *api.Observation) { o.Connected = false }),
		"10.0.0.6:6379": alive(raftfsm.RoleReplica, 1000, func(o *api.Observation) { o.Info.ReplID = "stranger" }),
		"10.0.0.7:6379": alive(raftfsm.RoleReplica, 1000, func(o *api.Observation) { o.Info.MasterHost, o.Info.MasterPort = "10.0.9.1", 6379 }),
		"10.0.9.1:6379": alive(raftfsm.RoleMaster, 0),
	}
	return n, fleet
}

func TestBalancerChecks(t *testing.T) {
	n, fleet := checked(t)
	s := newServer(t, options(t, n, fleet))
	for _, c := range []struct {
		path string
		code int
		text string
	}{
		{"m/is-master?addr=10.0.0.1:6379", 200, "yes: 10.0.0.1:6379 is the master of m"},
		{"m/is-master?addr=10.0.0.2:6379", 503, "no: 10.0.0.2:6379: the master is 10.0.0.1:6379"},
		{"m/is-master?addr=10.0.9.1:6379", 503, "the master is 10.0.0.1:6379"},
		{"x/is-master?addr=10.0.0.1:6379", 404, `no master named "x"`},
		{"m/is-master", 400, "addr"},
		{"m/is-master?addr=10.0.0.1", 400, "want HOST:PORT"},
		{"m/is-master?addr=10.0.0.1:0", 400, "port"},
		{"m/is-master?addr=10.0.0.1:6379&addr=10.0.0.2:6379", 400, "2 times"},
		{"m/is-master?addr=10.0.0.1:6379&max-lag-bytes=1", 400, `"max-lag-bytes" is not known`},
		{"m/is-master?addr=%zz", 400, "query"},
		{"m/is-replica?addr=10.0.0.2:6379", 200, "yes: 10.0.0.2:6379 is a replica of m"},
		{"m/is-replica?addr=10.0.0.2:6379&max-lag-bytes=100", 200, "yes"},
		{"m/is-replica?addr=10.0.0.2:6379&max-lag-bytes=99", 503, "is 100 bytes behind"},
		{"m/is-replica?addr=10.0.0.2:6379&max-lag-bytes=-1", 400, "max-lag-bytes"},
		{"m/is-replica?addr=10.0.0.2:6379&max-lag-bytes=1e3", 400, "max-lag-bytes"},
		{"m/is-replica?addr=10.0.0.2:6379&max-lag-bytes=9223372036854775808", 400, "max-lag-bytes"},
		{"m/is-replica?addr=10.0.0.2:6379&max-lag=99", 400, `"max-lag" is not known`},
		{"m/is-replica?addr=10.0.0.1:6379", 503, "is the master"},
		{"m/is-replica?addr=10.0.0.3:6379", 503, "link to the master is down"},
		{"m/is-replica?addr=10.0.0.4:6379", 503, "maintenance"},
		{"m/is-replica?addr=10.0.0.5:6379", 503, "not up"},
		{"m/is-replica?addr=10.0.0.6:6379", 503, "history"},
		{"m/is-replica?addr=10.0.0.7:6379", 503, "follows 10.0.9.1:6379 of other"},
		{"m/is-replica?addr=10.0.0.8:6379", 503, "was not reached"},
		{"m/is-replica?addr=10.0.9.1:6379", 503, "is no instance of m"},
	} {
		t.Run(c.path, func(t *testing.T) {
			w := ask(s, http.MethodGet, "/v1/masters/"+c.path)
			body := w.Body.String()
			if w.Code != c.code || !strings.Contains(body, c.text) || strings.Count(body, "\n") != 1 {
				t.Errorf("%d %q, want %d and %q", w.Code, body, c.code, c.text)
			}
			if age := w.Header().Get("Sentineld-Age-Ms"); (age == "7") != (c.code != 400) {
				t.Errorf("age %q", age)
			}
		})
	}
}

// How far a replica is behind is told by two readings that were not made at once, and by what the master says of it. Where that
// tells nothing, a bound is not met, and the gauge is absent.
func TestReplicaLag(t *testing.T) {
	lists := func(o *api.Observation, offset int64) {
		o.Info.Replicas = []detector.ReplicaLine{{Addr: at(t, two), State: "online", Offset: offset}}
	}
	ago := func(d time.Duration) time.Time { return time.Now().Add(-d) }
	for _, c := range []struct {
		name string
		do   func(master, replica *api.Observation)
		code int
		lag  string
	}{
		{"level, and the master was read later", func(m, r *api.Observation) {
			m.Info.Offset, r.InfoAt = 1_000_000, ago(9*time.Second)
			lists(m, 999_950)
		}, 200, "50"},
		{"behind, and the master was read before", func(m, r *api.Observation) {
			m.InfoAt, r.Info.Offset = ago(9*time.Second), 1_000_000
			lists(m, 400)
		}, 503, "600"},
		{"level, and the master was read before", func(m, r *api.Observation) {
			m.InfoAt, r.Info.Offset = ago(9*time.Second), 1_000_000
			lists(m, 1000)
		}, 200, "0"},
		{"the master was read before, and does not list it", func(m, r *api.Observation) {
			m.InfoAt, r.Info.Offset = ago(9*time.Second), 1_000_000
		}, 503, ""},
		{"the master was read long ago", func(m, _ *api.Observation) { m.InfoAt = ago(21 * time.Second) }, 503, ""},
		{"the replica was read long ago", func(_, r *api.Observation) { r.InfoAt = ago(21 * time.Second) }, 503, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newFakeNode(t)
			n.monitor(t, "m", one, two)
			m, r := alive(raftfsm.RoleMaster, 1000), alive(raftfsm.RoleReplica, 1000)
			c.do(&m, &r)
			s := newServer(t, options(t, n, fakeFleet{one: m, two: r}))
			const path = "/v1/masters/m/is-replica?addr=" + two
			if w := ask(s, http.MethodGet, path); w.Code != 200 {
				t.Errorf("without a bound: %d %s", w.Code, w.Body)
			}
			if w := ask(s, http.MethodGet, path+"&max-lag-bytes=100"); w.Code != c.code || c.lag == "" && !strings.Contains(w.Body.String(), "not known") {
				t.Errorf("at most 100 bytes: %d %s, want %d", w.Code, w.Body, c.code)
			}
			if got, _ := scrapeText(t, s); got[`sentineld_master_replica_lag_max_bytes{master="m"}`] != c.lag {
				t.Errorf("the gauge tells %q, want %q", got[`sentineld_master_replica_lag_max_bytes{master="m"}`], c.lag)
			}
		})
	}
}

// dozy reads an instance that was read long ago only once it is told to heed it, and the master a little later.
type dozy struct {
	fakeFleet
	mu      sync.Mutex
	heeded  []raftfsm.Addr
	changed chan struct{}
}

func (d *dozy) Observe(a raftfsm.Addr) (api.Observation, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fakeFleet.Observe(a)
}

func (d *dozy) Changed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changed
}

func (d *dozy) Heed(addrs ...raftfsm.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.heeded = append(d.heeded, addrs...)
	for i, a := range addrs {
		time.AfterFunc(time.Duration(i)*time.Millisecond, func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			o := d.fakeFleet[a.String()]
			o.InfoAt = time.Now()
			d.fakeFleet[a.String()] = o
			close(d.changed)
			d.changed = make(chan struct{})
		})
	}
}

// Where thousands are watched, a follower reads an instance seldom: whoever asks has it read anew and gets what that says.
func TestCheckOfAnInstanceThatWasReadLongAgo(t *testing.T) {
	n := newFakeNode(t)
	n.monitor(t, "m", one, two)
	long := func(o *api.Observation) { o.InfoAt = time.Now().Add(-time.Minute) }
	d := &dozy{changed: make(chan struct{}), fakeFleet: fakeFleet{
		one: alive(raftfsm.RoleMaster, 1000, long), two: alive(raftfsm.RoleReplica, 1000, long),
	}}
	o := options(t, n, nil)
	o.Fleet = d
	s := newServer(t, o)
	if w := ask(s, http.MethodGet, "/v1/masters/m/is-replica?max-lag-bytes=0&addr="+two); w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if want := []raftfsm.Addr{at(t, two), at(t, one)}; !slices.Equal(d.heeded, want) {
		t.Errorf("heeded %v, want %v", d.heeded, want)
	}
}

// What an instance was is never what it is: after a switch the old master is none, at once.
func TestOldMasterIsNone(t *testing.T) {
	n, fleet := checked(t)
	s := newServer(t, options(t, n, fleet))
	code := func(addr string) int { return ask(s, http.MethodGet, "/v1/masters/m/is-master?addr="+addr).Code }
	n.begin(t, "m", raftfsm.KindForced, two)
	if code(one) != 200 || code(two) != 503 {
		t.Errorf("before the switch: old %d, new %d", code(one), code(two))
	}
	n.finish(t, "m", raftfsm.OutcomeCompleted, raftfsm.Loss{Kind: raftfsm.LossUnknown})
	if code(one) != 503 || code(two) != 200 {
		t.Errorf("after the switch: old %d, new %d", code(one), code(two))
	}
}

// Clients are told the address that a name resolved to; either names the instance.
func TestToldAddress(t *testing.T) {
	n := newFakeNode(t)
	n.monitor(t, "m", "redis-1.example:6379", "redis-2.example:6379")
	n.do(t, &raftlogv1.Command{Op: &raftlogv1.Command_ResolveHosts{ResolveHosts: &raftlogv1.ResolveHosts{
		Master: "m", Generation: n.master(t, "m").Generation, Hosts: []*raftlogv1.ResolvedHost{
			{Address: at(t, "redis-1.example:6379").Proto(), Ip: "10.0.0.1"}, {Address: at(t, "redis-2.example:6379").Proto(), Ip: "10.0.0.2"},
		},
	}}})
	fleet := fakeFleet{
		"redis-1.example:6379": alive(raftfsm.RoleMaster, 5), "redis-2.example:6379": alive(raftfsm.RoleReplica, 5),
	}
	s := newServer(t, options(t, n, fleet))
	for _, q := range []string{
		"is-master?addr=redis-1.example:6379", "is-master?addr=10.0.0.1:6379",
		"is-replica?addr=redis-2.example:6379", "is-replica?addr=10.0.0.2:6379",
	} {
		if w := ask(s, http.MethodGet, "/v1/masters/m/"+q); w.Code != 200 {
			t.Errorf("%s: %d %s", q, w.Code, w.Body)
		}
	}
}

// A node that sees no Redis, or has no leader, or may not tell its state.
func TestOtherNodes(t *testing.T) {
	n, _ := checked(t)
	s := newServer(t, options(t, n, nil))
	w := ask(s, http.MethodGet, "/v1/masters/m/is-replica?addr="+two)
	if w.Code != 503 || !strings.Contains(w.Body.String(), "observer") {
		t.Errorf("observer: %d %s", w.Code, w.Body)
	}
	n.set(func(n *fakeNode) { n.age = -1 })
	w = ask(s, http.MethodGet, "/v1/masters/m/is-master?addr="+one)
	if w.Code != 200 || w.Header().Get("Sentineld-Age-Ms") != "-1" {
		t.Errorf("without a leader: %d, age %q", w.Code, w.Header().Get("Sentineld-Age-Ms"))
	}
	n.set(func(n *fakeNode) { n.err = errLoading })
	for _, path := range []string{"m", "m/is-master?addr=" + one, "m/is-replica?addr=" + two, "x"} {
		if w := ask(s, http.MethodGet, "/v1/masters/"+path); w.Code != 503 || w.Header().Get("Sentineld-Age-Ms") != "" {
			t.Errorf("loading: %s: %d %s", path, w.Code, w.Body)
		}
	}
}

func TestMaster(t *testing.T) {
	n, fleet := checked(t)
	n.down(t, "m", three, raftfsm.CauseTimeout)
	s := newServer(t, options(t, n, fleet))
	w := ask(s, http.MethodGet, "/v1/masters/m")
	var got struct {
		ClusterID string `json:"cluster_id"`
		AgeMs     int64  `json:"age_ms"`
		Master    map[string]json.RawMessage
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 {
		t.Fatalf("%d %v %s", w.Code, err, w.Body)
	}
	if got.ClusterID != "c1" || got.AgeMs != 7 || w.Header().Get("Sentineld-Age-Ms") != "7" || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%+v %v", got, w.Header())
	}
	if string(got.Master["address"]) != `{"host":"10.0.0.1","port":6379}` || string(got.Master["failover"]) != "null" {
		t.Errorf("master %s", got.Master)
	}
	if strings.Contains(w.Body.String(), password) {
		t.Error("the password is told")
	}
	for path, code := range map[string]int{"x": 404, "m?verbose=1": 400, "a%20b": 404, "m/else": 404} {
		if w := ask(s, http.MethodGet, "/v1/masters/"+path); w.Code != code {
			t.Errorf("%s: %d %s, want %d", path, w.Code, w.Body, code)
		}
	}
}

// A balancer may ask by HEAD or OPTIONS and gets the status of GET; a change is refused.
func TestMethods(t *testing.T) {
	n, fleet := checked(t)
	s := newServer(t, options(t, n, fleet))
	for _, path := range []string{"m", "m/is-master?addr=" + one, "m/is-master?addr=" + two, "x/is-master?addr=" + two, "m/is-replica?addr=" + two} {
		path = "/v1/masters/" + path
		want := ask(s, http.MethodGet, path).Code
		for _, method := range []string{http.MethodHead, http.MethodOptions} {
			if w := ask(s, method, path); w.Code != want {
				t.Errorf("%s %s: %d, GET has %d", method, path, w.Code, want)
			}
		}
		if w := ask(s, http.MethodOptions, path); w.Body.Len() > 0 || w.Header().Get("Allow") != "GET, HEAD, OPTIONS" {
			t.Errorf("OPTIONS %s: %q %v", path, w.Body, w.Header())
		}
	}
	for path, allow := range map[string]string{"/v1/masters/m": "GET, HEAD, OPTIONS", "/metrics": "GET, HEAD", "/livez": "GET, HEAD", "/readyz": "GET, HEAD"} {
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, "BREW"} {
			if w := ask(s, method, path); w.Code != 405 || w.Header().Get("Allow") != allow {
				t.Errorf("%s %s: %d %v", method, path, w.Code, w.Header())
			}
		}
	}
	if w := ask(s, http.MethodGet, "/debug/pprof/"); w.Code != 404 {
		t.Errorf("the default mux is served: %d", w.Code)
	}
}
