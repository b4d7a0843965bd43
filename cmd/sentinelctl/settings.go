package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// systemConfig is read last, after the user's own file.
const systemConfig = "/etc/sentineld/sentinelctl.conf"

// settings are the global flags.
type settings struct {
	endpoints string
	timeout   time.Duration
	local     bool
	output    string
}

func (s *settings) register(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&s.endpoints, "endpoints", "127.0.0.1:26479", "nodes to ask, as `HOST:PORT,...`")
	f.DurationVar(&s.timeout, "timeout", 5*time.Second, "how long one request may take")
	f.BoolVar(&s.local, "local", false, "ask the node for its own copy of the state, which may be old")
	f.StringVarP(&s.output, "output", "o", "table", "`table` or json")
}

// resolve fills what no flag gave from the environment and the configuration files, and checks the values.
func (s *settings) resolve(cmd *cobra.Command) error {
	files, err := readConfigs()
	if err != nil {
		return err
	}
	for _, name := range configKeys {
		f := cmd.Root().PersistentFlags().Lookup(name)
		if f.Changed {
			continue
		}
		from := "SENTINELCTL_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		value := os.Getenv(from)
		if value == "" {
			value, from = files[name].value, files[name].from
		}
		if value == "" {
			continue
		}
		if err := f.Value.Set(value); err != nil {
			return usagef("%s: %q: %w", from, value, err)
		}
	}
	switch {
	case s.output != "table" && s.output != "json":
		return usagef("output %q: want table or json", s.output)
	case s.timeout <= 0:
		return usagef("timeout %v: want more than 0", s.timeout)
	}
	return nil
}

func (s *settings) json() bool { return s.output == "json" }

func (s *settings) endpointList() []string {
	return strings.FieldsFunc(s.endpoints, func(r rune) bool { return r == ',' || r == ' ' })
}

// configKeys are the global flags, which the environment and a configuration file may set too.
var configKeys = []string{"endpoints", "timeout", "local", "output"}

type configValue struct{ value, from string }

// readConfigs reads the user's configuration file and the system's; the user's wins, a missing one is none.
func readConfigs() (map[string]configValue, error) {
	paths := []string{systemConfig}
	if dir, err := os.UserConfigDir(); err == nil {
		paths = append(paths, filepath.Join(dir, "sentinelctl", "config"))
	}
	values := map[string]configValue{}
	for _, path := range paths {
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, usagef("configuration: %w", err)
		}
		err = errors.Join(parseConfig(f, path, values), f.Close())
		if err != nil {
			return nil, err
		}
	}
	return values, nil
}

// parseConfig reads lines of "name value"; # begins a comment.
func parseConfig(r io.Reader, path string, into map[string]configValue) error {
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		from := fmt.Sprintf("%s:%d", path, n)
		name, value, _ := strings.Cut(strings.Replace(line, "\t", " ", 1), " ")
		value = strings.TrimSpace(value)
		switch {
		case !slices.Contains(configKeys, name):
			return usagef("%s: unknown name %q: want one of %s", from, name, strings.Join(configKeys, ", "))
		case value == "":
			return usagef("%s: %s has no value", from, name)
		}
		into[name] = configValue{value, from}
	}
	if err := lines.Err(); err != nil {
		return usagef("%s: %w", path, err)
	}
	return nil
}
