package detector

import (
	"testing"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

func TestLineage(t *testing.T) {
	plain := Lineage{ReplID: "a", ReplID2: zeroReplID, SecondOffset: -1, Offset: 100}
	promoted := Lineage{ReplID: "b", ReplID2: "a", SecondOffset: 91, Offset: 150}
	twice := Lineage{ReplID: "c", ReplID2: "b", SecondOffset: 151, Offset: 150}
	foreign := Lineage{ReplID: "x", ReplID2: zeroReplID, SecondOffset: -1, Offset: 1000}
	fresh := Lineage{ReplID: "y", ReplID2: zeroReplID, SecondOffset: -1}
	unknown := Lineage{SecondOffset: -1, Offset: -1}
	at := func(l Lineage, offset int64) Lineage { l.Offset = offset; return l }
	for _, c := range []struct {
		name      string
		got, want bool
	}{
		{"same id", plain.SameHistory(at(plain, 5)), true},
		{"promoted is another history", plain.SameHistory(promoted), false},
		{"unknown is no history", unknown.SameHistory(unknown), false},
		{"no second id is none in common", plain.Related(foreign), false},
		{"promoted from", promoted.PromotedFrom("a"), true},
		{"promoted from itself", plain.PromotedFrom("a"), false},
		{"promoted twice", twice.PromotedFrom("a"), false},
		{"promoted from nothing", foreign.PromotedFrom(zeroReplID), false},
		{"promoted from unknown", promoted.PromotedFrom(""), false},
		{"continues its own", plain.Continues("a"), true},
		{"continues the former", promoted.Continues("a"), true},
		{"continues a later one", plain.Continues("b"), false},
		{"continues none", plain.Continues(zeroReplID), false},
		{"related forwards", plain.Related(promoted), true},
		{"related backwards", promoted.Related(plain), true},
		{"siblings", promoted.Related(Lineage{ReplID: "d", ReplID2: "a", SecondOffset: 80}), true},
		{"strangers", promoted.Related(foreign), false},
		{"behind resumes", at(plain, 50).Resumes(plain), true},
		{"level resumes", plain.Resumes(plain), true},
		{"ahead does not", at(plain, 101).Resumes(plain), false},
		{"last shared byte", at(plain, 90).Resumes(promoted), true},
		{"one byte more", at(plain, 91).Resumes(promoted), false},
		{"two histories back", at(plain, 10).Resumes(twice), false},
		{"foreign", fresh.Resumes(foreign), false},
		{"unknown offset", at(plain, -1).Resumes(plain), false},
		{"has all", promoted.HasAllOf(at(plain, 90)), true},
		{"lacks a byte", promoted.HasAllOf(plain), false},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v", c.name, c.got)
		}
	}
}

func TestLostBytes(t *testing.T) {
	promoted := Lineage{ReplID: "b", ReplID2: "a", SecondOffset: 91, Offset: 150}
	for _, c := range []struct {
		name string
		old  Lineage
		want int64
		ok   bool
	}{
		{"some", Lineage{ReplID: "a", Offset: 16590}, 16500, true},
		{"none", Lineage{ReplID: "a", Offset: 90}, 0, true},
		{"back from an older dump", Lineage{ReplID: "a", Offset: 89}, 0, false},
		{"another history", Lineage{ReplID: "z", Offset: 20}, 0, false},
		{"unknown offset", Lineage{ReplID: "a", Offset: -1}, 0, false},
		{"the promoted one itself", promoted, 0, false},
	} {
		if got, ok := LostBytes(c.old, promoted); got != c.want || ok != c.ok {
			t.Errorf("%s: %d, %v", c.name, got, ok)
		}
	}
}

func TestPromotable(t *testing.T) {
	synced := Info{Role: raftfsm.RoleReplica, ReplID: "a", ReplID2: zeroReplID, Offset: 500, MasterLinkUp: true}
	with := func(f func(*Info)) Info { i := synced; f(&i); return i }
	down := with(func(i *Info) { i.MasterLinkUp, i.MasterLinkDown = false, 1 })
	for _, c := range []struct {
		name     string
		info     Info
		syncedID string
		reached  int64
		want     bool
		inSync   bool
	}{
		{"in sync", synced, "", -1, true, true},
		{"in sync, nothing written yet", with(func(i *Info) { i.Offset = 0 }), "", 0, true, true},
		{"a master", with(func(i *Info) { i.Role = raftfsm.RoleMaster }), "a", 500, false, false},
		{"loading", with(func(i *Info) { i.Loading = true }), "a", 500, false, false},
		{"loading beside", with(func(i *Info) { i.AsyncLoading = true }), "a", 500, false, false},
		{"being copied to", with(func(i *Info) { i.MasterLinkUp, i.SyncInProgress = false, true }), "a", 500, false, false},
		{"no id", with(func(i *Info) { i.ReplID = "" }), "", 500, false, false},
		{"master died, was in sync", down, "a", 600, true, false},
		{"was in sync before it was promoted once", with(func(i *Info) { i.MasterLinkUp, i.ReplID, i.ReplID2 = false, "b", "a" }), "a", 600, true, false},
		{"master died, never seen in sync", down, "", 600, false, false},
		{"data of another set", down, "z", 600, false, false},
		{"first copy never came", with(func(i *Info) {
			i.ReplID, i.Offset, i.MasterLinkUp, i.MasterLinkDown = "own", 0, false, -1
		}), "", 600, false, false},
		{"copy broke off and left it empty", with(func(i *Info) { i.Offset, i.MasterLinkUp, i.MasterLinkDown = 1, false, 1 }), "a", 600, false, false},
		{"the same, how far the set came is unknown", with(func(i *Info) { i.Offset, i.MasterLinkUp, i.MasterLinkDown = 1, false, 1 }), "a", -1, false, false},
		{"master died before the first write", with(func(i *Info) { i.Offset, i.MasterLinkUp, i.MasterLinkDown = 0, false, 1 }), "a", 0, true, false},
	} {
		if got := c.info.Promotable(c.syncedID, c.reached); got != c.want {
			t.Errorf("%s: promotable %v", c.name, got)
		}
		if got := c.info.InSync(); got != c.inSync {
			t.Errorf("%s: in sync %v", c.name, got)
		}
	}
}

func TestForgot(t *testing.T) {
	last := Lineage{ReplID: "a", Offset: 100}
	for _, c := range []struct {
		name string
		now  Info
		want bool
	}{
		{"the same process", Info{RunID: "r1", ReplID: "x"}, false},
		{"no run id", Info{ReplID: "x"}, false},
		{"restarted from its dump", Info{RunID: "r2", ReplID: "b", ReplID2: "a", Offset: 100}, false},
		{"restarted from an older dump", Info{RunID: "r2", ReplID: "b", ReplID2: "a", Offset: 40}, true},
		{"restarted empty", Info{RunID: "r2", ReplID: "x", ReplID2: zeroReplID}, true},
		{"still loading", Info{RunID: "r2", ReplID: "x", Loading: true}, false},
	} {
		if got := c.now.Forgot("r1", last); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
