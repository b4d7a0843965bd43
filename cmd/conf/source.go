package conf

import (
	"slices"
	"strings"
)

const (
	envPrefix    = "SENTINELD_CONF_"
	includeDepth = 8
	// includeFiles bounds files that include each other in breadth.
	includeFiles = 256
)

// File is a configuration file that was read.
type File struct {
	Path string
	Text string
}

// Input is everything a configuration is made from.
type Input struct {
	// Args are the words of the command line: [CONFIG-FILE] [--directive value ...].
	Args []string
	// Env is the environment as NAME=VALUE; only SENTINELD_CONF_* and STATE_DIRECTORY are looked at.
	Env []string
	// HostName is the machine's; the default of node-id is what stands before its first dot.
	HostName string
	// WorkDir is the absolute path that a relative dir counts from.
	WorkDir string
	// Open reads the configuration file, and the files of an include line, where the name may be a glob pattern.
	Open func(name string) ([]File, error)
	// Script tells why a path is not that of a script that can be run here; nil: nobody looks.
	Script func(path string) error
}

// line is a directive with its words, the directive's name in lower case as the first.
type line struct {
	place Place
	words []string
}

// reader collects the lines of all sources.
type reader struct {
	findings
	open  func(string) ([]File, error)
	files int
	lines []line
}

func (r *reader) place(file string, n int, l level) Place {
	return Place{File: file, Line: n, level: l, order: len(r.lines) + 1}
}

// read reads files, then the environment, then flags.
func (r *reader) read(in Input) {
	args := in.Args
	if len(args) > 0 && !isFlag(args[0]) {
		r.readFile(r.place(args[0], 0, levelFile), args[0], nil)
		args = args[1:]
	}
	r.readEnv(in.Env)
	r.readFlags(args)
}

// readFile reads a file or the files of a pattern. The trail are the files that led here.
func (r *reader) readFile(from Place, name string, trail []string) {
	files, err := r.open(name)
	if err != nil {
		r.fault(from, "cannot read %q: %v", name, err)
		return
	}
	for _, f := range files {
		r.files++
		switch {
		case slices.Contains(trail, f.Path):
			r.fault(from, "include %q: the file includes itself by way of %s", f.Path, strings.Join(trail, ", "))
		case len(trail) == includeDepth || r.files > includeFiles:
			r.fault(from, "include %q: files may be included %d deep, and %d in all", f.Path, includeDepth, includeFiles)
		default:
			r.readText(f, append(slices.Clone(trail), f.Path))
		}
	}
}

func (r *reader) readText(f File, trail []string) {
	n := 0
	for text := range strings.Lines(f.Text) {
		n++
		words := r.split(r.place(f.Path, n, levelFile), text)
		switch {
		case len(words) == 0:
		case words[0] != "include":
			r.lines = append(r.lines, line{r.place(f.Path, n, levelFile), words})
		case len(words) != 2:
			r.fault(r.place(f.Path, n, levelFile), "include wants one path or pattern, read %d words", len(words)-1)
		default:
			r.readFile(r.place(f.Path, n, levelFile), words[1], trail)
		}
	}
}

// split gives the words of a line of text, none for a comment or a fault. A faulty line is not shown: it may hold a password.
func (r *reader) split(p Place, text string) []string {
	text = strings.Trim(text, " \t\r\n")
	if text == "" || text[0] == '#' {
		return nil
	}
	words, err := split(text)
	if err != nil {
		r.fault(p, "%v", err)
		return nil
	}
	if len(words) > 0 {
		words[0] = strings.ToLower(words[0])
	}
	return words
}

// readEnv reads variables in name order. An empty value is as if the variable were not set.
func (r *reader) readEnv(env []string) {
	for _, pair := range slices.Sorted(slices.Values(env)) {
		name, value, _ := strings.Cut(pair, "=")
		directive, ours := strings.CutPrefix(name, envPrefix)
		if !ours {
			continue
		}
		directive = strings.ToLower(strings.ReplaceAll(directive, "_", "-"))
		for text := range strings.Lines(value) {
			p := r.place(name, 0, levelEnv)
			words, err := split(text)
			if err != nil {
				r.fault(p, "%v", err)
				continue
			}
			if len(words) > 0 {
				r.lines = append(r.lines, line{p, append([]string{directive}, words...)})
			}
		}
	}
}

// readFlags reads --directive value ... as redis-server does: every word up to the next flag is a word of the value, and a
// value given as one word may hold several.
func (r *reader) readFlags(args []string) {
	for i := 0; i < len(args); {
		p := r.place(args[i], 0, levelFlag)
		if !isFlag(args[i]) {
			r.fault(p, "is neither a --directive nor a value of one; a configuration file comes first")
			i++
			continue
		}
		words := []string{strings.ToLower(args[i][2:])}
		for i++; i < len(args) && !isFlag(args[i]); i++ {
			words = append(words, args[i])
		}
		if len(words) == 2 && takesSeveral(words[0]) {
			several, err := split(words[1])
			if err != nil {
				r.fault(p, "%v", err)
				continue
			}
			words = append(words[:1], several...)
		}
		r.lines = append(r.lines, line{p, words})
	}
}

func takesSeveral(name string) bool {
	d, known := lookup(name)
	return known && d.most == 0 && d.ignored == "" || name == "sentinel"
}

func isFlag(word string) bool { return len(word) > 2 && strings.HasPrefix(word, "--") }
