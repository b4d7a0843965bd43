package raftfsm

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
)

// CheckName tells why a master cannot be called name. The rule is spelled out here, and not left to tables that change from
// one Go release to the next: it is law.
func CheckName(name string) error {
	if name == "" || len(name) > 128 || !utf8.ValidString(name) {
		return fmt.Errorf("master name %q: want 1 to 128 bytes of text", name)
	}
	for _, r := range name {
		if r <= ' ' || r >= 0x7f && r <= 0xa0 || r >= 0x2000 && r <= 0x200f || r == 0x2028 || r == 0x2029 || r == 0x3000 || r == 0xfeff {
			return fmt.Errorf("master name %q: spaces and control characters are not allowed", name)
		}
	}
	return nil
}

func (d *draft) monitor(c *raftlogv1.Monitor) verdict {
	name := c.GetName()
	if err := CheckName(name); err != nil {
		return refuse(InvalidArgument, "%v", err)
	}
	addr, err := lawfulAddr(c.GetAddress())
	if err != nil {
		return refuse(InvalidArgument, "master %s: %v", name, err)
	}
	if m, ok := d.s.Master(name); ok {
		return monitorAgain(m, addr, c)
	}
	if _, removed := d.s.Tombstone(name); removed && c.GetSeed() {
		return refuse(Removed, "master %s was removed; a configuration file does not bring it back, an explicit monitor does", name)
	}
	if owner, taken := d.s.Owner(addr); taken {
		return refuse(AddressTaken, "address %s belongs to master %s; master %s cannot have it too", addr, owner.Name, name)
	}
	opts, err := DefaultOptions().With(c.GetOptions())
	if err != nil {
		return refuse(InvalidArgument, "master %s: %v", name, err)
	}
	if opts.Quorum < 1 {
		return refuse(InvalidArgument, "master %s: the quorum must be 1 or greater", name)
	}
	if v := checkForeign(c); v.code != OK {
		return v
	}
	m := &Master{
		Name: name, Options: opts, Generation: d.index, Address: addr, Epoch: c.GetEpoch(),
		Instances: []Instance{{Addr: addr, SecondOffset: -1, Since: d.index}},
	}
	if reason := clip(c.GetPausedReason()); reason != "" {
		m.Pause = &Pause{
			Actor: d.head.GetActor(), Reason: reason, SinceMs: d.head.GetProposedAtMs(), UntilMs: c.GetPausedUntilMs(),
		}
	}
	d.track(m)
	d.s.tombstones, _, _ = d.s.tombstones.Delete([]byte(name))
	d.emitOn(m, EventMonitor, addr, Event{Detail: "quorum " + strconv.Itoa(opts.Quorum)})
	if m.Epoch > d.s.epoch {
		d.s.epoch = m.Epoch
		d.emitOn(m, EventNewEpoch, addr, Event{Epoch: m.Epoch})
	}
	// That others knew them as replicas is hearsay until the master lists them: one may have left the set long ago.
	for _, p := range c.GetReplicas() {
		a := AddrOf(p)
		if _, known := m.Instance(a); !known {
			d.discover(m, Instance{Addr: a, Unconfirmed: true}, &raftlogv1.InstanceFacts{SecondOffset: -1})
		}
	}
	d.warnQuorum(m, c.GetSeed())
	return done()
}

// checkForeign refuses what another control plane cannot have known of a master. Above its epoch there must be room to go on.
func checkForeign(c *raftlogv1.Monitor) verdict {
	if c.GetEpoch() > math.MaxInt64 {
		return refuse(InvalidArgument, "master %s: epoch %d; at most %d is allowed", c.GetName(), c.GetEpoch(), math.MaxInt64)
	}
	if n := len(c.GetReplicas()); n >= maxInstances {
		return refuse(TooMany, "master %s: %d replicas; a set has at most %d", c.GetName(), n, maxInstances-1)
	}
	for _, p := range c.GetReplicas() {
		if _, err := lawfulAddr(p); err != nil {
			return refuse(InvalidArgument, "master %s: replica: %v", c.GetName(), err)
		}
	}
	return done()
}

// monitorAgain answers Monitor for a name that exists: fine where it asks for what is there already.
func monitorAgain(m *Master, addr Addr, c *raftlogv1.Monitor) verdict {
	if c.GetSeed() {
		return done()
	}
	if _, member := m.Instance(addr); !member {
		return refuse(DuplicateName, "master %s exists at %s; %s is not of its set", m.Name, m.Address, addr)
	}
	opts, err := m.Options.With(c.GetOptions())
	if err != nil {
		return refuse(InvalidArgument, "master %s: %v", m.Name, err)
	}
	if !opts.Equal(m.Options) {
		return refuse(DuplicateName, "master %s exists with other options; change them with set", m.Name)
	}
	return done()
}

func (d *draft) remove(c *raftlogv1.Remove) verdict {
	m, ok := d.s.Master(c.GetName())
	if !ok {
		return refuse(NotFound, "no master named %q", c.GetName())
	}
	d.s.disown(m)
	d.s.dismiss(m)
	d.s.tombstones = insert(d.s.tombstones, m.Name, d.index)
	d.note(m.Name)
	d.s.archive = d.s.archive.strike(m)
	d.changed = true
	if m.Failover != nil {
		kind := EventFailoverAbort
		if m.Failover.Switched && d.s.level >= 2 {
			kind = EventFailoverEnd
		}
		d.emitOn(m, kind, m.Address, Event{Epoch: m.Failover.Epoch, Detail: "removed"})
	}
	d.emitOn(m, EventUnmonitor, m.Address, Event{})
	return done()
}

func (d *draft) set(c *raftlogv1.Set) verdict {
	m, ok := d.s.Master(c.GetName())
	if !ok {
		return refuse(NotFound, "no master named %q", c.GetName())
	}
	if want := c.GetExpectedRevision(); want != 0 && want != m.Revision {
		return refuse(StaleRevision, "master %s is at revision %d, not %d: read it again", m.Name, m.Revision, want)
	}
	opts, err := m.Options.With(c.GetOptions())
	if err != nil {
		return refuse(InvalidArgument, "master %s: %v", m.Name, err)
	}
	if opts.AuthPass != m.Options.AuthPass && opts.FormerAuthPass == m.Options.FormerAuthPass {
		opts.FormerAuthPass = m.Options.AuthPass
	}
	if opts.Equal(m.Options) {
		return done()
	}
	e := d.edit(m.Name)
	e.Options = opts
	for _, v := range c.GetOptions() {
		d.emitOn(e, EventSet, e.Address, Event{Detail: optionText(v)})
	}
	if !opts.sameDetection(m.Options) {
		d.newGeneration(e)
	}
	d.recount(e)
	d.warnQuorum(e, false)
	return done()
}

func optionText(v *raftlogv1.OptionValue) string {
	if opt, ok := LookupOption(v.GetName()); ok && opt.Secret {
		return opt.Name + " " + secretMask
	}
	return strings.ToLower(v.GetName()) + " " + v.GetValue()
}

// warnQuorum says on the record that a quorum can never be reached. Seeds come while a cluster still grows.
func (d *draft) warnQuorum(m *Master, seed bool) {
	if voters := d.s.Voters(); !seed && m.Options.Quorum > voters {
		d.emitOn(m, EventQuorumImpossible, m.Address, Event{Detail: quorumText(voters, m.Options.Quorum)})
	}
}

func quorumText(votes, quorum int) string { return fmt.Sprintf("#quorum %d/%d", votes, quorum) }

// newGeneration voids what was judged of the set so far.
func (d *draft) newGeneration(m *Master) {
	m.Generation = d.index
	m.Votes = nil
}

func (d *draft) reset(c *raftlogv1.Reset) verdict {
	n := 0
	for m := range d.s.Masters() {
		if !Glob(c.GetPattern(), m.Name) {
			continue
		}
		n++
		e := d.edit(m.Name)
		d.newGeneration(e)
		e.Instances = slices.Clone(e.Instances)
		for i := range e.Instances {
			e.Instances[i].Unconfirmed = e.Instances[i].Addr != e.Address
		}
		e.Conflicts = nil
		d.emitOn(e, EventReset, e.Address, Event{})
		d.recount(e)
	}
	return verdict{detail: strconv.Itoa(n)}
}

func (d *draft) forget(c *raftlogv1.Forget) verdict {
	m, ok := d.s.Master(c.GetName())
	if !ok {
		return refuse(NotFound, "no master named %q", c.GetName())
	}
	a := AddrOf(c.GetAddress())
	if a == m.Address {
		return refuse(BadCandidate, "%s is the master of %s; only a replica can be forgotten", a, m.Name)
	}
	if m.Failover != nil && !m.Failover.Switched && m.Failover.To == a {
		return refuse(InProgress, "%s is the candidate of the failover of %s that is under way (epoch %d)", a, m.Name, m.Failover.Epoch)
	}
	if _, ok := m.Instance(a); !ok {
		return done()
	}
	d.drop(d.edit(m.Name), a)
	return done()
}

// drop takes an instance out of the set, with the verdicts against it.
func (d *draft) drop(m *Master, a Addr) {
	d.emitOn(m, EventForget, a, Event{}) // while it is known what clients are told of it
	m.Instances = slices.DeleteFunc(slices.Clone(m.Instances), func(in Instance) bool { return in.Addr == a })
	m.Votes = slices.DeleteFunc(slices.Clone(m.Votes), func(v Vote) bool { return v.Instance == a })
}

func (d *draft) pause(c *raftlogv1.Pause) verdict {
	m, ok := d.s.Master(c.GetName())
	if !ok {
		return refuse(NotFound, "no master named %q", c.GetName())
	}
	p := Pause{Actor: d.head.GetActor(), Reason: clip(c.GetReason()), SinceMs: d.head.GetProposedAtMs(), UntilMs: c.GetUntilMs()}
	if was := m.Pause; was != nil {
		p.SinceMs = was.SinceMs
		if p == *was {
			return done()
		}
	}
	e := d.edit(m.Name)
	e.Pause = &p
	d.emitOn(e, EventPause, e.Address, Event{Detail: p.Reason})
	return done()
}

func (d *draft) resume(c *raftlogv1.Resume) verdict {
	m, ok := d.s.Master(c.GetName())
	if !ok {
		return refuse(NotFound, "no master named %q", c.GetName())
	}
	to := AddrOf(c.GetAdopt())
	_, member := m.Instance(to)
	moves := !to.IsZero() && to != m.Address
	switch until := c.GetUntilMs(); {
	case until != 0 && (m.Pause == nil || m.Pause.UntilMs != until):
		return refuse(StaleRevision, "the pause of master %s does not end at %d any more", m.Name, until)
	case m.Hold != nil && to.IsZero() && !c.GetEnforce():
		return refuse(Unsettled, "master %s is held: %s; resume it with --adopt HOST:PORT or --enforce", m.Name, m.Hold.Reason)
	case !to.IsZero() && !member:
		return refuse(NotFound, "%s is not an instance of master %s", to, m.Name)
	case moves && m.Failover != nil && !m.Failover.Switched:
		return refuse(InProgress, "a failover of %s is under way (epoch %d)", m.Name, m.Failover.Epoch)
	case m.Pause == nil && m.Hold == nil && !moves:
		return done()
	}
	e := d.edit(m.Name)
	e.Enforce = c.GetEnforce() && m.Hold != nil
	e.Pause, e.Hold = nil, nil
	if m.Resting() {
		d.emitOn(e, EventResume, e.Address, Event{Detail: clip(c.GetOverridden())})
	}
	if moves {
		d.moveTo(e, to, "adopted by hand")
	}
	return done()
}

func (d *draft) settle(c *raftlogv1.Settle) verdict {
	m, ok := d.s.Master(c.GetName())
	if !ok {
		return refuse(NotFound, "no master named %q", c.GetName())
	}
	if m.Generation != c.GetGeneration() {
		return refuse(StaleGeneration, "master %s is at generation %d", m.Name, m.Generation)
	}
	if m.Enforce || m.Restored {
		e := d.edit(m.Name)
		e.Enforce, e.Restored = false, false
	}
	return done()
}

func (d *draft) hold(c *raftlogv1.Hold) verdict {
	m, ok := d.s.Master(c.GetName())
	if !ok {
		return refuse(NotFound, "no master named %q", c.GetName())
	}
	if m.Generation != c.GetGeneration() {
		return refuse(StaleGeneration, "master %s is at generation %d", m.Name, m.Generation)
	}
	if m.Hold != nil {
		return done()
	}
	e := d.edit(m.Name)
	e.Hold = &Pause{Actor: d.head.GetActor(), Reason: clip(c.GetReason()), SinceMs: d.head.GetProposedAtMs()}
	e.Enforce = false
	d.emitOn(e, EventHold, e.Address, Event{Detail: e.Hold.Reason})
	return done()
}

func (d *draft) adopt(c *raftlogv1.Adopt) verdict {
	m, ok := d.s.Master(c.GetMaster())
	if !ok {
		return refuse(NotFound, "no master named %q", c.GetMaster())
	}
	to := AddrOf(c.GetAddress())
	switch _, member := m.Instance(to); {
	case m.Generation != c.GetGeneration():
		return refuse(StaleGeneration, "master %s is at generation %d", m.Name, m.Generation)
	case m.Resting():
		return refuse(Paused, "master %s is paused", m.Name)
	case m.Failover != nil && !m.Failover.Switched:
		return refuse(InProgress, "a failover of %s is under way (epoch %d)", m.Name, m.Failover.Epoch)
	case !member:
		return refuse(NotFound, "%s is not an instance of master %s", to, m.Name)
	case to == m.Address:
		return done()
	case d.s.level >= 2 && d.s.DownVotes(m, to) >= m.Options.Quorum:
		return refuse(BadCandidate, "%s is itself held down by %d nodes", to, d.s.DownVotes(m, to))
	}
	d.moveTo(d.edit(m.Name), to, clip(c.GetReason()))
	return done()
}

// moveTo commits another member as master, outside a failover, under an epoch of its own.
func (d *draft) moveTo(m *Master, to Addr, reason string) {
	from := m.Address
	if m.Failover != nil {
		d.close(m, raftlogv1.FailoverOutcome_FAILOVER_OUTCOME_OVERTAKEN, reason, Loss{})
	}
	d.s.epoch++
	m.Epoch = d.s.epoch
	if d.s.level >= 2 {
		d.emitOn(m, EventNewEpoch, m.Address, Event{Epoch: m.Epoch})
	}
	d.emitOn(m, EventAdopt, to, Event{Epoch: m.Epoch, Detail: reason})
	d.install(m, from, to)
}

// install makes to the committed master and tells it the way clients expect: the switch, then each replica anew.
func (d *draft) install(m *Master, from, to Addr) {
	m.Address = to
	m.ODown, m.ODownAtMs = 0, 0
	m.Enforce, m.Restored = false, false
	if in, _ := m.Instance(to); in.Maintenance != nil {
		d.over(m, in)
	}
	d.newGeneration(m)
	d.emitOn(m, EventSwitch, to, Event{Epoch: m.Epoch, From: from, To: to})
	for _, in := range m.Replicas() {
		d.emitOn(m, EventSlave, in.Addr, Event{})
	}
}
