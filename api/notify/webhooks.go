package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
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

// WebhookOptions are those of [Webhooks]. All but Secret are required.
type WebhookOptions struct {
	Node Node
	// URLs get every event, each in order and at its own pace.
	URLs []string
	// Secret signs the deliveries; without one they are not signed.
	Secret raftfsm.Secret
	// Delivered is the replicated place: every event up to it was delivered. Zero where there never was one.
	Delivered func(*raftfsm.State) raftfsm.Cursor
	// Deliver replicates a further place.
	Deliver func(context.Context, raftfsm.Cursor) error
	Log     *slog.Logger
}

// Webhooks deliver the events of the replicated state from the node that leads, at least once.
type Webhooks struct {
	o      WebhookOptions
	log    *slog.Logger
	client *http.Client
}

// NewWebhooks validates the options and starts nothing.
func NewWebhooks(o WebhookOptions) (*Webhooks, error) {
	if o.Node == nil || len(o.URLs) == 0 || o.Delivered == nil || o.Deliver == nil || o.Log == nil {
		return nil, errors.New("webhooks: Node, URLs, Delivered, Deliver and Log are required")
	}
	for i, text := range o.URLs {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			// What it says is not repeated: a URL may hold a password.
			return nil, fmt.Errorf("webhook %d: want http://HOST/PATH or https://HOST/PATH", i+1)
		}
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute,
	}
	return &Webhooks{o: o, log: o.Log.With("component", "webhooks"), client: &http.Client{
		Transport: transport,
		// A signed body is for the endpoint that was configured, and a moved one is the operator's to correct.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Duties deliver for one leadership, from the replicated place on, until ctx ends. They begin when this node has applied
// what was committed before, and with it how far the former leader came.
func (w *Webhooks) Duties(ctx context.Context, _ uint64) error {
	st := w.o.Node.State()
	kept := w.o.Delivered(st)
	from := place{st.Cluster().ID, kept}
	if kept == (raftfsm.Cursor{}) {
		from = endOf(st) // never used: what has been before is nobody's business
	}
	endpoints := make([]*endpoint, len(w.o.URLs))
	var wg sync.WaitGroup
	for i, u := range w.o.URLs {
		e := newEndpoint(w, u, from)
		endpoints[i] = e
		wg.Go(func() { e.run(ctx) })
	}
	w.keep(ctx, endpoints, kept)
	wg.Wait()
	w.client.CloseIdleConnections()
	return nil
}

// keep replicates how far all endpoints have come, until ctx ends.
func (w *Webhooks) keep(ctx context.Context, endpoints []*endpoint, kept raftfsm.Cursor) {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	failing := false
	for {
		if c := slowest(endpoints, time.Now()); c.Compare(kept) > 0 {
			err := w.o.Deliver(ctx, c)
			switch {
			case err == nil:
				kept = c
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
