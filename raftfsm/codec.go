package raftfsm

import (
	"io"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
)

// Encode gives the log entry of a command. It refuses what Decode would not understand.
func Encode(c *raftlogv1.Command) ([]byte, error) { panic("contract only: the law follows") }

// Decode reads a log entry. An error means that this build must not go on: skipping an entry is divergence.
func Decode(data []byte) (*raftlogv1.Command, error) { panic("contract only: the law follows") }

// WriteSnapshot writes a whole state.
func WriteSnapshot(w io.Writer, s *State) error { panic("contract only: the law follows") }

// ReadSnapshot reads what WriteSnapshot wrote, and refuses a truncated or damaged one.
func ReadSnapshot(r io.Reader) (*State, error) { panic("contract only: the law follows") }
