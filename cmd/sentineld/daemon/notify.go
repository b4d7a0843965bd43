package daemon

import (
	"context"

	"github.com/raftsentinel/raftsentinel/api/notify"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// permitScript says what this node's configuration, as it is now, lets run.
func (d *Daemon) permitScript(master, path string) (file string, err error) {
	named := map[string][]string{}
	for _, s := range d.config.Seeds {
		named[s.Name] = []string{s.Options.NotificationScript, s.Options.ClientReconfigScript}
	}
	return notify.Permissions{Any: d.config.ScriptsReconfig, Named: named, Dir: d.live.Load().ScriptsDir}.Permit(master, path)
}

// newWebhooks makes what delivers events while this node leads; nil without URLs. The error names the directive at fault.
func (d *Daemon) newWebhooks(self member) (*notify.Webhooks, error) {
	if len(d.config.Webhooks) == 0 {
		return nil, nil
	}
	secret, err := readSecret(d.config.WebhookSecretFile)
	if err != nil {
		return nil, fault(d.config, "webhook-secret-file", err)
	}
	w, err := notify.NewWebhooks(notify.WebhookOptions{
		Node: self, URLs: d.config.Webhooks, Secret: secret, Delivered: (*raftfsm.State).Delivered, Deliver: delivery{self}.deliver, Log: d.log,
	})
	if err != nil {
		return nil, fault(d.config, "webhook", err)
	}
	return w, nil
}

// delivery replicates how far webhooks were delivered.
type delivery struct{ node member }

func (d delivery) deliver(ctx context.Context, c raftfsm.Cursor) error {
	res, err := d.node.Propose(ctx, &raftlogv1.Command{
		Op: &raftlogv1.Command_Delivered{Delivered: &raftlogv1.Delivered{Index: c.Index, Ordinal: c.Ordinal}},
	})
	if err != nil {
		return err
	}
	return res.Err()
}
