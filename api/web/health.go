package web

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/raftsentinel/raftsentinel/api"
)

// Check is a part of the node that shows that it lives.
type Check struct {
	Name string
	// Ask tells what is wrong. It may hang where the part does.
	Ask func() error
}

// check asks a part at most once at a time, so that one which hangs costs one goroutine however often it is asked.
type check struct {
	Check
	mu      sync.Mutex
	pending *pending
}

type pending struct {
	done chan struct{}
	err  error
}

// run asks, or waits for who has asked.
func (c *check) run() error {
	c.mu.Lock()
	p := c.pending
	if p == nil {
		p = &pending{done: make(chan struct{})}
		c.pending = p
		go func() {
			p.err = c.Ask()
			c.mu.Lock()
			c.pending = nil
			c.mu.Unlock()
			close(p.done)
		}()
	}
	c.mu.Unlock()
	limit := time.NewTimer(checkLimit)
	defer limit.Stop()
	select {
	case <-p.done:
		return p.err
	case <-limit.C:
		return fmt.Errorf("no answer within %v", checkLimit)
	}
}

// finding is what a check found; nil err: nothing wrong.
type finding struct {
	name string
	err  error
}

// askNode hangs where the node's own locks do.
func (s *Server) askNode() error {
	s.o.Node.Status()
	_, _, _ = s.o.Node.Local()
	return nil
}

// lives asks every part.
func (s *Server) lives() []finding {
	out := make([]finding, 0, len(s.live)+2)
	for _, c := range s.live {
		out = append(out, finding{c.Name, c.run()})
	}
	return out
}

// Alive tells which parts show no life; nil where all do. It takes a second at most for each.
func (s *Server) Alive() error {
	var errs []error
	for _, f := range s.lives() {
		if f.err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.name, f.err))
		}
	}
	return errors.Join(errs...)
}

// livez tells whether the process does its work. It says nothing of the cluster: a restart would not help that.
func (s *Server) livez(w http.ResponseWriter, r *http.Request) { tell(w, r, s.lives()) }

// readyz tells whether this node can serve as a member: it lives, its state may be told and is not far behind, it hears a leader,
// and it votes unless it is an observer.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	found := s.lives()
	if found[0].err == nil { // else asking the node would hang
		_, _, err := s.o.Node.Local()
		status := s.o.Node.Status()
		found = append(found, finding{"state", err}, finding{"leader", HearsLeader(status)}, finding{"member", takesPart(status)})
	}
	tell(w, r, found)
}

// HearsLeader tells why a node is cut off; nil where it leads or hears who does.
func HearsLeader(status api.NodeStatus) error {
	switch {
	case status.Role == api.RoleLeader:
		return nil
	case status.Waiting != "":
		return fmt.Errorf("no cluster yet: %s", status.Waiting)
	case status.LastContact < 0:
		return errors.New("no leader heard since the start")
	case status.LeaderID == "", status.LastContact > leaderSilence:
		return fmt.Errorf("no leader heard for %v", status.LastContact.Round(100*time.Millisecond))
	}
	return nil
}

// mostBehind is how many committed entries a node that takes part may have yet to apply.
const mostBehind = 64

func takesPart(status api.NodeStatus) error {
	switch {
	case status.Role == "joining":
		return errors.New("this node does not vote yet")
	case status.CommitIndex > status.AppliedIndex+mostBehind:
		return fmt.Errorf("this node has yet to apply %d entries", status.CommitIndex-status.AppliedIndex)
	}
	return nil
}

// tell answers ok, or what is wrong; with ?verbose every finding.
func tell(w http.ResponseWriter, r *http.Request, found []finding) {
	_, verbose := r.URL.Query()["verbose"]
	code, text := http.StatusOK, ""
	for _, f := range found {
		if f.err != nil {
			code = http.StatusServiceUnavailable
			text += fmt.Sprintf("[-] %s: %v\n", f.name, f.err)
		} else if verbose {
			text += fmt.Sprintf("[+] %s: ok\n", f.name)
		}
	}
	if code == http.StatusOK {
		text += "ok\n"
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text))
}
