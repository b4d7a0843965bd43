package stage

import "path/filepath"

// ProgramOptions say how a program of another kind is started.
type ProgramOptions struct {
	// Name is unique on the stage.
	Name string
	// Path is the program; a bare name is not looked for in PATH.
	Path string
	Args []string
	// Env is added to the environment, as NAME=VALUE.
	Env []string
}

// Program makes a process of any program, which does not run yet. It counts as ready once it lives, and its log holds
// what it writes.
func (s *Stage) Program(o ProgramOptions) (*Process, error) {
	dir, err := s.room(o.Name)
	if err != nil {
		return nil, err
	}
	p := &Process{name: o.Name, path: o.Path, args: o.Args, env: o.Env, dir: dir, logPath: filepath.Join(dir, "log")}
	return p, s.add(p)
}

// Port gives a port on 127.0.0.1 that is free and that the stage gives to nobody else.
func (s *Stage) Port() (int, error) { return s.block.single() }
