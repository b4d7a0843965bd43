package goredis

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/raftsentinel/raftsentinel/api/client"
)

// dialTimeout is go-redis's own default.
const dialTimeout = 5 * time.Second

// The defaults of a client that knows where to go as soon as a switch is committed: go-redis waits 8 ms and more before it
// repeats a command, three times. What a switched-over master refuses is repeated sooner here, and so more often.
const (
	minRetryBackoff = time.Millisecond
	maxRetries      = 10
)

// Client is a [redis.Client] of the master of one set. All that go-redis offers works on it, and on Client.Client where a
// *redis.Client is asked for.
type Client struct {
	*redis.Client
	follower *follower
}

// New makes a client of the present master of the named set, and follows it until [Client.Close]. It waits for nothing: the
// first command waits until the cluster has told the master. A nil opt is the zero value.
//
// All of opt holds, but for what says where to: Network and Addr are not used, Dialer is given the master's address, and
// maintenance notifications, by which a server sends its clients elsewhere, are off.
//
// A command that needs a connection waits up to DialTimeout for a master that takes it, through an outage and a failover
// too, and go-redis repeats that within MaxRetries: let DialTimeout be greater than the set's down-after-milliseconds, and
// bound single commands by their contexts. DialerRetries is 1 unless it is set, because the dialer itself tries again;
// MinRetryBackoff is 1 ms and MaxRetries 10 unless they are set, so that a switchover costs no longer wait than it takes.
//
// The client keeps its master while the cluster has no leader, cannot be reached, or watches the set no more.
func New(cluster *client.Client, master string, opt *redis.Options) *Client {
	var o redis.Options
	if opt != nil {
		o = *opt
	}
	if o.DialTimeout <= 0 {
		o.DialTimeout = dialTimeout
	}
	if o.DialerRetries == 0 {
		o.DialerRetries = 1
	}
	if o.MinRetryBackoff == 0 {
		o.MinRetryBackoff = minRetryBackoff
	}
	if o.MaxRetries == 0 {
		o.MaxRetries = maxRetries
	}
	f := newFollower(cluster, master, dialer(&o), o.DialTimeout)
	o.Network, o.Addr, o.Dialer = "tcp", master, f.dial
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	c := &Client{Client: redis.NewClient(&o), follower: f}
	c.AddHook(used{})
	f.start()
	return c
}

// Close closes the connections and ends the watch. The [client.Client] stays open: it is the caller's.
func (c *Client) Close() error {
	err := c.Client.Close()
	c.follower.stop()
	return err
}

// dialer is how opt says to dial, and go-redis would.
func dialer(opt *redis.Options) func(ctx context.Context, network, addr string) (net.Conn, error) {
	if opt.Dialer != nil {
		return opt.Dialer
	}
	d := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 5 * time.Second, Count: 3}}
	if opt.TLSConfig != nil {
		return (&tls.Dialer{NetDialer: d, Config: opt.TLSConfig}).DialContext
	}
	return d.DialContext
}
