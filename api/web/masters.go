package web

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/raftsentinel/raftsentinel/api"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// statuses are those of the codes that a read ends with; any other is a fault of ours.
var statuses = map[codes.Code]int{
	codes.NotFound: http.StatusNotFound, codes.InvalidArgument: http.StatusBadRequest, codes.Unavailable: http.StatusServiceUnavailable,
	codes.FailedPrecondition: http.StatusServiceUnavailable, codes.DeadlineExceeded: http.StatusServiceUnavailable,
	codes.Canceled: http.StatusServiceUnavailable,
}

// master answers what GetMaster does, from local state.
func (s *Server) master(r *http.Request) answer {
	if _, err := query(r); err != nil {
		return bad(err)
	}
	got, err := s.app.GetMaster(r.Context(), &sentinelv1.GetMasterRequest{
		Name: r.PathValue("name"), Consistency: sentinelv1.Consistency_CONSISTENCY_LOCAL,
	})
	if err != nil {
		e, _ := status.FromError(err)
		code, known := statuses[e.Code()]
		if !known {
			code = http.StatusInternalServerError
		}
		return answer{status: code, text: e.Message()}
	}
	return answer{status: http.StatusOK, age: new(got.GetAgeMs()), json: sentinelv1.JSON(got)}
}

// question is what a load balancer asks about a server of its.
type question struct {
	st   *raftfsm.State
	m    *raftfsm.Master
	addr raftfsm.Addr
	// maxLag is -1 for any.
	maxLag int64
	age    int64
}

// isMaster says yes for the committed master, under the address that it is known by or the one that clients are told.
func (s *Server) isMaster(r *http.Request) answer {
	q, refused := s.question(r, "addr")
	if refused != nil {
		return *refused
	}
	if q.addr == q.m.Address || q.addr == q.st.Told(q.m.Address) {
		return q.say(nil, "the master")
	}
	return q.say(fmt.Errorf("the master is %s", q.st.Told(q.m.Address)), "the master")
}

// isReplica says yes for a replica that this node sees following, and near enough.
func (s *Server) isReplica(r *http.Request) answer {
	q, refused := s.question(r, "addr", "max-lag-bytes")
	if refused != nil {
		return *refused
	}
	return q.say(s.serves(r.Context(), q), "a replica")
}

// freshLimit is how long a check waits for a reading that is young enough.
const freshLimit = 300 * time.Millisecond

// freshen has the master and its replica read anew where what this node knows of them is too old to go by.
func (s *Server) freshen(ctx context.Context, addrs ...raftfsm.Addr) {
	s.o.Fleet.Heed(addrs...)
	ctx, cancel := context.WithTimeout(ctx, freshLimit)
	defer cancel()
	for {
		changed := s.o.Fleet.Changed()
		if !slices.ContainsFunc(addrs, s.outdated) {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// outdated tells whether the last reading of an instance that answers is too old to go by.
func (s *Server) outdated(a raftfsm.Addr) bool {
	o, ok := s.o.Fleet.Observe(a)
	return ok && o.Connected && !o.Down && o.Info != nil && time.Since(o.InfoAt) > api.LagAge
}

// say is the answer; nil why not is yes.
func (q question) say(whyNot error, what string) answer {
	if whyNot != nil {
		return answer{status: http.StatusServiceUnavailable, age: &q.age, text: fmt.Sprintf("no: %s: %v", q.addr, whyNot)}
	}
	return answer{status: http.StatusOK, age: &q.age, text: fmt.Sprintf("yes: %s is %s of %s", q.addr, what, q.m.Name)}
}

// serves tells why an address is not a replica to send readers to.
func (s *Server) serves(ctx context.Context, q question) error {
	i := slices.IndexFunc(q.m.Instances, func(in raftfsm.Instance) bool {
		return q.addr == in.Addr || q.addr == q.st.Told(in.Addr)
	})
	if i < 0 {
		return fmt.Errorf("is no instance of %s", q.m.Name)
	}
	in := q.m.Instances[i]
	switch {
	case in.Addr == q.m.Address:
		return errors.New("is the master")
	case in.Maintenance != nil:
		return errors.New("is in maintenance")
	case s.o.Fleet == nil:
		return errors.New("this node is an observer and probes nothing: ask another one")
	}
	s.freshen(ctx, in.Addr, q.m.Address)
	o, ok := s.o.Fleet.Observe(in.Addr)
	switch {
	case !ok || o.Info == nil:
		return errors.New("was not reached by this node yet")
	case o.Down, !o.Connected:
		return errors.New("is not up, as this node sees it")
	case o.AuthRejected:
		return errors.New("rejects the password")
	case o.Info.Role != raftfsm.RoleReplica:
		return errors.New("says that it is no replica")
	case !o.Info.MasterLinkUp:
		return errors.New("its link to the master is down")
	case o.Info.Loading, o.Info.AsyncLoading:
		return errors.New("is loading")
	}
	follows := raftfsm.Addr{Host: o.Info.MasterHost, Port: uint16(o.Info.MasterPort)}
	if owner, ours := q.st.Owner(follows); ours && owner.Name != q.m.Name {
		return fmt.Errorf("follows %s of %s", follows, owner.Name)
	}
	master, _ := s.o.Fleet.Observe(q.m.Address)
	if !sameHistory(master, o) {
		return errors.New("does not have the master's history, as this node sees it")
	}
	return q.near(in.Addr, master, o)
}

// near tells why a replica is not near enough to its master.
func (q question) near(a raftfsm.Addr, master, o api.Observation) error {
	if q.maxLag < 0 {
		return nil
	}
	now := time.Now()
	bytes, known := lag(a, master, o, now)
	age := max(now.Sub(master.InfoAt), now.Sub(o.InfoAt)).Milliseconds()
	switch {
	case !known:
		return fmt.Errorf("how far it is behind is not known, by readings of up to %d ms ago; %d bytes are allowed", age, q.maxLag)
	case bytes > q.maxLag:
		return fmt.Errorf("is %d bytes behind, as of %d ms ago; %d are allowed", bytes, age, q.maxLag)
	}
	return nil
}

// sameHistory tells whether an instance has the history of its master, by the last INFO of both.
func sameHistory(master, o api.Observation) bool {
	return master.Info != nil && o.Info != nil && o.Info.ReplID != "" && o.Info.ReplID == master.Info.ReplID
}

// lag is how many bytes the replica a is behind its master, by readings of both that are as young as they are at rest.
func lag(a raftfsm.Addr, master, o api.Observation, now time.Time) (bytes int64, known bool) {
	if now.Sub(master.InfoAt) > api.LagAge || now.Sub(o.InfoAt) > api.LagAge {
		return 0, false
	}
	bytes = api.Lag(a, master, o, now)
	return bytes, bytes >= 0
}

// question reads a check, or refuses it.
func (s *Server) question(r *http.Request, parameters ...string) (question, *answer) {
	refuse := func(a answer) (question, *answer) { return question{}, &a }
	values, err := query(r, parameters...)
	if err != nil {
		return refuse(bad(err))
	}
	q := question{maxLag: -1}
	if q.addr, err = raftfsm.ParseAddr(values.Get("addr")); err != nil {
		return refuse(bad(fmt.Errorf("addr: %w", err)))
	}
	if v := values.Get("max-lag-bytes"); v != "" {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil || n > math.MaxInt64 {
			return refuse(bad(fmt.Errorf("max-lag-bytes: %q: want a whole number of bytes, 0 or more", v)))
		}
		q.maxLag = int64(n)
	}
	st, age, err := s.o.Node.Local()
	if err != nil {
		return refuse(answer{status: http.StatusServiceUnavailable, text: err.Error()})
	}
	q.st, q.age = st, -1
	if age >= 0 {
		q.age = age.Milliseconds()
	}
	name := r.PathValue("name")
	m, ok := st.Master(name)
	if !ok {
		return refuse(answer{status: http.StatusNotFound, age: &q.age, text: fmt.Sprintf("no master named %q", name)})
	}
	q.m = m
	return q, nil
}

// query is that of a request. A parameter that is not known is refused: a misspelt bound would be none.
func query(r *http.Request, known ...string) (url.Values, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	for name, given := range values {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("parameter %q is not known here", name)
		}
		if len(given) > 1 {
			return nil, fmt.Errorf("%s is given %d times", name, len(given))
		}
	}
	return values, nil
}

func bad(err error) answer { return answer{status: http.StatusBadRequest, text: err.Error()} }
