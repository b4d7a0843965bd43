package raftfsm

import (
	"slices"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
)

// Batch applies entries one after the other; each has the effect that [Apply] describes. What the law itself never reads, the list of
// changes and the events, is entered when the state is asked for: once for many entries, which costs a fraction of once for each.
type Batch struct {
	s    *State // without what is late
	late late
}

// late is what entries add to the state that no entry reads.
type late struct {
	events  []Event
	changes []change
}

// NewBatch begins with a state.
func NewBatch(s *State) *Batch { return &Batch{s: s} }

// Index is that of the last entry.
func (b *Batch) Index() uint64 { return b.s.index }

// Apply is [Apply] upon what was applied before. After a panic the batch is as it was before.
func (b *Batch) Apply(index uint64, c *raftlogv1.Command) Result {
	d := newDraft(b.s, index, c.GetHeader())
	v := d.apply(c)
	res := Result{Index: index, Code: v.code, Detail: v.detail, Epoch: v.epoch}
	if v.code != OK {
		refused := *b.s
		refused.index, refused.atMs = index, d.s.atMs
		b.s = &refused
		return res
	}
	b.take(d)
	res.Changed = d.changed
	return res
}

// ApplyServersAt is [ApplyServersAt] upon what was applied before.
func (b *Batch) ApplyServersAt(index uint64, atMs int64, servers []Server) {
	if atMs == 0 {
		atMs = b.s.atMs
	}
	d := newDraft(b.s, index, &raftlogv1.Header{ProposedAtMs: atMs})
	d.s.servers = slices.Clone(servers)
	slices.SortFunc(d.s.servers, func(a, b Server) int { return cmpString(a.ID, b.ID) })
	d.dropNodes(servers)
	for m := range b.s.Accused() {
		e := d.edit(m.Name)
		e.Votes = slices.DeleteFunc(slices.Clone(e.Votes), func(v Vote) bool {
			return !slices.ContainsFunc(servers, func(s Server) bool { return s.ID == v.Node })
		})
		d.recount(e)
	}
	b.take(d)
}

// take makes a draft the state.
func (b *Batch) take(d *draft) {
	d.commit()
	b.s = d.s
	b.late.events = append(b.late.events, d.late.events...)
	b.late.changes = append(b.late.changes, d.late.changes...)
	if len(b.late.events) > RingSize {
		b.State() // more would only fall out of the ring
	}
}

// State is the state after the last entry.
func (b *Batch) State() *State {
	if len(b.late.events)+len(b.late.changes) == 0 {
		return b.s
	}
	whole := *b.s
	whole.changes = whole.noted(b.late.changes)
	whole.events = whole.events.with(b.late.events)
	b.s, b.late = &whole, late{}
	return b.s
}
