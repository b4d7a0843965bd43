package resp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/status"

	"github.com/raftsentinel/raftsentinel/api"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// refusal is the table from the API's errors to this protocol's.
func refusal(err error) reply {
	// The protocol has no force.
	text := strings.TrimSuffix(status.Convert(err).Message(), api.ForceHint)
	switch api.ReasonOf(err) {
	case sentinelv1.ErrorReason_ERROR_REASON_MASTER_NOT_FOUND:
		return errNoMaster
	case sentinelv1.ErrorReason_ERROR_REASON_DUPLICATE_MASTER:
		return failure("ERR Duplicate master name.")
	case sentinelv1.ErrorReason_ERROR_REASON_NO_LEADER, sentinelv1.ErrorReason_ERROR_REASON_TIMEOUT:
		return failure("NOQUORUM no majority of the nodes could be reached: nothing changed")
	case sentinelv1.ErrorReason_ERROR_REASON_UNKNOWN_OUTCOME:
		return failure("UNKNOWN outcome, ask again: the change may or may not have been made")
	case sentinelv1.ErrorReason_ERROR_REASON_LOADING:
		return failure("LOADING " + text)
	case sentinelv1.ErrorReason_ERROR_REASON_SCRIPTS_DENIED:
		return errScripts
	case sentinelv1.ErrorReason_ERROR_REASON_INVALID_ARGUMENT:
		switch api.MetaOf(err, "script") {
		case "notification-script":
			return failure("ERR Notification script seems non existing or non executable")
		case "client-reconfig-script":
			return failure("ERR Client reconfiguration script seems non existing or non executable")
		}
		return failure("ERR " + text)
	default:
		return failure("ERR " + text)
	}
}

// controls finds an argument that could break a line.
func controls(command string, first int, args []string) reply {
	for i, a := range args {
		if strings.ContainsFunc(a, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return failure(fmt.Sprintf("ERR Invalid argument at index %d for SENTINEL %s: control characters are not allowed",
				first+i, command))
		}
	}
	return nil
}

// monitor checks in Redis's order (sentinel.c, sentinelCommand and createSentinelRedisInstance).
func (s *Server) monitor(ctx context.Context, _ *conn, args []string) reply {
	if bad := controls("MONITOR", 2, args); bad != nil {
		return bad
	}
	name, host := args[0], args[1]
	quorum, err := strconv.ParseInt(args[3], 10, 64)
	if err != nil {
		return failure("ERR Invalid quorum")
	}
	n, err := strconv.ParseInt(args[2], 10, 64)
	switch {
	case err != nil:
		return failure("ERR Invalid port")
	case quorum <= 0:
		return failure("ERR Quorum must be 1 or greater.")
	case quorum > 1<<31-1:
		return failure("ERR Invalid quorum")
	}
	if _, err := raftfsm.NewAddr(host, 1); err != nil || api.CheckHost(host) != nil {
		return errHost
	}
	if st := s.o.Node.State(); (raftfsm.Addr{Host: host}).IsName() && !st.Settings().ResolveHostnames {
		return errHost
	}
	if n < 1 || n > 65535 {
		return failure("ERR Invalid port number.")
	}
	ctx, cancel := context.WithTimeout(ctx, changeLimit)
	defer cancel()
	if _, known := s.o.Node.State().Owner(raftfsm.Addr{Host: host, Port: uint16(n)}); !known && s.nowhere(ctx, host) {
		return errHost
	}
	_, err = s.admin.MonitorMaster(ctx, &sentinelv1.MonitorMasterRequest{
		Name: name, Address: &sentinelv1.Address{Host: host, Port: uint32(n)},
		Options: &sentinelv1.MasterOptions{Quorum: new(int32(quorum))},
	})
	if err != nil {
		return refusal(err)
	}
	return simple("OK")
}

const errHost = failure("ERR Invalid IP address or hostname specified")

// lookupLimit leaves most of a change's time to the change.
const lookupLimit = 500 * time.Millisecond

// nowhere tells whether a host name certainly does not resolve. A resolver that does not answer proves nothing.
func (s *Server) nowhere(ctx context.Context, host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, lookupLimit)
	defer cancel()
	_, err := s.o.LookupHost(ctx, host)
	none, ok := errors.AsType[*net.DNSError](err)
	return ok && none.IsNotFound
}

func (s *Server) remove(ctx context.Context, _ *conn, args []string) reply {
	ctx, cancel := context.WithTimeout(ctx, changeLimit)
	defer cancel()
	resp, err := s.admin.RemoveMaster(ctx, &sentinelv1.RemoveMasterRequest{Name: args[0]})
	switch {
	case err != nil:
		return refusal(err)
	case !resp.GetChanged():
		return errNoMaster
	}
	return simple("OK")
}

// set is all or nothing, unlike Redis's.
func (s *Server) set(ctx context.Context, c *conn, args []string) reply {
	if bad := controls("SET", 2, args); bad != nil {
		return bad
	}
	_, m, no := s.lookup(c, args[0])
	if no != nil {
		return no
	}
	req := &sentinelv1.UpdateMasterRequest{Name: m.Name}
	for rest := args[1:]; len(rest) > 0; {
		used, bad := s.setOption(req, m.Options, rest)
		if bad != nil {
			return bad
		}
		rest = rest[used:]
	}
	ctx, cancel := context.WithTimeout(ctx, changeLimit)
	defer cancel()
	if _, err := s.admin.UpdateMaster(ctx, req); err != nil {
		return refusal(err)
	}
	return simple("OK")
}

const errScripts = failure("ERR Reconfiguration of scripts path is denied for security reasons. Check the " +
	"deny-scripts-reconfig configuration directive in your Sentinel configuration")

// setOption takes an option and its values from the front of args and tells how many words that were.
func (s *Server) setOption(req *sentinelv1.UpdateMasterRequest, now raftfsm.Options, args []string) (int, reply) {
	opt, known := raftfsm.LookupOption(args[0])
	values := 1
	if opt.Name == "rename-command" {
		values = 2
	}
	// A former password is the cluster's own note, and no option of Sentinel's.
	if !known || opt.Name == "former-auth-pass" || len(args) <= values {
		return 0, unknownOption(args[0])
	}
	value := strings.Join(args[1:1+values], " ")
	if err := api.PutOption(req, now, opt.Name, value); err != nil {
		return 0, badValue(opt, value, args[0])
	}
	return 1 + values, nil
}

func unknownOption(name string) reply {
	return failure(fmt.Sprintf("ERR Unknown option or number of arguments for SENTINEL SET '%s'", name))
}

func badValue(opt raftfsm.Option, value, name string) reply {
	if opt.Secret {
		value = "******"
	}
	return failure(fmt.Sprintf("ERR Invalid argument '%s' for SENTINEL SET '%s'", value, name))
}

// ckquorum asks the leader, who knows whom it hears; without one this node tells what it knows.
func (s *Server) ckquorum(ctx context.Context, c *conn, args []string) reply {
	if _, _, no := s.lookup(c, args[0]); no != nil {
		return no
	}
	ctx, cancel := context.WithTimeout(ctx, changeLimit)
	defer cancel()
	req := &sentinelv1.CheckQuorumRequest{Name: args[0]}
	if s.o.Node.Status().LeaderID == "" {
		req.Consistency = sentinelv1.Consistency_CONSISTENCY_LOCAL
	}
	resp, err := s.admin.CheckQuorum(ctx, req)
	switch {
	case err != nil:
		return refusal(err)
	case !resp.GetOk():
		return failure("NOQUORUM " + resp.GetMessage())
	}
	return simple("OK " + resp.GetMessage())
}
