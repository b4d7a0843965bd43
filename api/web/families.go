package web

import (
	"math"
	"runtime"
	"strconv"
	"time"

	dto "github.com/prometheus/client_model/go"
)

const (
	gauge   = dto.MetricType_GAUGE
	counter = dto.MetricType_COUNTER
)

// roles are those that a node can have, as [api.NodeStatus] tells them.
var roles = []string{"candidate", "follower", "joining", "leader", "none", "observer", "removed"}

// families are a promise: none is renamed, and none changes its meaning. docs/metrics.md tells them to operators.
var families = []*family{
	{name: "sentineld_build_info", kind: gauge, help: "Always 1; the version that runs.", node: func(s *scrape, add adder) {
		add(1, "go_version", runtime.Version(), "version", s.o.Version)
	}},
	{name: "sentineld_node_info", kind: gauge, help: "Always 1; who this node is.", node: func(s *scrape, add adder) {
		add(1, "cluster_id", s.status.ClusterID, "node", s.status.NodeID, "raft_id", s.status.RaftID)
	}},
	{
		name: "sentineld_loading", kind: gauge, help: "1 while the node has not caught up since it started; it then tells of no master.",
		node: func(s *scrape, add adder) { add(truth(s.status.Loading)) },
	},
	{
		name: "sentineld_feature_level", kind: gauge, help: "The level of features that every member knows.",
		node: told1(func(s *scrape) float64 { return float64(s.st.FeatureLevel()) }),
	},

	{name: "sentineld_raft_role", kind: gauge, help: "1 for the role that this node has in Raft, 0 for the others.", node: func(s *scrape, add adder) {
		for _, r := range roles {
			add(truth(r == s.status.Role), "role", r)
		}
	}},
	{name: "sentineld_raft_has_leader", kind: gauge, help: "1 while this node leads or hears a leader.", node: func(s *scrape, add adder) {
		add(truth(HearsLeader(s.status) == nil))
	}},
	{
		name: "sentineld_raft_term", kind: gauge, help: "Raft's term; it grows with each election.",
		node: func(s *scrape, add adder) { add(float64(s.status.Term)) },
	},
	{
		name: "sentineld_raft_commit_index", kind: gauge, help: "The index up to which the log is committed, as this node knows.",
		node: func(s *scrape, add adder) { add(float64(s.status.CommitIndex)) },
	},
	{
		name: "sentineld_raft_applied_index", kind: gauge, help: "The index up to which this node's state has applied the log.",
		node: func(s *scrape, add adder) { add(float64(s.status.AppliedIndex)) },
	},
	{
		name: "sentineld_raft_last_contact_seconds", kind: gauge, help: "Time since a leader was heard; 0 on the leader, absent for never.",
		node: func(s *scrape, add adder) {
			if s.status.LastContact >= 0 {
				add(s.status.LastContact.Seconds())
			}
		},
	},
	{
		name: "sentineld_raft_log_write_p50_seconds", kind: gauge, help: "Median time of the latest durable writes of the log; absent before any.",
		node: func(s *scrape, add adder) {
			if s.status.FsyncP50 > 0 {
				add(s.status.FsyncP50.Seconds())
			}
		},
	},
	{
		name: "sentineld_raft_members", kind: gauge, help: "Members of the cluster.",
		node: told1(func(s *scrape) float64 { return float64(len(s.st.Servers())) }),
	},
	{
		name: "sentineld_raft_voters", kind: gauge, help: "Members that vote.",
		node: told1(func(s *scrape) float64 { return float64(s.st.Voters()) }),
	},
	{
		name: "sentineld_raft_members_drained", kind: gauge, help: "Members that are drained: they vote and do not lead.",
		node: told1(func(s *scrape) float64 { return float64(len(s.st.DrainedNodes())) }),
	},
	{name: "sentineld_raft_members_heard", kind: gauge, help: "On the leader: members heard lately, itself included.", node: func(s *scrape, add adder) {
		if s.status.Heard != nil {
			add(float64(len(s.status.Heard)))
		}
	}},

	{
		name: "sentineld_masters", kind: gauge, help: "Masters under watch.",
		node: told1(func(s *scrape) float64 { return float64(len(s.rows)) }),
	},
	{name: "sentineld_instances", kind: gauge, help: "Redis instances of all masters, by the role that they are to have.", node: func(s *scrape, add adder) {
		if s.st != nil {
			add(float64(s.instances.masters), "role", "master")
			add(float64(s.instances.replicas), "role", "replica")
		}
	}},
	{
		name: "sentineld_instances_probed", kind: gauge, help: "Redis instances that this node probes.",
		node: told1(func(s *scrape) float64 { return float64(s.instances.probed) }),
	},
	{
		name: "sentineld_instances_connected", kind: gauge, help: "Redis instances that this node is connected to and does not hold down.",
		node: told1(func(s *scrape) float64 { return float64(s.instances.connected) }),
	},

	{
		name: "sentineld_resp_connections", kind: gauge, help: "Connections to the Sentinel port.",
		node: served(func(c Clients) float64 { return float64(c.Connections) }),
	},
	{
		name: "sentineld_resp_subscribers", kind: gauge, help: "Connections to the Sentinel port that subscribe to events.",
		node: served(func(c Clients) float64 { return float64(c.Subscribers) }),
	},
	{
		name: "sentineld_resp_connections_accepted_total", kind: counter, help: "Connections to the Sentinel port since it was opened, rejected ones included.",
		node: served(func(c Clients) float64 { return float64(c.Accepted) }),
	},
	{
		name: "sentineld_resp_connections_rejected_total", kind: counter, help: "Connections to the Sentinel port that were turned away.",
		node: served(func(c Clients) float64 { return float64(c.Rejected) }),
	},
	{
		name: "sentineld_resp_commands_total", kind: counter, help: "Commands on the Sentinel port.",
		node: served(func(c Clients) float64 { return float64(c.Commands) }),
	},
	{
		name: "sentineld_resp_errors_total", kind: counter, help: "Commands on the Sentinel port that were answered by an error.",
		node: served(func(c Clients) float64 { return float64(c.Errors) }),
	},
	{
		name: "sentineld_resp_messages_total", kind: counter, help: "Messages sent to subscribers of the Sentinel port, each subscriber's counted.",
		node: served(func(c Clients) float64 { return float64(c.Messages) }),
	},

	{
		name: "sentineld_scripts_running", kind: gauge, help: "Scripts that run on this node.",
		node: scripts(func(c Scripts) float64 { return float64(c.Running) }),
	},
	{
		name: "sentineld_scripts_waiting", kind: gauge, help: "Scripts that wait on this node.",
		node: scripts(func(c Scripts) float64 { return float64(c.Waiting) }),
	},
	{
		name: "sentineld_script_runs_total", kind: counter, help: "Runs of scripts that this node began, repeats included.",
		node: scripts(func(c Scripts) float64 { return float64(c.Runs) }),
	},
	{
		name: "sentineld_script_failures_total", kind: counter, help: "Runs of scripts that ended by a failure or a signal, or could not begin.",
		node: scripts(func(c Scripts) float64 { return float64(c.Failures) }),
	},

	{
		name: "sentineld_master_info", kind: gauge, help: "Always 1; the committed master's address, what clients are told of it, and its epoch.",
		masters: func(r *row, add adder) {
			add(1, "address", r.m.Address.String(), "announced", r.told.String(), "epoch", strconv.FormatUint(r.m.Epoch, 10))
		},
	},
	{
		name: "sentineld_master_up", kind: gauge, help: "1 where the master was reached and neither the cluster nor this node holds it down.",
		master: func(r *row) float64 { return truth(r.up()) },
	},
	{
		name: "sentineld_master_sdown", kind: gauge, help: "1 where this node holds the master down.",
		master: func(r *row) float64 { return truth(r.sdown()) },
	},
	{
		name: "sentineld_master_odown", kind: gauge, help: "1 where the cluster holds the master down.",
		master: func(r *row) float64 { return truth(r.m.IsODown()) },
	},
	{
		name: "sentineld_master_down_votes", kind: gauge, help: "Voters that hold the master down.",
		master: func(r *row) float64 { return float64(r.downVotes) },
	},
	{
		name: "sentineld_master_quorum", kind: gauge, help: "Votes that it takes to hold the master down.",
		master: func(r *row) float64 { return float64(r.m.Options.Quorum) },
	},
	{
		name: "sentineld_master_auth_rejected", kind: gauge, help: "1 where the master lives and rejects the password of at least one node.",
		master: func(r *row) float64 { return truth(r.rejected()) },
	},
	{
		name: "sentineld_master_ping_seconds", kind: gauge, help: "Round trip to the master by this node: of the last probe or, at rest, as the kernel smooths it.",
		master: func(r *row) float64 {
			if r.seen.PingTime <= 0 {
				return math.NaN()
			}
			return r.seen.PingTime.Seconds()
		},
	},
	{
		name: "sentineld_master_replicas", kind: gauge, help: "Replicas that are known.",
		master: func(r *row) float64 { return float64(r.replicas) },
	},
	{
		name: "sentineld_master_replicas_connected", kind: gauge, help: "Replicas that this node is connected to and does not hold down.",
		master: func(r *row) float64 { return float64(r.connected) },
	},
	{
		name: "sentineld_master_replicas_in_sync", kind: gauge, help: "Replicas with the master's history whose link to it is up, as this node sees it.",
		master: func(r *row) float64 { return float64(r.inSync) },
	},
	{
		name: "sentineld_master_replica_lag_max_bytes", kind: gauge, help: "How far the connected replica that is farthest behind lacks of the master's stream, by the last INFO of both; absent where not known.",
		master: func(r *row) float64 { return r.lag },
	},
	{
		name: "sentineld_master_maintenance_instances", kind: gauge, help: "Instances of the master's set in maintenance.",
		master: func(r *row) float64 { return float64(r.maintenance) },
	},
	{
		name: "sentineld_master_address_conflicts", kind: gauge, help: "Addresses that the master lists as replicas and another set owns.",
		master: func(r *row) float64 { return float64(len(r.m.Conflicts)) },
	},
	{
		name: "sentineld_master_paused", kind: gauge, help: "1 where automatic action is paused.",
		master: func(r *row) float64 { return truth(r.m.Pause != nil) },
	},
	{
		name: "sentineld_master_held", kind: gauge, help: "1 where the set contradicts its committed state and waits for an operator.",
		master: func(r *row) float64 { return truth(r.m.Hold != nil) },
	},
	{
		name: "sentineld_master_failover_in_progress", kind: gauge, help: "1 while a failover or switchover of the master is open.",
		master: func(r *row) float64 { return truth(r.m.Failover != nil) },
	},
	{
		name: "sentineld_master_failover_ready", kind: gauge, help: "1 where a failover could happen now, as this node sees it.",
		master: func(r *row) float64 { return ready(r, failoverBlockers) },
	},
	{
		name: "sentineld_master_failover_blocked", kind: gauge, help: "1 for each reason that stands in the way of a failover now, as this node sees it.",
		masters: func(r *row, add adder) { blocked(r, failoverBlockers, add) },
	},
	{
		name: "sentineld_master_switchover_ready", kind: gauge, help: "1 where a switchover could begin now, as this node sees it.",
		master: func(r *row) float64 { return ready(r, switchoverBlockers) },
	},
	{
		name: "sentineld_master_switchover_blocked", kind: gauge, help: "1 for each reason that stands in the way of a switchover now, as this node sees it.",
		masters: func(r *row, add adder) { blocked(r, switchoverBlockers, add) },
	},
	{
		name: "sentineld_master_predicted_loss_bytes", kind: gauge, help: "How far the replica that would win a failover now is behind, as this node sees it; absent where not known.",
		master: func(r *row) float64 {
			if r.outlook == nil || r.outlook.LossBytes < 0 {
				return math.NaN()
			}
			return float64(r.outlook.LossBytes)
		},
	},
	{
		name: "sentineld_master_failovers_total", kind: counter, help: "Failovers and switchovers that ended since this process began, as this node saw them.",
		masters: func(r *row, add adder) {
			for i, kind := range kindNames {
				for j, outcome := range outcomeNames {
					add(float64(r.counts.n[i][j]), "kind", kind, "outcome", outcome)
				}
			}
		},
	},
	{
		name: "sentineld_master_last_failover_timestamp_seconds", kind: gauge, help: "When the last failover switched the master, Unix time; absent before the first.",
		master: ofLast(func(r *row) float64 { return float64(r.last.SwitchedAtMs) / 1000 }),
	},
	{
		name: "sentineld_master_last_failover_duration_seconds", kind: gauge, help: "The last failover that switched the master: from its decision to the switch.",
		master: ofLast(func(r *row) float64 {
			return max(0, (time.Duration(r.last.SwitchedAtMs-r.last.BegunAtMs) * time.Millisecond).Seconds())
		}),
	},
	{
		name: "sentineld_master_last_failover_loss_known", kind: gauge, help: "1 where the loss of the last failover is known to the byte, 0 where it is a lower bound or not known.",
		master: ofLast(func(r *row) float64 { return truth(r.lossKnown()) }),
	},
	{
		name: "sentineld_master_last_failover_loss_bytes", kind: gauge, help: "What the last failover lost of the old master's stream, at least; absent where not known.",
		master: ofLast((*row).loss),
	},
}

// told1 is one value of a node that may tell its state.
func told1(value func(s *scrape) float64) func(*scrape, adder) {
	return func(s *scrape, add adder) {
		if s.st != nil {
			add(value(s))
		}
	}
}

func served(value func(Clients) float64) func(*scrape, adder) {
	return func(s *scrape, add adder) {
		if s.served {
			add(value(s.clients))
		}
	}
}

func scripts(value func(Scripts) float64) func(*scrape, adder) {
	return func(s *scrape, add adder) {
		if s.o.Scripts != nil {
			add(value(s.scripts))
		}
	}
}

// ofLast is a value of masters that a failover has switched.
func ofLast(value func(r *row) float64) func(*row) float64 {
	return func(r *row) float64 {
		if r.last == nil {
			return math.NaN()
		}
		return value(r)
	}
}

func failoverBlockers(o *Outlook) []string { return o.FailoverBlockers }

func switchoverBlockers(o *Outlook) []string { return o.SwitchoverBlockers }

// ready is not known to a node that does not look.
func ready(r *row, blockers func(*Outlook) []string) float64 {
	if r.outlook == nil {
		return math.NaN()
	}
	return truth(len(blockers(r.outlook)) == 0)
}

func blocked(r *row, blockers func(*Outlook) []string, add adder) {
	if r.outlook == nil {
		return
	}
	for _, reason := range blockers(r.outlook) {
		add(1, "reason", reason)
	}
}
