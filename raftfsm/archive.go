package raftfsm

import (
	"bytes"
	"encoding/binary"

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
}

// storyName is where the name begins in a key of the archive.
const storyName = 16

func storyKey(name string, f *Failover) []byte {
	key := binary.BigEndian.AppendUint64(make([]byte, 0, storyName+len(name)), f.EndedIndex)
	return append(binary.BigEndian.AppendUint64(key, f.Epoch), name...)
}

func newArchive() archive { return archive{tree: iradix.New[int]()} }

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

// remember files a story that has just ended and drops the oldest ones beyond the bound.
func (d *draft) remember(m *Master, f *Failover) {
	d.s.archive = d.s.archive.with(m.Name, f, d.s.level)
	it := d.s.archive.tree.Root().Iterator()
	for key, _, ok := it.Next(); ok && d.s.archive.bytes > ArchiveBytes; key, _, ok = it.Next() {
		name := string(key[storyName:])
		holder, _ := d.s.Master(name)
		if e, edited := d.edited[name]; edited {
			holder = e
		}
		if holder == nil || len(holder.History) < 2 || !bytes.Equal(storyKey(name, holder.History[0]), key) {
			continue
		}
		e := d.edit(name)
		d.s.archive = d.s.archive.without(name, e.History[:1])
		e.History = append([]*Failover(nil), e.History[1:]...)
	}
}

// weigh files every story anew, by what the present feature level counts.
func (s *State) weigh() {
	s.archive = newArchive()
	for m := range s.Masters() {
		for _, f := range m.History {
			s.archive = s.archive.with(m.Name, f, s.level)
		}
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
