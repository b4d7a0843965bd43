package doctor

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

var now = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func at(host string) raftfsm.Addr { return raftfsm.Addr{Host: host, Port: 6379} }

func node(id string) Node {
	n := Node{
		ID: id, RaftID: id + "-1", Version: "0.4.0", MaxLevel: 4, Role: "follower", Leader: "a", Probes: true,
		Config: Config{ClusterName: "prod", RaftTiming: "default", BootstrapExpect: 3, Peers: []string{"a:1", "b:1", "c:1"}},
		Disk:   Disk{Dir: "/var/lib/sentineld", Free: 10 << 30, Size: 20 << 30, FreeInodes: 1 << 20, Inodes: 2 << 20, FsyncP50: time.Millisecond},
	}
	for _, of := range []string{"a", "b", "c"} {
		if of != id {
			n.Ports = append(n.Ports, Port{Of: of, Kind: "raft", Addr: raftfsm.Addr{Host: of, Port: 26579}})
		}
	}
	return n
}

func instance(host string, role raftfsm.Role) Instance {
	return Instance{
		Addr: at(host), Role: role, Version: "7.2.4", Priority: 100,
		Settings: map[string]string{
			"maxmemory": "1000000000", "maxmemory-policy": "noeviction", "appendonly": "yes", "save": "3600 1", "replica-read-only": "yes",
			"min-replicas-to-write": "0", "requirepass": "set", "masterauth": "set",
		},
	}
}

// well is a cluster without fault: three nodes, and a master with two replicas.
func well() Facts {
	m := &raftfsm.Master{Name: "m", Options: raftfsm.Options{Quorum: 2}, Address: at("r1")}
	s := Set{Master: m}
	for _, h := range []string{"r1", "r2", "r3"} {
		m.Instances = append(m.Instances, raftfsm.Instance{Addr: at(h)})
		role := raftfsm.RoleReplica
		if h == "r1" {
			role = raftfsm.RoleMaster
		}
		s.Instances = append(s.Instances, instance(h, role))
	}
	return Facts{Now: now, Asked: "a", Leader: "a", Level: 4, Voters: 3, Nodes: []Node{node("a"), node("b"), node("c")}, Sets: []Set{s}}
}

func TestWell(t *testing.T) {
	found := Judge(well())
	for _, f := range found {
		if f.Severity != OK || f.What == "" || f.Why != "" || f.Advice != "" {
			t.Errorf("%+v", f)
		}
	}
	// Every check is told of, for each subject: of nodes, all but the asked one's clock; of the set, all but TLS, which it has not.
	if want := 6 + 3*8 - 1 + 6; len(found) != want {
		t.Errorf("%d checks passed, want %d", len(found), want)
	}
}

// TestFindings: each fault is found, and nothing else is.
func TestFindings(t *testing.T) {
	hour := raftfsm.Pause{Actor: "eve", Reason: "disks"}
	tried := map[string]bool{}
	for _, c := range []struct {
		code    string
		subject string
		what    string // words of it
		spoil   func(f *Facts)
	}{
		{"no_leader", "cluster", "asked node hears no leader", func(f *Facts) {
			f.Leader = ""
			for i := range f.Nodes {
				f.Nodes[i].Leader = ""
			}
		}},
		{"voters_one", "cluster", "one voter", func(f *Facts) { f.Voters, f.Nodes, f.Sets = 1, nil, nil }},
		{"voters_even", "cluster", "4 voters", func(f *Facts) { f.Voters = 4 }},
		{"member_missing", "cluster", "names 4 nodes, and 3 are members", func(f *Facts) {
			for i := range f.Nodes {
				f.Nodes[i].Config.Peers = []string{"a:1", "b:1", "c:1", "d:1"}
			}
		}},
		{"versions_differ", "cluster", "0.4.0 on a, c; 0.5.0 on b", func(f *Facts) { f.Nodes[1].Version = "0.5.0" }},
		{"cluster_name_differs", "cluster", "prod on a, b; test on c", func(f *Facts) { f.Nodes[2].Config.ClusterName = "test" }},
		{"raft_timing_differs", "cluster", "lan on b", func(f *Facts) { f.Nodes[1].Config.RaftTiming = "lan" }},
		{"bootstrap_expect_differs", "cluster", "2 on b", func(f *Facts) { f.Nodes[1].Config.BootstrapExpect = 2 }},
		{"cluster_peers_differ", "cluster", "none on c", func(f *Facts) {
			f.Nodes[1].Config.Peers = []string{"c:1", "b:1", "a:1"} // the order is none
			f.Nodes[2].Config.Peers = nil
		}},
		{"level_too_low", "node b", "level 3, and the cluster is at 4", func(f *Facts) { f.Nodes[1].MaxLevel = 3 }},

		{"node_silent", "node b", "no route; no node reaches any", func(f *Facts) {
			f.Nodes[1] = Node{ID: "b", RaftID: "b-1", Version: "0.4.0", Silent: "no route"}
			f.Nodes[0].Ports[0].Closed, f.Nodes[2].Ports[1].Closed = "no route", "no route"
		}},
		{"node_silent", "node b", "does not answer the asked node: no answer", func(f *Facts) {
			f.Nodes[1] = Node{ID: "b", RaftID: "b-1", Version: "0.4.0", Silent: "no answer"}
		}},
		{"node_not_examined", "node b", "has no doctor", func(f *Facts) {
			f.Nodes[1] = Node{ID: "b", Version: "0.4.0", Unable: "its version has no doctor"}
		}},
		{"node_unregistered", "node b-1", "not introduced itself", func(f *Facts) { f.Nodes[1] = Node{ID: "b-1", Unregistered: true} }},
		{"node_removed", "node b", "was removed", func(f *Facts) { f.Nodes[1].Role, f.Nodes[1].Leader = "removed", "" }},
		{"node_no_cluster", "node b", "has promised", func(f *Facts) { f.Nodes[1].Waiting, f.Nodes[1].Leader = "nobody has promised", "" }},
		{"node_no_leader", "node b", "hears a", func(f *Facts) { f.Nodes[1].Leader = "" }},
		{"node_other_leader", "node b", "leader c", func(f *Facts) { f.Nodes[1].Leader = "c" }},
		{"node_drained", "node b", "is drained by eve: disks", func(f *Facts) { f.Nodes[1].Drain = &hour }},
		{"node_loading", "node b", "caught up", func(f *Facts) { f.Nodes[1].Loading = true }},
		{"verdicts_withheld", "node b", "12 of 12", func(f *Facts) { f.Nodes[1].Braked = "12 of 12 do not answer" }},
		{"config_fault", "node b", "x.conf:3", func(f *Facts) { f.Nodes[1].Config.Faults = []string{"x.conf:3: unknown"} }},
		{"config_warning", "node b", "x.conf:4", func(f *Facts) { f.Nodes[1].Config.Warnings = []string{"x.conf:4: given again"} }},
		{"reload_pending", "node b", "loglevel, port", func(f *Facts) { f.Nodes[1].Config.ReloadPending = []string{"loglevel", "port"} }},
		{"restart_pending", "node b", "dir", func(f *Facts) { f.Nodes[1].Config.RestartPending = []string{"dir"} }},
		{"clock_differs", "node b", "2s ahead of", func(f *Facts) { f.Nodes[1].Clock = Clock{2 * time.Second, 3 * time.Millisecond} }},
		{"clock_wrong", "node b", "1h0m0s behind", func(f *Facts) { f.Nodes[1].Clock = Clock{-time.Hour, 3 * time.Millisecond} }},
		{"port_unreachable", "node c", "raft port of node b at b:26579: refused", func(f *Facts) { f.Nodes[2].Ports[1].Closed = "refused" }},
		{"name_unresolved", "node c", "redis-7 of master m", func(f *Facts) { f.Nodes[2].Unresolved = []Name{{"redis-7", "m", "no such host"}} }},
		{"name_unresolved", "node c", "peer-7 of cluster-peers", func(f *Facts) { f.Nodes[2].Unresolved = []Name{{"peer-7", "", "no such host"}} }},
		{"misses_instance", "node c", "r2:6379 of master m is not reached from here and is from a, b: timeout", func(f *Facts) {
			f.Nodes[2].Unreached = []Unreached{{Master: "m", Addr: at("r2"), Reason: "timeout"}}
		}},
		{"misses_instance", "node c", "r0:6379 of master m and 6 others are not reached", func(f *Facts) {
			for i := range 7 {
				f.Nodes[2].Unreached = append(f.Nodes[2].Unreached, Unreached{Master: "m", Addr: at(fmt.Sprint("r", i)), Reason: "timeout"})
			}
		}},
		{"dir_none", "node b", "no dir", func(f *Facts) { f.Nodes[1].Disk = Disk{} }},
		{"dir_unknown", "node b", "gone", func(f *Facts) { f.Nodes[1].Disk = Disk{Dir: "/d", Unknown: "gone"} }},
		{"dir_memory", "node b", "in memory", func(f *Facts) { f.Nodes[1].Disk.Memory = true }},
		{"disk_low", "node b", "100.0 MiB free", func(f *Facts) { f.Nodes[1].Disk.Free = 100 << 20 }},
		{"disk_full", "node b", "1.0 MiB free", func(f *Facts) { f.Nodes[1].Disk.Free = 1 << 20 }},
		{"inodes_low", "node b", "999 inodes", func(f *Facts) { f.Nodes[1].Disk.FreeInodes = 999 }},
		{"inodes_out", "node b", "0 inodes", func(f *Facts) { f.Nodes[1].Disk.FreeInodes = 0 }},
		{"fsync_slow", "node b", "50ms", func(f *Facts) { f.Nodes[1].Disk.FsyncP50 = 50 * time.Millisecond }},
		{"fsync_too_slow", "node b", "1s", func(f *Facts) { f.Nodes[1].Disk.FsyncP50 = time.Second }},

		{"quorum_unreachable", "master m", "quorum is 4 and there are 3 voters", func(f *Facts) { f.Sets[0].Master.Options.Quorum = 4 }},
		{"quorum_all", "master m", "all voters", func(f *Facts) { f.Sets[0].Master.Options.Quorum = 3 }},
		{"held", "master m", "disks", func(f *Facts) { f.Sets[0].Master.Hold = &hour }},
		{"paused", "master m", "by eve: disks", func(f *Facts) { f.Sets[0].Master.Pause = &hour }},
		{"master_down", "master m", "r1:6379 is held down by 2 of 3 voters, quorum 2", func(f *Facts) { f.Sets[0].DownVotes = 2 }},
		{"address_conflict", "master m", "r9:6379 is listed", func(f *Facts) {
			f.Sets[0].Master.Conflicts = []raftfsm.Conflict{{Addr: at("r9"), Other: "n"}}
		}},
		{"no_replica", "master m", "no replica", func(f *Facts) {
			f.Sets[0].Master.Instances, f.Sets[0].Instances = f.Sets[0].Master.Instances[:1], f.Sets[0].Instances[:1]
		}},
		{"no_promotable", "master m", "all 2 replicas", func(f *Facts) { f.Sets[0].Instances[1].Priority, f.Sets[0].Instances[2].Priority = 0, 0 }},
		{"instance_silent", "master m", "r3:6379 does not answer the asked node: refused; it is reached from a, b, c", func(f *Facts) {
			f.Sets[0].Instances[2] = Instance{Addr: at("r3"), Silent: "refused"}
		}},
		{"instance_silent", "master m", "r3:6379 does not answer the asked node: refused", func(f *Facts) {
			f.Sets[0].Instances[2] = Instance{Addr: at("r3"), Silent: "refused"}
			for i := range f.Nodes {
				f.Nodes[i].Unreached = []Unreached{{Master: "m", Addr: at("r3"), Reason: "refused"}}
			}
		}},
		{"master_silent", "master m", "r1:6379 does not answer the asked node: refused; it is reached from a, b, c", func(f *Facts) {
			f.Sets[0].Instances[0] = Instance{Addr: at("r1"), Silent: "refused"}
		}},
		{"master_down", "master m", "r1:6379 is held down by 1 of 3", func(f *Facts) {
			f.Sets[0].DownVotes, f.Sets[0].Instances[0] = 1, Instance{Addr: at("r1"), Silent: "refused"}
		}},
		{"instance_silent_maintained", "master m", "r3:6379", func(f *Facts) {
			f.Sets[0].Instances[2] = Instance{Addr: at("r3"), Silent: "refused"}
			f.Sets[0].Master.Instances[2].Maintenance = &hour
		}},
		{"instance_unvisited", "master m", "r3:6379", func(f *Facts) { f.Sets[0].Instances[2] = Instance{Addr: at("r3"), Unvisited: true} }},
		{"login_rejected", "master m", "WRONGPASS", func(f *Facts) {
			f.Sets[0].Instances[2] = Instance{Addr: at("r3"), Rejected: "WRONGPASS"}
			f.Nodes[2].Unreached = []Unreached{{Master: "m", Addr: at("r3"), Rejected: true}}
		}},
		{"not_redis", "master m", "r3:6379 is a Sentinel", func(f *Facts) { f.Sets[0].Instances[2] = Instance{Addr: at("r3"), Sentinel: true} }},
		{"command_denied", "master m", "r2:6379 does not let sentineld use CONFIG REWRITE", func(f *Facts) {
			f.Sets[0].Instances[1].Denied = []string{"config rewrite"}
		}},
		{"command_missing", "master m", "r2:6379 does not know REPLICAOF", func(f *Facts) { f.Sets[0].Instances[1].Missing = []string{"replicaof"} }},
		{"rights_unknown", "master m", "LOADING", func(f *Facts) { f.Sets[0].Instances[1].RightsUnknown = "LOADING" }},
		{"certificate_expires", "master m", "ends on 2026-12-08 12:00 UTC, in 10 days", func(f *Facts) {
			f.Sets[0].Instances[1].CertificateEnds = now.Add(10 * 24 * time.Hour)
		}},
		{"certificate_expired", "master m", "ended on 2026-11-28 11:00 UTC", func(f *Facts) {
			f.Sets[0].Instances[1].CertificateEnds = now.Add(-time.Hour)
		}},
		{"certificate_expired", "master m", "x509", func(f *Facts) {
			f.Sets[0].Instances[2] = Instance{Addr: at("r3"), Silent: "x509: expired", Expired: true}
		}},

		{"settings_unknown", "master m", "r2:6379 does not tell", func(f *Facts) {
			f.Sets[0].Instances[1].Settings, f.Sets[0].Instances[1].SettingsUnknown = map[string]string{}, "NOPERM"
		}},
		{"maxmemory_smaller", "master m", "r2:6379 has maxmemory 953.7 MiB and the master 0 (no limit)", func(f *Facts) {
			f.Sets[0].Instances[0].Settings["maxmemory"], f.Sets[0].Instances[2].Settings["maxmemory"] = "0", "0"
		}},
		{"maxmemory_smaller", "master m", "r3:6379 has maxmemory 1000 bytes", func(f *Facts) { f.Sets[0].Instances[2].Settings["maxmemory"] = "1000" }},
		{"maxmemory_differs", "master m", "r3:6379 has maxmemory 0 (no limit)", func(f *Facts) { f.Sets[0].Instances[2].Settings["maxmemory"] = "0" }},
		{"eviction_worse", "master m", "allkeys-lru and the master noeviction", func(f *Facts) {
			f.Sets[0].Instances[2].Settings["maxmemory-policy"] = "allkeys-lru"
		}},
		{"eviction_differs", "master m", "r2:6379 has maxmemory-policy allkeys-lru and the master allkeys-lfu", func(f *Facts) {
			for i, v := range []string{"allkeys-lfu", "allkeys-lru", "allkeys-lfu"} {
				f.Sets[0].Instances[i].Settings["maxmemory-policy"] = v
			}
		}},
		{"persistence_missing", "master m", `r3:6379 has appendonly no and save ""`, func(f *Facts) {
			f.Sets[0].Instances[2].Settings["appendonly"], f.Sets[0].Instances[2].Settings["save"] = "no", ""
		}},
		{"persistence_differs", "master m", `r3:6379 has appendonly no and save "3600 1"`, func(f *Facts) {
			f.Sets[0].Instances[2].Settings["appendonly"] = "no"
		}},
		{"version_older", "master m", "r3:6379 is Redis 6.2.14 and the master 7.2.4", func(f *Facts) { f.Sets[0].Instances[2].Version = "6.2.14" }},
		{"version_mixed", "master m", "r3:6379 is Redis 8.0.0-rc1", func(f *Facts) { f.Sets[0].Instances[2].Version = "8.0.0-rc1" }},
		{"version_mixed", "master m", "r3:6379 is Redis 7.2.3", func(f *Facts) { f.Sets[0].Instances[2].Version = "7.2.3" }},
		{"replica_writable", "master m", "r3:6379 has replica-read-only no", func(f *Facts) {
			f.Sets[0].Instances[0].Settings["replica-read-only"] = "no" // of a master it says nothing
			f.Sets[0].Instances[2].Settings["replica-read-only"] = "no"
		}},
		{"min_replicas_unmet", "master m", "r1:6379 has min-replicas-to-write 3, and there are 2", func(f *Facts) {
			f.Sets[0].Instances[0].Settings["min-replicas-to-write"] = "3"
		}},
		{"min_replicas_after_failover", "master m", "r3:6379 has min-replicas-to-write 2", func(f *Facts) {
			f.Sets[0].Instances[1].Settings["min-replicas-to-write"] = "1"
			f.Sets[0].Instances[2].Settings["min-replicas-to-write"] = "2"
		}},
		{"masterauth_missing", "master m", "r1:6379 has no masterauth", func(f *Facts) { f.Sets[0].Instances[0].Settings["masterauth"] = "" }},
	} {
		tried[c.code] = true
		f := well()
		c.spoil(&f)
		var codes []string
		hit := false
		for _, x := range Judge(f) {
			if x.Severity == OK {
				continue
			}
			codes = append(codes, x.Code)
			if x.Code != c.code {
				continue
			}
			row := Catalogue[x.Code]
			hit = hit || x.Subject.String() == c.subject && strings.Contains(x.What, c.what)
			if row.Severity == 0 || x.Severity != row.Severity || x.Why != row.Why || x.Advice == "" || strings.ContainsAny(x.Advice, "{}") {
				t.Errorf("%s: %+v", c.code, x)
			}
			if !hit {
				t.Errorf("%s: of %s: %s", c.code, x.Subject, x.What)
			}
		}
		if !hit || slices.ContainsFunc(codes, func(s string) bool { return s != c.code }) {
			t.Errorf("%s, %q: found %v", c.code, c.what, codes)
		}
	}
	for code := range Catalogue {
		if !tried[code] {
			t.Errorf("%s is tried nowhere", code)
		}
	}
}

// TestUnmade: a check that had nothing to look at does not count as passed.
// Nodes that are brought back do not help one that is out, or has no cluster yet.
func TestNoLeaderIsNotTheFaultOfOneThatIsOut(t *testing.T) {
	for code, spoil := range map[string]func(*Node){
		"node_removed":    func(n *Node) { n.Role = "removed" },
		"node_no_cluster": func(n *Node) { n.Waiting = "1 of 3 is seen" },
	} {
		f := well()
		f.Leader = ""
		spoil(&f.Nodes[0])
		codes := map[string]bool{}
		for _, found := range Judge(f) {
			codes[found.Code] = true
		}
		if !codes[code] || codes["no_leader"] || codes["leader"] {
			t.Errorf("%s: %v", code, codes)
		}
	}
}

func TestUnmade(t *testing.T) {
	f := well()
	for i := range f.Sets[0].Instances {
		f.Sets[0].Instances[i] = Instance{Addr: f.Sets[0].Instances[i].Addr, Silent: "refused"}
	}
	f.Nodes[1] = Node{ID: "b", Silent: "refused"}
	for _, x := range Judge(f) {
		if x.Severity == OK && (x.Subject.Node == "b" || slices.Contains([]string{"commands", "settings", "replicas", "tls"}, x.Code)) {
			t.Errorf("%s of %s has passed: %s", x.Code, x.Subject, x.What)
		}
	}
}

// TestCatalogueIsDocumented: docs/doctor.md lists every code with its severity, and none that is not there.
func TestCatalogueIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (problem|warning) \\|").FindAllStringSubmatch(string(text), -1) {
		told[m[1]] = m[2]
	}
	words := map[Severity]string{Warning: "warning", Problem: "problem"}
	for code, row := range Catalogue {
		if told[code] != words[row.Severity] {
			t.Errorf("%s, a %s, is told as %q", code, words[row.Severity], told[code])
		}
	}
	for code := range told {
		if _, known := Catalogue[code]; !known {
			t.Errorf("%s is told and is none", code)
		}
	}
}
