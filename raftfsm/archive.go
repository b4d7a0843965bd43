package raftfsm

import (
	"encoding/binary"
	"slices"

	iradix "github.com/hashicorp/go-immutable-radix/v2"
)

// ArchiveBytes bounds the stories of past failovers of all masters together; the last of each master is kept beyond it.
const ArchiveBytes = 8 << 20

// archive orders the past failovers of all masters by their end, so that the oldest go first.
type archive struct {
	// tree: (index of the end, epoch, name of the master) -> size of the story. The stories of a backup end, for this log, with
	// the entry that restored them.
	tree  *iradix.Tree[int]
	bytes int
	// spare holds the keys of those that may be dropped: the oldest of each master that has another.
	spare *iradix.Tree[struct{}]
}

// storyName is where the name begins in a key of the archive.
const storyName = 16

func storyKey(name string, f *Failover) []byte {
	key := binary.BigEndian.AppendUint64(make([]byte, 0, storyName+len(name)), f.EndedIndex)
	return append(binary.BigEndian.AppendUint64(key, f.Epoch), name...)
}

func newArchive() archive { return archive{tree: iradix.New[int](), spare: iradix.New[struct{}]()} }

// file adds all past failovers of a master that has none in the archive; strike takes all out.
func (a archive) file(m *Master, level uint32) archive {
	for _, f := range m.History {
		a = a.with(m.Name, f, level)
	}
	return a.turn(m.Name, nil, m.History)
}

func (a archive) strike(m *Master) archive {
	return a.without(m.Name, m.History).turn(m.Name, m.History, nil)
}

// turn keeps spare in step with the past failovers of a master, as they were and are now.
func (a archive) turn(name string, was, now []*Failover) archive {
	if len(was) > 1 {
		a.spare, _, _ = a.spare.Delete(storyKey(name, was[0]))
	}
	if len(now) > 1 {
		key := storyKey(name, now[0])
		if _, filed := a.tree.Get(key); filed {
			a.spare, _, _ = a.spare.Insert(key, struct{}{})
		}
	}
	return a
}

func (a archive) with(name string, f *Failover, level uint32) archive {
	size := f.size(level)
	tree, old, replaced := a.tree.Insert(storyKey(name, f), size)
	a.tree = tree
	a.bytes += size
	if replaced {
		a.bytes -= old
	}
	return a
}

func (a archive) without(name string, past []*Failover) archive {
	for _, f := range past {
		tree, size, ok := a.tree.Delete(storyKey(name, f))
		if ok {
			a.tree = tree
			a.bytes -= size
		}
	}
	return a
}

// remember adds a story that has just ended to those of m, and drops the oldest of all beyond the bound.
func (d *draft) remember(m *Master, f *Failover) {
	was := m.History
	m.History = append(slices.Clip(was), f)
	d.s.archive = d.s.archive.with(m.Name, f, d.s.level).turn(m.Name, was, m.History)
	d.trim()
}

// trim drops the oldest stories beyond the bound, each master's own in their order. What it passes over, because another of
// its master stood before it, it does not come back to: that is law.
func (d *draft) trim() {
	var from []byte
	for d.s.archive.bytes > ArchiveBytes {
		it := d.s.archive.spare.Root().Iterator()
		it.SeekLowerBound(from)
		key, _, ok := it.Next()
		if !ok {
			return
		}
		e := d.edit(string(key[storyName:]))
		was := e.History
		e.History = slices.Clone(was[1:])
		d.s.archive = d.s.archive.without(e.Name, was[:1]).turn(e.Name, was, e.History)
		from = append(slices.Clip(key), 0)
	}
}

// weigh files every story anew, by what the present feature level counts.
func (s *State) weigh() {
	s.archive = newArchive()
	for m := range s.Masters() {
		s.archive = s.archive.file(m, s.level)
	}
}

// size is about what a story takes in memory and in a snapshot, in bytes. It is law: changing it needs a feature level. Up to
// level 2 it leaves out the names, which may take more than all else.
func (f *Failover) size(level uint32) int {
	n := 256 + len(f.Reason) + len(f.EndReason) + 96*len(f.Votes)
	for _, c := range f.Candidates {
		n += 96 + len(c.Detail)
	}
	for _, s := range f.Steps {
		n += 64 + len(s.Detail)
	}
	if level >= 3 {
		n += f.names()
	}
	return n
}

// names is how many bytes the names and codes of a story take.
func (f *Failover) names() int {
	n := len(f.OperationID) + len(f.From.Host) + len(f.To.Host) + len(f.Leader) + len(f.OldReplID) + len(f.Actor)
	for _, v := range f.Votes {
		n += len(v.Instance.Host) + len(v.Node)
	}
	for _, c := range f.Candidates {
		n += len(c.Addr.Host) + len(c.Rejection) + len(c.RunID)
	}
	for _, s := range f.Steps {
		n += len(s.Name) + len(s.Instance.Host)
	}
	return n
}
