package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

// sentinelLogin is how Sentinels themselves are asked.
type sentinelLogin struct{ user, pass string }

// witness is what one Sentinel says.
type witness struct {
	at      string
	masters map[string]testimony
}

// testimony is what a Sentinel says of one master: the fields of SENTINEL MASTER, and the replicas' addresses.
type testimony struct {
	fields   map[string]string
	replicas []string
}

// askSentinels asks all Sentinels, side by side. Each must answer: what one of them knows otherwise is to be told.
func (a *app) askSentinels(ctx context.Context, at []string, login sentinelLogin) ([]witness, error) {
	redis.SetLogger(silence{})
	out, errs := make([]witness, len(at)), make([]error, len(at))
	var wg sync.WaitGroup
	for i, addr := range at {
		wg.Go(func() {
			ctx, cancel := a.request(ctx)
			defer cancel()
			out[i], errs[i] = askSentinel(ctx, addr, login)
		})
	}
	wg.Wait()
	for i, err := range errs {
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case redis.HasErrorPrefix(err, "NOAUTH"), redis.HasErrorPrefix(err, "WRONGPASS"), redis.HasErrorPrefix(err, "NOPERM"):
			return nil, &exitError{exitForbidden, fmt.Errorf("the Sentinel %s lets us not ask: %w; give its password by "+
				"--sentinel-password-file; nothing was imported", at[i], err)}
		default:
			return nil, &exitError{exitUnreachable, fmt.Errorf("the Sentinel %s cannot be asked: %w; nothing was imported: "+
				"let it answer, or leave it out of --from-sentinel", at[i], err)}
		}
	}
	return out, nil
}

func askSentinel(ctx context.Context, at string, login sentinelLogin) (witness, error) {
	o := redisOptions(at)
	o.Username, o.Password, o.Protocol, o.ContextTimeoutEnabled = login.user, login.pass, 2, true
	c := redis.NewSentinelClient(o)
	defer func() { _ = c.Close() }()
	w := witness{at: at, masters: map[string]testimony{}}
	list := redis.NewMapStringStringSliceCmd(ctx, "SENTINEL", "MASTERS")
	if err := c.Process(ctx, list); err != nil {
		return w, err
	}
	for _, fields := range list.Val() {
		name := fields["name"]
		replicas, err := c.Replicas(ctx, name).Result()
		if err != nil {
			return w, fmt.Errorf("replicas of %s: %w", name, err)
		}
		t := testimony{fields: fields}
		for _, r := range replicas {
			t.replicas = append(t.replicas, hostPort(r))
		}
		slices.Sort(t.replicas)
		w.masters[name] = t
	}
	return w, nil
}

func hostPort(fields map[string]string) string {
	if strings.Contains(fields["ip"], ":") {
		return "[" + fields["ip"] + "]:" + fields["port"]
	}
	return fields["ip"] + ":" + fields["port"]
}

// disagreement is something about a master of which not every Sentinel says the same.
type disagreement struct {
	Master string `json:"master"`
	What   string `json:"what"`
	// Says is what each Sentinel told.
	Says []saying `json:"says"`
	// Taken is the value that is gone on with; empty for none.
	Taken string `json:"taken"`
	// who disagree; "" for the Sentinels.
	who string
}

type saying struct {
	Sentinel string `json:"sentinel"`
	Value    string `json:"value"`
}

func (d disagreement) String() string {
	var says []string
	for _, s := range d.Says {
		says = append(says, s.Sentinel+" says "+orNone(s.Value))
	}
	return fmt.Sprintf("%s disagree on %s: %s; taken is %s", cmp.Or(d.who, "the Sentinels"), d.What, strings.Join(says, ", "), orNone(d.Taken))
}

// settled are the options that Sentinels tell, and which of several values is the safest.
var settled = []struct {
	option string
	safest func(values []string) string
}{
	{"quorum", most},
	{"down-after-milliseconds", most},
	{"failover-timeout", most},
	{"parallel-syncs", least},
	{"notification-script", neither},
	{"client-reconfig-script", neither},
}

// most is the greatest number: it fails over later, and with more votes.
func most(values []string) string { return slices.MaxFunc(values, compareNumbers) }

// least is the smallest number: fewer replicas are away at a time.
func least(values []string) string { return slices.MinFunc(values, compareNumbers) }

// neither: no program is run on the word of some.
func neither([]string) string { return "" }

func compareNumbers(a, b string) int {
	x, _ := strconv.ParseInt(a, 10, 64)
	y, _ := strconv.ParseInt(b, 10, 64)
	return cmp.Compare(x, y)
}

// verdictOf is a master as all Sentinels together have it.
type verdictOf struct {
	wanted
	epoch         uint64
	replicas      []raftfsm.Addr
	disagreements []disagreement
	notes         []string
	// err is why it cannot be imported.
	err error
}

// weigh makes one account of what the Sentinels say, in name order.
func weigh(all []witness) []verdictOf {
	names := map[string]bool{}
	for _, w := range all {
		for name := range w.masters {
			names[name] = true
		}
	}
	var out []verdictOf
	for _, name := range slices.Sorted(maps.Keys(names)) {
		out = append(out, weighOne(name, all))
	}
	return out
}

func weighOne(name string, all []witness) verdictOf {
	v := verdictOf{wanted: wanted{name: name, options: raftfsm.DefaultOptions()}}
	var known []saying
	var said []witness
	for _, w := range all {
		_, ok := w.masters[name]
		if ok {
			said = append(said, w)
		}
		known = append(known, saying{w.at, map[bool]string{true: "known", false: "unknown"}[ok]})
	}
	if len(said) < len(all) {
		v.disagreements = append(v.disagreements, disagreement{Master: name, What: "whether it exists", Says: known, Taken: "known"})
	}
	at, one := v.agree(said, "the master's address", func(t testimony) string { return hostPort(t.fields) }, neither)
	if !one {
		v.err = &exitError{exitFailed, fmt.Errorf("the Sentinels disagree on the master's address")}
		return v
	}
	var err error
	if v.address, err = raftfsm.ParseAddr(at); err != nil {
		v.err = &exitError{exitFailed, err}
		return v
	}
	v.weighOptions(said)
	v.weighReplicas(said)
	v.weighTrouble(said, len(all))
	return v
}

// agree gives the one value that is said, or the safest of several, and tells whether it was one.
func (v *verdictOf) agree(said []witness, what string, get func(testimony) string, safest func([]string) string) (string, bool) {
	var says []saying
	var values []string
	for _, w := range said {
		value := get(w.masters[v.name])
		says, values = append(says, saying{w.at, value}), append(values, value)
	}
	slices.Sort(values)
	if values = slices.Compact(values); len(values) == 1 {
		return values[0], true
	}
	taken := safest(values)
	v.disagreements = append(v.disagreements, disagreement{Master: v.name, What: what, Says: says, Taken: taken})
	return taken, false
}

func (v *verdictOf) weighOptions(said []witness) {
	for _, o := range settled {
		value, _ := v.agree(said, o.option, func(t testimony) string { return t.fields[o.option] }, o.safest)
		if value == "" {
			continue
		}
		options, err := v.options.Set(o.option, value)
		if err != nil {
			v.err = &exitError{exitFailed, err}
			return
		}
		v.options, v.named = options, append(v.named, o.option)
	}
	epoch, _ := v.agree(said, "config-epoch", func(t testimony) string { return t.fields["config-epoch"] }, most)
	v.epoch, _ = strconv.ParseUint(epoch, 10, 64)
}

// weighReplicas takes every replica that any Sentinel knows: one that the master does not list is dropped.
func (v *verdictOf) weighReplicas(said []witness) {
	v.agree(said, "replicas", func(t testimony) string { return strings.Join(t.replicas, " ") }, func([]string) string { return "all of them" })
	var all []string
	for _, w := range said {
		all = append(all, w.masters[v.name].replicas...)
	}
	slices.Sort(all)
	for _, at := range slices.Compact(all) {
		a, err := raftfsm.ParseAddr(at)
		switch {
		case err != nil:
			v.notes = append(v.notes, fmt.Sprintf("the replica %s is left out: %v", at, err))
		case a != v.address:
			v.replicas = append(v.replicas, a)
		}
	}
}

// weighTrouble tells of what speaks for another moment.
func (v *verdictOf) weighTrouble(said []witness, asked int) {
	for _, w := range said {
		fields := w.masters[v.name].fields
		flags := strings.Split(fields["flags"], ",")
		for _, f := range []struct{ flag, words string }{
			{"failover_in_progress", "a failover is under way"}, {"o_down", "the master is objectively down"}, {"s_down", "the master is down"},
		} {
			if slices.Contains(flags, f.flag) {
				v.notes = append(v.notes, fmt.Sprintf("%s says: %s", w.at, f.words))
				break
			}
		}
		if others, err := strconv.Atoi(fields["num-other-sentinels"]); err == nil && others+1 > asked {
			v.notes = append(v.notes, fmt.Sprintf("%s knows %d Sentinels of it, and %d were asked: all must be stopped before resume",
				w.at, others+1, asked))
		}
	}
}
