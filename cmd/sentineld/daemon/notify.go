package daemon

import (
	"context"

	"github.com/raftsentinel/raftsentinel/api/notify"
	"github.com/raftsentinel/raftsentinel/cmd/conf"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// permissions say which scripts this node's configuration lets run.
func permissions(c *conf.Config, scriptsDir string, reconfig bool) notify.Permissions {
	named := map[string][]string{}
	for _, s := range c.Seeds {
		for _, path := range []string{s.Options.NotificationScript, s.Options.ClientReconfigScript} {
			if path != "" {
				named[s.Name] = append(named[s.Name], path)
			}
		}
	}
	return notify.Permissions{Any: reconfig, Named: named, Dir: scriptsDir}
}

// newScripts makes what runs scripts on this node.
func (d *Daemon) newScripts(self member, p notify.Permissions) (*notify.Scripts, error) {
	return notify.NewScripts(notify.ScriptOptions{Node: self, Dir: d.config.Dir, Permit: p.Permit, Log: d.log})
}

// newWebhooks makes what delivers events while this node leads; nil without URLs. The error names the directive at fault.
func (d *Daemon) newWebhooks(
	self member, urls []string, secretFile string, delivered func(*raftfsm.State) raftfsm.Cursor,
) (*notify.Webhooks, error) {
	if len(urls) == 0 {
		return nil, nil
	}
	secret, err := readSecret(secretFile)
	if err != nil {
		return nil, fault(d.config, "webhook-secret-file", err)
	}
	if secret.IsZero() {
		d.log.Warn("webhooks are not signed; give webhook-secret-file")
	}
	w, err := notify.NewWebhooks(notify.WebhookOptions{
		Node: self, URLs: urls, Secret: secret, Delivered: delivered, Deliver: delivery{self}.deliver, Log: d.log,
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
		Header: &raftlogv1.Header{Level: 2},
		Op:     &raftlogv1.Command_Delivered{Delivered: &raftlogv1.Delivered{Index: c.Index, Ordinal: c.Ordinal}},
	})
	if err != nil {
		return err
	}
	return res.Err()
}
