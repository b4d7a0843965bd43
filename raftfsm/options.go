package raftfsm

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
)

// Options are the settings of one master, named as in sentinel.conf. A value is immutable once it is in a state.
type Options struct {
	// Quorum is how many voters must hold the master down; at least 1.
	Quorum int
	// DownAfter is how long an instance may give no acceptable reply.
	DownAfter time.Duration
	// FailoverTimeout bounds one attempt of a failover.
	FailoverTimeout time.Duration
	// ParallelSyncs is how many replicas are repointed at a time after a failover.
	ParallelSyncs int
	// AuthUser and AuthPass are presented to every instance of the set.
	AuthUser string
	AuthPass Secret
	// FormerAuthPass is tried where AuthPass is rejected, until the whole set accepts the new one.
	FormerAuthPass Secret
	// NotificationScript and ClientReconfigScript are paths on the nodes.
	NotificationScript   string
	ClientReconfigScript string
	// MasterRebootDownAfter is how long a restarted master may take to answer; 0 = no limit of its own.
	MasterRebootDownAfter time.Duration
	// RenameCommand maps a command's usual name, in lower case, to what the instances call it.
	RenameCommand map[string]string
	// FailoverCooldown is the least time between automatic failovers, once two have followed each other and until twice that
	// time lay between two; 0 = none.
	FailoverCooldown time.Duration
	// TLS dials the instances by TLS: "yes", "no", or "" for the node's tls-replication.
	TLS string
}

// DefaultOptions are Redis Sentinel's; the quorum has no default.
func DefaultOptions() Options {
	return Options{
		DownAfter:       30 * time.Second,
		FailoverTimeout: 180 * time.Second,
		ParallelSyncs:   1,
		// ours: Redis Sentinel waits twice failover-timeout
		FailoverCooldown: defaultCooldown,
	}
}

const (
	// optionCooldown is the name of an option that came with feature level 3.
	optionCooldown  = "failover-cooldown"
	defaultCooldown = 10 * time.Second
)

// Option is a row of the option table: the one place where a per-master option is defined.
type Option struct {
	Name string
	// Detection options change how verdicts are formed; setting one begins a new generation.
	Detection bool
	// Secret options go in and never come out.
	Secret bool
	// Repeated options may be given more than once, each time adding to the last.
	Repeated bool
	// Words is what the value may be, for error messages.
	Words string
	set   func(*Options, string) error
	// get gives the values that recreate the option; none at its default.
	get func(Options) []string
}

var optionTable = []Option{
	{
		Name: "quorum", Words: "a whole number, 1 or greater, at most 2147483647",
		set: func(o *Options, v string) error { return setInt(&o.Quorum, v, 1) },
		get: func(o Options) []string { return []string{strconv.Itoa(o.Quorum)} },
	},
	{
		Name: "down-after-milliseconds", Detection: true, Words: "milliseconds, 1 or greater, at most 2147483647",
		set: func(o *Options, v string) error { return setMillis(&o.DownAfter, v, 1) },
		get: func(o Options) []string { return []string{millis(o.DownAfter)} },
	},
	{
		Name: "failover-timeout", Words: "milliseconds, 1 or greater, at most 2147483647",
		set: func(o *Options, v string) error { return setMillis(&o.FailoverTimeout, v, 1) },
		get: func(o Options) []string { return []string{millis(o.FailoverTimeout)} },
	},
	{
		Name: "parallel-syncs", Words: "a whole number, 1 or greater, at most 2147483647",
		set: func(o *Options, v string) error { return setInt(&o.ParallelSyncs, v, 1) },
		get: func(o Options) []string { return []string{strconv.Itoa(o.ParallelSyncs)} },
	},
	{
		Name: "auth-user", Words: "a user name, or empty for none",
		set: func(o *Options, v string) error { o.AuthUser = v; return nil },
		get: func(o Options) []string { return nonEmpty(o.AuthUser) },
	},
	{
		Name: "auth-pass", Secret: true, Words: "a password, or empty for none",
		set: func(o *Options, v string) error { o.AuthPass = NewSecret(v); return nil },
		get: func(o Options) []string { return nonEmpty(o.AuthPass.Reveal()) },
	},
	{
		Name: "former-auth-pass", Secret: true, Words: "a password, or empty for none",
		set: func(o *Options, v string) error { o.FormerAuthPass = NewSecret(v); return nil },
		get: func(o Options) []string { return nonEmpty(o.FormerAuthPass.Reveal()) },
	},
	{
		Name: "notification-script", Words: "the path of an executable, or empty for none",
		set: func(o *Options, v string) error { o.NotificationScript = v; return nil },
		get: func(o Options) []string { return nonEmpty(o.NotificationScript) },
	},
	{
		Name: "client-reconfig-script", Words: "the path of an executable, or empty for none",
		set: func(o *Options, v string) error { o.ClientReconfigScript = v; return nil },
		get: func(o Options) []string { return nonEmpty(o.ClientReconfigScript) },
	},
	{
		Name: "master-reboot-down-after-period", Detection: true, Words: "milliseconds, 0 or greater, at most 2147483647; 0 = off",
		set: func(o *Options, v string) error { return setMillis(&o.MasterRebootDownAfter, v, 0) },
		get: func(o Options) []string { return []string{millis(o.MasterRebootDownAfter)} },
	},
	{
		Name: "rename-command", Repeated: true, Words: "COMMAND NEWNAME; the same word twice undoes it",
		set: setRename,
		get: func(o Options) []string {
			var out []string
			for _, k := range slices.Sorted(maps.Keys(o.RenameCommand)) {
				out = append(out, k+" "+o.RenameCommand[k])
			}
			return out
		},
	},
	{
		Name: optionCooldown, Words: "milliseconds, 0 or greater, at most 2147483647; 0 = off",
		set: func(o *Options, v string) error { return setMillis(&o.FailoverCooldown, v, 0) },
		get: func(o Options) []string {
			if o.FailoverCooldown == defaultCooldown {
				return nil // as a snapshot of feature level 2 has it
			}
			return []string{millis(o.FailoverCooldown)}
		},
	},
	{
		Name: "tls", Words: "yes, no, or empty for the node's tls-replication",
		set: func(o *Options, v string) error {
			if v != "" && v != "yes" && v != "no" {
				return errOption
			}
			o.TLS = v
			return nil
		},
		get: func(o Options) []string { return nonEmpty(o.TLS) },
	},
}

// maxValue bounds the value of an option, in bytes.
const maxValue = 4096

var errOption = fmt.Errorf("bad value")

// OptionTable lists the per-master options in a fixed order.
func OptionTable() []Option { return slices.Clone(optionTable) }

// LookupOption finds an option by its name, in any case. Valkey's spelling of the reboot option is known too.
func LookupOption(name string) (Option, bool) {
	name = strings.ToLower(name)
	if name == "primary-reboot-down-after-period" {
		name = "master-reboot-down-after-period"
	}
	for _, o := range optionTable {
		if o.Name == name {
			return o, true
		}
	}
	return Option{}, false
}

// With is o with values set in order; o itself is not changed. All values are good or none is taken.
func (o Options) With(values []*raftlogv1.OptionValue) (Options, error) {
	o.RenameCommand = maps.Clone(o.RenameCommand)
	for _, v := range values {
		opt, ok := LookupOption(v.GetName())
		if !ok {
			return Options{}, fmt.Errorf("unknown option %q; known are %s", v.GetName(), optionNames())
		}
		if len(v.GetValue()) > maxValue {
			return Options{}, fmt.Errorf("option %s: %d bytes; at most %d are allowed", opt.Name, len(v.GetValue()), maxValue)
		}
		if i := strings.IndexFunc(v.GetValue(), isControl); i >= 0 {
			return Options{}, fmt.Errorf("option %s: control characters are not allowed", opt.Name)
		}
		if err := opt.set(&o, v.GetValue()); err != nil {
			shown := strconv.Quote(v.GetValue())
			if opt.Secret {
				shown = secretMask
			}
			if !errors.Is(err, errOption) {
				return Options{}, fmt.Errorf("option %s: %w; want %s", opt.Name, err, opt.Words)
			}
			return Options{}, fmt.Errorf("option %s: %s is not allowed; want %s", opt.Name, shown, opt.Words)
		}
	}
	return o, nil
}

// Set is o with one option set; see [Options.With].
func (o Options) Set(name, value string) (Options, error) {
	return o.With([]*raftlogv1.OptionValue{{Name: name, Value: value}})
}

// Values are the option values that recreate o, in table order, secrets included: for the log and for snapshots.
func (o Options) Values() []*raftlogv1.OptionValue {
	var out []*raftlogv1.OptionValue
	for _, opt := range optionTable {
		for _, v := range opt.get(o) {
			out = append(out, &raftlogv1.OptionValue{Name: opt.Name, Value: v})
		}
	}
	return out
}

// Equal tells whether two sets of options are the same.
func (o Options) Equal(p Options) bool {
	return slices.EqualFunc(o.Values(), p.Values(), func(a, b *raftlogv1.OptionValue) bool {
		return a.GetName() == b.GetName() && a.GetValue() == b.GetValue()
	})
}

func (o Options) sameDetection(p Options) bool {
	for _, opt := range optionTable {
		if opt.Detection && !slices.Equal(opt.get(o), opt.get(p)) {
			return false
		}
	}
	return true
}

func optionNames() string {
	names := make([]string, len(optionTable))
	for i, o := range optionTable {
		names[i] = o.Name
	}
	return strings.Join(names, ", ")
}

func setInt(dst *int, v string, least int) error {
	n, err := strconv.ParseInt(v, 10, 32)
	if err != nil || int(n) < least {
		return errOption
	}
	*dst = int(n)
	return nil
}

func setMillis(dst *time.Duration, v string, least int64) error {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < least || n > math.MaxInt32 {
		return errOption
	}
	*dst = time.Duration(n) * time.Millisecond
	return nil
}

func setRename(o *Options, v string) error {
	words := strings.Fields(v)
	if len(words) != 2 {
		return fmt.Errorf("%q has %d words, and neither the command's name nor its new name may be empty or hold a space", v, len(words))
	}
	name := strings.ToLower(words[0])
	if strings.EqualFold(words[0], words[1]) {
		delete(o.RenameCommand, name)
		return nil
	}
	if o.RenameCommand == nil {
		o.RenameCommand = map[string]string{}
	}
	o.RenameCommand[name] = words[1]
	return nil
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }
