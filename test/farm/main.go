// Command farm is many simulated Redis servers in one process, for scale: sets of a master and a replica, each server on a
// port of its own. It is told what to do over a control port, one line a command and one line an answer:
//
//	PING             +PONG
//	CRASH N ...      the servers N end at once: connections are reset, their ports refuse
//	RESTART N ...    they begin anew
//	COUNT            :COMMANDS that all servers have executed
//
// Server 2k is the master of set k at first, and 2k+1 its replica.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/raftsentinel/raftsentinel/test/fakeredis"
)

func main() {
	// Real servers are on other machines, and one thread each: what these cost is to disturb who is measured as little as may be.
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(400)
	fmt.Fprintln(os.Stderr, "farm:", run(os.Args[1:]))
	os.Exit(1)
}

var errWhich = errors.New("no such server")

// run serves until something fails; the farm is ended by a signal.
func run(args []string) error {
	f := flag.NewFlagSet("farm", flag.ContinueOnError)
	host := f.String("host", "127.1.0.1", "address of the servers")
	port := f.Int("port", 10000, "port of the first server; the others follow")
	sets := f.Int("sets", 1, "how many masters with a replica each")
	control := f.String("control", "", "HOST:PORT for commands")
	if err := f.Parse(args); err != nil {
		return err
	}
	var farm farm
	for k := range *sets {
		if err := farm.plant(*host, *port+2*k); err != nil {
			return err
		}
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", *control)
	if err != nil {
		return err
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go farm.obey(conn)
	}
}

// farm is the servers in the order of their ports.
type farm struct {
	servers []*fakeredis.Instance
	count   atomic.Int64
}

// plant makes a set. Each has a network of its own, so that none waits for another's lock.
func (f *farm) plant(host string, port int) error {
	addr := net.JoinHostPort(host, strconv.Itoa(port))
	n := fakeredis.NewNetNamed(addr)
	n.LogOnly(func([]string) bool { f.count.Add(1); return false })
	master := n.Add(addr)
	replica := n.Add(net.JoinHostPort(host, strconv.Itoa(port+1)))
	replica.Replicate(master.Addr())
	f.servers = append(f.servers, master, replica)
	return errors.Join(master.ListenHere(), replica.ListenHere())
}

func (f *farm) obey(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		answer, err := f.command(strings.Fields(line))
		if err != nil {
			answer = "-ERR " + err.Error()
		}
		if _, err := io.WriteString(conn, answer+"\r\n"); err != nil {
			return
		}
	}
}

func (f *farm) command(words []string) (string, error) {
	if len(words) == 0 {
		return "", errors.New("no command")
	}
	deeds := map[string]func(*fakeredis.Instance){
		"CRASH":   (*fakeredis.Instance).Crash,
		"RESTART": func(i *fakeredis.Instance) { i.Restart(false) },
	}
	switch deed, known := deeds[words[0]]; {
	case words[0] == "PING":
		return "+PONG", nil
	case words[0] == "COUNT":
		return ":" + strconv.FormatInt(f.count.Load(), 10), nil
	case !known:
		return "", fmt.Errorf("no command %s", words[0])
	default:
		return "+OK", f.each(words[1:], deed)
	}
}

// each does the same to many servers side by side.
func (f *farm) each(words []string, deed func(*fakeredis.Instance)) error {
	var wg sync.WaitGroup
	for _, w := range words {
		n, err := strconv.Atoi(w)
		if err != nil || n < 0 || n >= len(f.servers) {
			return fmt.Errorf("%w: %s of %d", errWhich, w, len(f.servers))
		}
		wg.Go(func() { deed(f.servers[n]) })
	}
	wg.Wait()
	return nil
}
