package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	sentinelv1 "github.com/raftsentinel/raftsentinel/proto/sentinel/v1"
)

// option is a per-master option, named as in sentinel.conf.
type option struct {
	name string
	// path is the field of MasterOptions.
	path string
	set  func(*sentinelv1.MasterOptions, string) error
	// get is the value as it is shown; empty where there is none.
	get func(*sentinelv1.MasterOptions) string
}

var optionTable = []option{
	{
		"quorum", "quorum",
		func(o *sentinelv1.MasterOptions, v string) error { return setNumber(&o.Quorum, v) },
		func(o *sentinelv1.MasterOptions) string { return strconv.Itoa(int(o.GetQuorum())) },
	},
	{
		"down-after-milliseconds", "down_after_ms",
		func(o *sentinelv1.MasterOptions, v string) error { return setNumber(&o.DownAfterMs, v) },
		func(o *sentinelv1.MasterOptions) string { return strconv.FormatInt(o.GetDownAfterMs(), 10) },
	},
	{
		"failover-timeout", "failover_timeout_ms",
		func(o *sentinelv1.MasterOptions, v string) error { return setNumber(&o.FailoverTimeoutMs, v) },
		func(o *sentinelv1.MasterOptions) string { return strconv.FormatInt(o.GetFailoverTimeoutMs(), 10) },
	},
	{
		"parallel-syncs", "parallel_syncs",
		func(o *sentinelv1.MasterOptions, v string) error { return setNumber(&o.ParallelSyncs, v) },
		func(o *sentinelv1.MasterOptions) string { return strconv.Itoa(int(o.GetParallelSyncs())) },
	},
	{
		"auth-user", "auth_user",
		func(o *sentinelv1.MasterOptions, v string) error { o.AuthUser = &v; return nil },
		(*sentinelv1.MasterOptions).GetAuthUser,
	},
	{
		"auth-pass", "auth_pass",
		func(o *sentinelv1.MasterOptions, v string) error { o.AuthPass = &v; return nil },
		func(o *sentinelv1.MasterOptions) string {
			if o.GetAuthPassSet() {
				return secretWord
			}
			return ""
		},
	},
	{
		"notification-script", "notification_script",
		func(o *sentinelv1.MasterOptions, v string) error { o.NotificationScript = &v; return nil },
		(*sentinelv1.MasterOptions).GetNotificationScript,
	},
	{
		"client-reconfig-script", "client_reconfig_script",
		func(o *sentinelv1.MasterOptions, v string) error { o.ClientReconfigScript = &v; return nil },
		(*sentinelv1.MasterOptions).GetClientReconfigScript,
	},
	{
		"master-reboot-down-after-period", "master_reboot_down_after_ms",
		func(o *sentinelv1.MasterOptions, v string) error { return setNumber(&o.MasterRebootDownAfterMs, v) },
		func(o *sentinelv1.MasterOptions) string { return strconv.FormatInt(o.GetMasterRebootDownAfterMs(), 10) },
	},
	{"rename-command", "rename_command", setRename, showRename},
	{
		"failover-cooldown", "failover_cooldown_ms",
		func(o *sentinelv1.MasterOptions, v string) error { return setNumber(&o.FailoverCooldownMs, v) },
		func(o *sentinelv1.MasterOptions) string { return strconv.FormatInt(o.GetFailoverCooldownMs(), 10) },
	},
	{
		"tls", "tls", setTLS,
		func(o *sentinelv1.MasterOptions) string { return tlsWords[o.GetTls()] },
	},
}

var tlsWords = map[sentinelv1.TlsMode]string{
	sentinelv1.TlsMode_TLS_MODE_UNSPECIFIED: "",
	sentinelv1.TlsMode_TLS_MODE_YES:         "yes",
	sentinelv1.TlsMode_TLS_MODE_NO:          "no",
}

func optionNames() []string {
	names := make([]string, len(optionTable))
	for i, o := range optionTable {
		names[i] = o.name
	}
	return names
}

func setNumber[N int32 | int64](field **N, v string) error {
	bits := 64
	if _, ok := any(N(0)).(int32); ok {
		bits = 32
	}
	n, err := strconv.ParseInt(v, 10, bits)
	if err != nil {
		return fmt.Errorf("%q is not a whole number of at most %d", v, 1<<(bits-1)-1)
	}
	value := N(n)
	*field = &value
	return nil
}

// setRename adds one pair; the same word twice undoes one.
func setRename(o *sentinelv1.MasterOptions, v string) error {
	words := strings.Fields(v)
	if len(words) != 2 {
		return fmt.Errorf("%q: want COMMAND NEWNAME, or the same word twice to undo", v)
	}
	name := strings.ToLower(words[0])
	if strings.EqualFold(words[0], words[1]) {
		delete(o.GetRenameCommand(), name)
		return nil
	}
	if o.RenameCommand == nil {
		o.RenameCommand = map[string]string{}
	}
	o.RenameCommand[name] = words[1]
	return nil
}

func showRename(o *sentinelv1.MasterOptions) string {
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(o.GetRenameCommand())) {
		pairs = append(pairs, name+" "+o.GetRenameCommand()[name])
	}
	return strings.Join(pairs, ", ")
}

func setTLS(o *sentinelv1.MasterOptions, v string) error {
	for mode, word := range tlsWords {
		if word == v {
			o.Tls = &mode
			return nil
		}
	}
	return fmt.Errorf("%q: want yes, no, or nothing for the node's tls-replication", v)
}

// setOptions puts k=v arguments into o and returns the fields that they name. A value @FILE is the file's text and - is
// what stdin holds, each without the line's end, so that no password stands in a process list.
func (a *app) setOptions(o *sentinelv1.MasterOptions, pairs []string) ([]string, error) {
	var paths []string
	stdinRead := false
	for _, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, usagef("%q: want OPTION=VALUE, OPTION=@FILE or OPTION=-", name)
		}
		i := slices.IndexFunc(optionTable, func(o option) bool { return o.name == strings.ToLower(name) })
		if i < 0 {
			return nil, usagef("unknown option %q; known are %s", name, strings.Join(optionNames(), ", "))
		}
		if slices.Contains(paths, optionTable[i].path) && optionTable[i].name != "rename-command" {
			return nil, usagef("option %s: is given twice", name)
		}
		if value == "-" && stdinRead {
			return nil, usagef("option %s: only one value can be read from stdin", name)
		}
		stdinRead = stdinRead || value == "-"
		value, err := a.value(value)
		if err != nil {
			return nil, usagef("option %s: %w", name, err)
		}
		if err := optionTable[i].set(o, value); err != nil {
			return nil, usagef("option %s: %w", name, err)
		}
		if !slices.Contains(paths, optionTable[i].path) {
			paths = append(paths, optionTable[i].path)
		}
	}
	return paths, nil
}

func (a *app) value(v string) (string, error) {
	var text []byte
	var err error
	switch {
	case v == "-":
		text, err = io.ReadAll(a.stdin)
	case strings.HasPrefix(v, "@"):
		text, err = os.ReadFile(v[1:])
	default:
		return v, nil
	}
	if err != nil {
		return "", err
	}
	if !utf8.Valid(text) {
		return "", fmt.Errorf("what %s holds is not UTF-8 text", map[bool]string{true: "stdin", false: "file " + strings.TrimPrefix(v, "@")}[v == "-"])
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}
