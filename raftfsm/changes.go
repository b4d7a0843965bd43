package raftfsm

import (
	"cmp"
	"iter"
	"slices"
)

// change is that of a name at a revision.
type change struct {
	name     string
	revision uint64
}

// sorted are changes in their order, whatever order they are given in.
func sorted(changes []change) chunks[change] {
	slices.SortFunc(changes, func(a, b change) int {
		return cmp.Or(cmp.Compare(a.revision, b.revision), cmpString(a.name, b.name))
	})
	return chunks[change]{}.with(changes...)
}

// noted is the list with changes added, the newest; where more than half of it is overtaken, without what is.
func (s *State) noted(changes []change) chunks[change] {
	list := s.changes.with(changes...)
	if known := s.masters.Len() + s.tombstones.Len(); list.size <= 2*known+chunkSize {
		return list
	}
	var standing []change
	for c := range list.from(func(change) bool { return true }) {
		if s.stands(c) {
			standing = append(standing, c)
		}
	}
	return chunks[change]{}.with(standing...)
}

// stands tells whether a change is the last one of its name: that of the master, or its removal.
func (s *State) stands(c change) bool {
	if m, ok := s.Master(c.name); ok {
		return m.Revision == c.revision
	}
	removed, ok := s.Tombstone(c.name)
	return ok && removed == c.revision
}

// ChangedSince lists the names of masters that changed after the given revision, in the order of their last change. A
// name that [State.Master] does not find any more was removed.
func (s *State) ChangedSince(revision uint64) iter.Seq[string] {
	return func(yield func(string) bool) {
		for c := range s.changes.from(func(c change) bool { return c.revision > revision }) {
			if s.stands(c) && !yield(c.name) {
				return
			}
		}
	}
}
