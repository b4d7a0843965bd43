package daemon

import (
	"context"
	"fmt"

	"github.com/raftsentinel/raftsentinel/api/notify"
	"github.com/raftsentinel/raftsentinel/cmd/conf"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// permissions say which scripts a node's configuration lets run.
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

// wireNotify makes what runs scripts on this node, and what delivers events while it leads.
func (d *Daemon) wireNotify(self member) (err error) {
	permit := permissions(d.config, "", false).Permit
	d.scripts, err = notify.NewScripts(notify.ScriptOptions{Node: self, Dir: d.config.Dir, Permit: permit, Log: d.log})
	if err != nil {
		return err
	}
	d.webhooks, err = notify.NewWebhooks(notify.WebhookOptions{Node: self, Deliver: delivery{self}.deliver, Log: d.log})
	return err
}

// setWebhooks has events delivered to the URLs from now on, signed with the secret that the file holds.
func (d *Daemon) setWebhooks(c *conf.Config, urls []string, secretFile string) error {
	secret, err := readSecret(secretFile)
	if err != nil {
		return fault(c, "webhook-secret-file", err)
	}
	if err := d.webhooks.Set(urls, secret); err != nil {
		return fault(c, "webhook", err)
	}
	return nil
}

// delivery replicates how far webhooks were delivered.
type delivery struct{ node member }

func (d delivery) deliver(ctx context.Context, c raftfsm.Cursor) error {
	res, err := d.node.Propose(ctx, &raftlogv1.Command{
		Op: &raftlogv1.Command_Delivered{Delivered: &raftlogv1.Delivered{Index: c.Index, Ordinal: c.Ordinal}},
	})
	if err == nil {
		err = res.Err()
	}
	if err != nil {
		return fmt.Errorf("place of the webhooks: %w", err)
	}
	return nil
}
