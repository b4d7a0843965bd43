package api

import (
	"google.golang.org/grpc/codes"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// allowScripts refuses new paths of scripts: who may reach a port is not to choose what programs a node runs. Where its
// file allows it, the path must be that of a script here.
func (s *Server) allowScripts(now, wanted raftfsm.Options) error {
	for _, o := range []struct{ name, was, is string }{
		{"notification-script", now.NotificationScript, wanted.NotificationScript},
		{"client-reconfig-script", now.ClientReconfigScript, wanted.ClientReconfigScript},
	} {
		switch {
		case o.was == o.is:
			continue
		case !s.scriptsReconfig:
			return fail(codes.PermissionDenied, sentinelv1.ErrorReason_ERROR_REASON_SCRIPTS_DENIED,
				"%s cannot be changed while this node runs: nothing was changed; its configuration file must say: "+
					"sentinel deny-scripts-reconfig no", o.name)
		case o.is == "" || s.checkScript == nil:
			continue
		}
		if err := s.checkScript(o.is); err != nil {
			e := invalid("%s: %v", o.name, err)
			e.Meta = map[string]string{"script": o.name}
			return e
		}
	}
	return nil
}
