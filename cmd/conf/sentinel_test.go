package conf

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// TestFilesOfSentinels: a file that a Sentinel has rewritten becomes a cluster's by adding what the faults say, and each
// line without a meaning is explained once.
func TestFilesOfSentinels(t *testing.T) {
	const cluster = "cluster-peers localhost:1 localhost:2 localhost:3\nbootstrap-expect 3\n"
	for _, tt := range []struct {
		file     string
		faults   []string // parts of the faults of the file as it is
		add      string
		warnings int // on lines without a meaning
		at       string
		down     time.Duration
		check    func(o raftfsm.Options, c *Config) bool
	}{
		{
			"rewritten.conf",
			[]string{"cluster-peers HOST HOST HOST", "a.conf:8: dir /tmp"},
			cluster + "dir /var/lib/sentineld\n", 8,
			"127.0.0.1:6379", 5 * time.Second,
			func(o raftfsm.Options, c *Config) bool {
				return o.AuthPass.Reveal() == "sesame" && o.RenameCommand["config"] == "GUESSME" && c.Settings == nil
			},
		},
		{
			// Redis 7.0 with all its options, after a failover.
			"failed-over.conf",
			[]string{"a.conf:20: this line means"},
			cluster + "cluster-secret-file s\n", 21,
			"10.0.0.13:6379", time.Second,
			func(o raftfsm.Options, c *Config) bool {
				return o.AuthUser == "default" && o.AuthPass.Reveal() == "sesame" && o.MasterRebootDownAfter == 5*time.Second &&
					o.NotificationScript == "/usr/local/bin/notify.sh" && o.ClientReconfigScript == o.NotificationScript &&
					o.RenameCommand["slowlog"] == "SLOWLOG2" && o.ParallelSyncs == 1 && c.ScriptsReconfig &&
					c.Settings["resolve-hostnames"] == "yes" && c.Settings["announce-hostnames"] == "no" && c.AnnounceIP == "10.0.0.1"
			},
		},
		{
			"valkey.conf",
			[]string{"a.conf:12: this line means"},
			cluster, 14, "redis-1.example.org:6379", 5 * time.Second,
			func(o raftfsm.Options, c *Config) bool {
				return o.MasterRebootDownAfter == 3*time.Second && o.RenameCommand["config"] == "GUESSME" && !c.ScriptsReconfig &&
					c.Settings["announce-hostnames"] == "yes"
			},
		},
	} {
		text, err := os.ReadFile("testdata/" + tt.file)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = Parse(input(string(text)))
		var faults Faults
		if !errors.As(err, &faults) || len(faults) != len(tt.faults) {
			t.Fatalf("%s as it is: %v", tt.file, err)
		}
		for i, part := range tt.faults {
			if !strings.Contains(faults[i].Error(), part) {
				t.Errorf("%s as it is: %v, want %q", tt.file, faults[i], part)
			}
		}
		c, warnings := mustParse(t, input(string(text)+tt.add))
		meaningless := 0
		for _, w := range warnings {
			if strings.Contains(w.Text, "has no meaning here and is ignored: ") {
				meaningless++
			}
		}
		if meaningless != tt.warnings {
			t.Errorf("%s: %d lines have no meaning, want %d: %v", tt.file, meaningless, tt.warnings, warnings)
		}
		if len(c.Seeds) != 1 || c.Seeds[0].Name != "mymaster" || c.Seeds[0].Address.String() != tt.at ||
			c.Seeds[0].Options.Quorum != 2 || c.Seeds[0].Options.DownAfter != tt.down || !tt.check(c.Seeds[0].Options, c) {
			t.Errorf("%s: seeds %+v of %+v", tt.file, c.Seeds, c)
		}
		if strings.Contains(fmt.Sprintf("%+v %#v %v", c, c, warnings), "sesame") {
			t.Errorf("%s: the password shows", tt.file)
		}
	}
}

// TestWanted: what a file says of masters and settings, read without regard to the node that it was written for.
func TestWanted(t *testing.T) {
	named := func(s Seed) string {
		out := ""
		for _, n := range s.Named {
			out += fmt.Sprintf(" %s@%s", n.Name, n.Place)
		}
		return out
	}
	rewritten, err := os.ReadFile("testdata/rewritten.conf")
	if err != nil {
		t.Fatal(err)
	}
	w, warnings, err := ParseWanted(input(string(rewritten) + "sentinel announce-hostnames yes\nport x\nsentinel rename-command mymaster ROLE R\n"))
	if err != nil || len(warnings) > 0 || len(w.Seeds) != 1 || w.Settings["announce-hostnames"] != "yes" {
		t.Fatalf("%+v, %v, %v", w, warnings, err)
	}
	want := " quorum@a.conf:3 down-after-milliseconds@a.conf:5 auth-pass@a.conf:4 rename-command@a.conf:22"
	if got := named(w.Seeds[0]); got != want {
		t.Errorf("named%s, want%s", got, want)
	}
	w, _, err = ParseWanted(input("sentinel auth-pass b sesame"), "a", "b")
	if err != nil || len(w.Seeds) != 2 || !w.Seeds[1].Address.IsZero() || named(w.Seeds[0]) != "" ||
		named(w.Seeds[1]) != " auth-pass@a.conf:1" || w.Seeds[1].Options.AuthPass.Reveal() != "sesame" {
		t.Errorf("%+v, %v", w, err)
	}
	_, _, err = ParseWanted(input("prot 1\nsentinel quorum m 1\nsentinel auth-pass c sesame\nsentinel monitor m h 1 1"), "a")
	if err == nil || strings.Count(err.Error(), "\n") != 2 || strings.Contains(err.Error(), "sesame") {
		t.Errorf("faults: %v", err)
	}
}

// TestUnknownNamesAreListedOnce: a file with many lines that are unknown does not repeat what is known.
func TestUnknownNamesAreListedOnce(t *testing.T) {
	_, _, err := Parse(input("frobnicate 1\nquuxify 2\nprot 3\nsentinel xyzzyplugh m 1\nsentinel plughxyzzy m 2\n" +
		"sentinel monitor m 10.0.0.1 6379 1\nsentinel rename-command m \"\" b\n"))
	var faults Faults
	if !errors.As(err, &faults) || len(faults) != 6 {
		t.Fatalf("%v", err)
	}
	for i, want := range []string{
		"; known are include, sentinel", "; see above for what is known", "did you mean port?", "; known are monitor", "; see above for what is known",
		"neither the command's name nor its new name may be empty",
	} {
		if !strings.Contains(faults[i].Text, want) {
			t.Errorf("%v does not say %q", faults[i], want)
		}
	}
}
