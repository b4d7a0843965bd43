package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/raftsentinel/raftsentinel/test/lab"
)

// clientRows are what clients of the Sentinel protocol see of a crash.
func clientRows() []row {
	return []row{
		{
			name: "event", what: "crash (SIGKILL) + down-after", until: "every node's subscriber has +switch-master", median: 25 * time.Millisecond,
			timing: "default", sentinel: true, round: event,
		},
		{
			name: "outage", what: "crash (SIGKILL): last acknowledged write of a go-redis FailoverClient", until: "its next one, down-after included",
			median: 1150 * time.Millisecond, timing: "default", sentinel: true, round: outage,
		},
	}
}

// event kills the master and waits for the switch on a subscription to each node.
func event(ctx context.Context, l *lab.Set) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, lab.Limit)
	defer cancel()
	nodes := l.Addrs()
	heard, errs := make([]time.Time, len(nodes)), make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, node := range nodes {
		conn, in, err := subscribe(ctx, node, "+switch-master")
		if err != nil {
			return 0, err
		}
		defer func() { _ = conn.Close() }()
		wg.Go(func() { errs[i] = untilLine(in, lab.MasterName+" "); heard[i] = time.Now() })
	}
	begun := time.Now()
	if err := l.Master.Kill(); err != nil {
		return 0, err
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return 0, err
	}
	last := begun
	for _, at := range heard {
		if at.After(last) {
			last = at
		}
	}
	return last.Sub(begun) - lab.DownAfter, nil
}

// subscribe gives a connection whose subscription is confirmed.
func subscribe(ctx context.Context, node, channel string) (net.Conn, *bufio.Reader, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", node)
	if err != nil {
		return nil, nil, err
	}
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, nil, err
	}
	// Whole messages are short; 10,000 subscribers are not to need large buffers here.
	in := bufio.NewReaderSize(conn, 512)
	if _, err := fmt.Fprintf(conn, "SUBSCRIBE %s\r\n", channel); err != nil {
		return nil, nil, err
	}
	return conn, in, untilLine(in, ":1")
}

// untilLine reads up to a line that begins so.
func untilLine(in *bufio.Reader, begin string) error {
	for {
		line, err := in.ReadString('\n')
		if err != nil || strings.HasPrefix(line, begin) {
			return err
		}
	}
}

// outage writes by a FailoverClient every millisecond while the master is killed.
func outage(ctx context.Context, l *lab.Set) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, lab.Limit)
	defer cancel()
	client := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: lab.MasterName, SentinelAddrs: l.Addrs()})
	defer func() { _ = client.Close() }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	last, killed := time.Time{}, false
	for n := 0; ; n++ {
		err := client.Set(ctx, "outage", n, 0).Err()
		now := time.Now()
		switch {
		case ctx.Err() != nil:
			return 0, fmt.Errorf("no write was acknowledged again: %w", err)
		case err != nil && !killed:
			return 0, err
		case err == nil && killed && now.Sub(last) > lab.DownAfter/2:
			return now.Sub(last), nil
		case err == nil:
			last = now
		}
		if n == 200 {
			if err := l.Master.Kill(); err != nil {
				return 0, err
			}
			killed = true
		}
		<-tick.C
	}
}
