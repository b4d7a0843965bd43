package raftfsm

import (
	"iter"
	"slices"
	"sort"
)

// chunkSize is how many items lie together: whoever adds some copies a chunk, and the list of the chunks.
const chunkSize = 64

// chunks is a list that states share: neither the list nor a chunk of it is ever changed. The items are in an order, and those that are
// added come after all others.
type chunks[T any] struct {
	list [][]T // none is empty, and none but the last is added to
	size int
}

// with is the list with items added.
func (c chunks[T]) with(items ...T) chunks[T] {
	if len(items) == 0 {
		return c
	}
	list := append(make([][]T, 0, len(c.list)+1+len(items)/chunkSize), c.list...)
	var last []T
	if n := len(list); n > 0 && len(list[n-1]) < chunkSize {
		last = append(make([]T, 0, chunkSize), list[n-1]...)
		list = list[:n-1]
	}
	for _, item := range items {
		if len(last) == chunkSize {
			list, last = append(list, last), make([]T, 0, chunkSize)
		}
		last = append(last, item)
	}
	return chunks[T]{append(list, last), c.size + len(items)}
}

// cut is the list without its n oldest items.
func (c chunks[T]) cut(n int) chunks[T] {
	list, size := c.list, c.size-n
	for n > 0 && n >= len(list[0]) {
		list, n = list[1:], n-len(list[0])
	}
	if n > 0 {
		list = slices.Concat([][]T{list[0][n:]}, list[1:])
	}
	return chunks[T]{list, size}
}

// at is the item at a place, 0 for the oldest.
func (c chunks[T]) at(i int) T {
	for _, chunk := range c.list {
		if i < len(chunk) {
			return chunk[i]
		}
		i -= len(chunk)
	}
	panic("raftfsm: no such item")
}

// from are the items from the first one on for which late holds, as it does for all behind it.
func (c chunks[T]) from(late func(T) bool) iter.Seq[T] {
	return func(yield func(T) bool) {
		at := sort.Search(len(c.list), func(i int) bool { return late(c.list[i][len(c.list[i])-1]) })
		for i, chunk := range c.list[at:] {
			if i == 0 {
				chunk = chunk[sort.Search(len(chunk), func(i int) bool { return late(chunk[i]) }):]
			}
			for _, item := range chunk {
				if !yield(item) {
					return
				}
			}
		}
	}
}
