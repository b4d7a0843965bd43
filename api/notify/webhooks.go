package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

const (
	// postLimit bounds one delivery, its answer included.
	postLimit = 5 * time.Second
	// firstBackoff is the wait after a delivery that failed; it doubles up to lastBackoff.
	firstBackoff = time.Second
	lastBackoff  = time.Minute
	// keepEvery is how often the place is replicated while it moves.
	keepEvery = time.Second
	// holdLimit is how long an endpoint that fails holds the replicated place back for all.
	holdLimit = 10 * time.Minute
)

// WebhookOptions are those of [Webhooks]. All are required.
type WebhookOptions struct {
	Node Node
	// Deliver replicates that every event up to a place was delivered: [raftfsm.State.Delivered].
	Deliver func(context.Context, raftfsm.Cursor) error
	Log     *slog.Logger
}

// Webhooks deliver the events of the replicated state from the node that leads, at least once.
type Webhooks struct {
	o      WebhookOptions
	log    *slog.Logger
	client *http.Client

	mu      sync.Mutex
	targets targets
	changed chan struct{} // closed when targets are set anew
}

// targets are where to deliver.
type targets struct {
	urls   []string
	secret raftfsm.Secret
}

// NewWebhooks validates the options and starts nothing.
func NewWebhooks(o WebhookOptions) (*Webhooks, error) {
	if o.Node == nil || o.Deliver == nil || o.Log == nil {
		return nil, errors.New("webhooks: Node, Deliver and Log are required")
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute,
	}
	return &Webhooks{o: o, log: o.Log.With("component", "webhooks"), changed: make(chan struct{}), client: &http.Client{
		Transport: transport,
		// A signed body is for the endpoint that was configured, and a moved one is the operator's to correct.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Set says where to deliver from now on: every URL gets every event, in order and at its own pace. Deliveries are signed
// with the secret, if there is one. After an error nothing has changed.
func (w *Webhooks) Set(urls []string, secret raftfsm.Secret) error {
	for i, text := range urls {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			// What it says is not repeated: a URL may hold a password.
			return fmt.Errorf("webhook %d: want http://HOST/PATH or https://HOST/PATH", i+1)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if slices.Equal(urls, w.targets.urls) && secret == w.targets.secret {
		return nil // what is under way, and for how long an endpoint has failed, stays
	}
	w.targets = targets{slices.Clone(urls), secret}
	close(w.changed)
	w.changed = make(chan struct{})
	return nil
}

func (w *Webhooks) present() (targets, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.targets, w.changed
}

// Duties deliver for one leadership, from the replicated place on, until ctx ends. They begin when this node has applied
// what was committed before, and with it how far the former leader came.
func (w *Webhooks) Duties(ctx context.Context, _ uint64) error {
	defer w.client.CloseIdleConnections()
	reached := map[string]place{} // by URL: what was set anew goes on where it was
	for ctx.Err() == nil {
		t, changed := w.present()
		round, end := context.WithCancel(ctx)
		var wg sync.WaitGroup
		wg.Go(func() { w.deliver(round, t, reached) })
		select {
		case <-changed:
		case <-ctx.Done():
		}
		end()
		wg.Wait()
	}
	return nil
}

// deliver serves the targets until ctx ends, and notes how far each has come.
func (w *Webhooks) deliver(ctx context.Context, t targets, reached map[string]place) {
	if len(t.urls) == 0 {
		<-ctx.Done()
		return
	}
	st := w.o.Node.State()
	from := place{st.Cluster().ID, st.Delivered()}
	if from.after == (raftfsm.Cursor{}) {
		from = endOf(st) // never used: what has been before is nobody's business
	}
	endpoints := make([]*endpoint, len(t.urls))
	var wg sync.WaitGroup
	for i, u := range t.urls {
		at, known := reached[u]
		if !known {
			at = from
		}
		e := newEndpoint(w, u, t.secret, at)
		endpoints[i] = e
		wg.Go(func() { e.run(ctx) })
	}
	w.keep(ctx, endpoints, st.Delivered(), from.after)
	wg.Wait()
	clear(reached)
	for _, e := range endpoints {
		reached[e.url] = e.at
	}
}

// keep replicates how far all endpoints have come, until ctx ends: first where they begin, if that was not kept before.
func (w *Webhooks) keep(ctx context.Context, endpoints []*endpoint, kept, next raftfsm.Cursor) {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for failing := false; ; next = slowest(endpoints, time.Now()) {
		if next.Compare(kept) > 0 {
			err := w.o.Deliver(ctx, next)
			switch {
			case err == nil:
				kept = next
			case !failing && ctx.Err() == nil:
				w.log.Warn("how far webhooks were delivered cannot be replicated; after a change of leader some would be repeated or left out",
					"error", err)
			}
			failing = err != nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// slowest is the place that every endpoint has reached, but for those that have failed for too long; zero where that is all.
func slowest(endpoints []*endpoint, now time.Time) raftfsm.Cursor {
	var out raftfsm.Cursor
	for _, e := range endpoints {
		c, counts := e.progress(now)
		if counts && (out == raftfsm.Cursor{} || c.Compare(out) < 0) {
			out = c
		}
	}
	return out
}
