package conf

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// seedDraft is a seed while its lines are read.
type seedDraft struct {
	Seed
	// set holds the place that gave an option its value; a repeated option has many.
	set map[string]Place
}

// seeds reads the lines about masters: all monitor lines first, so that their order does not matter, as in Redis since 6.2.
// The masters that are known need none.
func (p *parser) seeds(known ...string) {
	drafts := map[string]*seedDraft{}
	for _, l := range p.lines {
		if l.words[0] != "sentinel" {
			continue
		}
		if len(l.words) < 2 {
			p.fault(l.place, "sentinel wants more words; for example: sentinel monitor mymaster 127.0.0.1 6379 2")
			continue
		}
		if strings.EqualFold(l.words[1], "monitor") {
			p.monitor(drafts, l)
		}
	}
	for _, name := range known {
		if drafts[name] == nil {
			drafts[name] = &seedDraft{Seed: Seed{Name: name, Options: raftfsm.DefaultOptions()}, set: map[string]Place{}}
		}
	}
	for _, l := range p.lines {
		if l.words[0] == "sentinel" && len(l.words) >= 2 && !strings.EqualFold(l.words[1], "monitor") {
			p.option(drafts, l)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(drafts)) {
		p.config.Seeds = append(p.config.Seeds, drafts[name].finish())
	}
	p.sharedAddresses()
}

func (p *parser) monitor(drafts map[string]*seedDraft, l line) {
	if len(l.words) != 6 {
		p.fault(l.place, "sentinel monitor: read %d words; want NAME HOST PORT QUORUM%s", len(l.words)-2, commentHint(l.words))
		return
	}
	name := l.words[2]
	if err := raftfsm.CheckName(name); err != nil {
		p.fault(l.place, "sentinel monitor: %v", err)
		return
	}
	if before, again := drafts[name]; again {
		p.fault(l.place, "sentinel monitor: master %s is monitored already at %s; each name once", name, before.Place)
		return
	}
	d := &seedDraft{Seed: Seed{Name: name, Place: l.place}, set: map[string]Place{"quorum": l.place}}
	drafts[name] = d
	port, err := strconv.ParseUint(l.words[4], 10, 16)
	if err != nil || port == 0 {
		p.fault(l.place, "sentinel monitor %s: port %q is not allowed; want %s", name, l.words[4], wantPort1)
		return
	}
	if d.Address, err = raftfsm.NewAddr(l.words[3], int(port)); err != nil {
		p.fault(l.place, "sentinel monitor %s: %v", name, err)
		return
	}
	d.Options, err = raftfsm.DefaultOptions().Set("quorum", l.words[5])
	if err != nil {
		p.fault(l.place, "sentinel monitor %s: %v", name, err)
		return
	}
	if d.Options.Quorum > 1 {
		p.markClustered(l)
	}
}

// finish is the seed with its options' names and places, in the order of the option table.
func (d *seedDraft) finish() Seed {
	for _, opt := range raftfsm.OptionTable() {
		for key, place := range d.set {
			if name, _, _ := strings.Cut(key, " "); name != opt.Name {
				continue
			}
			if n := len(d.Named); n > 0 && d.Named[n-1].Name == opt.Name {
				d.Named[n-1].Place = later(d.Named[n-1].Place, place)
				continue
			}
			d.Named = append(d.Named, Named{opt.Name, place})
		}
	}
	return d.Seed
}

func later(a, b Place) Place {
	if a.order > b.order {
		return a
	}
	return b
}

// markClustered notes a line that only a member of several nodes would have.
func (p *parser) markClustered(l line) {
	if p.clustered == nil {
		p.clustered = &l
	}
}

func (p *parser) option(drafts map[string]*seedDraft, l line) {
	name := strings.ToLower(l.words[1])
	if _, own := global(l); own {
		return
	}
	if why, ok := ownLines[name]; ok {
		if name == "known-sentinel" {
			p.markClustered(l)
		}
		if p.mastersOnly {
			return
		}
		p.warn(l.place, "sentinel %s has no meaning here and is ignored: %s", name, why)
		return
	}
	opt, ok := raftfsm.LookupOption(name)
	if !ok || opt.Name == "quorum" || opt.Name == "former-auth-pass" {
		p.fault(l.place, "unknown directive \"sentinel %s\"%s", name, p.suggest("sentinel", name, sentinelNames()))
		return
	}
	if len(l.words) < 4 || len(l.words) > 4 && !opt.Repeated {
		p.fault(l.place, "sentinel %s: read %d words; want NAME VALUE, the value being %s%s", name, len(l.words)-2, opt.Words,
			commentHint(l.words))
		return
	}
	d, ok := drafts[l.words[2]]
	if !ok {
		p.fault(l.place, "sentinel %s: no master %q is monitored; add: sentinel monitor NAME HOST PORT QUORUM", name, l.words[2])
		return
	}
	p.setOption(d, opt, l)
}

func (p *parser) setOption(d *seedDraft, opt raftfsm.Option, l line) {
	key := opt.Name
	if opt.Repeated {
		key += " " + strings.ToLower(l.words[3])
	}
	before, again := d.set[key]
	if again && before.level > l.place.level {
		return
	}
	if again && before.level == l.place.level {
		p.warn(l.place, "sentinel %s %s is given again; this one counts and %s does not", opt.Name, d.Name, before)
	}
	d.set[key] = l.place
	opts, err := d.Options.Set(opt.Name, strings.Join(l.words[3:], " "))
	if err != nil {
		p.fault(l.place, "sentinel %s %s: %v", opt.Name, d.Name, err)
		return
	}
	d.Options = opts
}

func sentinelNames() []string {
	names := append([]string{"monitor"}, nodeLines...)
	for _, o := range raftfsm.OptionTable() {
		if o.Name != "quorum" && o.Name != "former-auth-pass" {
			names = append(names, o.Name)
		}
	}
	return names
}

// sharedAddresses refuses an instance that two masters claim.
func (p *parser) sharedAddresses() {
	seeds := slices.Clone(p.config.Seeds)
	slices.SortStableFunc(seeds, func(a, b Seed) int { return cmp.Compare(a.Place.order, b.Place.order) })
	owner := map[raftfsm.Addr]Seed{}
	for _, s := range seeds {
		if before, taken := owner[s.Address]; taken && !s.Address.IsZero() {
			p.fault(s.Place, "sentinel monitor %s: %s is master %s already, at %s", s.Name, s.Address, before.Name, before.Place)
		}
		owner[s.Address] = s
	}
}
