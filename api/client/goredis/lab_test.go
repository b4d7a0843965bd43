package goredis_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/raftsentinel/raftsentinel/cmd/stage"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// lab is what the example runs against; it is made when that begins.
var lab struct {
	stage  *stage.Stage
	master *stage.Redis
	nodes  *stage.Cluster
}

func TestMain(m *testing.M) {
	code := m.Run()
	if err := endLab(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func endLab() error {
	if lab.stage == nil {
		return nil
	}
	return lab.stage.Close()
}

// startLab starts a master with a replica and three nodes that watch them as mymaster, and gives the nodes' gRPC ports once
// a failover could happen. Without them the example fails.
func startLab() []string {
	if err := setUp(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return nil
	}
	return lab.nodes.GRPCAddrs()
}

func setUp() error {
	err := endLab() // of the run before, with -count
	if err != nil {
		return err
	}
	if lab.stage, err = stage.New(""); err != nil {
		return err
	}
	binary := filepath.Join(lab.stage.Dir(), "sentineld")
	// As long as it takes: with an empty cache, beside the compilation of other tests, it is minutes.
	if out, err := exec.Command("go", "build", "-o", binary, "../../../cmd/sentineld").CombinedOutput(); err != nil {
		return fmt.Errorf("build sentineld: %w\n%s", err, out)
	}
	if lab.master, err = lab.stage.Redis(stage.RedisOptions{}); err != nil {
		return err
	}
	replica, err := lab.stage.Redis(stage.RedisOptions{ReplicaOf: lab.master.Addr()})
	if err != nil {
		return err
	}
	lab.nodes, err = lab.stage.Cluster(3, stage.ClusterOptions{Binary: binary, Config: []string{
		fmt.Sprintf("sentinel monitor mymaster 127.0.0.1 %d 2", lab.master.Port()),
		"sentinel down-after-milliseconds mymaster 1000",
	}})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := errors.Join(lab.master.Start(ctx), replica.Start(ctx), lab.nodes.Start(ctx)); err != nil {
		return err
	}
	return awaitReady(ctx)
}

// awaitReady waits until the cluster says that a failover could happen.
func awaitReady(ctx context.Context) error {
	conn, err := grpc.NewClient("passthrough:///"+lab.nodes.Nodes[0].GRPCAddr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	for {
		once, cancel := context.WithTimeout(ctx, time.Second)
		r, err := sentinelv1.NewAdminServiceClient(conn).ExplainMaster(once, &sentinelv1.ExplainMasterRequest{Name: "mymaster"})
		cancel()
		if r.GetCanFailover() {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the cluster is not ready: %v, %w", r.GetObstacles(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// crash kills the master's process.
func crash() {
	if err := lab.master.Kill(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}
