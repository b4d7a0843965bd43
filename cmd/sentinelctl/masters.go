package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/raftsentinel/raftsentinel/api/client"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

const pageSize = 500

func (a *app) mastersCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "masters",
		Short: "List the watched masters",
		Args:  args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r := a.reading()
			all, err := r.masters(cmd.Context())
			if err != nil {
				return err
			}
			return r.print(all, func() *table { return mastersTable(all.GetMasters()) })
		},
	}
}

// masters reads all pages into one answer.
func (r *reading) masters(ctx context.Context) (*sentinelv1.ListMastersResponse, error) {
	var all *sentinelv1.ListMastersResponse
	for token := ""; ; {
		page, err := ask(ctx, r, func(ctx context.Context, c *client.Client, how sentinelv1.Consistency) (*sentinelv1.ListMastersResponse, error) {
			return sentinelv1.NewSentinelServiceClient(c).ListMasters(ctx,
				&sentinelv1.ListMastersRequest{Consistency: how, PageSize: pageSize, PageToken: token})
		})
		if err != nil {
			return nil, err
		}
		if all == nil {
			all = page
		} else {
			all.Masters = append(all.Masters, page.GetMasters()...)
		}
		token = page.GetNextPageToken()
		if token == "" {
			all.NextPageToken = ""
			return all, nil
		}
	}
}

func mastersTable(masters []*sentinelv1.Master) *table {
	t := newTable("NAME", "STATUS", "ADDRESS", "EPOCH", "REPLICAS", "QUORUM", "NOTE")
	for _, m := range masters {
		t.add(m.GetName(), statusWord(m.GetStatus()), client.HostPort(m.GetAddress()), m.GetEpoch(), replicasWord(m),
			fmt.Sprintf("%d/%d", m.GetOptions().GetQuorum(), m.GetVoters()), note(m))
	}
	return t
}

// replicasWord is the number of replicas, and how many of them are up and follow where the asked node sees that not all do.
func replicasWord(m *sentinelv1.Master) string {
	up, all := 0, 0
	for _, in := range m.GetInstances() {
		if in.GetRole() != sentinelv1.Role_ROLE_REPLICA {
			continue
		}
		all++
		o := in.GetObservation()
		if o == nil {
			return strconv.FormatUint(uint64(m.GetReplicaCount()), 10) // the asked node does not probe
		}
		if o.GetConnected() && !o.GetDown() && !o.GetAuthRejected() && !o.GetLoading() && o.GetLinkUp() {
			up++
		}
	}
	if up == all {
		return strconv.FormatUint(uint64(m.GetReplicaCount()), 10)
	}
	return fmt.Sprintf("%d/%d up", up, all)
}

// statusWord is "ok", "sdown", "odown", "unknown" or "auth-rejected".
func statusWord(s sentinelv1.MasterStatus) string { return enumWord(s.String(), "MASTER_STATUS_") }

// enumWord is an enum's name as a word: FAILOVER_KIND_PLANNED is planned.
func enumWord(name, prefix string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, prefix)), "_", "-")
}

// note tells what is out of the ordinary about a set.
func note(m *sentinelv1.Master) string {
	var notes []string
	if f := m.GetFailover(); f != nil {
		notes = append(notes, "failover to "+client.HostPort(f.GetTo()))
	}
	if m.GetHold() != nil {
		notes = append(notes, "held: "+m.GetHold().GetReason())
	}
	if p := m.GetPause(); p != nil {
		notes = append(notes, strings.TrimSuffix("paused: "+p.GetReason(), ": "))
	}
	if m.GetDownVotes() > 0 {
		notes = append(notes, fmt.Sprintf("%d of %d nodes hold it down", m.GetDownVotes(), m.GetVoters()))
	}
	notes = append(notes, seenNotes(m)...)
	notes = append(notes, maintenanceNotes(m)...)
	for _, c := range m.GetConflicts() {
		notes = append(notes, fmt.Sprintf("%s belongs to %s", client.HostPort(c.GetAddress()), c.GetOwner()))
	}
	return strings.Join(notes, "; ")
}

// seenNotes tell what single nodes, the asked one among them, have against the master.
func seenNotes(m *sentinelv1.Master) []string {
	var notes []string
	in := instanceAt(m, m.GetAddress())
	o := in.GetObservation()
	if m.GetStatus() == sentinelv1.MasterStatus_MASTER_STATUS_UNKNOWN {
		notes = append(notes, "never reached")
	}
	if o.GetDown() && !o.GetAuthRejected() && m.GetDownVotes() == 0 {
		notes = append(notes, fmt.Sprintf("the asked node holds it down (%s)", causeWord(o.GetCause())))
	}
	var by []string
	for _, v := range in.GetVotes() {
		if v.GetCause() == sentinelv1.Cause_CAUSE_AUTH {
			by = append(by, v.GetNodeId())
		}
	}
	if len(by) == 0 && o.GetAuthRejected() {
		by = append(by, "the asked node")
	}
	if len(by) > 0 {
		what := "wants a password, none is set"
		if m.GetOptions().GetAuthPassSet() {
			what = "rejects the password"
		}
		notes = append(notes, fmt.Sprintf("%s (%s)", what, strings.Join(by, ", ")))
	}
	return notes
}

// instanceAt finds an instance of a set; nil for none.
func instanceAt(m *sentinelv1.Master, a *sentinelv1.Address) *sentinelv1.Instance {
	for _, in := range m.GetInstances() {
		if proto.Equal(in.GetAddress(), a) {
			return in
		}
	}
	return nil
}

// master reads one set.
func (r *reading) master(ctx context.Context, name string) (*sentinelv1.GetMasterResponse, error) {
	return ask(ctx, r, func(ctx context.Context, c *client.Client, how sentinelv1.Consistency) (*sentinelv1.GetMasterResponse, error) {
		return sentinelv1.NewSentinelServiceClient(c).GetMaster(ctx, &sentinelv1.GetMasterRequest{Name: name, Consistency: how})
	})
}

func (a *app) masterCmd() *cobra.Command {
	return &cobra.Command{
		Use:               "master NAME",
		Short:             "Show one master with its options",
		Args:              args(1, 1),
		ValidArgsFunction: a.completeMaster,
		RunE: func(cmd *cobra.Command, args []string) error {
			r := a.reading()
			answer, err := r.master(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return r.print(answer, func() *table { return masterTable(answer.GetMaster()) })
		},
	}
}

func masterTable(m *sentinelv1.Master) *table {
	t := newTable()
	t.add("name", m.GetName())
	t.add("address", client.HostPort(m.GetAddress()))
	t.add("status", statusWord(m.GetStatus()))
	t.add("note", note(m))
	t.add("down votes", fmt.Sprintf("%d of %d", m.GetDownVotes(), m.GetVoters()))
	t.add("replicas", replicasWord(m))
	t.add("epoch", m.GetEpoch())
	t.add("revision", m.GetRevision())
	t.add("past failovers", m.GetHistoryCount())
	for _, o := range optionTable {
		if value := o.get(m.GetOptions()); value != "" {
			t.add(o.name, value)
		}
	}
	return t
}

func (a *app) replicasCmd() *cobra.Command {
	return &cobra.Command{
		Use:               "replicas NAME",
		Short:             "List the replicas of a master, as the asked node sees them",
		Args:              args(1, 1),
		ValidArgsFunction: a.completeMaster,
		RunE: func(cmd *cobra.Command, args []string) error {
			r := a.reading()
			all, err := r.replicas(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return r.print(all, func() *table { return replicasTable(all.GetReplicas()) })
		},
	}
}

func (r *reading) replicas(ctx context.Context, name string) (*sentinelv1.ListReplicasResponse, error) {
	var all *sentinelv1.ListReplicasResponse
	for token := ""; ; {
		page, err := ask(ctx, r, func(ctx context.Context, c *client.Client, how sentinelv1.Consistency) (*sentinelv1.ListReplicasResponse, error) {
			return sentinelv1.NewSentinelServiceClient(c).ListReplicas(ctx,
				&sentinelv1.ListReplicasRequest{Name: name, Consistency: how, PageSize: pageSize, PageToken: token})
		})
		if err != nil {
			return nil, err
		}
		if all == nil {
			all = page
		} else {
			all.Replicas = append(all.Replicas, page.GetReplicas()...)
		}
		token = page.GetNextPageToken()
		if token == "" {
			all.NextPageToken = ""
			return all, nil
		}
	}
}

func replicasTable(replicas []*sentinelv1.Instance) *table {
	head := []string{"ADDRESS", "STATUS", "LINK", "FOLLOWS", "LAG", "OFFSET", "PRIORITY", "PING", "HELD DOWN BY"}
	some := slices.ContainsFunc(replicas, func(in *sentinelv1.Instance) bool { return in.GetMaintenance() != nil })
	if some {
		head = append(head, "MAINTENANCE")
	}
	t := newTable(head...)
	for _, in := range replicas {
		row := replicaRow(in)
		if some {
			row = append(row, maintenanceWord(in.GetMaintenance()))
		}
		t.add(row...)
	}
	return t
}

func replicaRow(in *sentinelv1.Instance) []any {
	var by []string
	for _, v := range in.GetVotes() {
		by = append(by, fmt.Sprintf("%s (%s)", v.GetNodeId(), causeWord(v.GetCause())))
	}
	o := in.GetObservation()
	if o == nil || o.GetInfoAgeMs() < 0 {
		return []any{client.HostPort(in.GetAddress()), instanceStatus(in), "?", "?", "?", "?", "?", "?", strings.Join(by, ", ")}
	}
	priority := "?" // a master tells none
	if o.GetFollows() != nil {
		priority = strconv.Itoa(int(o.GetPriority()))
	}
	return []any{
		client.HostPort(in.GetAddress()), instanceStatus(in), linkWord(o), client.HostPort(o.GetFollows()),
		bytesWord(o.GetLagBytes()), o.GetOffsetBytes(), priority, fmt.Sprintf("%.2f ms", o.GetPingMs()), strings.Join(by, ", "),
	}
}

func causeWord(c sentinelv1.Cause) string { return enumWord(c.String(), "CAUSE_") }

// instanceStatus is the asked node's own verdict on an instance.
func instanceStatus(in *sentinelv1.Instance) string {
	o := in.GetObservation()
	switch {
	case o == nil:
		return "?"
	case o.GetAuthRejected():
		return "auth-rejected"
	case o.GetDown():
		return "sdown"
	case !o.GetConnected():
		return "disconnected"
	case o.GetLoading():
		return "loading"
	case in.GetUnconfirmed():
		return "unconfirmed"
	}
	return "ok"
}

func linkWord(o *sentinelv1.Observation) string {
	switch {
	case o.GetFollows() == nil: // it was a master when it was last heard
		return ""
	case o.GetLinkUp():
		return "up"
	case o.GetLinkDownMs() < 0:
		return "never up"
	}
	return "down " + age(time.Duration(o.GetLinkDownMs())*time.Millisecond)
}

// bytesWord is a number of bytes; negative is unknown.
func bytesWord(n int64) string {
	switch {
	case n < 0:
		return "?"
	case n < 10_000:
		return fmt.Sprintf("%d B", n)
	case n < 10_000_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

// addrAnswer is the JSON of get-master-addr.
type addrAnswer struct {
	Name      string `json:"name"`
	Host      string `json:"host"`
	Port      uint32 `json:"port"`
	Epoch     uint64 `json:"epoch"`
	ClusterID string `json:"cluster_id"`
	Revision  uint64 `json:"revision"`
	AgeMs     int64  `json:"age_ms"`
	Local     bool   `json:"local"`
}

func (a *app) addrCmd() *cobra.Command {
	return &cobra.Command{
		Use:               "get-master-addr NAME",
		Short:             "Print the address of a master as HOST PORT",
		Args:              args(1, 1),
		ValidArgsFunction: a.completeMaster,
		RunE: func(cmd *cobra.Command, args []string) error {
			r := a.reading()
			answer, err := r.master(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer r.mark()
			addr := answer.GetMaster().GetAddress()
			if a.set.json() {
				return a.writeValue(addrAnswer{
					Name: answer.GetMaster().GetName(), Host: addr.GetHost(), Port: addr.GetPort(), Epoch: answer.GetMaster().GetEpoch(),
					ClusterID: answer.GetClusterId(), Revision: answer.GetRevision(), AgeMs: answer.GetAgeMs(), Local: r.local(),
				})
			}
			_, err = fmt.Fprintf(a.stdout, "%s %d\n", addr.GetHost(), addr.GetPort())
			return err
		},
	}
}

// parseAddress reads HOST:PORT, IPv6 in brackets.
func parseAddress(s string) (*sentinelv1.Address, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return nil, usagef("address %q: want HOST:PORT", s)
	}
	return newAddress(host, port)
}

// newAddress checks what needs no cluster; the cluster checks the rest.
func newAddress(host, port string) (*sentinelv1.Address, error) {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return nil, usagef("port %q: want 1 to 65535", port)
	}
	if host == "" {
		return nil, usagef("the host is empty")
	}
	return &sentinelv1.Address{Host: host, Port: uint32(n)}, nil
}
