package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/raftsentinel/raftsentinel/api/client"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// reading is how the state is read by one command: linearizable at first, and from the first answer that shows that no
// leader is there, as the asked node knows it.
type reading struct {
	a           *app
	consistency sentinelv1.Consistency
	ageMs       int64
}

func (a *app) reading() *reading {
	r := &reading{a: a, consistency: sentinelv1.Consistency_CONSISTENCY_LINEARIZABLE}
	if a.set.local {
		r.consistency = sentinelv1.Consistency_CONSISTENCY_LOCAL
	}
	return r
}

func (r *reading) local() bool { return r.consistency == sentinelv1.Consistency_CONSISTENCY_LOCAL }

// marking is a reading that is local already.
func (a *app) marking(ageMs int64) *reading {
	return &reading{a: a, consistency: sentinelv1.Consistency_CONSISTENCY_LOCAL, ageMs: ageMs}
}

// aged is an answer that tells how old it may be.
type aged interface{ GetAgeMs() int64 }

// ask makes one call within the time of a request. While no leader answers, two fifths of the time are spent on waiting
// for one and the rest on the node's own copy.
func ask[R aged](ctx context.Context, r *reading, call func(context.Context, *client.Client, sentinelv1.Consistency) (R, error)) (R, error) {
	var none R
	c, err := r.a.client()
	if err != nil {
		return none, err
	}
	ctx, cancel := r.a.request(ctx)
	defer cancel()
	if !r.local() {
		first, cancel := context.WithTimeout(ctx, r.a.set.timeout*2/5)
		answer, err := call(first, c, r.consistency)
		cancel()
		if !leaderless(err) || ctx.Err() != nil {
			return answer, err
		}
		r.consistency = sentinelv1.Consistency_CONSISTENCY_LOCAL
	}
	answer, err := call(ctx, c, r.consistency)
	if err == nil {
		r.ageMs = answer.GetAgeMs()
	}
	return answer, err
}

// leaderless tells whether a node may still answer for itself what it could not answer for the cluster.
func leaderless(err error) bool {
	if none, ok := errors.AsType[*client.NoNodeError](err); ok {
		return none.Sent
	}
	code := status.Code(err)
	return code == codes.Unavailable || code == codes.DeadlineExceeded
}

// mark says on stderr that what was printed is one node's own copy.
func (r *reading) mark() {
	if !r.local() {
		return
	}
	if r.ageMs < 0 {
		r.a.say("local: the node has heard from no leader since it started")
		return
	}
	r.a.say("local, %d ms old", r.ageMs)
}

// key is one more key of a JSON document.
type key struct {
	name  string
	value any
}

// print writes an answer: JSON with the further keys, or the table.
func (a *app) print(m proto.Message, t func() *table, more ...key) error {
	if !a.set.json() {
		return t().write(a.stdout)
	}
	b := bytes.TrimSuffix(sentinelv1.JSON(m), []byte("}"))
	for _, k := range more {
		v, err := json.Marshal(k.value)
		if err != nil {
			return fmt.Errorf("encode %s: %w", k.name, err)
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(sentinelv1.AppendJSONString(b, k.name), ':'), v...)
	}
	return a.writeJSON(append(b, '}'))
}

// writeJSON writes a document for people.
func (a *app) writeJSON(b []byte) error {
	var out bytes.Buffer
	if err := json.Indent(&out, b, "", "  "); err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	out.WriteByte('\n')
	_, err := a.stdout.Write(out.Bytes())
	return err
}

// print writes what was read, and marks it where it is local.
func (r *reading) print(m proto.Message, t func() *table) error {
	defer r.mark()
	return r.a.print(m, t, key{"local", r.local()})
}

// change makes one call that changes the state.
func change[R any](ctx context.Context, a *app, call func(context.Context, *client.Client) (R, error)) (R, error) {
	var none R
	c, err := a.client()
	if err != nil {
		return none, err
	}
	ctx, cancel := a.request(ctx)
	defer cancel()
	return call(ctx, c)
}

// changed is an answer that tells whether anything changed.
type changed interface {
	proto.Message
	GetChanged() bool
}

// printChange writes the outcome of a change: one line, and the warnings on stderr.
func (a *app) printChange(m changed, done, same string) error {
	if w, ok := m.(interface{ GetWarnings() []string }); ok {
		for _, text := range w.GetWarnings() {
			a.say("warning: %s", printable(text))
		}
	}
	line := done
	if !m.GetChanged() {
		line = same
	}
	return a.print(m, func() *table {
		t := newTable()
		t.add(line)
		return t
	})
}

const stampLayout = "2006-01-02T15:04:05.000Z"

// stamp is a time as people read it.
func stamp(t interface{ AsTime() time.Time }) string {
	return t.AsTime().UTC().Format(stampLayout)
}
