package instance

import (
	"slices"
	"strings"
	"testing"

	"github.com/raftsentinel/raftsentinel/cmd/stage"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// TestRights: what an access list forbids is named, by the server's own judgement, and nothing is carried out.
func TestRights(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	users := map[string]string{ // user: what it may
		"all":       "+@all",
		"sentinel":  "+multi +slaveof +replicaof +ping +exec +subscribe +config|rewrite +role +publish +info +client|setname +client|kill +script|kill",
		"norewrite": "+@all -config|rewrite",
		"noexec":    "+@all -exec",
		"nomulti":   "+@all -multi",
		"nopromote": "+@all -replicaof -client|pause",
		"noconfig":  "+@all -config",
	}
	config := []string{"maxmemory 100mb", "masterauth geheim-42"}
	for _, name := range []string{"all", "sentinel", "norewrite", "noexec", "nomulti", "nopromote", "noconfig"} {
		config = append(config, "user "+name+" on >pw ~* &* "+users[name])
	}
	master := realRedis(t, s, stage.RedisOptions{})
	replica := realRedis(t, s, stage.RedisOptions{ReplicaOf: master.Addr(), Config: config})
	for _, c := range []struct {
		user            string
		rename          map[string]string
		denied, missing string
		untold          bool
	}{
		{user: "all"},
		{user: "sentinel", denied: "client list,client pause,client unpause"},
		{user: "norewrite", denied: "config rewrite"},
		{user: "noexec", denied: "exec"},
		{user: "nomulti", denied: "multi", untold: true},
		{user: "nopromote", denied: "client pause,replicaof"},
		{user: "all", rename: map[string]string{"config": "CFG", "exec": "FINISH", "replicaof": "FOLLOW"}, missing: "exec,config rewrite"},
		{user: "all", rename: map[string]string{"replicaof": "FOLLOW", "slaveof": "FOLLOW"}, missing: "replicaof"},
	} {
		tg := target(t, replica.Addr())
		tg.User, tg.Pass, tg.Rename = c.user, raftfsm.NewSecret("pw"), c.rename
		conn := mustDial(t, &Dialer{}, tg, "sentineld-inspect")
		denied, missing, err := conn.Rights(bounded(t))
		if strings.Join(denied, ",") != c.denied || strings.Join(missing, ",") != c.missing || (err != nil) != c.untold {
			t.Errorf("%s %v: denied %v, missing %v, %v", c.user, c.rename, denied, missing, err)
		}
		if _, err := conn.Ping(bounded(t)); err == nil {
			t.Errorf("%s: the connection goes on with commands queued in it", c.user)
		}
	}
	tg := target(t, replica.Addr())
	conn := mustDial(t, &Dialer{}, tg, "")
	if i := infoOf(t, conn); i.Role != raftfsm.RoleReplica {
		t.Errorf("it was promoted: %v", i.Role)
	}
	got, unknown, err := conn.Settings(bounded(t))
	if err != nil || unknown != nil {
		t.Fatal(unknown, err)
	}
	for name, want := range map[string]string{
		"maxmemory": "104857600", "maxmemory-policy": "noeviction", "appendonly": "no", "replica-priority": "100",
		"replica-read-only": "yes", "min-replicas-to-write": "0", "requirepass": "", "masterauth": "set",
	} {
		if v, known := got[name]; v != want || !known {
			t.Errorf("%s is %q, want %q", name, v, want)
		}
	}
	if _, known := got["save"]; !known {
		t.Error("save is not told")
	}

	// Without a right to CONFIG, INFO tells some.
	tg.User, tg.Pass = "noconfig", raftfsm.NewSecret("pw")
	got, unknown, err = mustDial(t, &Dialer{}, tg, "sentineld-inspect").Settings(bounded(t))
	var names []string
	for name := range got {
		names = append(names, name)
	}
	slices.Sort(names)
	if err != nil || unknown == nil || strings.Join(names, ",") != "appendonly,maxmemory,maxmemory-policy" || got["maxmemory"] != "104857600" {
		t.Errorf("without CONFIG: %v, %v, %v", got, unknown, err)
	}
}
