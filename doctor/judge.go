package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Limits between what is well and what is not.
const (
	// clockWarn is what human readers of histories notice, clockBad what shifts pauses and cooldowns by as much as they last.
	clockWarn = time.Second
	clockBad  = time.Minute
	// The log and its snapshots take some tens of MiB.
	diskWarn, diskBad = 512 << 20, 64 << 20
	inodeWarn         = 1000
	inodeBad          = 50
	// An election takes half a second at raft-timing default, and writes twice.
	fsyncWarn, fsyncBad = 20 * time.Millisecond, 250 * time.Millisecond
	// certificateWarn before its end.
	certificateWarn = 30 * 24 * time.Hour
)

// Judge finds what is wrong: the cluster first, then each node, then each set, in the order of the facts.
func Judge(f Facts) []Finding {
	var r report
	f.views = viewsOf(f.Nodes)
	judgeCluster(&r, f)
	for _, n := range f.Nodes {
		judgeNode(&r, f, n)
	}
	for _, s := range f.Sets {
		judgeSet(&r, f, s)
	}
	return r.findings
}

func judgeCluster(r *report, f Facts) {
	var of Subject
	r.check(of, "leader", "node "+f.Leader+" leads", func(say *sayer) {
		asked := f.node(f.Asked)
		say.unmade = asked.Role == "removed" || asked.Waiting != "" // which is told of the node: bringing back others does not help
		if f.Leader == "" && !say.unmade {
			say.that("no_leader", "the asked node hears no leader")
		}
	})
	r.check(of, "voters", fmt.Sprintf("%d voters: %d may fail", f.Voters, (f.Voters-1)/2), func(say *sayer) {
		say.unmade = f.Voters == 0
		switch {
		case f.Voters == 1:
			say.that("voters_one", "there is one voter")
		case f.Voters > 0 && f.Voters%2 == 0:
			say.that("voters_even", "there are %d voters", f.Voters)
		}
	})
	r.check(of, "members", fmt.Sprintf("%d nodes are members, no fewer than cluster-peers names", len(f.Nodes)), func(say *sayer) {
		peers := f.node(f.Asked).Config.Peers
		say.unmade = len(peers) == 0 || f.Leader == ""
		if !say.unmade && len(peers) > len(f.Nodes) {
			say.that("member_missing", "cluster-peers names %d nodes, and %d are members", len(peers), len(f.Nodes))
		}
	})
	r.check(of, "versions", "all nodes have the same version", func(say *sayer) {
		if by := group(f.Nodes, func(n Node) string { return n.Version }); len(by) > 1 {
			say.that("versions_differ", "nodes run different versions: %s", words(by))
		}
	})
	r.check(of, "configurations", "what must be the same on all nodes is", func(say *sayer) { judgeSame(say, f.Nodes) })
	r.check(of, "certificates", "no port of sentineld has TLS in this version, so there is no certificate of its own that could end", func(*sayer) {})
}

// judgeSame compares what all nodes must have in common.
func judgeSame(say *sayer, nodes []Node) {
	for _, c := range []struct {
		code, directive string
		value           func(Config) string
	}{
		{"cluster_name_differs", "cluster-name", func(c Config) string { return c.ClusterName }},
		{"raft_timing_differs", "raft-timing", func(c Config) string { return c.RaftTiming }},
		{"bootstrap_expect_differs", "bootstrap-expect", func(c Config) string { return fmt.Sprint(c.BootstrapExpect) }},
		{"cluster_peers_differ", "cluster-peers", func(c Config) string {
			return strings.Join(slices.Sorted(slices.Values(c.Peers)), " ")
		}},
	} {
		by := group(nodes, func(n Node) string {
			if n.Config.ClusterName == "" {
				return "" // nothing is known of it
			}
			if v := c.value(n.Config); v != "" {
				return v
			}
			return "none"
		})
		if len(by) > 1 {
			say.that(c.code, "%s differs: %s", c.directive, words(by))
		}
	}
}

// group is who has which value, in the order in which values come; "" is none.
func group(nodes []Node, value func(Node) string) (by []holders) {
	for _, n := range nodes {
		v := value(n)
		if v == "" {
			continue
		}
		i := slices.IndexFunc(by, func(h holders) bool { return h.value == v })
		if i < 0 {
			i, by = len(by), append(by, holders{value: v})
		}
		by[i].who = append(by[i].who, n.ID)
	}
	return by
}

type holders struct {
	value string
	who   []string
}

func words(by []holders) string {
	out := make([]string, len(by))
	for i, h := range by {
		out[i] = h.value + " on " + strings.Join(h.who, ", ")
	}
	return strings.Join(out, "; ")
}
