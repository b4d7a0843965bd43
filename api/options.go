package api

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// field is a field of MasterOptions and the option of the law that it sets.
type field struct {
	path   string
	option string
	// get gives the option's value, and whether the field is set.
	get func(*sentinelv1.MasterOptions) (string, bool)
	// set gives the field a value that the option table has accepted.
	set func(*sentinelv1.MasterOptions, string)
	// normal is the value that an update gives to a field that its mask names and its message leaves unset; "" may be one.
	normal string
	// required: there is no normal value.
	required bool
}

func intField[T int32 | int64](p *T) (string, bool) {
	if p == nil {
		return "", false
	}
	return strconv.FormatInt(int64(*p), 10), true
}

func textField(p *string) (string, bool) {
	if p == nil {
		return "", false
	}
	return *p, true
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// fields is the table of all but rename_command, which is a map.
func fields() []field {
	normal := raftfsm.DefaultOptions()
	return []field{
		{
			path: "quorum", option: "quorum", required: true,
			get: func(o *sentinelv1.MasterOptions) (string, bool) { return intField(o.Quorum) },
			set: func(o *sentinelv1.MasterOptions, v string) { o.Quorum = new(int32(number(v))) },
		},
		{
			path: "down_after_ms", option: "down-after-milliseconds", normal: millis(normal.DownAfter),
			get: func(o *sentinelv1.MasterOptions) (string, bool) { return intField(o.DownAfterMs) },
			set: func(o *sentinelv1.MasterOptions, v string) { o.DownAfterMs = new(number(v)) },
		},
		{
			path: "failover_timeout_ms", option: "failover-timeout", normal: millis(normal.FailoverTimeout),
			get: func(o *sentinelv1.MasterOptions) (string, bool) { return intField(o.FailoverTimeoutMs) },
			set: func(o *sentinelv1.MasterOptions, v string) { o.FailoverTimeoutMs = new(number(v)) },
		},
		{
			path: "parallel_syncs", option: "parallel-syncs", normal: strconv.Itoa(normal.ParallelSyncs),
			get: func(o *sentinelv1.MasterOptions) (string, bool) { return intField(o.ParallelSyncs) },
			set: func(o *sentinelv1.MasterOptions, v string) { o.ParallelSyncs = new(int32(number(v))) },
		},
		{
			path: "auth_user", option: "auth-user",
			get: func(o *sentinelv1.MasterOptions) (string, bool) { return textField(o.AuthUser) },
			set: func(o *sentinelv1.MasterOptions, v string) { o.AuthUser = &v },
		},
		{
			path: "auth_pass", option: "auth-pass",
			get: func(o *sentinelv1.MasterOptions) (string, bool) { return textField(o.AuthPass) },
			set: func(o *sentinelv1.MasterOptions, v string) { o.AuthPass = &v },
		},
		{
			path: "notification_script", option: "notification-script",
			get: func(o *sentinelv1.MasterOptions) (string, bool) { return textField(o.NotificationScript) },
			set: func(o *sentinelv1.MasterOptions, v string) { o.NotificationScript = &v },
		},
		{
			path: "client_reconfig_script", option: "client-reconfig-script",
			get: func(o *sentinelv1.MasterOptions) (string, bool) { return textField(o.ClientReconfigScript) },
			set: func(o *sentinelv1.MasterOptions, v string) { o.ClientReconfigScript = &v },
		},
		{
			path: "master_reboot_down_after_ms", option: "master-reboot-down-after-period", normal: "0",
			get: func(o *sentinelv1.MasterOptions) (string, bool) { return intField(o.MasterRebootDownAfterMs) },
			set: func(o *sentinelv1.MasterOptions, v string) { o.MasterRebootDownAfterMs = new(number(v)) },
		},
		{
			path: "failover_cooldown_ms", option: "failover-cooldown", normal: millis(normal.FailoverCooldown),
			get: func(o *sentinelv1.MasterOptions) (string, bool) { return intField(o.FailoverCooldownMs) },
			set: func(o *sentinelv1.MasterOptions, v string) { o.FailoverCooldownMs = new(number(v)) },
		},
		{
			path: "tls", option: "tls", get: tlsField,
			set: func(o *sentinelv1.MasterOptions, v string) { o.Tls = tlsModes[v].Enum() },
		},
	}
}

const (
	renamePath   = "rename_command"
	renameOption = "rename-command"
)

// tlsModes are the values of the option tls; none is TLS_MODE_UNSPECIFIED.
var tlsModes = map[string]sentinelv1.TlsMode{
	"yes": sentinelv1.TlsMode_TLS_MODE_YES, "no": sentinelv1.TlsMode_TLS_MODE_NO,
}

// number reads what the option table has accepted.
func number(v string) int64 {
	n, _ := strconv.ParseInt(v, 10, 64)
	return n
}

// PutOption adds an option, named and written as in sentinel.conf, to an update of a master whose options are now. The value
// of rename-command is COMMAND NEWNAME.
func PutOption(req *sentinelv1.UpdateMasterRequest, now raftfsm.Options, name, value string) error {
	opt, known := raftfsm.LookupOption(name)
	if !known {
		return invalid("unknown option %q", name)
	}
	if _, err := now.With([]*raftlogv1.OptionValue{{Name: opt.Name, Value: value}}); err != nil {
		return invalid("%v", err)
	}
	if req.Options == nil {
		req.Options = &sentinelv1.MasterOptions{}
	}
	if req.UpdateMask == nil {
		req.UpdateMask = &fieldmaskpb.FieldMask{}
	}
	if opt.Name == renameOption {
		putRename(req.GetOptions(), now, strings.Fields(value))
		req.UpdateMask.Paths = append(req.GetUpdateMask().GetPaths(), renamePath)
		return nil
	}
	for _, f := range fields() {
		if f.option == opt.Name {
			f.set(req.GetOptions(), value)
			req.UpdateMask.Paths = append(req.GetUpdateMask().GetPaths(), f.path)
			return nil
		}
	}
	return invalid("option %s cannot be set", opt.Name)
}

// putRename adds to the present renamed commands; an update takes them whole.
func putRename(o *sentinelv1.MasterOptions, now raftfsm.Options, words []string) {
	if o.RenameCommand == nil {
		o.RenameCommand = map[string]string{}
		maps.Copy(o.RenameCommand, now.RenameCommand)
	}
	from := strings.ToLower(words[0])
	delete(o.RenameCommand, from)
	if !strings.EqualFold(from, words[1]) {
		o.RenameCommand[from] = words[1]
	}
}

func tlsField(o *sentinelv1.MasterOptions) (string, bool) {
	if o.Tls == nil {
		return "", false
	}
	switch o.GetTls() {
	case sentinelv1.TlsMode_TLS_MODE_YES:
		return "yes", true
	case sentinelv1.TlsMode_TLS_MODE_NO:
		return "no", true
	case sentinelv1.TlsMode_TLS_MODE_UNSPECIFIED:
		return "", true
	}
	return o.GetTls().String(), true // refused by the option table, which names it
}

// newOptions are the option values of a Monitor: the fields that are set.
func newOptions(o *sentinelv1.MasterOptions) []*raftlogv1.OptionValue {
	if o == nil {
		return nil
	}
	var out []*raftlogv1.OptionValue
	for _, f := range fields() {
		if v, set := f.get(o); set {
			out = append(out, &raftlogv1.OptionValue{Name: f.option, Value: v})
		}
	}
	return append(out, renames(nil, o.GetRenameCommand())...)
}

// updates are the option values of a Set: the fields that the mask names, or, without a mask, those that are set. whole
// tells that the values depend on the present options, and must meet them unchanged.
func updates(now raftfsm.Options, o *sentinelv1.MasterOptions, mask []string) (out []*raftlogv1.OptionValue, whole bool, err error) {
	if o == nil {
		o = &sentinelv1.MasterOptions{}
	}
	table := fields()
	for _, path := range mask {
		known := path == renamePath || slices.ContainsFunc(table, func(f field) bool { return f.path == path })
		if !known {
			return nil, false, invalid("update_mask: unknown path %q; known are %s", path, paths(table))
		}
	}
	for _, f := range table {
		v, set := f.get(o)
		switch named := slices.Contains(mask, f.path); {
		case len(mask) > 0 && !named, len(mask) == 0 && !set:
			continue
		case !set && f.required:
			return nil, false, invalid("%s: update_mask names it and there is no default; give a value", f.path)
		case !set:
			v = f.normal
		}
		out = append(out, &raftlogv1.OptionValue{Name: f.option, Value: v})
	}
	if slices.Contains(mask, renamePath) || (len(mask) == 0 && len(o.GetRenameCommand()) > 0) {
		changed := renames(now.RenameCommand, o.GetRenameCommand())
		out, whole = append(out, changed...), len(changed) > 0
	}
	if len(out) == 0 && len(mask) == 0 {
		return nil, false, invalid("options: nothing to set; known fields are %s", paths(table))
	}
	return out, whole, nil
}

func paths(table []field) string {
	names := make([]string, 0, len(table)+1)
	for _, f := range table {
		names = append(names, f.path)
	}
	return strings.Join(append(names, renamePath), ", ")
}

// renames turns one map of renamed commands into another.
func renames(from, to map[string]string) []*raftlogv1.OptionValue {
	lower := map[string]string{}
	var out []*raftlogv1.OptionValue
	for _, k := range slices.Sorted(maps.Keys(to)) {
		name := strings.ToLower(k)
		lower[name] = to[k]
		if from[name] != to[k] {
			out = append(out, &raftlogv1.OptionValue{Name: renameOption, Value: k + " " + to[k]})
		}
	}
	for _, k := range slices.Sorted(maps.Keys(from)) {
		if _, stays := lower[k]; !stays {
			out = append(out, &raftlogv1.OptionValue{Name: renameOption, Value: k + " " + k})
		}
	}
	return out
}

// options is o as it may be shown: the password only as a fact.
func options(o raftfsm.Options) *sentinelv1.MasterOptions {
	return &sentinelv1.MasterOptions{
		Quorum: new(int32(o.Quorum)), DownAfterMs: new(o.DownAfter.Milliseconds()),
		FailoverTimeoutMs: new(o.FailoverTimeout.Milliseconds()), ParallelSyncs: new(int32(o.ParallelSyncs)),
		AuthUser: new(o.AuthUser), AuthPassSet: !o.AuthPass.IsZero(),
		NotificationScript: new(o.NotificationScript), ClientReconfigScript: new(o.ClientReconfigScript),
		MasterRebootDownAfterMs: new(o.MasterRebootDownAfter.Milliseconds()), RenameCommand: maps.Clone(o.RenameCommand),
		Tls: tlsModes[o.TLS].Enum(), FailoverCooldownMs: new(o.FailoverCooldown.Milliseconds()),
	}
}
