package raftfsm_test

import (
	"bytes"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"testing"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// level2 is a log at feature level 2.
func level2(t testing.TB) *log {
	l := newLog(t)
	l.ok(raise(2))
	return l
}

// told are the events since an entry, in short.
func (l *log) told(since uint64) []string {
	var out []string
	events, _ := l.state.EventsSince(raftfsm.Cursor{Index: since, Ordinal: math.MaxUint32 - 1})
	for e := range events {
		switch {
		case e.Kind == raftfsm.EventSwitch:
			out = append(out, fmt.Sprintf("%s %s > %s", e.Kind, e.From, e.To))
		case e.Master == "":
			out = append(out, e.Kind+" "+e.Detail)
		default:
			out = append(out, e.Kind+" "+e.Instance.String())
		}
	}
	return out
}

func (l *log) expect(since uint64, want ...string) {
	l.t.Helper()
	if got := l.told(since); !slices.Equal(got, want) {
		l.t.Errorf("events\n got %q\nwant %q", got, want)
	}
}

func at(port int) raftfsm.Addr { return raftfsm.AddrOf(addr(port)) }

func TestConfigure(t *testing.T) {
	l := level2(t)
	if got := l.state.Settings(); got != (raftfsm.Settings{BrakePercent: 50}) {
		t.Fatalf("before any: %+v", got)
	}
	if v, given := l.state.Setting("announce-hostnames"); v != "no" || given {
		t.Fatalf("before any: %q %t", v, given)
	}
	for _, bad := range []*raftlogv1.Command{
		configure("no-such", "yes"), configure("announce-hostnames", ""), configure("announce-hostnames", "true"),
		configure("resolve-hostnames", "yes", "announce-hostnames", "maybe"),
	} {
		l.refused(raftfsm.InvalidArgument, bad)
	}
	if got := l.state.Settings(); got != (raftfsm.Settings{BrakePercent: 50}) {
		t.Fatalf("a refused command set something: %+v", got)
	}
	seed := func(kv ...string) *raftlogv1.Command {
		c := configure(kv...)
		c.GetConfigure().Seed = true
		return c
	}
	for _, step := range []struct {
		c      *raftlogv1.Command
		events []string
		want   raftfsm.Settings
	}{
		{configure(), nil, raftfsm.Settings{}},
		{seed("resolve-hostnames", "no"), []string{"+configure resolve-hostnames no"}, raftfsm.Settings{}},
		{seed("Resolve-Hostnames", "YES", "announce-hostnames", "Yes"), []string{"+configure announce-hostnames yes"}, raftfsm.Settings{AnnounceHostnames: true}},
		{seed("announce-hostnames", "no"), nil, raftfsm.Settings{AnnounceHostnames: true}},
		{
			configure("RESOLVE-HOSTNAMES", "Yes", "announce-hostnames", "NO"),
			[]string{"+configure announce-hostnames no", "+configure resolve-hostnames yes"},
			raftfsm.Settings{ResolveHostnames: true},
		},
		{configure("resolve-hostnames", "no", "resolve-hostnames", "yes"), nil, raftfsm.Settings{ResolveHostnames: true}},
	} {
		since := l.index
		res := l.ok(step.c)
		l.expect(since, step.events...)
		step.want.BrakePercent = 50
		if res.Changed != (step.events != nil) || l.state.Settings() != step.want {
			t.Errorf("%v: changed %t, settings %+v", step.c, res.Changed, l.state.Settings())
		}
	}
	if v, given := l.state.Setting("resolve-hostnames"); v != "yes" || !given {
		t.Errorf("%q %t", v, given)
	}
}

func TestResolveHostsIsRefused(t *testing.T) {
	l := level2(t)
	l.ok(monitor("m", 901))
	l.ok(l.facts("m", 2))
	for _, c := range []struct {
		want raftfsm.Code
		c    *raftlogv1.Command
	}{
		{raftfsm.InvalidArgument, l.resolve("m", 901, "")},
		{raftfsm.InvalidArgument, l.resolve("m", 901, "redis")},
		{raftfsm.InvalidArgument, l.resolve("m", 901, "10.1.0.1\n")},
		{raftfsm.InvalidArgument, l.resolve("m", 901, "10.1.0.1", 2, "10.1.0.2")},
		{raftfsm.InvalidArgument, &raftlogv1.Command{Op: &raftlogv1.Command_ResolveHosts{ResolveHosts: &raftlogv1.ResolveHosts{
			Master: "m", Generation: l.master("m").Generation,
			Hosts: []*raftlogv1.ResolvedHost{{Address: &raftlogv1.Address{Host: "redis", Port: 1 << 17}, Ip: "10.1.0.1"}},
		}}}},
		{raftfsm.NotFound, &raftlogv1.Command{Op: &raftlogv1.Command_ResolveHosts{ResolveHosts: &raftlogv1.ResolveHosts{Master: "x"}}}},
	} {
		l.refused(c.want, c.c)
	}
	old := l.resolve("m", 901, "10.1.0.1")
	l.ok(set("m", "down-after-milliseconds", "77"))
	l.refused(raftfsm.StaleGeneration, old)
	if in, _ := l.master("m").Instance(at(901)); in.IP != "" {
		t.Errorf("a refused command set %q", in.IP)
	}
	if res := l.ok(l.resolve("m", 909, "10.1.0.1")); res.Changed {
		t.Error("a stranger changed the set")
	}
}

// A set of which some hosts are names: what clients are told changes with what those resolve to, and nothing else does.
func TestClientsAreToldWhatNamesResolveTo(t *testing.T) {
	l := level2(t)
	l.ok(monitor("m", 901))
	l.ok(l.facts("m", 902, 3))
	l.ok(l.down("a", "m", 901, raftfsm.CauseTimeout))
	before := l.master("m")
	for _, step := range []struct {
		name          string
		c             func() *raftlogv1.Command
		master, other string // told of the master and of the replica whose host is a name
		events        []string
	}{
		{
			"of the master", func() *raftlogv1.Command { return l.resolve("m", 901, "10.1.0.1") }, "10.1.0.1:901", "redis-902.example:902",
			[]string{"+switch-master redis-901.example:901 > 10.1.0.1:901", "+slave 10.0.0.1:3", "+slave redis-902.example:902"},
		},
		{"again", func() *raftlogv1.Command { return l.resolve("m", 901, "10.1.0.1") }, "10.1.0.1:901", "redis-902.example:902", nil},
		{
			"of a replica", func() *raftlogv1.Command { return l.resolve("m", 902, "fd00::2") }, "10.1.0.1:901", "[fd00::2]:902",
			[]string{"+slave redis-902.example:902"},
		},
		{
			"the master has moved", func() *raftlogv1.Command { return l.resolve("m", 901, "10.1.0.9", 902, "fd00::2") }, "10.1.0.9:901", "[fd00::2]:902",
			[]string{"+switch-master 10.1.0.1:901 > 10.1.0.9:901", "+slave 10.0.0.1:3", "+slave redis-902.example:902"},
		},
		{
			"names are announced", func() *raftlogv1.Command { return configure("announce-hostnames", "yes") }, "redis-901.example:901", "redis-902.example:902",
			[]string{"+configure announce-hostnames yes", "+switch-master 10.1.0.9:901 > redis-901.example:901", "+slave 10.0.0.1:3", "+slave redis-902.example:902"},
		},
		{
			"resolved while names are announced", func() *raftlogv1.Command { return l.resolve("m", 901, "10.1.0.7", 902, "10.1.0.8") },
			"redis-901.example:901", "redis-902.example:902", nil,
		},
		{
			"addresses are announced", func() *raftlogv1.Command { return configure("announce-hostnames", "no") }, "10.1.0.7:901", "10.1.0.8:902",
			[]string{"+configure announce-hostnames no", "+switch-master redis-901.example:901 > 10.1.0.7:901", "+slave 10.0.0.1:3", "+slave redis-902.example:902"},
		},
		{
			"another setting", func() *raftlogv1.Command { return configure("resolve-hostnames", "yes") }, "10.1.0.7:901", "10.1.0.8:902",
			[]string{"+configure resolve-hostnames yes"},
		},
	} {
		since, revision := l.index, l.master("m").Revision
		l.ok(step.c())
		l.expect(since, step.events...)
		if got := l.state.Told(at(901)).String(); got != step.master {
			t.Errorf("%s: told %s of the master, want %s", step.name, got, step.master)
		}
		if got := l.state.Told(at(902)).String(); got != step.other {
			t.Errorf("%s: told %s of the replica, want %s", step.name, got, step.other)
		}
		heard := slices.ContainsFunc(step.events, func(e string) bool { return e[:7] == "+slave " })
		if got := l.master("m").Revision != revision; heard && !got {
			t.Errorf("%s: watchers do not hear of it", step.name)
		}
	}
	m := l.master("m")
	if m.Generation != before.Generation || m.Address != before.Address || m.Epoch != before.Epoch || len(m.Votes) != 1 {
		t.Errorf("another process: %+v, before %+v", m, before)
	}
	for _, a := range []raftfsm.Addr{at(3), at(909), {}} {
		if got := l.state.Told(a); got != a {
			t.Errorf("told %s of %s", got, a)
		}
	}
}

// A set without names hears nothing of announce-hostnames.
func TestOnlySetsWithNamesHearOfAnnouncing(t *testing.T) {
	l := level2(t)
	l.ok(monitor("m", 1))
	l.ok(monitor("n", 901))
	l.ok(monitor("o", 905))
	l.ok(l.resolve("n", 901, "10.1.0.1"))
	since := l.index
	l.ok(configure("announce-hostnames", "yes"))
	if got := slices.Collect(l.state.ChangedSince(since)); !slices.Equal(got, []string{"n"}) {
		t.Errorf("changed %v", got)
	}
}

func TestAResolvedAddressStaysThroughAFailover(t *testing.T) {
	l := level2(t)
	l.ok(monitor("m", 901))
	l.ok(l.facts("m", 902))
	l.ok(l.resolve("m", 901, "10.1.0.1", 902, "10.1.0.2"))
	epoch := l.ok(l.begin("m", 902, func(b *raftlogv1.BeginFailover) { b.Kind = raftfsm.KindForced })).Epoch
	since := l.index
	l.ok(switchTo("m", epoch, 901, 902))
	// In the state a switch has the addresses of the instances; they are told as clients know them.
	l.expect(since, "+promoted-slave redis-902.example:902", "+switch-master redis-901.example:901 > redis-902.example:902", "+slave redis-901.example:901")
	var told []string
	for e := range must(l.state.EventsSince(raftfsm.Cursor{Index: since, Ordinal: math.MaxUint32 - 1})) {
		e = e.Told()
		told = append(told, fmt.Sprint(e.Kind, " ", e.Instance, " @ ", e.MasterAddr, " ", e.From, " > ", e.To))
	}
	want := []string{
		"+promoted-slave 10.1.0.2:902 @ 10.1.0.1:901  > ", "+switch-master 10.1.0.2:902 @ 10.1.0.2:902 10.1.0.1:901 > 10.1.0.2:902",
		"+slave 10.1.0.1:901 @ 10.1.0.2:902  > ",
	}
	if !slices.Equal(told, want) {
		t.Errorf("told\n got %q\nwant %q", told, want)
	}
}

// The first address of a name: the switch leads from the name to it, however late it is told.
func TestASwitchOfTheToldAddressIsNotToldAnew(t *testing.T) {
	l := level2(t)
	l.ok(monitor("m", 901))
	since := l.index
	l.ok(l.resolve("m", 901, "10.1.0.1"))
	for e := range must(l.state.EventsSince(raftfsm.Cursor{Index: since, Ordinal: math.MaxUint32 - 1})) {
		if e = e.Told(); e.From != at(901) || e.To.String() != "10.1.0.1:901" || e.Instance != e.To {
			t.Errorf("told %+v", e)
		}
	}
}

// An event keeps what clients were told, whatever becomes of its set.
func TestAnEventIsToldAsItWas(t *testing.T) {
	l := level2(t)
	l.ok(monitor("m", 901))
	l.ok(l.facts("m", 902))
	l.ok(l.resolve("m", 901, "10.1.0.1", 902, "10.1.0.2"))
	since := l.index
	l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_Pause{Pause: &raftlogv1.Pause{Name: "m", Reason: "why"}}})
	l.ok(l.resolve("m", 901, "10.2.0.1"))
	l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_Forget{Forget: &raftlogv1.Forget{Name: "m", Address: addr(902)}}})
	l.ok(configure("announce-hostnames", "yes"))
	l.ok(&raftlogv1.Command{Op: &raftlogv1.Command_Remove{Remove: &raftlogv1.Remove{Name: "m"}}})
	var told []string
	back, err := raftfsm.ReadSnapshot(bytes.NewReader(image(t, l.state)))
	if err != nil {
		t.Fatal(err)
	}
	for e := range must(back.EventsSince(raftfsm.Cursor{Index: since, Ordinal: math.MaxUint32 - 1})) {
		if e = e.Told(); e.Master != "" {
			told = append(told, fmt.Sprint(e.Kind, " ", e.Instance, " ", e.From, " > ", e.To))
		}
	}
	want := []string{
		"+pause 10.1.0.1:901  > ",
		"+switch-master 10.2.0.1:901 10.1.0.1:901 > 10.2.0.1:901", "+slave 10.1.0.2:902  > ",
		"-slave 10.1.0.2:902  > ",
		"+switch-master redis-901.example:901 10.2.0.1:901 > redis-901.example:901",
		"-monitor redis-901.example:901  > ",
	}
	if !slices.Equal(told, want) {
		t.Errorf("told\n got %q\nwant %q", told, want)
	}
}

func TestIsIP(t *testing.T) {
	for s, want := range map[string]bool{
		"": false, "10.0.0.1": true, "255.255.255.255": true, "256.0.0.1": false, "01.2.3.4": false, "0.0.0.0": true, "1.2.3": false,
		"1.2.3.4.5": false, "1..2.3": false, "1.2.3.": false, ".1.2.3": false, "1.2.3.4x": false, "1.2.3.x": false, "00.0.0.0": false,
		"::": true, "::1": true, "1::": true, "fd00::2": true, "FD00::2": true, "1:2:3:4:5:6:7:8": true, "1:2:3:4:5:6:7": false,
		"1:2:3:4:5:6:7:8:9": false, "1:2:3:4:5:6:7::": true, "1:2:3:4:5:6:7::8": false, "1::2::3": false, ":::": false, ":1": false,
		"1:": false, "1:2:3:4:5:6:7:": false, "12345::": false, "g::": false, "::ffff:10.0.0.1": true, "::10.0.0.1:1": false,
		"1:2:3:4:5:6:10.0.0.1": true, "1:2:3:4:5:6:7:10.0.0.1": false, "10.0.0.1::": false, "fe80::1%eth0": false, "redis.example": false, "::1:": false,
		"1::10.0.0.1": true, "1::10.0.0.01": false,
	} {
		if got := raftfsm.IsIP(s); got != want {
			t.Errorf("IsIP(%q) = %t", s, got)
		}
		if a, err := netip.ParseAddr(s); (err == nil && a.Zone() == "") != want {
			t.Errorf("netip: %q: %v", s, err)
		}
	}
	for host, want := range map[string]bool{"": false, "10.0.0.1": false, "::1": false, "fe80::1%eth0": false, "redis": true, "10.0.0": true, "1.2.3.4.example": true} {
		if got := (raftfsm.Addr{Host: host, Port: 1}).IsName(); got != want {
			t.Errorf("IsName of %q is %t", host, got)
		}
	}
}
