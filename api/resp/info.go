package resp

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/raftsentinel/raftsentinel/api"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// redisVersion is the Redis whose Sentinel is spoken here; clients choose features by it.
const redisVersion = "7.2.0"

// info answers the sections that are asked for; what is not known here is left out, as in Redis. It works on every node,
// loading and removed ones too, but tells of masters only where look-ups are answered.
func (s *Server) info(_ context.Context, _ *conn, args []string) reply {
	wanted := func(section string) bool {
		return len(args) == 0 || slices.ContainsFunc(args, func(a string) bool {
			a = strings.ToLower(a)
			return a == section || a == "all" || a == "default" || a == "everything"
		})
	}
	var sections []string
	if wanted("server") {
		sections = append(sections, s.infoServer())
	}
	if st, refusal := s.local(); refusal == nil && wanted("sentinel") {
		sections = append(sections, s.infoSentinel(st))
	}
	if wanted("raft") {
		sections = append(sections, s.infoRaft())
	}
	return text(strings.Join(sections, "\r\n"))
}

func section(title string, lines ...string) string {
	return "# " + title + "\r\n" + strings.Join(lines, "\r\n") + "\r\n"
}

func (s *Server) infoServer() string {
	status := s.o.Node.Status()
	lines := []string{
		"redis_version:" + redisVersion,
		"redis_mode:sentinel",
		"sentineld_version:" + s.o.Version,
		"run_id:" + api.SentinelID(status.RaftID),
	}
	if a, err := raftfsm.ParseAddr(s.o.Listener.Addr().String()); err == nil {
		lines = append(lines, "tcp_port:"+port(a))
	}
	return section("Server", append(lines, fmt.Sprintf("uptime_in_seconds:%d", int64(time.Since(s.started).Seconds())))...)
}

func (s *Server) infoSentinel(st *raftfsm.State) string {
	lines := []string{
		fmt.Sprintf("sentinel_masters:%d", st.MasterCount()),
		"sentinel_tilt:0",
		"sentinel_tilt_since_seconds:-1",
		"sentinel_total_tilt:0",
		"sentinel_running_scripts:0",
		"sentinel_scripts_queue_length:0",
		"sentinel_simulate_failure_flags:0",
	}
	n := 0
	for m := range st.Masters() {
		in, _ := m.Instance(m.Address)
		l := s.look(st, m, in)
		l.a = m.Address
		status := "ok"
		switch {
		case l.odown():
			status = "odown"
		case l.sdown():
			status = "sdown"
		}
		lines = append(lines, fmt.Sprintf("master%d:name=%s,status=%s,address=%s:%d,slaves=%d,sentinels=%d",
			n, m.Name, status, m.Address.Host, m.Address.Port, len(m.Replicas()), len(st.Servers())))
		n++
	}
	return section("Sentinel", lines...)
}

func (s *Server) infoRaft() string {
	status := s.o.Node.Status()
	return section("Raft",
		"raft_state:"+status.Role,
		"raft_leader:"+leaderName(s.o.Node.State(), status),
		fmt.Sprintf("raft_term:%d", status.Term),
		fmt.Sprintf("raft_commit_index:%d", status.CommitIndex),
		fmt.Sprintf("raft_applied_index:%d", status.AppliedIndex),
		fmt.Sprintf("raft_last_contact_ms:%d", contactMs(status.LastContact)),
		fmt.Sprintf("raft_peers:%d", status.Peers),
		"raft_cluster_id:"+status.ClusterID,
	)
}

func leaderName(st *raftfsm.State, status api.NodeStatus) string {
	if status.LeaderID == "" {
		return ""
	}
	return st.NodeName(status.LeaderID)
}

func contactMs(d time.Duration) int64 {
	if d < 0 {
		return -1
	}
	return d.Milliseconds()
}
