package detector

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// What Redis 7.0.15 says, shortened to what is read and some that is not.
const (
	masterText = "# Server\r\nredis_version:7.0.15\r\nos:Linux 6.1:x\r\nrun_id:0b43b6fc6a75f8343af81c87d12c6055cf652f87\r\n" +
		"uptime_in_seconds:3\r\n\r\n# Replication\r\nrole:master\r\nconnected_slaves:2\r\n" +
		"slave0:ip=127.0.0.1,port=21002,state=online,offset=42,lag=1\r\n" +
		"slave1:ip=::1,port=21003,state=wait_bgsave,offset=0,lag=0\r\nmaster_failover_state:no-failover\r\n" +
		"master_replid:173f46ddbd2e05288a9f797cb5f708f180f43f1c\r\n" +
		"master_replid2:0000000000000000000000000000000000000000\r\nmaster_repl_offset:56\r\nsecond_repl_offset:-1\r\n" +
		"\r\n# Persistence\r\nloading:0\r\nasync_loading:0\r\nrdb_bgsave_in_progress:0\r\naof_enabled:1\r\n" +
		"aof_rewrite_in_progress:0\r\naof_rewrite_scheduled:0\r\n"
	replicaText = "# Replication\r\nrole:slave\r\nmaster_host:10.0.0.1\r\nmaster_port:6379\r\nmaster_link_status:down\r\n" +
		"master_last_io_seconds_ago:-1\r\nmaster_sync_in_progress:1\r\nslave_read_repl_offset:7\r\nslave_repl_offset:7\r\n" +
		"master_link_down_since_seconds:12\r\nslave_priority:42\r\nreplica_announced:1\r\nconnected_slaves:0\r\n" +
		"master_failover_state:no-failover\r\nmaster_replid:aaaa\r\nmaster_replid2:bbbb\r\nmaster_repl_offset:9\r\n" +
		"second_repl_offset:5\r\nloading:1\r\nasync_loading:1\r\n"
)

func TestParseInfo(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       *Info
	}{
		{"master", masterText, &Info{
			Version: "7.0.15", RunID: "0b43b6fc6a75f8343af81c87d12c6055cf652f87", Role: raftfsm.RoleMaster,
			Uptime: 3 * time.Second, ReplID: "173f46ddbd2e05288a9f797cb5f708f180f43f1c", ReplID2: zeroReplID, SecondOffset: -1,
			Offset: 56, MasterLinkDown: -1, MasterLastIO: -1, FailoverState: "no-failover",
			Replicas: []ReplicaLine{
				{Addr: raftfsm.Addr{Host: "127.0.0.1", Port: 21002}, State: "online", Offset: 42, Lag: time.Second},
				{Addr: raftfsm.Addr{Host: "::1", Port: 21003}, State: "wait_bgsave"},
			},
		}},
		{"replica", replicaText, &Info{
			Role: raftfsm.RoleReplica, Loading: true, AsyncLoading: true, ReplID: "aaaa", ReplID2: "bbbb", SecondOffset: 5,
			Offset: 7, MasterHost: "10.0.0.1", MasterPort: 6379, MasterLinkDown: 12 * time.Second, MasterLastIO: -1,
			SyncInProgress: true, Priority: 42, ReplicaAnnounced: true, FailoverState: "no-failover",
		}},
		{"link up has no down time", "role:slave\r\nmaster_link_status:up\r\nmaster_last_io_seconds_ago:3\r\n", &Info{
			Role: raftfsm.RoleReplica, MasterLinkUp: true, MasterLastIO: 3 * time.Second, SecondOffset: -1, Offset: -1,
		}},
		{"a save", "role:master\r\nrdb_bgsave_in_progress:1\r\naof_rewrite_in_progress:0\r\naof_rewrite_scheduled:0\r\n", &Info{
			Role: raftfsm.RoleMaster, Saving: true, SecondOffset: -1, Offset: -1, MasterLinkDown: -1, MasterLastIO: -1,
		}},
		{"a rewrite", "role:master\r\naof_rewrite_in_progress:1\r\naof_rewrite_scheduled:0\r\n", &Info{
			Role: raftfsm.RoleMaster, Rewriting: true, SecondOffset: -1, Offset: -1, MasterLinkDown: -1, MasterLastIO: -1,
		}},
		{"a rewrite that is due", "role:master\r\naof_rewrite_in_progress:0\r\naof_rewrite_scheduled:1\r\n", &Info{
			Role: raftfsm.RoleMaster, Rewriting: true, SecondOffset: -1, Offset: -1, MasterLinkDown: -1, MasterLastIO: -1,
		}},
		{"the least", "role:master", &Info{
			Role: raftfsm.RoleMaster, SecondOffset: -1, Offset: -1, MasterLinkDown: -1, MasterLastIO: -1,
		}},
		{"bad values are missing ones", "role:master\nmaster_repl_offset:1e9\nsecond_repl_offset:-7\nuptime_in_seconds:-5\n" +
			"run_id:" + strings.Repeat("x", 300) + "\nredis_version:7\x1b[2J\nslave0:ip=a b,port=1\nslave1:port=65536,ip=h\n" +
			"slave2:ip=h,port=70000\nslavex:ip=h,port=1\nslave_priority:99999999999999999999\n", &Info{
			Role: raftfsm.RoleMaster, SecondOffset: -1, Offset: -1, MasterLinkDown: -1, MasterLastIO: -1,
		}},
	} {
		got, err := ParseInfo([]byte(c.text))
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v\n got %+v\nwant %+v", c.name, err, got, c.want)
		}
	}
}

func TestParseInfoRefuses(t *testing.T) {
	for _, text := range []string{"", "# Server\r\nredis_mode:sentinel\r\n", "role:", "role:sentinel", "Role:master", "\x00\xff"} {
		if i, err := ParseInfo([]byte(text)); err == nil {
			t.Errorf("%q gave %+v", text, i)
		}
	}
}

func TestParseInfoIsBounded(t *testing.T) {
	i, err := ParseInfo([]byte("role:master\n" + strings.Repeat("slave7:ip=h,port=1\n", 5000)))
	if err != nil || len(i.Replicas) != maxInfoReplicas {
		t.Error(len(i.Replicas), err)
	}
}

func TestKeepText(t *testing.T) {
	withoutPersistence, _, _ := strings.Cut(masterText, "\r\n# Persistence")
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{masterText, withoutPersistence},
		{"# Server\r\na:1\r\n\r\n# Persistence\r\nb:1\r\n\r\n# Replication\r\nc:1\r\n", "# Server\r\na:1\r\n\r\n# Replication\r\nc:1\r\n"},
		{strings.Repeat("x", MaxInfoText+1), ""},
		{strings.Repeat("slave0:ip=h\r\n", 1000), strings.Repeat("slave0:ip=h\r\n", MaxInfoText/13)},
		{strings.Repeat("x", MaxInfoText-1) + "\n", strings.Repeat("x", MaxInfoText-1) + "\n"},
	} {
		if got := KeepText([]byte(c.text)); got != c.want {
			t.Errorf("%.20q (%d bytes): kept %d bytes, want %d", c.text, len(c.text), len(got), len(c.want))
		}
	}
}

func FuzzParseInfo(f *testing.F) {
	for _, s := range []string{masterText, replicaText, "", "role:master", "role:slave\nslave0:ip=,port=\n:\n::\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		i, err := ParseInfo([]byte(text))
		if (i == nil) != (err != nil) {
			t.Fatalf("%+v, %v", i, err)
		}
		if i == nil {
			return
		}
		if i.Role == raftfsm.RoleUnknown || i.Offset < -1 || i.SecondOffset < -1 || i.MasterLinkDown < -1 || i.MasterLastIO < -1 ||
			i.Uptime < 0 || len(i.Replicas) > maxInfoReplicas {
			t.Errorf("%+v", i)
		}
		for _, r := range i.Replicas {
			if _, err := raftfsm.NewAddr(r.Addr.Host, int(r.Addr.Port)); err != nil || r.Offset < -1 || r.Lag < -1 {
				t.Errorf("%+v: %v", r, err)
			}
		}
	})
}
