package notify

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPermissions(t *testing.T) {
	root := t.TempDir()
	dir, outside := filepath.Join(root, "scripts"), filepath.Join(root, "outside")
	for _, d := range []string{dir, filepath.Join(dir, "sub"), outside, dir + "-other"} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	inDir := writeScript(t, dir, "real", "")
	nested := writeScript(t, filepath.Join(dir, "sub"), "nested", "")
	foreign := writeScript(t, outside, "foreign", "")
	sibling := writeScript(t, dir+"-other", "sibling", "")
	link := func(target, name string) string {
		path := filepath.Join(root, name)
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	escape := link(foreign, "scripts/escape")
	within := link(nested, "scripts/within")
	toDir := link(dir, "alias")
	named := map[string][]string{"m": {"/etc/named", foreign}}
	for _, c := range []struct {
		name         string
		p            Permissions
		master, path string
		file, why    string // either
	}{
		{"any", Permissions{Any: true}, "m", "/whatever", "/whatever", ""},
		{"named", Permissions{Named: named}, "m", "/etc/named", "/etc/named", ""},
		{"named for another", Permissions{Named: named}, "n", "/etc/named", "", "does not name it for this master, and there is no scripts-dir"},
		{"named, spelled otherwise", Permissions{Named: named}, "m", "/etc/../etc/named", "", "no scripts-dir"},
		{"inside", Permissions{Dir: dir}, "m", inDir, inDir, ""},
		{"inside, deeper", Permissions{Dir: dir}, "m", nested, nested, ""},
		{"inside, roundabout", Permissions{Dir: dir}, "m", dir + "/sub/../real", inDir, ""},
		{"inside, the directory a link", Permissions{Dir: toDir}, "m", toDir + "/real", inDir, ""},
		{"a link that stays inside", Permissions{Dir: dir}, "m", within, nested, ""},
		{"a link that leads out", Permissions{Dir: dir}, "m", escape, "", "(it leads to " + foreign + ")"},
		{"a link that leads out, named", Permissions{Dir: dir, Named: map[string][]string{"m": {escape}}}, "m", escape, escape, ""},
		{"outside", Permissions{Dir: dir}, "m", foreign, "", "does not lie in scripts-dir " + dir},
		{"outside, roundabout", Permissions{Dir: dir}, "m", dir + "/../outside/foreign", "", "does not lie in scripts-dir"},
		{"a directory of like name", Permissions{Dir: dir}, "m", sibling, "", "does not lie in scripts-dir"},
		{"the directory itself", Permissions{Dir: dir}, "m", dir, "", "does not lie in scripts-dir"},
		{"no such file", Permissions{Dir: dir}, "m", dir + "/none", "", "no such file"},
		{"no such directory", Permissions{Dir: root + "/none"}, "m", inDir, "", "scripts-dir: "},
		{"beside this process", Permissions{Dir: dir}, "m", "permit.go", "", "does not lie in scripts-dir"},
		{"any, with a directory", Permissions{Any: true, Dir: dir}, "m", foreign, "", "does not lie in scripts-dir"},
		{"any, inside", Permissions{Any: true, Dir: dir}, "m", inDir, inDir, ""},
		{"nothing", Permissions{}, "m", "", "", "no scripts-dir"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file, err := c.p.Permit(c.master, c.path)
			switch {
			case c.why == "" && (err != nil || file != c.file):
				t.Errorf("got %q, %v; want %q", file, err, c.file)
			case c.why != "" && (err == nil || file != "" || !strings.Contains(err.Error(), c.why)):
				t.Errorf("got %q, %v; want an error with %q", file, err, c.why)
			}
		})
	}
}
