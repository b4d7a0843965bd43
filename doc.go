// Package raftsentinel is the module's root and holds its tests of structure; see README.md and DESIGN.md.
package raftsentinel
