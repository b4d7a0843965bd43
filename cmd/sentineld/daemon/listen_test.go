package daemon

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
)

// full is a listener of a process without descriptors.
type full struct{ net.Listener }

func (full) Accept() (net.Conn, error) { return nil, syscall.EMFILE }
func (full) Close() error              { return nil }

// TestListenersTellWhatFails: whoever accepts hears of it, and can wait; nothing spins, before a close or after it.
func TestListenersTellWhatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fanIn{all: []net.Listener{full{}, full{}}, conns: make(chan accepted), closed: make(chan struct{})}
		for range 5 {
			if c, err := f.Accept(); c != nil || !errors.Is(err, syscall.EMFILE) {
				t.Errorf("%v, %v", c, err)
			}
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		synctest.Wait() // and the bubble ends only once the accepting goroutines have
	})
}
