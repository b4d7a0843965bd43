package goredis_test

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/raftsentinel/raftsentinel/api/client"
	"github.com/raftsentinel/raftsentinel/api/client/goredis"
)

// The master crashes between two commands, and the second one waits for the new master. This runs against real servers
// and three nodes that watch them.
func Example() {
	endpoints := startLab() // HOST:PORT of the nodes' gRPC
	cluster, err := client.Dial(endpoints)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = cluster.Close() }()

	// Longer than the set's down-after-milliseconds, so that a command outlasts a failover.
	rdb := goredis.New(cluster, "mymaster", &redis.Options{DialTimeout: 10 * time.Second})
	defer func() { _ = rdb.Close() }()

	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	fmt.Println(rdb.Set(ctx, "greeting", "hello", 0))
	crash()
	fmt.Println(rdb.Set(ctx, "greeting", "hello again", 0))
	fmt.Println(rdb.Get(ctx, "greeting"))
	// Output:
	// set greeting hello: OK
	// set greeting hello again: OK
	// get greeting: hello again
}
