package scale

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/raftsentinel/raftsentinel/cmd/stage"
)

// setsPerFarm keeps a farm below 15,000 descriptors: two servers a set, each with a listener and, of redis-sentinel, two
// connections of three nodes.
const setsPerFarm = 1000

// firstPort of a farm's servers, below the ports of outgoing connections.
const firstPort = 10000

// farm is one process with many simulated servers.
type farm struct {
	*stage.Process
	host string
	sets int
	conn net.Conn
	in   *bufio.Reader
}

// hostOf is the k-th address of a stage by one of its ports. No two stages have the same hundred of ports.
func hostOf(port, k int) string { return fmt.Sprintf("127.%d.%d.1", port/100%250, k) }

// newFarm starts the k-th farm.
func newFarm(ctx context.Context, s *stage.Stage, program string, k, sets int) (*farm, error) {
	port, err := s.Port()
	if err != nil {
		return nil, err
	}
	f := &farm{host: hostOf(port, k), sets: sets}
	control := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	f.Process, err = s.Program(stage.ProgramOptions{
		Name: fmt.Sprintf("farm-%d", k), Path: program,
		Args: []string{"-host", f.host, "-port", strconv.Itoa(firstPort), "-sets", strconv.Itoa(sets), "-control", control},
	})
	if err != nil {
		return nil, err
	}
	if err := f.Launch(); err != nil {
		return nil, err
	}
	alive, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-f.Ended():
			cancel()
		case <-alive.Done():
		}
	}()
	err = until(alive, func(ctx context.Context) error {
		f.conn, err = new(net.Dialer).DialContext(ctx, "tcp", control)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", f.Name(), err, f.Log(1000))
	}
	f.in = bufio.NewReader(f.conn)
	_, err = f.tell("PING")
	return f, err
}

// tell gives a command and takes its answer.
func (f *farm) tell(words ...string) (string, error) {
	if _, err := fmt.Fprintf(f.conn, "%s\r\n", strings.Join(words, " ")); err != nil {
		return "", err
	}
	line, err := f.in.ReadString('\n')
	line = strings.TrimRight(line, "\r\n")
	if err == nil && strings.HasPrefix(line, "-") {
		err = fmt.Errorf("farm: %s", line[1:])
	}
	return line, err
}

// count is how many commands all its servers have executed.
func (f *farm) count() (int64, error) {
	line, err := f.tell("COUNT")
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimPrefix(line, ":"), 10, 64)
}
