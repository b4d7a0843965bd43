package conf

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// TestManualIsWhole: each directive and each option of a master that means something is explained, once, and nothing else is.
func TestManualIsWhole(t *testing.T) {
	var want []string
	refused := notYet()
	for _, d := range table {
		isRefused := slices.ContainsFunc(refused, func(r directive) bool { return r.name == d.name })
		if d.ignored == "" && !d.flagOnly && !isRefused {
			want = append(want, d.name)
		}
	}
	want = append(want, "sentinel monitor")
	for _, o := range raftfsm.OptionTable() {
		if o.Name != "quorum" && o.Name != "former-auth-pass" { // a word of the monitor line, and no line of a file
			want = append(want, "sentinel "+o.Name)
		}
	}
	var got []string
	for _, c := range Manual() {
		for _, e := range c.Entries {
			got = append(got, e.Name)
			if !strings.HasSuffix(e.Text, ".") {
				t.Errorf("%s is explained by %q", e.Name, e.Text)
			}
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the manual explains\n%q; there are\n%q", got, want)
	}
}

// TestManualDefaults: what the manual calls a default is what holds without the line.
func TestManualDefaults(t *testing.T) {
	const monitor = "sentinel monitor mymaster 10.0.0.11 6379 1\n"
	for _, c := range Manual() {
		for _, e := range c.Entries {
			if !e.Default {
				continue
			}
			without, _ := mustParse(t, input(monitor))
			with, _ := mustParse(t, input(monitor+e.Name+" "+e.Value))
			if value, cluster := with.Settings[e.Name]; cluster {
				if def, _ := new(raftfsm.State).Setting(e.Name); value != def {
					t.Errorf("%s: the manual says %s; it is %s", e.Name, value, def)
				}
				with.Settings = nil
			}
			with.places, without.places = nil, nil
			for i := range with.Seeds {
				with.Seeds[i].Named, without.Seeds[i].Named = nil, nil
			}
			if !reflect.DeepEqual(with, without) {
				t.Errorf("%s %s is no default: %+v, without it %+v", e.Name, e.Value, with, without)
			}
		}
	}
}

// TestSample: the sample is a good configuration as it is, a node alone; with every directive turned on it is one of a cluster.
func TestSample(t *testing.T) {
	sample := Sample()
	for line := range strings.Lines(sample) {
		if len(line) > sampleWidth+1 {
			t.Errorf("a line of %d bytes: %s", len(line)-1, line)
		}
	}
	untouched, warnings := mustParse(t, input(sample))
	alone, _ := mustParse(t, input("dir /var/lib/sentineld"))
	untouched.places, alone.places = nil, nil
	if !reflect.DeepEqual(untouched, alone) || len(warnings) > 0 {
		t.Errorf("untouched: %+v, %v; with dir alone %+v", untouched, warnings, alone)
	}
	on := regexp.MustCompile(`(?m)^#([a-z])`).ReplaceAllString(sample, "$1")
	// loopback alone is bound by default, and the peers of the sample are on other machines
	on = strings.Replace(on, "\nbind 127.0.0.1 -::1\n", "\nbind * -::*\n", 1)
	c, warnings := mustParse(t, input(on))
	if len(warnings) > 0 || len(c.Peers) != 3 || c.BootstrapExpect != 3 || len(c.Seeds) != 1 || len(c.Webhooks) != 1 {
		t.Errorf("with all turned on: %+v, %v", c, warnings)
	}
}
