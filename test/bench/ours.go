package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/raftsentinel/raftsentinel/cmd/stage"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/test/lab"
)

// stallFile in a node's directory makes its log store hang while it is there; failpoints only.
const stallFile = "stall"

// writes makes every change another value.
var writes atomic.Int64

func newOurs(s *stage.Stage, binary, timing string) (*lab.Sentineld, error) {
	o, err := lab.NewSentineld(s, binary, "raft-timing "+timing)
	if err != nil {
		return nil, err
	}
	for _, n := range o.Cluster.Nodes {
		n.SetEnv("SENTINELD_STALL_FILE=" + filepath.Join(n.Dir(), stallFile))
	}
	return o, nil
}

// write makes one change that is new, through one node.
func write(ctx context.Context, o *lab.Sentineld, node int) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	timeout := 100000 + writes.Add(1)
	_, err := o.Nodes[node].Admin.UpdateMaster(ctx, &sentinelv1.UpdateMasterRequest{
		Name: lab.MasterName, Options: &sentinelv1.MasterOptions{FailoverTimeoutMs: &timeout},
	})
	return err
}

// steady counts the elections that a cluster at rest goes through beside two busy threads.
func steady(ctx context.Context, binary string, d time.Duration) (told string, err error) {
	s, err := stage.New("")
	if err != nil {
		return "", err
	}
	defer func() { _ = s.Close() }()
	o, err := newOurs(s, binary, "default")
	if err != nil {
		return "", err
	}
	l, err := lab.NewSet(ctx, s, o)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if err := l.Settle(ctx); err != nil {
		return "", err
	}
	before, err := term(ctx, o)
	if err != nil {
		return "", err
	}
	busy, stop := context.WithTimeout(ctx, d)
	defer stop()
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for busy.Err() == nil {
			}
		})
	}
	wg.Wait()
	after, err := term(ctx, o)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("Elections in %v at rest beside two busy threads, default timing: %d.", d, after-before), ctx.Err()
}

func term(ctx context.Context, o *lab.Sentineld) (uint64, error) {
	s, err := o.Nodes[0].Cluster.GetStatus(ctx, &sentinelv1.GetStatusRequest{})
	return s.GetTerm(), err
}
