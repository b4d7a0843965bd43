package daemon

import (
	"context"
	"fmt"

	"github.com/raftsentinel/raftsentinel/api/notify"
	"github.com/raftsentinel/raftsentinel/cmd/conf"
	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// permitScript gives the file to run for a path, if this node's configuration, as it is now, lets it run.
func (d *Daemon) permitScript(master, path string) (file string, err error) {
	return permissions(d.config, d.live.Load().ScriptsDir).Permit(master, path)
}

// permissions say which scripts a node's configuration lets run.
func permissions(c *conf.Config, scriptsDir string) notify.Permissions {
	named := map[string][]string{}
	for _, s := range c.Seeds {
		for _, path := range []string{s.Options.NotificationScript, s.Options.ClientReconfigScript} {
			if path != "" {
				named[s.Name] = append(named[s.Name], path)
			}
		}
	}
	return notify.Permissions{Any: c.ScriptsReconfig, Named: named, Dir: scriptsDir}
}

// setWebhooks has events delivered from now on as the configuration says, signed with the secret that its file holds now.
func (d *Daemon) setWebhooks(c *conf.Config) error {
	secret, err := readSecret(c.WebhookSecretFile)
	if err != nil {
		return fault(c, "webhook-secret-file", err)
	}
	if err := d.webhooks.Set(c.Webhooks, secret); err != nil {
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
