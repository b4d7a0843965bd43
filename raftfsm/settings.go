package raftfsm

import (
	"fmt"
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
}

// settingNames are the settings in name order. The value of each is yes or no, the brake's a number.
var settingNames = [...]string{"announce-hostnames", "failover-brake", "resolve-hostnames"}

// defaultBrake is in percent.
const defaultBrake = "50"

const (
	announceHostnames = iota
	failoverBrake
	resolveHostnames
)

// settings are the values given, in the order of their names; "" for never.
type settings [len(settingNames)]string

// Settings are the present ones; what was never given a value is at its default.
func (s *State) Settings() Settings {
	brake, _ := s.Setting(settingNames[failoverBrake])
	percent, _ := strconv.Atoi(brake) // it was checked when it was set
	return Settings{
		BrakePercent:      percent,
		ResolveHostnames:  s.settings[resolveHostnames] == "yes",
		AnnounceHostnames: s.settings[announceHostnames] == "yes",
	}
}

// Setting is the value of a setting, by its name in lower case, and whether it was ever given one.
func (s *State) Setting(name string) (value string, given bool) {
	for i, n := range settingNames {
		if n == name && s.settings[i] != "" {
			return s.settings[i], true
		}
	}
	if name == settingNames[failoverBrake] {
		return defaultBrake, false
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
		if i == failoverBrake {
			return parseBrake(value)
		}
		if value == "yes" || value == "no" {
			return i, value, nil
		}
		return 0, "", fmt.Errorf("setting %s: %q is not allowed; want yes or no", n, v.GetValue())
	}
	return 0, "", fmt.Errorf("unknown setting %q; known are %s", v.GetName(), strings.Join(settingNames[:], ", "))
}

func parseBrake(value string) (i int, percent string, err error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 || n > 100 {
		return 0, "", fmt.Errorf("setting %s: %q is not allowed; want a whole number of percent, 0 to 100; 0 = off", settingNames[failoverBrake], value)
	}
	return failoverBrake, strconv.Itoa(n), nil
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
