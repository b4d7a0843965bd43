package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/raftsentinel/raftsentinel/api"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// The headers of a delivery.
const (
	headerSignature = "Sentineld-Signature"
	headerEventID   = "Sentineld-Event-Id"
)

// maxAnswer is how much of an answer is read, so that the connection can be used again.
const maxAnswer = 64 << 10

// endpoint delivers to one URL, in order.
type endpoint struct {
	node   Node
	url    string
	secret raftfsm.Secret
	client *http.Client
	log    *slog.Logger

	mu sync.Mutex
	at place
	// since is when the deliveries began to fail; zero while they do not.
	since time.Time
	// passedOver: it fails for so long that it holds the replicated place back no more.
	passedOver bool
}

func newEndpoint(w *Webhooks, target string, secret raftfsm.Secret, from place) *endpoint {
	host := ""
	if u, err := url.Parse(target); err == nil {
		host = u.Host // the rest may be a secret
	}
	return &endpoint{
		node: w.o.Node, url: target, secret: secret, client: w.client, log: w.log.With("endpoint", host), at: from,
	}
}

// progress is how far the endpoint has come. counts is false where it has failed for too long to be waited for.
func (e *endpoint) progress(now time.Time) (c raftfsm.Cursor, counts bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	over := !e.since.IsZero() && now.Sub(e.since) >= holdLimit
	if over && !e.passedOver {
		e.log.Warn("webhook fails for too long: the others go on without it, and after a change of leader it misses what they had",
			"limit", holdLimit, "after_index", e.at.after.Index)
	}
	e.passedOver = over
	return e.at.after, !over
}

// run delivers until ctx ends.
func (e *endpoint) run(ctx context.Context) {
	wait := firstBackoff
	for {
		changed := e.node.Changed()
		took, err := e.deliver(ctx, e.node.State())
		if ctx.Err() != nil {
			return
		}
		if took {
			wait = firstBackoff
		}
		var again <-chan time.Time
		if err != nil {
			e.failed(err, wait)
			changed, again = nil, time.After(wait)
			wait = min(2*wait, lastBackoff)
		}
		select {
		case <-changed:
		case <-again:
		case <-ctx.Done():
			return
		}
	}
}

// deliver posts the events of st that are new to the endpoint, up to the first that it does not take. took tells whether it
// took any.
func (e *endpoint) deliver(ctx context.Context, st *raftfsm.State) (took bool, err error) {
	at := e.at // changed by this goroutine alone
	if !at.in(st) {
		e.reached(endOf(st), false)
		return false, nil
	}
	events, complete := st.EventsSince(at.after)
	for ev := range events {
		if !complete {
			e.log.Error("events lost: compacted before the endpoint took them", "after_index", at.after.Index,
				"after_ordinal", at.after.Ordinal, "next_index", ev.Index, "next_ordinal", ev.Ordinal)
			complete = true
			e.reached(place{at.cluster, before(ev.Cursor)}, false)
		}
		if err := e.post(ctx, st, ev); err != nil {
			return took, err
		}
		e.reached(place{at.cluster, ev.Cursor}, true)
		took = true
	}
	return took, nil
}

// reached moves the place. well tells that the endpoint has taken what is before it.
func (e *endpoint) reached(p place, well bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.at = p
	if well && !e.since.IsZero() {
		e.log.Info("webhook delivered again", "failed_for", time.Since(e.since))
		e.since = time.Time{}
	}
}

func (e *endpoint) failed(err error, wait time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.since.IsZero() {
		e.since = time.Now()
		e.log.Warn("webhook not delivered; it is tried again", "error", err, "delay", wait)
		return
	}
	e.log.Debug("webhook not delivered; it is tried again", "error", err, "delay", wait)
}

// post makes one delivery.
func (e *endpoint) post(ctx context.Context, st *raftfsm.State, ev raftfsm.Event) error {
	ctx, cancel := context.WithTimeout(ctx, postLimit)
	defer cancel()
	m := messageOf(st, ev)
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(body))
	if err != nil {
		return errors.New("the URL cannot be used")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "sentineld")
	req.Header.Set(headerEventID, m.ID)
	if !e.secret.IsZero() {
		req.Header.Set(headerSignature, sign(e.secret, time.Now(), body))
	}
	resp, err := e.client.Do(req)
	if err != nil {
		if inner, ok := errors.AsType[*url.Error](err); ok {
			err = inner.Err // without the URL
		}
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer)) // only for the connection's sake
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("the endpoint answered %d; want 2xx", resp.StatusCode)
	}
	return nil
}

// sign proves to who has the secret that body was sent at a time.
func sign(secret raftfsm.Secret, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret.Reveal()))
	mac.Write([]byte(t + "."))
	mac.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}

// message is the body of a delivery. No key is ever left out; what an event does not have is empty, or 0.
type message struct {
	ID      string `json:"id"`
	Cluster string `json:"cluster"`
	Kind    string `json:"kind"`
	At      string `json:"at"`
	Master  string `json:"master"`
	// Instance that it is about, with its role in the set.
	Instance string `json:"instance"`
	Role     string `json:"role"`
	From     string `json:"from"`
	To       string `json:"to"`
	Epoch    uint64 `json:"epoch"`
	Cause    string `json:"cause"`
	// Node that it is about, Actor whose deed it is: by name.
	Node   string `json:"node"`
	Actor  string `json:"actor"`
	Detail string `json:"detail"`
	// Payload is the message that a Redis Sentinel would publish.
	Payload string `json:"payload"`
}

func messageOf(st *raftfsm.State, e raftfsm.Event) message {
	e = e.Told()
	m := message{
		ID: fmt.Sprintf("%s-%d-%d", st.Cluster().ID, e.Index, e.Ordinal), Cluster: st.Cluster().Name, Kind: e.Kind,
		At:     time.UnixMilli(e.AtMs).UTC().Format("2006-01-02T15:04:05.000Z07:00"),
		Master: e.Master, Instance: e.Instance.String(), From: e.From.String(), To: e.To.String(), Epoch: e.Epoch,
		Node: st.NodeName(e.Node), Actor: st.NodeName(e.Actor), Detail: e.Detail, Payload: api.Payload(e),
	}
	switch {
	case e.Instance.IsZero() || e.Master == "":
	case e.Role == raftfsm.RoleReplica:
		m.Role = "replica"
	default:
		m.Role = raftfsm.RoleWord(e.Role)
	}
	if e.Cause != 0 {
		m.Cause = raftfsm.CauseWord(e.Cause)
	}
	return m
}
