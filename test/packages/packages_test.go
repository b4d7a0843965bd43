// Package packages looks into what make dist makes.
package packages

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// The version that is built, and as Debian and rpm spell it, so that it sorts before 9.8.7.
const (
	version    = "9.8.7-dev+c0ffee"
	debVersion = "9.8.7~dev+c0ffee"
)

// file is what a package says of one; a directory has no content.
type file struct {
	mode, owner string
	content     []byte
}

// common are the files of both packages. Where the mode and owner are not "-rw-r--r-- root:root" they stand here.
var common = map[string]string{
	"/usr/bin/sentineld":                                     "-rwxr-xr-x root:root",
	"/usr/bin/sentinelctl":                                   "-rwxr-xr-x root:root",
	"/etc/sentineld/sentineld.conf":                          "-rw-r----- root:sentineld",
	"/usr/lib/systemd/system/sentineld.service":              "",
	"/usr/lib/systemd/system/sentineld-host-drain.service":   "",
	"/usr/lib/systemd/system/sentineld-host-undrain.service": "",
	"/usr/lib/systemd/system/sentineld-backup.service":       "",
	"/usr/lib/systemd/system/sentineld-backup.timer":         "",
	"/usr/lib/systemd/system-preset/80-sentineld.preset":     "",
	"/usr/lib/sysusers.d/sentineld.conf":                     "",
	"/usr/share/sentineld/notify-reload.conf":                "",
	"/usr/share/man/man8/sentineld.8.gz":                     "",
	"/usr/share/man/man5/sentineld.conf.5.gz":                "",
	"/usr/share/man/man1/sentinelctl.1.gz":                   "",
	"/usr/share/bash-completion/completions/sentinelctl":     "",
	"/usr/share/fish/vendor_completions.d/sentinelctl.fish":  "",
	"/usr/share/doc/sentineld/README.md":                     "",
	"/usr/share/doc/sentineld/CHANGELOG.md":                  "",
}

// docs is where all of docs/ is.
const docs = "/usr/share/doc/sentineld/docs/"

func TestPackages(t *testing.T) {
	if os.Getenv("TEST_PACKAGES") == "" {
		t.Skip("builds the packages, for minutes: make test-packages runs it")
	}
	dist := build(t)
	t.Run("deb", func(t *testing.T) { testDeb(t, filepath.Join(dist, "sentineld_"+debVersion+"_"+runtime.GOARCH+".deb")) })
	rpmArch := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
	t.Run("rpm", func(t *testing.T) { testRPM(t, filepath.Join(dist, "sentineld-"+debVersion+"-1."+rpmArch+".rpm")) })
	t.Run("tarball", func(t *testing.T) {
		testTarball(t, filepath.Join(dist, "sentineld-"+version+"-linux-"+runtime.GOARCH+".tar.gz"))
	})
	t.Run("sbom", func(t *testing.T) { testSBOM(t, dist) })
	t.Run("checksums", func(t *testing.T) { testChecksums(t, dist) })
	t.Run("again", func(t *testing.T) {
		want, got := sums(t, dist), sums(t, build(t))
		if !maps.Equal(got, want) {
			t.Errorf("another build is another: %v, want %v", got, want)
		}
	})
}

func build(t *testing.T) (dist string) {
	t.Helper()
	dist = t.TempDir()
	run(t, "make", "-C", "../..", "dist", "DIST="+dist, "VERSION="+version, "ARCHES="+runtime.GOARCH)
	return dist
}

func run(t *testing.T, program string, args ...string) []byte {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), program, args...).Output()
	if err != nil {
		stderr := ""
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			stderr = string(exit.Stderr)
		}
		t.Fatalf("%s %s: %v\n%s%s", program, strings.Join(args, " "), err, out, stderr)
	}
	return out
}

// untar gives the files of an archive by their absolute names.
func untar(t *testing.T, archive []byte) map[string]file {
	t.Helper()
	files := map[string]file{}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[path.Join("/", h.Name)] = file{h.FileInfo().Mode().String(), h.Uname + ":" + h.Gname, content}
	}
}

func testDeb(t *testing.T, deb string) {
	control := untar(t, run(t, "dpkg-deb", "--ctrl-tarfile", deb))
	fields := string(control["/control"].content)
	for _, want := range []string{"Package: sentineld\n", "Version: " + debVersion + "\n", "Architecture: " + runtime.GOARCH + "\n"} {
		if !strings.Contains(fields, want) {
			t.Errorf("no %q in\n%s", want, fields)
		}
	}
	if got := string(control["/conffiles"].content); strings.TrimSpace(got) != "/etc/sentineld/sentineld.conf" {
		t.Errorf("conffiles: %q", got)
	}
	for _, script := range []string{"postinst", "prerm", "postrm"} {
		f := control["/"+script]
		if f.mode != "-rwxr-xr-x" {
			t.Errorf("%s has mode %q", script, f.mode)
		}
		checkShell(t, script, f.content)
	}

	files := untar(t, run(t, "dpkg-deb", "--fsys-tarfile", deb))
	testFiles(t, files, "/usr/share/zsh/vendor-completions/_sentinelctl", "/usr/share/doc/sentineld/copyright")
	testContents(t, files)
}

func testRPM(t *testing.T, rpm string) {
	query := func(format string) string { return string(run(t, "rpm", "-qp", "--qf", format, rpm)) }
	if got := query("%{NAME} %{VERSION} %{RELEASE} %{BUILDHOST}"); got != "sentineld "+debVersion+" 1 localhost" {
		t.Errorf("it is %s", got)
	}
	files := map[string]file{}
	for line := range strings.Lines(query(`[%{FILEMODES:perms} %{FILEUSERNAME}:%{FILEGROUPNAME} %{FILENAMES} %{FILEFLAGS:fflags}\n]`)) {
		words := strings.Fields(line)
		files[words[2]] = file{mode: words[0], owner: words[1]}
		// c: configuration; n: an upgrade does not replace what was changed
		if isConf := words[2] == "/etc/sentineld/sentineld.conf"; isConf != (len(words) == 4 && words[3] == "cn") {
			t.Errorf("a configuration file or not? %s", line)
		}
	}
	testFiles(t, files, "/usr/share/zsh/site-functions/_sentinelctl", "/usr/share/licenses/sentineld/LICENSE")
	for _, script := range []string{"PREIN", "POSTIN", "PREUN", "POSTUN"} {
		text := query("%{" + script + "}")
		if text == "(none)" {
			t.Errorf("no script %s", script)
		}
		checkShell(t, script, []byte(text))
	}
}

func checkShell(t *testing.T, name string, script []byte) {
	t.Helper()
	sh := exec.CommandContext(t.Context(), "sh", "-n")
	sh.Stdin = bytes.NewReader(script)
	if out, err := sh.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", name, err, out)
	}
}

// testFiles compares names, modes and owners with the table and what else this kind of package has.
func testFiles(t *testing.T, got map[string]file, others ...string) {
	want := maps.Clone(common)
	for _, name := range others {
		want[name] = ""
	}
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("docs: %v, %v", pages, err)
	}
	for _, page := range pages {
		want[docs+filepath.Base(page)] = ""
	}
	for name, f := range got {
		if f.mode[0] == 'd' {
			if f.mode != "drwxr-xr-x" || f.owner != "root:root" {
				t.Errorf("directory %s: %s %s", name, f.mode, f.owner)
			}
			continue
		}
		w, ok := want[name]
		if w == "" {
			w = "-rw-r--r-- root:root"
		}
		switch {
		case !ok:
			t.Errorf("%s is not meant to be there", name)
		case f.mode+" "+f.owner != w:
			t.Errorf("%s: %s %s, want %s", name, f.mode, f.owner, w)
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("missing: %q", slices.Sorted(maps.Keys(want)))
	}
}

// testContents unpacks what can be tried without an installation.
func testContents(t *testing.T, files map[string]file) {
	dir := t.TempDir()
	unpack := func(name string) string {
		to := filepath.Join(dir, path.Base(name))
		if err := os.WriteFile(to, files[name].content, 0o700); err != nil {
			t.Fatal(err)
		}
		return to
	}
	for _, program := range []string{"sentineld", "sentinelctl"} {
		at := unpack("/usr/bin/" + program)
		e, err := elf.Open(at)
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(e.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
			t.Errorf("%s is not static", program)
		}
		_ = e.Close()
	}
	if got := string(run(t, filepath.Join(dir, "sentineld"), "--version")); got != "sentineld "+version+"\n" {
		t.Errorf("sentineld --version: %q", got)
	}
	if got := string(run(t, filepath.Join(dir, "sentinelctl"), "version")); !strings.HasPrefix(got, "sentinelctl "+version+" ") {
		t.Errorf("sentinelctl version: %q", got)
	}
	run(t, filepath.Join(dir, "sentineld"), "--check-config", unpack("/etc/sentineld/sentineld.conf"))
	for name, f := range files {
		if !strings.HasPrefix(name, "/usr/share/man/man") || path.Ext(name) != ".gz" {
			continue
		}
		z, err := gzip.NewReader(bytes.NewReader(f.content))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		text, err := io.ReadAll(z)
		if err != nil || !bytes.HasPrefix(text, []byte(".TH ")) || len(text) < 1000 {
			t.Errorf("%s: %v, %d bytes: %.40q", name, err, len(text), text)
		}
	}
}

func testTarball(t *testing.T, tarball string) {
	root := "/" + strings.TrimSuffix(filepath.Base(tarball), ".tar.gz")
	files := untar(t, run(t, "gzip", "-dc", tarball))
	for _, name := range []string{
		"sentineld", "sentinelctl", "sentineld.conf", "LICENSE", "README.md", "CHANGELOG.md", "docs/install.md", "man/sentineld.8.gz",
		"man/sentineld.conf.5.gz", "man/sentinelctl.1.gz", "completions/sentinelctl.bash", "completions/sentinelctl.zsh",
		"completions/sentinelctl.fish", "systemd/sentineld.service", "systemd/sentineld.sysusers.conf",
	} {
		if len(files[root+"/"+name].content) == 0 {
			t.Errorf("no %s", name)
		}
	}
	for name := range files {
		if name != root && !strings.HasPrefix(name, root+"/") {
			t.Errorf("%s does not lie in %s", name, root)
		}
	}
}

func testSBOM(t *testing.T, dist string) {
	for program, links := range map[string]string{"sentineld": "github.com/hashicorp/raft", "sentinelctl": "github.com/spf13/cobra"} {
		text, err := os.ReadFile(filepath.Join(dist, program+"-"+version+".cdx.json"))
		if err != nil {
			t.Error(err)
			continue
		}
		var bom struct {
			BOMFormat string `json:"bomFormat"`
			Metadata  struct {
				Component struct{ Name, Version string }
			}
			Components []struct{ Name, Version string }
		}
		if err := json.Unmarshal(text, &bom); err != nil {
			t.Error(err)
			continue
		}
		linked := func(name string) bool {
			return slices.ContainsFunc(bom.Components, func(c struct{ Name, Version string }) bool { return c.Name == name && c.Version != "" })
		}
		if bom.BOMFormat != "CycloneDX" || bom.Metadata.Component.Version != "v"+version || !linked(links) || !linked("std") {
			t.Errorf("%s: %s", program, text)
		}
	}
}

// sums are the checksums of the files of a directory.
func sums(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]string{}
	for _, f := range files {
		content, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(content)
		sums[filepath.Base(f)] = hex.EncodeToString(sum[:])
	}
	return sums
}

// testChecksums: SHA256SUMS has every file, and no other.
func testChecksums(t *testing.T, dist string) {
	text, err := os.ReadFile(filepath.Join(dist, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for line := range strings.Lines(string(text)) {
		var sum, name string
		if _, err := fmt.Sscanf(line, "%s %s", &sum, &name); err != nil {
			t.Errorf("%q: %v", line, err)
		}
		got[name] = sum
	}
	want := sums(t, dist)
	delete(want, "SHA256SUMS")
	if len(want) != 5 || !maps.Equal(got, want) {
		t.Errorf("SHA256SUMS has %v; there are %v", got, want)
	}
}
