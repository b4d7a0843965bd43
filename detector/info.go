package detector

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

var (
	errInfo = errors.New("not a reply to INFO")
	errRole = errors.New("not a reply to ROLE")
)

// Bounds on what an instance may make us keep.
const (
	maxInfoReplicas = 1024
	maxInfoWord     = 256
)

// MaxInfoText bounds what is kept of a text, in bytes.
const MaxInfoText = 4096

// KeepText is what is kept of a text: whole lines of it, without the section Persistence, which is as long as both others
// together.
func KeepText(text []byte) string {
	size := 0
	for line := range kept(text) {
		size += len(line)
	}
	var b strings.Builder
	b.Grow(size)
	for line := range kept(text) {
		b.Write(line)
	}
	keep := b.String()
	for strings.HasSuffix(keep, "\r\n\r\n") {
		keep = strings.TrimSuffix(keep, "\r\n")
	}
	return keep
}

// kept are the lines that are kept, as many as there is room for.
func kept(text []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		skip, room := false, MaxInfoText
		for line := range bytes.Lines(text) {
			if bytes.HasPrefix(line, []byte("# ")) {
				skip = string(bytes.TrimRight(line, "\r\n")) == "# Persistence"
			}
			if skip {
				continue
			}
			if room -= len(line); room < 0 || !yield(line) {
				return
			}
		}
	}
}

// ParseInfo reads the text of INFO: sections server, replication and persistence, in any order, together with any
// others, which it skips. A field that is missing or cannot be read has its zero value, or -1 for offsets and times; it
// fails only where the text does not tell the role, because then nothing else in it can be judged. What it keeps of the text it copies.
func ParseInfo(text []byte) (*Info, error) {
	i := &Info{SecondOffset: -1, Offset: -1, MasterLinkDown: -1, MasterLastIO: -1}
	var masterOffset, replicaOffset int64 = -1, -1
	for line := range bytes.Lines(text) {
		name, value, ok := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(":"))
		if !ok || len(name) > maxInfoWord {
			continue
		}
		switch string(name) {
		case "master_repl_offset":
			masterOffset = number(value, -1)
		case "slave_repl_offset":
			replicaOffset = number(value, -1)
		default:
			i.set(name, value)
		}
	}
	switch i.Role {
	case raftfsm.RoleMaster:
		i.Offset = masterOffset
	case raftfsm.RoleReplica:
		i.Offset = replicaOffset
		if i.MasterLinkUp {
			i.MasterLinkDown = 0
		}
	case raftfsm.RoleUnknown:
		return nil, fmt.Errorf("%w: it names no role (master or slave); is this a Redis data instance?", errInfo)
	}
	return i, nil
}

// Differs tells whether an INFO tells of anything but what changes by itself: offsets, ages and lags. j may be nil.
func (i *Info) Differs(j *Info) bool {
	return j == nil || i.RunID != j.RunID || i.Role != j.Role || i.Loading != j.Loading || i.Saving != j.Saving ||
		i.Rewriting != j.Rewriting || i.ReplID != j.ReplID || i.ReplID2 != j.ReplID2 || i.MasterHost != j.MasterHost ||
		i.MasterPort != j.MasterPort || i.MasterLinkUp != j.MasterLinkUp || i.SyncInProgress != j.SyncInProgress ||
		i.Priority != j.Priority || i.ReplicaAnnounced != j.ReplicaAnnounced || i.FailoverState != j.FailoverState ||
		!slices.EqualFunc(i.Replicas, j.Replicas, func(a, b ReplicaLine) bool { return a.Addr == b.Addr && a.State == b.State })
}

func (i *Info) set(name, value []byte) {
	switch string(name) {
	case "redis_version":
		i.Version = word(value)
	case "run_id":
		i.RunID = word(value)
	case "role":
		i.Role = roleOf(string(value))
	case "uptime_in_seconds":
		i.Uptime = max(0, seconds(value, 0))
	case "loading":
		i.Loading = string(value) == "1"
	case "async_loading":
		i.AsyncLoading = string(value) == "1"
	case "rdb_bgsave_in_progress":
		i.Saving = string(value) == "1"
	case "aof_rewrite_in_progress", "aof_rewrite_scheduled":
		i.Rewriting = i.Rewriting || string(value) == "1"
	case "master_replid":
		i.ReplID = word(value)
	case "master_replid2":
		i.ReplID2 = word(value)
	case "second_repl_offset":
		i.SecondOffset = number(value, -1)
	case "master_failover_state":
		i.FailoverState = word(value)
	default:
		i.setReplica(name, value)
	}
}

// setReplica reads what only a replica says of itself, and a master's slaveN lines.
func (i *Info) setReplica(name, value []byte) {
	switch string(name) {
	case "master_host":
		i.MasterHost = word(value)
	case "master_port":
		i.MasterPort = int(number(value, 0))
	case "master_link_status":
		i.MasterLinkUp = string(value) == "up"
	case "master_link_down_since_seconds":
		i.MasterLinkDown = seconds(value, -1)
	case "master_last_io_seconds_ago":
		i.MasterLastIO = seconds(value, -1)
	case "master_sync_in_progress":
		i.SyncInProgress = string(value) == "1"
	case "slave_priority":
		i.Priority = int(number(value, 0))
	case "replica_announced":
		i.ReplicaAnnounced = string(value) == "1"
	default:
		n, found := bytes.CutPrefix(name, []byte("slave"))
		if !found || len(n) == 0 || len(bytes.Trim(n, "0123456789")) > 0 || len(i.Replicas) >= maxInfoReplicas {
			return
		}
		if line, ok := parseReplicaLine(value); ok {
			i.Replicas = append(i.Replicas, line)
		}
	}
}

// parseReplicaLine reads ip=10.0.0.2,port=6379,state=online,offset=123,lag=0. An unusable address drops the line: it
// would name nothing that could be probed.
func parseReplicaLine(value []byte) (ReplicaLine, bool) {
	line := ReplicaLine{Offset: -1, Lag: -1}
	var host string
	var port int64
	for pair := range bytes.SplitSeq(value, []byte(",")) {
		name, v, _ := bytes.Cut(pair, []byte("="))
		switch string(name) {
		case "ip":
			host = string(v)
		case "port":
			port = number(v, 0)
		case "state":
			line.State = word(v)
		case "offset":
			line.Offset = number(v, -1)
		case "lag":
			line.Lag = seconds(v, -1)
		}
	}
	if port > math.MaxUint16 {
		return ReplicaLine{}, false
	}
	addr, err := raftfsm.NewAddr(host, int(port))
	if err != nil {
		return ReplicaLine{}, false
	}
	line.Addr = addr
	return line, true
}

func roleOf(value string) raftfsm.Role {
	switch value {
	case "master":
		return raftfsm.RoleMaster
	case "slave", "replica":
		return raftfsm.RoleReplica
	}
	return raftfsm.RoleUnknown
}

// word keeps a value that cannot hurt where it is shown: printable ASCII of bounded length.
func word(value []byte) string {
	if len(value) > maxInfoWord {
		return ""
	}
	for _, c := range value {
		if c < ' ' || c > '~' {
			return ""
		}
	}
	return string(value)
}

func number(value []byte, missing int64) int64 {
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil || n < missing {
		return missing
	}
	return n
}

// seconds is -1 (a nanosecond below zero, not a duration) for what Redis writes as -1: unknown or never.
func seconds(value []byte, missing time.Duration) time.Duration {
	n, err := strconv.ParseInt(string(value), 10, 64)
	switch {
	case err != nil || n > math.MaxInt64/int64(time.Second):
		return missing
	case n < 0:
		return -1
	}
	return time.Duration(n) * time.Second
}
