package version

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestString(t *testing.T) {
	if got := String(); !regexp.MustCompile(`^\d+\.\d+\.\d+-dev(\+[0-9a-f]{12})?$`).MatchString(got) {
		t.Errorf("a build that no linker named is %q", got)
	}
	linked = "1.2.3"
	t.Cleanup(func() { linked = "" })
	if got := String(); got != "1.2.3" {
		t.Errorf("a linked one is %q", got)
	}
}

// TestScript: what make gives to the linker.
func TestScript(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	run := func(program string, args ...string) string {
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir), "GIT_CONFIG_GLOBAL=/dev/null",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", program, args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	expect := func(state, want string) {
		t.Helper()
		if got := run("scripts/version.sh"); got != want {
			t.Errorf("%s: %q, want %q", state, got, want)
		}
	}

	script, err := os.ReadFile("../../scripts/version.sh")
	if err != nil {
		t.Fatal(err)
	}
	write("scripts/version.sh", string(script))
	write("cmd/version/RELEASE", "9.8.7\n")
	expect("without git", "9.8.7-dev")
	run("git", "init", "-q")
	run("git", "add", ".")
	run("git", "commit", "-q", "-m", "all")
	commit := run("git", "rev-parse", "--short=12", "HEAD")
	expect("a commit", "9.8.7-dev+"+commit)
	run("git", "tag", "v9.8.6")
	expect("at another release's tag", "9.8.7-dev+"+commit)
	run("git", "tag", "v9.8.7")
	expect("at the tag", "9.8.7")
	write("cmd/version/RELEASE", "9.8.7\n\n")
	expect("changed since", "9.8.7-dev+"+commit+".dirty")
}
