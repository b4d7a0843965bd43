package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

func judgeSet(r *report, f Facts, s Set) {
	of, m := Subject{Master: s.Master.Name}, s.Master
	r.check(of, "quorum", fmt.Sprintf("quorum %d of %d voters", m.Options.Quorum, f.Voters), func(say *sayer) {
		switch {
		case m.Options.Quorum > f.Voters:
			say.that("quorum_unreachable", "the quorum is %d and there are %d voters", m.Options.Quorum, f.Voters)
		case m.Options.Quorum == f.Voters && f.Voters > 1:
			say.that("quorum_all", "the quorum is %d, which is all voters", m.Options.Quorum)
		}
	})
	r.check(of, "watched", "the master is up, and failures are acted upon", func(say *sayer) { judgeState(say, f, s) })
	r.check(of, "reached", fmt.Sprintf("all %d instances answer and take the login", len(s.Instances)), func(say *sayer) {
		for _, in := range s.Instances {
			judgeReach(say, f, m, s.down(), in)
		}
	})
	met, told := 0, 0
	for _, in := range s.Instances {
		if in.met() {
			met++
		}
		if in.met() && in.Settings != nil {
			told++
		}
	}
	r.check(of, "commands", fmt.Sprintf("every command that sentineld needs is allowed on %d of %d instances", met, len(s.Instances)), func(say *sayer) {
		say.unmade = met == 0
		for _, in := range s.Instances {
			judgeRights(say, in)
		}
	})
	r.check(of, "replicas", "it has a replica that may become the master", func(say *sayer) { judgeReplicas(say, s) })
	r.check(of, "settings", fmt.Sprintf("by the settings of %d of %d instances, none is a bad master", told, len(s.Instances)), func(say *sayer) {
		say.unmade = told == 0
		judgeSettings(say, s)
	})
	r.check(of, "tls", "no certificate of its instances ends soon", func(say *sayer) {
		say.unmade = true
		for _, in := range s.Instances {
			say.unmade = say.unmade && in.CertificateEnds.IsZero()
			judgeCertificate(say, f, in)
		}
	})
}

func judgeState(say *sayer, f Facts, s Set) {
	m := s.Master
	if m.Hold != nil {
		say.that("held", "is held: %s", m.Hold.Reason)
	}
	if m.Pause != nil {
		say.that("paused", "is paused by %s: %s", cmp.Or(m.Pause.Actor, "the cluster"), cmp.Or(m.Pause.Reason, noReason))
	}
	if s.down() {
		say.of(m.Address, "master_down", "is held down by %d of %d voters, quorum %d", s.DownVotes, f.Voters, m.Options.Quorum)
	}
	for _, c := range m.Conflicts {
		say.of(c.Addr, "address_conflict", "is listed by the master of %s and belongs to master %s", m.Name, c.Other)
	}
}

// noReason stands where nobody gave one.
const noReason = "no reason was given"

// down tells whether the master is held down by anybody.
func (s Set) down() bool { return s.DownVotes > 0 || s.Master.IsODown() }

// judgeReach tells of what nobody reaches; what others reach is said of the node that does not.
func judgeReach(say *sayer, f Facts, m *raftfsm.Master, down bool, in Instance) {
	known, _ := m.Instance(in.Addr)
	switch {
	case in.Unvisited:
		say.of(in.Addr, "instance_unvisited", "was not looked at")
	case in.Expired: // it has a finding of its own
	case in.Silent != "" && known.Maintenance != nil:
		say.of(in.Addr, "instance_silent_maintained", "does not answer: %s", in.Silent)
	case in.Silent != "" && in.Addr == m.Address && down:
		say.unmade = true // that the master is held down is told already
	case in.Silent != "":
		text := in.Silent
		if others := f.reachedBy(in.Addr); len(others) > 0 {
			text += "; it is reached from " + strings.Join(others, ", ")
		}
		code := "instance_silent"
		if in.Addr == m.Address {
			code = "master_silent"
		}
		say.of(in.Addr, code, "does not answer the asked node: %s", text)
	case in.Rejected != "":
		say.of(in.Addr, "login_rejected", "rejects the login: %s", in.Rejected)
	case in.Sentinel:
		say.of(in.Addr, "not_redis", "is a Sentinel")
	}
}

// met tells whether a visit came to see what is inside.
func (in Instance) met() bool {
	return !in.Unvisited && in.Silent == "" && in.Rejected == "" && !in.Sentinel
}

func judgeRights(say *sayer, in Instance) {
	if !in.met() {
		return
	}
	for _, c := range in.Denied {
		say.of(in.Addr, "command_denied", "does not let sentineld use %s", strings.ToUpper(c))
	}
	for _, c := range in.Missing {
		say.of(in.Addr, "command_missing", "does not know %s under its name", strings.ToUpper(c))
	}
	if in.RightsUnknown != "" {
		say.of(in.Addr, "rights_unknown", "does not tell whether sentineld may use what it needs: %s", in.RightsUnknown)
	}
}

func judgeReplicas(say *sayer, s Set) {
	replicas, barred, met := 0, 0, 0
	for _, in := range s.Instances {
		if in.Addr == s.Master.Address {
			continue
		}
		replicas++
		if in.met() {
			met++
		}
		if in.met() && in.Priority == 0 {
			barred++
		}
	}
	say.unmade = met == barred // none is known to be fit
	switch {
	case replicas == 0:
		say.that("no_replica", "has no replica")
	case barred == replicas:
		say.that("no_promotable", "all %d replicas have replica-priority 0", replicas)
	}
}

func judgeCertificate(say *sayer, f Facts, in Instance) {
	left := in.CertificateEnds.Sub(f.Now)
	switch {
	case in.Expired:
		say.of(in.Addr, "certificate_expired", "is refused for its certificate: %s", in.Silent)
	case in.CertificateEnds.IsZero():
	case left <= 0:
		say.of(in.Addr, "certificate_expired", "has a certificate that ended on %s", date(in))
	case left < certificateWarn:
		say.of(in.Addr, "certificate_expires", "has a certificate that ends on %s, in %d days", date(in), int(left.Hours()/24))
	}
}

func date(in Instance) string { return in.CertificateEnds.UTC().Format("2006-01-02 15:04 UTC") }

// judgeSettings compares each replica with the master, and looks at what would be so once it is the master.
func judgeSettings(say *sayer, s Set) {
	var master Instance
	passwords := false
	for _, in := range s.Instances {
		if in.Addr == s.Master.Address {
			master = in
		}
		passwords = passwords || in.Settings["requirepass"] != ""
	}
	for _, in := range s.Instances {
		if !in.met() {
			continue
		}
		if in.SettingsUnknown != "" {
			say.of(in.Addr, "settings_unknown", "does not tell some of its settings: %s", in.SettingsUnknown)
		}
		if v, known := in.Settings["masterauth"]; known && v == "" && passwords {
			say.of(in.Addr, "masterauth_missing", "has no masterauth, and there is a requirepass in the set")
		}
		judgeMinReplicas(say, s, in)
		if in.Addr == s.Master.Address {
			continue
		}
		if in.Settings["replica-read-only"] == "no" {
			say.of(in.Addr, "replica_writable", "has replica-read-only no")
		}
		if master.met() {
			judgePair(say, master, in)
		}
	}
}

// judgePair looks at what a replica lacks of its master.
func judgePair(say *sayer, master, in Instance) {
	if a, b := release(master.Version), release(in.Version); a != nil && b != nil {
		switch order := slices.Compare(b[:2], a[:2]); {
		case order < 0:
			say.of(in.Addr, "version_older", "is Redis %s and the master %s", in.Version, master.Version)
		case order > 0 || slices.Compare(b, a) != 0:
			say.of(in.Addr, "version_mixed", "is Redis %s and the master %s", in.Version, master.Version)
		}
	}
	had, has, known := both(master, in, "maxmemory")
	if most, limit := bytesOf(had), bytesOf(has); known && most != limit {
		code := "maxmemory_differs"
		if limit != 0 && (most == 0 || limit < most) {
			code = "maxmemory_smaller"
		}
		say.of(in.Addr, code, "has maxmemory %s and the master %s", memory(limit), memory(most))
	}
	if had, has, known = both(master, in, "maxmemory-policy"); known && had != has {
		code := "eviction_differs"
		if had == "noeviction" {
			code = "eviction_worse"
		}
		say.of(in.Addr, code, "has maxmemory-policy %s and the master %s", has, had)
	}
	judgePersistence(say, master, in)
}

func judgePersistence(say *sayer, master, in Instance) {
	hadLog, hasLog, logKnown := both(master, in, "appendonly")
	hadSave, hasSave, saveKnown := both(master, in, "save")
	if !logKnown || !saveKnown || hadLog == hasLog && (hadSave == "") == (hasSave == "") {
		return
	}
	code := "persistence_differs"
	if hasLog != "yes" && hasSave == "" {
		code = "persistence_missing"
	}
	say.of(in.Addr, code, "has appendonly %s and save %q, the master appendonly %s and save %q", hasLog, hasSave, hadLog, hadSave)
}

// judgeMinReplicas: as the master it would have all others as replicas, and one less without the old master.
func judgeMinReplicas(say *sayer, s Set, in Instance) {
	least, err := strconv.Atoi(in.Settings["min-replicas-to-write"])
	others := len(s.Instances) - 1
	switch {
	case err != nil || least == 0:
	case least > others:
		say.of(in.Addr, "min_replicas_unmet", "has min-replicas-to-write %d, and there are %d other instances", least, others)
	case least > others-1:
		say.of(in.Addr, "min_replicas_after_failover", "has min-replicas-to-write %d, and after a failover the new master has %d replicas left",
			least, others-1)
	}
}

// both are a setting of two instances, known only where both tell it.
func both(master, in Instance, name string) (had, has string, known bool) {
	had, ok := master.Settings[name]
	has, too := in.Settings[name]
	return had, has, ok && too
}

func bytesOf(v string) int64 {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func memory(n int64) string {
	if n == 0 {
		return "0 (no limit)"
	}
	return size(n)
}

// release reads a version as its three numbers; nil where it is none.
func release(v string) []int {
	words := strings.SplitN(v, ".", 3)
	if len(words) != 3 {
		return nil
	}
	out := make([]int, 3)
	for i, w := range words {
		end := strings.IndexFunc(w, func(r rune) bool { return r < '0' || r > '9' })
		if end >= 0 {
			w = w[:end]
		}
		n, err := strconv.Atoi(w)
		if err != nil {
			return nil
		}
		out[i] = n
	}
	return out
}
