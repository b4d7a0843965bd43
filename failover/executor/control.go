package executor

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"

	"github.com/raftsentinel/raftsentinel/detector"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// controlPrefix begins the name of every control connection, of whatever node and term. The whole name is
// sentineld-control:NODE:TERM:CLUSTER, where CLUSTER is how the cluster's id begins: two clusters may watch one instance, and
// the terms of the one mean nothing to the other.
const controlPrefix = "sentineld-control:"

func (d *duties) controlName(st *raftfsm.State) string {
	return controlPrefix + st.NodeName(d.e.o.Cluster.Self()) + ":" + strconv.FormatUint(d.term, 10) + ":" + clusterMark(st)
}

func clusterMark(st *raftfsm.State) string {
	id := st.Cluster().ID
	return id[:min(len(id), 8)]
}

// isOvertaken tells whether a control connection is of the same cluster and of another term.
func (d *duties) isOvertaken(st *raftfsm.State, name string) bool {
	rest, ours := strings.CutSuffix(name, ":"+clusterMark(st))
	return ours && !strings.HasSuffix(rest, ":"+strconv.FormatUint(d.term, 10))
}

// control gives a fenced connection to an instance, and what the instance said on it afterwards.
//
// Redis knows no epoch, so the connection is the fence: it stands and bears its name first, then a quorum confirms that
// this node still leads in its term, and then commands go over that very connection, which never dials again by itself. A
// node that is frozen between the confirmation and a command finds its connection killed by the next leader, whose first
// deed at an instance is to kill the control connections of other terms. A commit in this term, of an entry proposed after the
// connection stood, is a confirmation like any other: the row's own serves for the connection that was opened ahead.
func (d *duties) control(ctx context.Context, s *set, m *raftfsm.Master, a raftfsm.Addr) (Conn, *detector.Info, error) {
	if c := s.take(a); c != nil {
		if info, err := d.confirm(ctx, s, a, c); err == nil {
			return c, info, nil
		}
		_ = c.Close() // it stood for a while and may have been cut; a new one begins with the check again
	}
	c, err := d.dial(ctx, m, a)
	if err != nil {
		return nil, nil, err
	}
	info, err := d.confirm(ctx, s, a, c)
	if err != nil {
		_ = c.Close() // the error says why it is of no use
		return nil, nil, err
	}
	return c, info, nil
}

func (d *duties) dial(ctx context.Context, m *raftfsm.Master, a raftfsm.Addr) (Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.e.o.Deadline)
	defer cancel()
	c, err := d.e.o.Dial(ctx, m, a, d.controlName(d.e.o.Cluster.State()))
	if err != nil {
		return nil, fmt.Errorf("control connection to %s: %w", a, err)
	}
	return c, nil
}

// confirm makes a standing connection a fenced one, and reads who is at its end.
func (d *duties) confirm(ctx context.Context, s *set, a raftfsm.Addr, c Conn) (*detector.Info, error) {
	d.e.point(BeforeFence)
	if !s.isVouched(a, c) {
		if err := d.verify(ctx); err != nil {
			return nil, err
		}
	}
	d.e.point(AfterFence)
	ctx, cancel := context.WithTimeout(ctx, d.e.o.Deadline)
	defer cancel()
	if err := d.fence(ctx, s, a, c); err != nil {
		return nil, err
	}
	info, err := c.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("control connection to %s: %w", a, err)
	}
	s.saw(a, info)
	s.fence(a) // not before: what was seen over a connection that is dead by now may be another instance's
	return info, nil
}

func (d *duties) verify(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.e.o.Deadline)
	defer cancel()
	if err := d.e.o.Cluster.Verify(ctx, d.term); err != nil {
		return fmt.Errorf("leadership in term %d is not confirmed: %w", d.term, err)
	}
	return nil
}

// fence kills, once in a term, this cluster's control connections of other terms at an instance.
func (d *duties) fence(ctx context.Context, s *set, a raftfsm.Addr, c Conn) error {
	if s.isFenced(a) || s.isAlone(c) {
		return nil
	}
	overtaken, err := d.overtaken(ctx, a, c)
	if err != nil {
		return err
	}
	for id, name := range overtaken {
		if err := c.KillClient(ctx, id); err != nil {
			return fmt.Errorf("client %s of %s: %w", name, a, err)
		}
		d.e.o.Log.Warn("control connection of another term killed", "master", s.name, "instance", a.String(), "client", name)
	}
	return nil
}

// lookAhead looks, before anything is confirmed, whether there is any to kill. Where there is none, nothing is to be asked later over this
// connection: one of an earlier term that can still do harm stood when its leader was confirmed for the last time, and that was before this leadership began.
// To list the clients is the dearest that a promotion asks for where thousands read from the candidate. To kill waits for the
// confirmation: a node that does not know yet that it leads no more kills nobody's.
func (d *duties) lookAhead(ctx context.Context, s *set, a raftfsm.Addr, c Conn) error {
	if s.isFenced(a) {
		return nil
	}
	overtaken, err := d.overtaken(ctx, a, c)
	if err == nil && len(overtaken) == 0 {
		s.foundAlone(c)
	}
	return err
}

// overtaken lists this cluster's control connections of other terms at an instance, id to name.
func (d *duties) overtaken(ctx context.Context, a raftfsm.Addr, c Conn) (map[int64]string, error) {
	clients, err := c.ControlClients(ctx, controlPrefix)
	if err != nil {
		return nil, fmt.Errorf("list of clients of %s: %w", a, err)
	}
	st := d.e.o.Cluster.State()
	maps.DeleteFunc(clients, func(_ int64, name string) bool { return !d.isOvertaken(st, name) })
	return clients, nil
}

// reachable tells whether there is any sense in dialling an instance, by what this node last saw of it.
func (d *duties) reachable(a raftfsm.Addr) bool {
	o, ok := d.e.o.Fleet.Observe(a)
	return ok && !o.Down && !o.AuthRejected
}

// fenceAll fences the instances of a set that answer, before a row that an earlier leadership opened is resumed, and
// before any is closed. One that cannot be reached is fenced before the first command to it.
func (d *duties) fenceAll(ctx context.Context, s *set, m *raftfsm.Master) {
	var each sync.WaitGroup
	for _, in := range m.Instances {
		if s.isFenced(in.Addr) || !d.reachable(in.Addr) {
			continue
		}
		each.Go(func() {
			c, _, err := d.control(ctx, s, m, in.Addr)
			if err != nil {
				d.e.o.Log.Warn("instance not fenced", "master", s.name, "instance", in.Addr.String(), "error", err)
				return
			}
			s.keep(in.Addr, c)
		})
	}
	each.Wait()
}
