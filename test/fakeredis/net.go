package fakeredis

import (
	"context"
	"net"
	"time"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// Net is a network of instances. Made inside a testing/synctest bubble, it lives in the bubble's time.
type Net struct{}

// NewNet makes an empty network.
func NewNet() *Net { panic("contract only") }

// Add starts an instance as an empty master at addr ("10.0.0.1:6379"); it panics where one is already, or on a bad address.
func (n *Net) Add(addr string) *Instance { panic("contract only") }

// Instance is the one at addr, or nil.
func (n *Net) Instance(addr raftfsm.Addr) *Instance { panic("contract only") }

// DialContext connects as the host "".
func (n *Net) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	panic("contract only")
}

// From gives the dial function of a named host, for [Net.Drop] between it and an instance, and for the log.
func (n *Net) From(host string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	panic("contract only")
}

// Drop discards all packets between a host ("*" = every host, the instances' own replication links excepted) and the
// instance at addr: dials hang, and connections fall silent without a reset. Heal undoes it; what was sent in between
// then arrives, as TCP sends it again.
func (n *Net) Drop(host string, addr raftfsm.Addr) { panic("contract only") }

// Heal ends a Drop of the same arguments.
func (n *Net) Heal(host string, addr raftfsm.Addr) { panic("contract only") }

// Log is every command that was executed, in order, of all instances.
func (n *Net) Log() []Command { panic("contract only") }

// Close ends every connection and goroutine, and returns after the last has ended.
func (n *Net) Close() { panic("contract only") }

// Command is one executed command.
type Command struct {
	At       time.Time
	Instance raftfsm.Addr
	// Host dialled the connection, and Client is its CLIENT SETNAME at that moment; ClientID its id.
	Host     string
	Client   string
	ClientID int64
	// Args are the words, Args[0] as sent.
	Args []string
	// Err is the text of an error reply, "" for success.
	Err string
	// InMulti: it ran inside EXEC.
	InMulti bool
}
