package raftfsm

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
)

// ErrTooNew: an entry or a snapshot of a level that this build does not know. The node must stop: to skip it is to diverge.
var ErrTooNew = errors.New("written at a newer feature level")

// Encode gives the log entry of a command. It refuses what Decode would not understand, and what a node of the command's
// level would misunderstand.
func Encode(c *raftlogv1.Command) ([]byte, error) {
	if err := understood(c); err != nil {
		return nil, err
	}
	if need, feature := featureOf(c); c.GetHeader().GetLevel() < need {
		return nil, fmt.Errorf("encode command: its header says level %d, and %d is needed for %s", c.GetHeader().GetLevel(), need, feature)
	}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode command: %w", err)
	}
	return data, nil
}

// Decode reads a log entry. An error means that this build must not go on: skipping an entry is divergence.
func Decode(data []byte) (*raftlogv1.Command, error) {
	c := &raftlogv1.Command{}
	if err := proto.Unmarshal(data, c); err != nil {
		return nil, fmt.Errorf("entry of %d bytes is no command: %w", len(data), err)
	}
	if err := understood(c); err != nil {
		return nil, err
	}
	return c, nil
}

func understood(c *raftlogv1.Command) error {
	switch {
	case c.GetHeader() == nil:
		return errors.New("command without a header")
	case c.GetHeader().GetLevel() > Level:
		return fmt.Errorf("%w: %d, this build knows %d: upgrade this node", ErrTooNew, c.GetHeader().GetLevel(), Level)
	case c.GetSetFeatureLevel().GetLevel() > Level:
		return fmt.Errorf("%w: it raises the feature level to %d, this build knows %d: upgrade this node",
			ErrTooNew, c.GetSetFeatureLevel().GetLevel(), Level)
	case c.GetOp() == nil:
		return fmt.Errorf("%w: its verb is unknown to this build (level %d): upgrade this node", ErrTooNew, Level)
	}
	return nil
}
