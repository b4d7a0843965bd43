package fakeredis

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// info answers the sections server, replication and persistence, with the fields of Redis 7.0 that tell of replication
// or liveness, in its order. Several sections are an error before 7.0, as in Redis.
func (c *client) info(args []string) string {
	i := c.instance
	sections := args[1:]
	if len(sections) > 1 && i.version < "7" {
		return fail("ERR syntax error")
	}
	wants := func(name string) bool {
		return len(sections) == 0 || slices.ContainsFunc(sections, func(s string) bool {
			s = strings.ToLower(s)
			return s == name || s == "default" || s == "all" || s == "everything"
		})
	}
	i.settle(0)
	var b infoText
	b.Grow(infoSize)
	if wants("server") {
		i.infoServer(&b)
	}
	if wants("persistence") {
		i.infoPersistence(&b)
	}
	if wants("replication") {
		i.infoReplication(&b)
	}
	return bulk(b.String())
}

// infoSize is about what all sections of a master with a few replicas take.
const infoSize = 2048

type infoText struct{ strings.Builder }

func (b *infoText) section(name string) {
	if b.Len() > 0 {
		b.WriteString("\r\n")
	}
	b.WriteString("# " + name + "\r\n")
}

// field adds a line. A farm of thousands writes little else, so that the usual kinds are written without fmt.
func (b *infoText) field(name string, value any) {
	b.WriteString(name)
	b.WriteByte(':')
	switch v := value.(type) {
	case string:
		b.WriteString(v)
	case int:
		b.WriteString(strconv.Itoa(v))
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	default:
		fmt.Fprint(b, value)
	}
	b.WriteString("\r\n")
}

func flag(on bool) int {
	if on {
		return 1
	}
	return 0
}

func (i *Instance) infoServer(b *infoText) {
	p := i.process
	b.section("Server")
	b.field("redis_version", i.version)
	b.field("redis_mode", "standalone")
	b.field("process_id", 1)
	b.field("run_id", p.runID)
	b.field("tcp_port", i.addr.Port)
	b.field("server_time_usec", time.Now().UnixMicro())
	b.field("uptime_in_seconds", int64(time.Since(p.started)/time.Second))
	b.field("uptime_in_days", int64(time.Since(p.started)/(24*time.Hour)))
	b.field("hz", 10)
	b.field("config_file", "")
}

func (i *Instance) infoPersistence(b *infoText) {
	b.section("Persistence")
	b.field("loading", flag(i.loading))
	b.field("async_loading", 0)
	b.field("rdb_changes_since_last_save", 0)
	b.field("rdb_bgsave_in_progress", flag(i.saving))
	b.field("aof_enabled", 0)
	b.field("aof_rewrite_in_progress", 0)
	b.field("aof_rewrite_scheduled", 0)
}

func (i *Instance) infoReplication(b *infoText) {
	b.section("Replication")
	if i.follows.IsZero() {
		b.field("role", "master")
	} else {
		i.infoLink(b)
	}
	var lines []string
	now := time.Now()
	connected := 0
	for _, r := range i.replicas() {
		r.settle(0)
		state := "online"
		switch {
		case r.link.copying:
			state = "wait_bgsave"
		case !r.link.up:
			continue
		}
		connected++
		if !r.unannounced {
			lines = append(lines, fmt.Sprintf("slave%d:ip=%s,port=%d,state=%s,offset=%d,lag=%d\r\n",
				len(lines), r.addr.Host, r.addr.Port, state, r.shownOffset(), r.silentFor(now)/time.Second))
		}
	}
	b.field("connected_slaves", connected)
	b.WriteString(strings.Join(lines, ""))
	b.field("master_failover_state", "no-failover")
	b.field("master_replid", i.replID)
	b.field("master_replid2", i.replID2)
	b.field("master_repl_offset", i.offset)
	b.field("second_repl_offset", i.second)
	b.field("repl_backlog_active", 1)
	b.field("repl_backlog_size", 1<<20)
	b.field("repl_backlog_first_byte_offset", 1)
	b.field("repl_backlog_histlen", i.offset)
}

// infoLink is what a replica tells of its link.
func (i *Instance) infoLink(b *infoText) {
	l := &i.link
	status, lastIO := "down", int64(-1)
	if l.up {
		status, lastIO = "up", int64(time.Since(l.lastIO)/time.Second)
	}
	b.field("role", "slave")
	b.field("master_host", i.follows.Host)
	b.field("master_port", i.follows.Port)
	b.field("master_link_status", status)
	b.field("master_last_io_seconds_ago", lastIO)
	b.field("master_sync_in_progress", flag(l.copying))
	b.field("slave_read_repl_offset", i.shownOffset())
	b.field("slave_repl_offset", i.shownOffset())
	if !l.up {
		down := int64(-1)
		if !l.downAt.IsZero() {
			down = int64(time.Since(l.downAt) / time.Second)
		}
		b.field("master_link_down_since_seconds", down)
	}
	b.field("slave_priority", i.priority)
	b.field("slave_read_only", 1)
	b.field("replica_announced", flag(!i.unannounced))
}

// shownOffset is 0 once a full copy was begun, until it ends.
func (i *Instance) shownOffset() int64 {
	if i.link.dropped {
		return 0
	}
	return i.offset
}

// silentFor is for how long a replica has not acknowledged.
func (i *Instance) silentFor(now time.Time) time.Duration {
	if i.frozen() {
		return now.Sub(i.process.frozenAt)
	}
	return 0
}

func (c *client) role([]string) string {
	i := c.instance
	i.settle(0)
	if i.follows.IsZero() {
		var list []string
		for _, r := range i.replicas() {
			r.settle(0)
			if r.link.up {
				list = append(list, array(bulk(r.addr.Host), bulk(fmt.Sprint(r.addr.Port)), bulk(fmt.Sprint(r.shownOffset()))))
			}
		}
		return array(bulk("master"), integer(i.offset), array(list...))
	}
	state, offset := "connect", int64(-1)
	switch {
	case i.link.up:
		state, offset = "connected", i.offset
	case i.link.copying:
		state = "sync"
	case !i.link.waiting.IsZero():
		state = "handshake"
	}
	return array(bulk("slave"), bulk(i.follows.Host), integer(int64(i.follows.Port)), bulk(state), integer(offset))
}
