package web

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/raftsentinel/raftsentinel/api"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

const (
	// headerLimit is how long a request's header may take, readLimit the request, writeLimit the answer: a scrape of very many
	// masters over a slow line.
	headerLimit = 5 * time.Second
	readLimit   = 10 * time.Second
	writeLimit  = 30 * time.Second
	idleLimit   = 2 * time.Minute
	// maxHeader bounds a request's header, in bytes. No request has a body that is read.
	maxHeader = 16 << 10
	// grace is how long answers under way may take once the node stops.
	grace = 500 * time.Millisecond
	// checkLimit is how long a part of the node has to show that it lives.
	checkLimit = time.Second
	// leaderSilence is how long a node may hear no leader and still be ready, as the API has it for reads.
	leaderSilence = 2 * time.Second
	// maxScrapes bounds how many are made at once.
	maxScrapes = 4
)

// Node is this member of the cluster: a part of [api.Node].
type Node interface {
	Local() (*raftfsm.State, time.Duration, error)
	Status() api.NodeStatus
}

// Options of a server. Node, API and Log are required.
type Options struct {
	Node Node
	// API answers calls: [api.Server.Direct].
	API grpc.ClientConnInterface
	// Fleet is what this node sees; nil on a node that probes nothing.
	Fleet api.Fleet
	// Outlook tells what a failover and a switchover of a set would meet now; nil on a node that cannot know.
	Outlook func(*raftfsm.State, *raftfsm.Master) Outlook
	// Live are the parts that must answer for the process to count as alive.
	Live []Check
	// Clients tells of the Sentinel port; false where it is off. Scripts tells of this node's scripts. nil: not told.
	Clients func() (Clients, bool)
	Scripts func() Scripts
	// Protected mode serves loopback alone.
	Protected bool
	Version   string
	Log       *slog.Logger
}

// Server answers HTTP requests; it is an [http.Handler].
type Server struct {
	o       Options
	app     sentinelv1.SentinelServiceClient
	metrics *metrics
	live    []*check
	began   time.Time
	handler http.Handler
	// requests are those under way.
	requests sync.WaitGroup
}

// New validates the options and starts nothing.
func New(o Options) (*Server, error) {
	if o.Node == nil || o.API == nil || o.Log == nil {
		return nil, errors.New("web: Node, API and Log are required")
	}
	o.Log = o.Log.With("component", "web")
	s := &Server{o: o, app: sentinelv1.NewSentinelServiceClient(o.API), began: time.Now()}
	for _, c := range append([]Check{{"node", s.askNode}}, o.Live...) {
		s.live = append(s.live, &check{Check: c})
	}
	s.metrics = newMetrics(o, s.began)
	mux := http.NewServeMux()
	mux.Handle("/metrics", only(s.metrics.handler(), http.MethodGet, http.MethodHead))
	mux.Handle("/livez", only(http.HandlerFunc(s.livez), http.MethodGet, http.MethodHead))
	mux.Handle("/readyz", only(http.HandlerFunc(s.readyz), http.MethodGet, http.MethodHead))
	for pattern, answer := range map[string]func(*http.Request) answer{
		"/v1/masters/{name}": s.master, "/v1/masters/{name}/is-master": s.isMaster, "/v1/masters/{name}/is-replica": s.isReplica,
	} {
		mux.Handle(pattern, only(told(answer), http.MethodGet, http.MethodHead, http.MethodOptions))
	}
	s.handler = mux
	return s, nil
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.requests.Add(1)
	defer s.requests.Done()
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if s.o.Protected && !loopback(r.RemoteAddr) {
		http.Error(w, denied, http.StatusForbidden)
		return
	}
	s.handler.ServeHTTP(w, r)
}

const denied = "protected-mode is on, and there are neither users nor TLS: only this machine is served. " +
	"Set 'protected-mode no' if every host that can reach this port may read the state of the cluster."

func loopback(remote string) bool {
	a, err := netip.ParseAddrPort(remote)
	return err == nil && a.Addr().Unmap().IsLoopback()
}

// Run serves on l until ctx ends, gives answers under way a moment, and returns after the last of them. It closes l.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler: s, ReadHeaderTimeout: headerLimit, ReadTimeout: readLimit, WriteTimeout: writeLimit, IdleTimeout: idleLimit,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(s.o.Log.Handler(), slog.LevelDebug),
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		if server.Shutdown(limit) != nil {
			_ = server.Close()
		}
	})
	err := server.Serve(l)
	if !stop() {
		<-stopped
	}
	s.requests.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// only answers the methods, and tells anybody else which those are.
func only(h http.Handler, methods ...string) http.Handler {
	allowed := strings.Join(methods, ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(methods, r.Method) || r.Method == http.MethodOptions {
			w.Header().Set("Allow", allowed)
		}
		if !slices.Contains(methods, r.Method) {
			http.Error(w, r.Method+" is not allowed here; allowed are "+allowed, http.StatusMethodNotAllowed)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// answer is what a request is answered.
type answer struct {
	status int
	// age is how long ago this node heard a leader, in milliseconds, -1 for never; nil where the state was not told.
	age *int64
	// json, or else text: one line.
	json []byte
	text string
}

// ageHeader tells how old an answer from local state may be.
const ageHeader = "Sentineld-Age-Ms"

// told writes answers. OPTIONS, the method of HAProxy's plain httpchk, is answered as GET is but for the body.
func told(ask func(*http.Request) answer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := ask(r)
		body, kind := a.json, "application/json"
		if body == nil {
			body, kind = []byte(a.text), "text/plain; charset=utf-8"
		}
		body = append(body, '\n')
		h := w.Header()
		h.Set("Content-Type", kind)
		if a.age != nil {
			h.Set(ageHeader, strconv.FormatInt(*a.age, 10))
		}
		if r.Method == http.MethodOptions {
			h.Set("Content-Length", "0")
			w.WriteHeader(a.status)
			return
		}
		h.Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(a.status)
		_, _ = w.Write(body)
	})
}
