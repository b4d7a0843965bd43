package api

import (
	"sync"
	"time"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// answers are the encoded answers of GetMaster in one state and one millisecond: within it the ages in them do not change, and
// what this node sees of an instance is told at most that much late. The zero value is ready.
type answers struct {
	mu     sync.Mutex
	state  *raftfsm.State
	since  time.Time
	frames map[answerKey]frame
}

// answerKey is what an answer depends on besides state and time.
type answerKey struct {
	name  string
	ageMs int64
}

// master is the encoded answer for a master in v.
func (a *answers) master(v view, name string, ageMs int64) (frame, error) {
	key := answerKey{name, ageMs}
	if f, ok := a.find(v, key); ok {
		return f, nil
	}
	answer, err := answerMaster(v, name, ageMs)
	if err != nil {
		return nil, err
	}
	f, err := encode(answer)
	if err != nil {
		return nil, err
	}
	a.keep(v, key, f)
	return f, nil
}

func (a *answers) find(v view, key answerKey) (frame, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state != v.st || v.now.Sub(a.since) >= time.Millisecond {
		return nil, false
	}
	f, ok := a.frames[key]
	return f, ok
}

// keep begins anew where the answer is of another state or a later millisecond.
func (a *answers) keep(v view, key answerKey, f frame) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.frames == nil {
		a.frames = map[answerKey]frame{}
	}
	if a.state != v.st || v.now.Sub(a.since) >= time.Millisecond {
		a.state, a.since = v.st, v.now
		clear(a.frames)
	}
	a.frames[key] = f
}
