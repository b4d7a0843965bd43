package scale

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/test/lab"
)

const (
	readers     = 64
	readerConns = 4
	// readFor is for how long reads are counted, after readWarm of them.
	readWarm = time.Second
	readFor  = 5 * time.Second
	// fastest is more than a reader gets answered in a second.
	fastest = 5000
)

// reads asks one node for one master, from as many callers as keep it busy: the leader and then a follower. The slower of the
// two gives the figures.
func reads(ctx context.Context, o Options, _ bool) (out sample, err error) {
	w, err := newWorld(ctx, o, false, 1, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if err := w.monitor(ctx, w.sets); err != nil {
		return nil, err
	}
	if err := w.settle(ctx); err != nil {
		return nil, err
	}
	defer gentleCollector()()
	leader, follower, err := w.leaderAndFollower(ctx)
	if err != nil {
		return nil, err
	}
	out = sample{}
	for _, c := range []struct {
		name string
		want sentinelv1.Consistency
	}{
		{"local", sentinelv1.Consistency_CONSISTENCY_LOCAL},
		{"linearizable", sentinelv1.Consistency_CONSISTENCY_LINEARIZABLE},
	} {
		for i, n := range []int{leader, follower} {
			who := []string{"leader", "follower"}[i]
			before, err := timesOf(w.Procs()[n : n+1])
			if err != nil {
				return nil, err
			}
			profiles := w.profile(ctx, fmt.Sprintf("reads-%s-%s", c.name, who), readFor)
			rate, p99, err := w.readFrom(ctx, n, c.want)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			after, err := timesOf(w.Procs()[n : n+1])
			if err := errors.Join(err, profiles()); err != nil {
				return nil, err
			}
			o.say("%s reads of the %s: %.0f/s, p99 %.2f ms, the node uses %.0f%% of a core",
				c.name, who, rate, p99, after.busiest(before))
			if was, ok := out["reads-"+c.name]; !ok || rate < was {
				out["reads-"+c.name], out["reads-"+c.name+"-p99"] = rate, p99
			}
		}
	}
	return out, nil
}

// readFrom gives how many answers a second a node gives, and in how many milliseconds 99 of 100.
func (w *world) readFrom(ctx context.Context, node int, c sentinelv1.Consistency) (rate, p99 float64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req := &sentinelv1.GetMasterRequest{Name: w.sets[0].name, Consistency: c}
	addr := w.watcher.(*lab.Sentineld).Cluster.Nodes[node].GRPCAddr()
	var (
		wg   sync.WaitGroup
		errs [readerConns]error
		took [readerConns][]time.Duration
	)
	begin := time.Now().Add(readWarm)
	end := begin.Add(readFor)
	for i := range readerConns {
		took[i] = make([]time.Duration, 0, fastest*readers/readerConns*int(readFor.Seconds()))
		wg.Go(func() { took[i], errs[i] = read(ctx, addr, req, took[i], begin, end) })
	}
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		return 0, 0, err
	}
	all := slices.Concat(took[:]...)
	if len(all) == 0 {
		return 0, 0, fmt.Errorf("no answer within %v", readFor)
	}
	slices.Sort(all)
	return float64(len(all)) / readFor.Seconds(), millis(all[len(all)*99/100]), nil
}

// read has the readers of one connection ask again and again, and notes how long each answer took that came between begin and
// end. The first answer of each reader and its last are looked into.
func read(
	ctx context.Context, addr string, req *sentinelv1.GetMasterRequest, took []time.Duration, begin, end time.Time,
) ([]time.Duration, error) {
	request, err := proto.Marshal(req)
	if err != nil {
		return nil, err
	}
	c, err := dial(ctx, addr, sentinelv1.SentinelService_GetMaster_FullMethodName, request)
	if err != nil {
		return nil, err
	}
	if err := c.conn.SetDeadline(end.Add(limit)); err != nil {
		return nil, err
	}
	asking := readers / readerConns
	looked := make([]bool, asking)
	for i := range asking {
		if err := c.begin(&call{place: i}); err != nil {
			return nil, err
		}
	}
	for asking > 0 {
		k, ended, err := c.next()
		if err != nil {
			return nil, err
		}
		if !ended {
			continue
		}
		now := time.Now()
		if now.After(end) || !looked[k.place] {
			looked[k.place] = true
			if err := isAnswer(k.message, req.GetName()); err != nil {
				return nil, err
			}
		}
		if now.After(end) {
			asking--
			continue
		}
		if now.After(begin) {
			took = append(took, now.Sub(k.begun))
		}
		if err := c.begin(k); err != nil {
			return nil, err
		}
	}
	return took, nil
}

func isAnswer(b []byte, name string) error {
	var m sentinelv1.GetMasterResponse
	if err := proto.Unmarshal(b, &m); err != nil {
		return err
	}
	if m.GetMaster().GetName() != name || len(m.GetMaster().GetInstances()) != 2 {
		return fmt.Errorf("not the master and its replica: %v", &m)
	}
	return nil
}

// gentleCollector has this process collect its garbage a quarter as often until the function it gives is called: callers share
// the cores with the node that is measured.
func gentleCollector() (end func()) {
	was := debug.SetGCPercent(400)
	return func() { debug.SetGCPercent(was) }
}
