package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/raftsentinel/raftsentinel/api/client"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// loginOptions are those that a visit to an instance depends on.
var loginOptions = []string{"auth-user", passOption, "tls"}

// holder is the removal that frees the address of what is to be created; nil where none does.
func holder(d *deed, removals []*deed) *deed {
	if d.wanted == nil {
		return nil
	}
	i := slices.IndexFunc(removals, func(r *deed) bool { return ofSet(r.set, d.wanted.address) })
	if i < 0 {
		return nil
	}
	return removals[i]
}

// rehearse tries the options of a set on the one that holds its address, before that one is given up: the new one itself
// cannot be tried while the address is taken.
func (a *app) rehearse(ctx context.Context, d, old *deed) error {
	options := slices.Clone(d.wanted.named)
	for _, name := range loginOptions {
		if !slices.Contains(options, name) {
			options = append(options, name)
		}
	}
	q := &sentinelv1.UpdateMasterRequest{Name: old.Name, Options: &sentinelv1.MasterOptions{}, ValidateOnly: true}
	paths, err := d.wanted.put(q.GetOptions(), options)
	if err != nil {
		return err
	}
	q.UpdateMask = &fieldmaskpb.FieldMask{Paths: paths}
	answer, err := change(ctx, a, func(ctx context.Context, c *client.Client) (*sentinelv1.UpdateMasterResponse, error) {
		return sentinelv1.NewAdminServiceClient(c).UpdateMaster(ctx, q)
	})
	if w := answer.GetWarnings(); err == nil && len(w) > 0 && old.set.GetOptions().GetAuthPassSet() {
		return fmt.Errorf("the login could not be tried everywhere, and the password of %s cannot be read back: %s", old.Name, strings.Join(w, "; "))
	}
	return err
}

// putBack watches a removed set again whose address its new name could not take: else nobody would watch it. Its password
// cannot be read back; the new one's was taken by its instances in the rehearsal.
func (a *app) putBack(ctx context.Context, d, old *deed) {
	q := formerly(old.set)
	_, err := d.wanted.put(q.GetOptions(), loginOptions)
	if err == nil {
		_, err = a.create(ctx, old, q)
	}
	why, _ := reason(err)
	switch why {
	case "NOT_A_MASTER", "AUTH_REJECTED", "LOOPBACK_MASTER":
		// What is wrong with its instances was wrong before it was removed, and is no reason to leave them alone.
		old.note("put back although %s", a.words(err))
		q.Force = true
		_, err = a.create(ctx, old, q)
	case "ADDRESS_TAKEN":
		if a.isThere(ctx, d) {
			d.err, d.Error, d.Done = nil, "", true
			d.note("the answer to its creation was lost; it is there")
			return
		}
	case "DUPLICATE_MASTER":
		err = nil // it was never removed
	}
	switch {
	case err == nil:
		old.err, old.Error = d.err, "removed, and put back: "+d.Name+" could not take its place"
		d.Error += "; " + old.Name + " was put back"
	case exitStatus(err, true, false) == exitUnknown:
		old.err = err
		old.Error = "removed, and it is not known whether it was put back; look whether " + old.Address + " is watched"
		d.Error += "; " + old.Error
	default:
		d.Error += "; " + old.Name + " was removed and could not be put back: nobody watches " + old.Address + ": " + a.words(err)
	}
}

// formerly is the request that makes a set what it was, without its password. A pause keeps its end; one that has run out
// meanwhile is none.
func formerly(m *sentinelv1.Master) *sentinelv1.MonitorMasterRequest {
	q := &sentinelv1.MonitorMasterRequest{
		Name: m.GetName(), Address: m.GetAddress(), Options: proto.CloneOf(m.GetOptions()), Epoch: m.GetEpoch(),
	}
	q.Options.AuthPassSet = false
	if p := m.GetPause(); p != nil && (p.GetUntil() == nil || time.Now().Before(p.GetUntil().AsTime())) {
		q.PausedReason, q.PausedUntil = cmp.Or(p.GetReason(), "it was paused before"), p.GetUntil()
	}
	for _, in := range m.GetInstances() {
		if at := client.HostPort(in.GetAddress()); at != client.HostPort(m.GetAddress()) {
			q.Replicas = append(q.Replicas, in.GetAddress())
		}
	}
	return q
}

// isThere tells whether a set that was to be created exists.
func (a *app) isThere(ctx context.Context, d *deed) bool {
	present, err := a.present(ctx)
	return err == nil && present[d.Name] != nil && ofSet(present[d.Name], d.wanted.address)
}
