package raftfsm

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	raftlogv1 "github.com/raftsentinel/raftsentinel/proto/raftlog/v1"
)

// Settings are those of the whole cluster, named as in sentinel.conf.
type Settings struct {
	// ResolveHostnames: masters may be named by host names where the Sentinel protocol is spoken.
	ResolveHostnames bool
	// AnnounceHostnames: clients are told host names as they were given, not the IP addresses that those have.
	AnnounceHostnames bool
	// BrakePercent is the share of all masters that may be down at once, and at least 10 of them, before a node doubts itself
	// where it reaches no instance beside theirs; 0 = off.
	BrakePercent int
	// RemoveDeadAfter is for how many seconds a member must be unheard of to be removed, 60 or more; 0 = it stays.
	RemoveDeadAfter int
}

// settingNames are the settings in name order. The value of each is yes or no, or a number.
var settingNames = [...]string{"announce-hostnames", "failover-brake", "remove-dead-nodes-after", "resolve-hostnames"}

const (
	announceHostnames = iota
	failoverBrake
	removeDeadNodesAfter
	resolveHostnames
)

// settingNumbers are the settings that are whole numbers: their values before one is given, and what is allowed.
var settingNumbers = map[int]struct {
	before  string
	allowed func(n int) bool
	want    string
}{
	failoverBrake:        {"50", func(n int) bool { return n >= 0 && n <= 100 }, "a whole number of percent, 0 to 100; 0 = off"},
	removeDeadNodesAfter: {"0", RemoveDeadAfterAllowed, RemoveDeadAfterWant},
}

// RemoveDeadAfterWant is what remove-dead-nodes-after may be: longer than a restart takes, and a year at most.
const RemoveDeadAfterWant = "a whole number of seconds, 60 to 31536000; 0 = off"

// RemoveDeadAfterAllowed tells whether remove-dead-nodes-after may have so many seconds.
func RemoveDeadAfterAllowed(seconds int) bool {
	return seconds == 0 || seconds >= 60 && seconds <= 365*24*60*60
}

// settings are the values given, in the order of their names; "" for never.
type settings [len(settingNames)]string

// Settings are the present ones; what was never given a value is at its default.
func (s *State) Settings() Settings {
	number := func(i int) int {
		value, _ := s.Setting(settingNames[i])
		n, _ := strconv.Atoi(value) // it was checked when it was set
		return n
	}
	return Settings{
		BrakePercent:      number(failoverBrake),
		RemoveDeadAfter:   number(removeDeadNodesAfter),
		ResolveHostnames:  s.settings[resolveHostnames] == "yes",
		AnnounceHostnames: s.settings[announceHostnames] == "yes",
	}
}

// Setting is the value of a setting, by its name in lower case, and whether it was ever given one.
func (s *State) Setting(name string) (value string, given bool) {
	i := slices.Index(settingNames[:], name)
	switch number, is := settingNumbers[i]; {
	case i >= 0 && s.settings[i] != "":
		return s.settings[i], true
	case is:
		return number.before, false
	}
	return "no", false
}

// with is t with values set in order; all are good or none is taken. A seed leaves alone what has a value.
func (t settings) with(values []*raftlogv1.OptionValue, seed bool) (settings, error) {
	next := t
	for _, v := range values {
		i, value, err := parseSetting(v)
		if err != nil {
			return t, err
		}
		if !seed || t[i] == "" {
			next[i] = value
		}
	}
	return next, nil
}

func parseSetting(v *raftlogv1.OptionValue) (i int, value string, err error) {
	name := strings.ToLower(v.GetName())
	for i, n := range settingNames {
		if n != name {
			continue
		}
		value := strings.ToLower(v.GetValue())
		if number, is := settingNumbers[i]; is {
			x, err := strconv.Atoi(value)
			if err != nil || !number.allowed(x) {
				return 0, "", fmt.Errorf("setting %s: %q is not allowed; want %s", n, value, number.want)
			}
			return i, strconv.Itoa(x), nil
		}
		if value == "yes" || value == "no" {
			return i, value, nil
		}
		return 0, "", fmt.Errorf("setting %s: %q is not allowed; want yes or no", n, v.GetValue())
	}
	return 0, "", fmt.Errorf("unknown setting %q; known are %s", v.GetName(), strings.Join(settingNames[:], ", "))
}

// values are the settings that were given a value, in name order.
func (t settings) values() []*raftlogv1.OptionValue {
	var out []*raftlogv1.OptionValue
	for i, v := range t {
		if v != "" {
			out = append(out, &raftlogv1.OptionValue{Name: settingNames[i], Value: v})
		}
	}
	return out
}

func (d *draft) configure(c *raftlogv1.Configure) verdict {
	next, err := d.s.settings.with(c.GetSettings(), c.GetSeed())
	if err != nil {
		return refuse(InvalidArgument, "%v", err)
	}
	before, was := d.s.settings, d.s.Settings()
	if next == before {
		return done()
	}
	d.s.settings = next
	d.changed = true
	for i, name := range settingNames {
		if next[i] != before[i] {
			d.emit(Event{Kind: EventConfigure, Detail: name + " " + next[i]})
		}
	}
	if now := d.s.Settings(); now.AnnounceHostnames != was.AnnounceHostnames {
		for m := range d.s.Masters() {
			d.retell(m, m, was)
		}
	}
	return done()
}
