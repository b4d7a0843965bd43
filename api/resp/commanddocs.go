package resp

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/raftsentinel/raftsentinel/raftfsm"
)

var commandCommands = map[string]command{
	"count":           {arity: 2, answer: (*Server).commandCount},
	"docs":            {arity: -2, answer: (*Server).commandDocs},
	"getkeys":         {arity: -4, answer: (*Server).commandGetKeys},
	"getkeysandflags": {arity: -4, answer: (*Server).commandGetKeys},
	"help":            {arity: 2, answer: help("command")},
	"info":            {arity: -2, answer: (*Server).commandInfo},
	"list":            {arity: -2, answer: (*Server).commandList},
}

// maxNamed bounds how many commands are told of at once: each takes some kilobytes, however short its name is.
const maxNamed = 1024

const errTooManyNamed = failure("ERR too many commands at once: name at most 1024")

// doc is what COMMAND tells of a command beside its name and arity. The words of flags, categories and tips are Redis's.
type doc struct {
	flags, categories, tips  string
	since, group, complexity string
	summary                  string
	args                     []arg
	// instead is what to use in its place since the version deprecated.
	deprecated, instead string
}

// arg is an argument of a command: of a kind, or, with parts, a choice of them or all of them in order.
type arg struct {
	name, kind string
	// token comes before the value; it is all there is of a pure-token.
	token    string
	optional bool
	// multiple: it may be repeated, with its token where repeatToken.
	multiple, repeatToken bool
	parts                 []arg
}

// The kinds of arguments.
const (
	kindString  = "string"
	kindInteger = "integer"
	kindPattern = "pattern"
	kindToken   = "pure-token"
	kindOneOf   = "oneof"
	kindBlock   = "block"
)

// entry is a command that COMMAND tells of.
type entry struct {
	command
	doc
	categories []string
}

// catalogue is what COMMAND and ACL tell of: the commands that a Sentinel has.
type catalogue struct {
	// all are commands and subcommands, in the order of their names.
	all []entry
	// commands are the tables without what is unlisted.
	commands map[string]command
	count    int
}

func newCatalogue() catalogue {
	out := catalogue{commands: listed(commands)}
	out.count = len(out.commands)
	add := func(table map[string]command) {
		for _, cmd := range table {
			d := docs[cmd.name]
			out.all = append(out.all, entry{cmd, d, strings.Fields(d.categories)})
		}
	}
	add(out.commands)
	for _, cmd := range out.commands {
		add(cmd.subcommands)
	}
	slices.SortFunc(out.all, func(a, b entry) int { return cmp.Compare(a.name, b.name) })
	return out
}

func listed(table map[string]command) map[string]command {
	out := map[string]command{}
	for name, cmd := range table {
		if cmd.unlisted {
			continue
		}
		if cmd.subcommands != nil {
			cmd.subcommands = listed(cmd.subcommands)
		}
		out[name] = cmd
	}
	return out
}

// entry finds a command by its full name, such as client|list.
func (t catalogue) entry(name string) (entry, bool) {
	i, known := slices.BinarySearchFunc(t.all, strings.ToLower(name), func(e entry, name string) int { return cmp.Compare(e.name, name) })
	if !known {
		return entry{}, false
	}
	return t.all[i], true
}

// under are the subcommands of a command.
func (t catalogue) under(parent entry) []entry {
	var out []entry
	for _, name := range slices.Sorted(maps.Keys(parent.subcommands)) {
		e, _ := t.entry(parent.name + "|" + name)
		out = append(out, e)
	}
	return out
}

// top are the commands that are no subcommands.
func (t catalogue) top() []entry {
	return slices.DeleteFunc(slices.Clone(t.all), func(e entry) bool { return strings.Contains(e.name, "|") })
}

func (s *Server) commandCount(context.Context, *conn, []string) reply {
	return integer(s.catalogue.count)
}

func (s *Server) commandAll(context.Context, *conn, []string) reply {
	out := array{}
	for _, e := range s.catalogue.top() {
		out = append(out, s.catalogue.info(e))
	}
	return out
}

func (s *Server) commandInfo(ctx context.Context, c *conn, args []string) reply {
	if len(args) > maxNamed {
		return errTooManyNamed
	}
	if len(args) == 0 {
		return s.commandAll(ctx, c, nil)
	}
	out := array{}
	for _, name := range args {
		if e, known := s.catalogue.entry(name); known {
			out = append(out, s.catalogue.info(e))
		} else {
			out = append(out, null{})
		}
	}
	return out
}

// info is a command as COMMAND INFO tells it. None has keys.
func (t catalogue) info(e entry) reply {
	// In RESP3 none are a set, and some are an array.
	var below reply = set{}
	if subs := t.under(e); len(subs) > 0 {
		all := array{}
		for _, sub := range subs {
			all = append(all, t.info(sub))
		}
		below = all
	}
	categories, tips := set{}, set{}
	for _, name := range e.categories {
		categories = append(categories, simple("@"+name))
	}
	for tip := range strings.FieldsSeq(e.tips) {
		tips = append(tips, bulk(tip))
	}
	return array{
		bulk(e.name), integer(e.arity), words(e.flags), integer(0), integer(0), integer(0), categories, tips, set{}, below,
	}
}

// words are flags: a set of simple strings.
func words(list string) set {
	out := set{}
	for w := range strings.FieldsSeq(list) {
		out = append(out, simple(w))
	}
	return out
}

func (s *Server) commandList(_ context.Context, _ *conn, args []string) reply {
	wanted := func(entry) bool { return true }
	switch {
	case len(args) == 0:
	case len(args) != 3 || !strings.EqualFold(args[0], "filterby"):
		return errSyntax
	case strings.EqualFold(args[1], "module"):
		wanted = func(entry) bool { return false }
	case strings.EqualFold(args[1], "aclcat"):
		wanted = func(e entry) bool { return slices.Contains(e.categories, strings.ToLower(args[2])) }
	case strings.EqualFold(args[1], "pattern"):
		wanted = func(e entry) bool { return raftfsm.Glob(strings.ToLower(args[2]), e.name) }
	default:
		return errSyntax
	}
	out := array{}
	for _, e := range s.catalogue.all {
		if wanted(e) {
			out = append(out, bulk(e.name))
		}
	}
	return out
}

// commandGetKeys finds none: no command has a key.
func (s *Server) commandGetKeys(_ context.Context, _ *conn, args []string) reply {
	if _, known := find(s.catalogue.commands, args[0]); !known {
		return failure("ERR Invalid command specified")
	}
	return failure("ERR The command has no key arguments")
}

func (s *Server) commandDocs(_ context.Context, _ *conn, args []string) reply {
	if len(args) > maxNamed {
		return errTooManyNamed
	}
	var told []entry
	for _, name := range args {
		if e, known := s.catalogue.entry(name); known {
			told = append(told, e)
		}
	}
	if len(args) == 0 {
		told = s.catalogue.top()
	}
	out := mapping{}
	for _, e := range told {
		out = append(out, bulk(e.name), s.catalogue.docs(e))
	}
	return out
}

func (t catalogue) docs(e entry) reply {
	out := mapping{bulk("summary"), bulk(e.summary), bulk("since"), bulk(e.since), bulk("group"), bulk(e.group)}
	if e.complexity != "" {
		out = append(out, bulk("complexity"), bulk(e.complexity))
	}
	if e.deprecated != "" {
		out = append(out, bulk("doc_flags"), words("deprecated"), bulk("deprecated_since"), bulk(e.deprecated),
			bulk("replaced_by"), bulk(e.instead))
	}
	if len(e.args) > 0 {
		out = append(out, bulk("arguments"), arguments(e.args))
	}
	if below := t.under(e); len(below) > 0 {
		subs := mapping{}
		for _, sub := range below {
			subs = append(subs, bulk(sub.name), t.docs(sub))
		}
		out = append(out, bulk("subcommands"), subs)
	}
	return out
}

func arguments(args []arg) reply {
	out := array{}
	for _, a := range args {
		told := mapping{bulk("name"), bulk(a.name), bulk("type"), bulk(a.kind)}
		if a.token != "" {
			told = append(told, bulk("token"), bulk(a.token))
		}
		var flags []string
		for _, f := range []struct {
			on   bool
			name string
		}{{a.optional, "optional"}, {a.multiple, "multiple"}, {a.repeatToken, "multiple_token"}} {
			if f.on {
				flags = append(flags, f.name)
			}
		}
		if flags != nil {
			told = append(told, bulk("flags"), words(strings.Join(flags, " ")))
		}
		if len(a.parts) > 0 {
			told = append(told, bulk("arguments"), arguments(a.parts))
		}
		out = append(out, told)
	}
	return out
}

// help lists the subcommands of a command, each with its arguments and what it does.
func help(name string) func(*Server, context.Context, *conn, []string) reply {
	return func(s *Server, _ context.Context, _ *conn, _ []string) reply {
		parent, _ := s.catalogue.entry(name)
		out := array{simple(strings.ToUpper(name) + " <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")}
		add := func(head, summary string) { out = append(out, simple(head), simple("    "+summary)) }
		if parent.answer != nil {
			add("(no subcommand)", parent.summary)
		}
		for _, e := range s.catalogue.under(parent) {
			_, short, _ := strings.Cut(e.name, "|")
			if short != "help" && e.deprecated == "" {
				add(strings.TrimSuffix(strings.ToUpper(short)+" "+usage(e.args), " "), e.summary)
			}
		}
		add("HELP", "Prints this help.")
		return out
	}
}

// usage is how arguments are written down for people.
func usage(args []arg) string {
	var out []string
	for _, a := range args {
		out = append(out, a.usage())
	}
	return strings.Join(out, " ")
}

func (a arg) usage() string {
	text := "<" + a.name + ">"
	switch a.kind {
	case kindToken:
		text = a.token
	case kindBlock:
		text = usage(a.parts)
	case kindOneOf:
		var ways []string
		for _, p := range a.parts {
			ways = append(ways, p.usage())
		}
		text = "(" + strings.Join(ways, "|") + ")"
	}
	if a.repeatToken {
		text = a.token + " " + text
	}
	if a.multiple {
		text += " [" + text + " ...]"
	}
	if a.token != "" && a.kind != kindToken && !a.repeatToken {
		text = a.token + " " + text
	}
	if a.optional {
		text = "[" + text + "]"
	}
	return text
}
