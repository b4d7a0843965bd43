package resp

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/raftsentinel/raftsentinel/api"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// redisVersion is the Redis whose Sentinel is spoken here; clients choose features by it.
const redisVersion = "7.2.0"

// infoSections are in the order in which INFO tells them.
var infoSections = []struct {
	name string
	tell func(s *Server, c *conn) string
}{
	{"server", (*Server).infoServer},
	{"clients", (*Server).infoClients},
	{"stats", (*Server).infoStats},
	{"cpu", (*Server).infoCPU},
	{"sentinel", (*Server).infoSentinel},
	{"raft", (*Server).infoRaft},
}

// info answers the sections that are asked for; what is not known here is left out, as in Redis. It works on every node,
// loading and removed ones too, but tells of masters only where look-ups are answered.
func (s *Server) info(_ context.Context, c *conn, args []string) reply {
	wanted := func(section string) bool {
		return len(args) == 0 || slices.ContainsFunc(args, func(a string) bool {
			a = strings.ToLower(a)
			return a == section || a == "all" || a == "default" || a == "everything"
		})
	}
	var out []string
	for _, section := range infoSections {
		if !wanted(section.name) {
			continue
		}
		if told := section.tell(s, c); told != "" {
			out = append(out, told)
		}
	}
	return bulk(strings.Join(out, "\r\n"))
}

func section(title string, lines ...string) string {
	return "# " + title + "\r\n" + strings.Join(lines, "\r\n") + "\r\n"
}

// infoLine is a line of INFO.
func infoLine(name string, value any) string { return fmt.Sprintf("%s:%v", name, value) }

// infoServer has a Sentinel's fields. There is no timer that could have a frequency.
func (s *Server) infoServer(*conn) string {
	now, up := time.Now(), time.Since(s.started)
	program, _ := os.Executable()
	lines := []string{
		infoLine("redis_version", redisVersion),
		infoLine("redis_git_sha1", "00000000"),
		infoLine("redis_git_dirty", 0),
		infoLine("redis_build_id", s.o.Version),
		infoLine("redis_mode", "sentinel"),
		infoLine("os", runtime.GOOS),
		infoLine("arch_bits", strconv.IntSize),
		infoLine("monotonic_clock", "POSIX clock_gettime"),
		infoLine("multiplexing_api", choose(runtime.GOOS == "linux", "epoll", "kqueue")),
		infoLine("atomicvar_api", "sync/atomic"),
		infoLine("gcc_version", "0.0.0"),
		infoLine("process_id", os.Getpid()),
		infoLine("process_supervised", "no"),
		infoLine("run_id", s.runID),
	}
	tcp := 0
	if a, err := raftfsm.ParseAddr(s.o.Listener.Addr().String()); err == nil {
		tcp = int(a.Port)
	}
	return section("Server", append(lines,
		infoLine("tcp_port", tcp),
		infoLine("server_time_usec", now.UnixMicro()),
		infoLine("uptime_in_seconds", int64(up.Seconds())),
		infoLine("uptime_in_days", int64(up.Hours()/24)),
		infoLine("hz", 0),
		infoLine("configured_hz", 0),
		infoLine("lru_clock", now.Unix()&(1<<24-1)),
		infoLine("executable", program),
		infoLine("config_file", s.o.ConfigFile),
		infoLine("io_threads_active", 0),
		infoLine("sentineld_version", s.o.Version),
	)...)
}

func (s *Server) infoClients(*conn) string {
	var unread, queued, tracking, connected int
	for _, c := range s.clients() {
		v := about(c)
		connected++
		unread, queued = max(unread, v.told.unread), max(queued, v.queued)
		if v.told.tracking {
			tracking++
		}
	}
	return section("Clients",
		infoLine("connected_clients", connected),
		infoLine("cluster_connections", 0),
		infoLine("maxclients", maxClients),
		infoLine("client_recent_max_input_buffer", unread),
		infoLine("client_recent_max_output_buffer", queued),
		infoLine("blocked_clients", s.pause.waiting.Load()),
		infoLine("tracking_clients", tracking),
		infoLine("clients_in_timeout_table", 0),
	)
}

// Fields of a Redis with data, or with a replication link, which are 0 on every Sentinel.
var (
	noReplication = zeros("total_net_repl_input_bytes", "total_net_repl_output_bytes")
	noReplicas    = zeros("instantaneous_input_repl_kbps", "instantaneous_output_repl_kbps")
	noKeys        = zeros("sync_full", "sync_partial_ok", "sync_partial_err", "expired_keys", "expired_stale_perc",
		"expired_time_cap_reached_count", "expire_cycle_cpu_milliseconds", "evicted_keys", "evicted_clients",
		"total_eviction_exceeded_time", "current_eviction_exceeded_time", "keyspace_hits", "keyspace_misses")
	noForks = zeros("pubsubshard_channels", "latest_fork_usec", "total_forks", "migrate_cached_sockets", "slave_expires_tracked_keys",
		"active_defrag_hits", "active_defrag_misses", "active_defrag_key_hits", "active_defrag_key_misses", "total_active_defrag_time",
		"current_active_defrag_time", "tracking_total_keys", "tracking_total_items", "tracking_total_prefixes", "unexpected_error_replies")
	noThreads = zeros("io_threaded_reads_processed", "io_threaded_writes_processed", "reply_buffer_shrinks", "reply_buffer_expands")
)

// zeros are fields that are always 0; times and rates as Redis writes them.
func zeros(names ...string) []string {
	out := make([]string, 0, len(names))
	for _, n := range names {
		fraction := strings.HasSuffix(n, "_kbps") || strings.HasSuffix(n, "_perc")
		out = append(out, infoLine(n, choose(fraction, "0.00", "0")))
	}
	return out
}

func (s *Server) infoStats(*conn) string {
	t, accepted, rejected := s.total()
	rate := s.rates.now(time.Now(), t)
	channels, patterns := s.subscribers.count()
	return section("Stats", slices.Concat(
		[]string{
			infoLine("total_connections_received", accepted),
			infoLine("total_commands_processed", t.commands.Load()),
			infoLine("instantaneous_ops_per_sec", int64(rate.commands)),
			infoLine("total_net_input_bytes", t.in.Load()),
			infoLine("total_net_output_bytes", t.out.Load()),
		},
		noReplication,
		[]string{
			infoLine("instantaneous_input_kbps", fmt.Sprintf("%.2f", rate.in/1024)),
			infoLine("instantaneous_output_kbps", fmt.Sprintf("%.2f", rate.out/1024)),
		},
		noReplicas,
		[]string{infoLine("rejected_connections", rejected)},
		noKeys,
		[]string{infoLine("pubsub_channels", channels), infoLine("pubsub_patterns", patterns)},
		noForks,
		[]string{
			infoLine("total_error_replies", t.errors.Load()),
			infoLine("dump_payload_sanitizations", 0),
			infoLine("total_reads_processed", t.reads.Load()),
			infoLine("total_writes_processed", t.writes.Load()),
		},
		noThreads,
	)...)
}

// infoCPU has no times of a main thread, because there is none.
func (s *Server) infoCPU(*conn) string {
	var self, children syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &self) != nil || syscall.Getrusage(syscall.RUSAGE_CHILDREN, &children) != nil {
		return ""
	}
	seconds := func(t syscall.Timeval) string { return fmt.Sprintf("%.6f", time.Duration(t.Nano()).Seconds()) }
	return section("CPU",
		infoLine("used_cpu_sys", seconds(self.Stime)),
		infoLine("used_cpu_user", seconds(self.Utime)),
		infoLine("used_cpu_sys_children", seconds(children.Stime)),
		infoLine("used_cpu_user_children", seconds(children.Utime)),
	)
}

func (s *Server) infoSentinel(c *conn) string {
	st, refusal := s.local(c)
	if refusal != nil {
		return ""
	}
	running, queued := s.o.Scripts.Counts()
	lines := []string{
		infoLine("sentinel_masters", st.MasterCount()),
		infoLine("sentinel_tilt", 0),
		infoLine("sentinel_tilt_since_seconds", -1),
		infoLine("sentinel_total_tilt", 0),
		infoLine("sentinel_running_scripts", running),
		infoLine("sentinel_scripts_queue_length", queued),
		infoLine("sentinel_simulate_failure_flags", s.simulated.Load()),
	}
	n, sentinels := 0, s.others(st)+1
	for m := range st.Masters() {
		l := s.lookAtMaster(st, m)
		status := "ok"
		switch {
		case l.odown():
			status = "odown"
		case l.sdown():
			status = "sdown"
		}
		told := st.Told(m.Address)
		lines = append(lines, fmt.Sprintf("master%d:name=%s,status=%s,address=%s:%d,slaves=%d,sentinels=%d",
			n, m.Name, status, told.Host, told.Port, len(m.Replicas()), sentinels))
		n++
	}
	return section("Sentinel", lines...)
}

func (s *Server) infoRaft(*conn) string {
	status := s.o.Node.Status()
	return section("Raft",
		infoLine("raft_state", status.Role),
		infoLine("raft_leader", leaderName(s.o.Node.State(), status)),
		infoLine("raft_term", status.Term),
		infoLine("raft_commit_index", status.CommitIndex),
		infoLine("raft_applied_index", status.AppliedIndex),
		infoLine("raft_last_contact_ms", contactMs(status.LastContact)),
		infoLine("raft_peers", status.Peers),
		infoLine("raft_cluster_id", status.ClusterID),
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
