package node

import (
	"context"
	"time"

	"github.com/hashicorp/raft"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// raiseRetry is how soon the leader tries again to raise the feature level, where that failed or was refused.
const raiseRetry = time.Second

// raiseLevel is what an upgrade ends with: the leader raises the cluster's feature level once every member supports a higher
// one. Nobody has to order it, and nothing takes it back.
func (n *Node) raiseLevel(ctx context.Context, r *raft.Raft, l *leadership) error {
	for {
		changed := n.Changed()
		s := n.State()
		if s.FeatureLevel() >= raftfsm.Level {
			return nil // this build knows no higher one
		}
		retry := (<-chan time.Time)(nil)
		if level := s.SupportedLevel(); level > s.FeatureLevel() {
			err := n.raise(ctx, l, level)
			if err == nil {
				n.log.Info("feature level raised", "from", s.FeatureLevel(), "to", level)
				_, _ = n.mark(ctx, r, l.term) // where it is lost with the leadership, the next one begins with such a Mark
				continue
			}
			if ctx.Err() == nil {
				n.log.Info("feature level not raised", "to", level, "error", err)
			}
			changed, retry = nil, time.After(raiseRetry) // a refusal is a change, too
		}
		select {
		case <-ctx.Done():
			return nil
		case <-retry:
		case <-changed:
		}
	}
}

func (n *Node) raise(ctx context.Context, l *leadership, level uint32) error {
	res, err := n.ProposeIn(ctx, l.term, &raftlogv1.Command{
		Op: &raftlogv1.Command_SetFeatureLevel{SetFeatureLevel: &raftlogv1.SetFeatureLevel{Level: level}},
	})
	if err != nil {
		return err
	}
	return res.Err()
}
