package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// A farm's servers stand on their own ports, know each other, and do as they are told.
func TestFarm(t *testing.T) {
	const host = "127.9.0.1"
	f := &farm{}
	port, err := 11000, f.plant(host, 11000)
	for ; err != nil && port < 11100; err = f.plant(host, port) { // those ports are taken
		port += 2
		f = &farm{}
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c := redis.NewClient(&redis.Options{
		Addr: net.JoinHostPort(host, strconv.Itoa(port)), Protocol: 2, DisableIdentity: true, MaxRetries: -1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	defer func() { _ = c.Close() }()
	info, err := c.Info(ctx, "replication").Result()
	if err != nil || !strings.Contains(info, fmt.Sprintf("ip=%s,port=%d,state=online", host, port+1)) {
		t.Errorf("%s: %v", info, err)
	}
	told := func(line, want string) {
		t.Helper()
		if got, err := f.command(strings.Fields(line)); err != nil || got != want {
			t.Errorf("%s: %q, %v", line, got, err)
		}
	}
	told("PING", "+PONG")
	if got, err := f.command([]string{"COUNT"}); err != nil || got == ":0" {
		t.Errorf("counted %q, %v", got, err)
	}
	told("CRASH 0", "+OK")
	if err := c.Ping(ctx).Err(); err == nil {
		t.Error("it answers after its crash")
	}
	told("RESTART 0", "+OK")
	if err := c.Ping(ctx).Err(); err != nil {
		t.Error(err)
	}
	for _, wrong := range []string{"", "DANCE", "CRASH 2", "CRASH x"} {
		if _, err := f.command(strings.Fields(wrong)); err == nil {
			t.Errorf("%q was taken", wrong)
		}
	}
	told("CRASH 0 1", "+OK")
}
