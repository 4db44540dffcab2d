package workspace_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/kernel"
	"github.com/ccc-dev/ccc/internal/policy"
	"github.com/ccc-dev/ccc/internal/session/sessiontest"
	"github.com/ccc-dev/ccc/internal/workspace"
)

func TestMain(m *testing.M) {
	// Permissions mean nothing to root.
	if code, ran := sessiontest.AsUser(); ran {
		os.Exit(code)
	}
	if part := os.Getenv(victimVar); part != "" {
		os.Exit(victim(part))
	}
	os.Exit(m.Run())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tree makes directories (names that end in a slash), links ("a -> b") and files
// in a directory of the test's own, and returns it without links in its path.
func tree(t *testing.T, names ...string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	for _, n := range names {
		link, target, isLink := strings.Cut(n, " -> ")
		p := filepath.Join(dir, link)
		must(t, os.MkdirAll(filepath.Dir(p), 0o700))
		switch {
		case isLink:
			must(t, os.Symlink(target, p))
		case strings.HasSuffix(n, "/"):
			must(t, os.MkdirAll(p, 0o700))
		default:
			must(t, os.WriteFile(p, []byte(n), 0o600))
		}
	}
	return dir
}

func TestResolve(t *testing.T) {
	dir := tree(t, "project/", "file", "link -> project", "chain -> link", "up/back -> ../project", "tofile -> file",
		"loop -> loop", "nowhere -> missing", "todev -> /dev/null", "with blank/", "ünï/", "bad:name/", "tobad -> bad:name")
	must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	must(t, os.Mkdir(filepath.Join(dir, "closed"), 0o700))
	must(t, os.Mkdir(filepath.Join(dir, "closed", "below"), 0o700))
	must(t, os.Chmod(filepath.Join(dir, "closed"), 0))
	t.Cleanup(func() { must(t, os.Chmod(filepath.Join(dir, "closed"), 0o700)) })
	for asked, c := range map[string]struct {
		path string // where it leads; empty: refused
		dir  bool
		kind api.Kind
		rule string
	}{
		"project":           {path: "project", dir: true},
		"./project/":        {path: "project", dir: true},
		dir + "/project":    {path: "project", dir: true},
		"link":              {path: "project", dir: true},
		"link/.":            {path: "project", dir: true},
		"chain":             {path: "project", dir: true},
		"up/back":           {path: "project", dir: true},
		"project/../file":   {path: "file"},
		"tofile":            {path: "file"},
		"with blank":        {path: "with blank", dir: true},
		"ünï":               {path: "ünï", dir: true},
		".":                 {path: ".", dir: true},
		"closed":            {path: "closed", dir: true},
		"fifo":              {kind: api.KindInvalid, rule: "project.kind"},
		"todev":             {kind: api.KindInvalid, rule: "project.kind"},
		"loop":              {kind: api.KindInvalid, rule: "project.open"},
		"file/below":        {kind: api.KindInvalid, rule: "project.open"},
		"missing":           {kind: api.KindNotFound, rule: "project.open"},
		"nowhere":           {kind: api.KindNotFound, rule: "project.open"},
		"closed/below":      {kind: api.KindDenied, rule: "project.open"},
		"tobad":             {kind: api.KindInvalid, rule: "input.path"},
		"bad:name":          {kind: api.KindInvalid, rule: "input.path"},
		"-project":          {kind: api.KindInvalid, rule: "input.path"},
		"":                  {kind: api.KindInvalid, rule: "input.path"},
		"pro\x00ject":       {kind: api.KindInvalid, rule: "input.text"},
		"project\x1b[2J":    {kind: api.KindInvalid, rule: "input.text"},
		"../\u202e/project": {kind: api.KindInvalid, rule: "input.text"},
	} {
		p, err := workspace.Resolve("project", asked, dir)
		if c.path == "" {
			if r := api.ReportOf(errOrNone(err)); err == nil || r.Kind != c.kind || r.Rule != c.rule || r.Hint == "" {
				t.Errorf("%q: %+v, %v", asked, p, err)
			}
			continue
		}
		want := filepath.Join(dir, c.path)
		if err != nil || p.Path != want || p.Dir != c.dir || p.Asked != asked || p.Ino == 0 {
			t.Errorf("%q: %+v, %v; want %s", asked, p, err, want)
		}
	}
}

func errOrNone(err error) error {
	if err == nil {
		return errors.New("none")
	}
	return err
}

func place(t *testing.T, path string) policy.Place {
	t.Helper()
	p, err := workspace.Resolve("project", path, "/")
	must(t, err)
	return p
}

func TestSame(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, p string){
		"": func(*testing.T, string) {},
		"another directory": func(t *testing.T, p string) {
			must(t, os.Rename(p, p+".was"))
			must(t, os.Mkdir(p, 0o700))
		},
		"a link to it": func(t *testing.T, p string) {
			must(t, os.Rename(p, p+".was"))
			must(t, os.Symlink(p+".was", p))
		},
		"gone":              func(t *testing.T, p string) { must(t, os.Rename(p, p+".was")) },
		"a link in its way": func(t *testing.T, p string) { swapParent(t, p) },
	} {
		p := filepath.Join(tree(t, "up/project/", "other/project/"), "up", "project")
		resolved := place(t, p)
		change(t, p)
		if same := workspace.Same(resolved); same != (name == "") {
			t.Errorf("%s: same %v", name, same)
		}
	}
}

func swapParent(t *testing.T, p string) {
	t.Helper()
	up := filepath.Dir(p)
	must(t, os.Rename(up, up+".was"))
	must(t, os.Symlink(filepath.Join(filepath.Dir(up), "other"), up))
}

func entries(t *testing.T, dir string) []kernel.Entry {
	t.Helper()
	seen, err := kernel.ReadEntries(dir, 100)
	must(t, err)
	return seen
}

func TestStray(t *testing.T) {
	dir := tree(t, "project/file", "project/sub/", "project/link -> file", "upper/new", "upper/file", "victim/id_ed25519", "victim/sub/")
	p, upper := place(t, dir+"/project"), filepath.Join(dir, "upper")
	own := entries(t, dir+"/project")
	for name, c := range map[string]struct {
		seen []kernel.Entry
		want string
	}{
		"nothing":       {nil, ""},
		"the project":   {own, ""},
		"and the upper": {append(slices.Clone(own), entries(t, upper)...), ""},
		// Overlayfs numbers the layers of other file systems in the highest bits.
		"with a layer's number": {withLayer(own), ""},
		"another directory":     {entries(t, dir+"/victim"), "id_ed25519"},
		"file for file":         {[]kernel.Entry{{Name: "link", Ino: own[0].Ino + 12345}}, "link"},
		"a file as a directory": {[]kernel.Entry{{Name: "sub", Ino: 7}}, "sub"},
		"a directory as a file": {[]kernel.Entry{{Name: "link", Ino: 7, Dir: true}}, "link"},
	} {
		if got, err := workspace.Stray(p, upper, c.seen); err != nil || got != c.want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, c.want)
		}
	}
	must(t, os.Rename(dir+"/project", dir+"/was"))
	must(t, os.Mkdir(dir+"/project", 0o700))
	if _, err := workspace.Stray(p, upper, nil); api.ReportOf(errOrNone(err)).Rule != "project.moved" {
		t.Errorf("replaced: %v", err)
	}
}

func withLayer(seen []kernel.Entry) []kernel.Entry {
	seen = slices.Clone(seen)
	for i := range seen {
		seen[i].Ino |= 3 << 61
	}
	return seen
}

func TestGuarded(t *testing.T) {
	dir := tree(t, ".git/config", ".envrc", ".claude/settings.json", ".claude/other", ".vscode/tasks.json", "src/.git/config", "gitmodules")
	existing, absent, err := workspace.Guarded(dir)
	if want := []string{".claude/settings.json", ".envrc", ".git", ".vscode"}; err != nil || !absent || !slices.Equal(existing, want) {
		t.Errorf("%q, %v, %v", existing, absent, err)
	}
	// A work tree's .git is a file.
	if existing, _, err = workspace.Guarded(tree(t, ".git")); err != nil || !slices.Equal(existing, []string{".git"}) {
		t.Errorf("%q, %v", existing, err)
	}
	if existing, absent, err = workspace.Guarded(tree(t)); err != nil || !absent || len(existing) > 0 {
		t.Errorf("%q, %v, %v", existing, absent, err)
	}
	for _, link := range []string{".git -> /etc", ".envrc -> nowhere", ".vscode -> src", ".claude/settings.json -> /etc/passwd"} {
		if _, _, err := workspace.Guarded(tree(t, "src/", link)); api.ReportOf(errOrNone(err)).Rule != "project.guarded" {
			t.Errorf("%s: %v", link, err)
		}
	}
	// A link on the way must not lead out of the project.
	if existing, _, err := workspace.Guarded(tree(t, ".claude -> /etc")); err == nil && len(existing) > 0 {
		t.Errorf("%q, %v", existing, err)
	}
	if _, _, err := workspace.Guarded(dir + "/missing"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestDirs(t *testing.T) {
	d := workspace.Dirs{Root: filepath.Join(t.TempDir(), "a", "b")}
	if ids, err := d.List(); err != nil || len(ids) > 0 {
		t.Errorf("%q, %v", ids, err)
	}
	must(t, d.Remove("0123456789ab"))
	must(t, d.Make("0123456789ab"))
	for _, p := range []string{d.Root, d.Upper("0123456789ab"), d.Work("0123456789ab")} {
		if info, err := os.Stat(p); err != nil || info.Mode() != fs.ModeDir|0o700 {
			t.Errorf("%s: %v, %v", p, info, err)
		}
	}
	must(t, os.WriteFile(filepath.Join(d.Upper("0123456789ab"), "work"), nil, 0o600))
	if err := d.Make("0123456789ab"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("made twice: %v", err)
	}
	if _, err := os.Stat(filepath.Join(d.Upper("0123456789ab"), "work")); err != nil {
		t.Errorf("a second making has spoiled the first: %v", err)
	}
	must(t, os.WriteFile(filepath.Join(d.Root, "file"), nil, 0o600))
	if ids, err := d.List(); err != nil || !slices.Equal(ids, []api.ID{"0123456789ab"}) {
		t.Errorf("%q, %v", ids, err)
	}
	must(t, d.Remove("0123456789ab"))
	must(t, d.Remove("0123456789ab"))
	for _, id := range []api.ID{"", ".", "..", "../x", "0123456789AB", "0123456789abc", "0123456789a/"} {
		if d.Make(id) == nil || d.Remove(id) == nil {
			t.Errorf("%q is taken for an id", id)
		}
	}
	if entries, err := os.ReadDir(d.Root); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

// Whatever a session made of its directories, all of it goes, and nothing else.
func TestRemoveHostileDirs(t *testing.T) {
	outside := tree(t, "precious/file")
	d := workspace.Dirs{Root: filepath.Join(t.TempDir(), "sessions")}
	must(t, d.Make("0123456789ab"))
	must(t, d.Make("ba9876543210"))
	up := d.Upper("0123456789ab")
	deep := filepath.Join(up, strings.Repeat("deep/", 200))
	must(t, os.MkdirAll(deep, 0o700))
	must(t, os.WriteFile(filepath.Join(deep, "file"), nil, 0))
	for name, target := range map[string]string{"out": outside, "outfile": filepath.Join(outside, "precious/file"), "parent": "..", "root": "/", "self": "self", "sibling": d.Upper("ba9876543210")} {
		must(t, os.Symlink(target, filepath.Join(up, name)))
	}
	must(t, unix.Mkfifo(filepath.Join(up, "fifo"), 0))
	must(t, os.Link(filepath.Join(outside, "precious/file"), filepath.Join(up, "hard")))
	for _, closed := range []string{"none/below/further", "readonly/below"} {
		must(t, os.MkdirAll(filepath.Join(up, closed), 0o700))
		must(t, os.WriteFile(filepath.Join(up, closed, "file"), nil, 0o600))
	}
	must(t, os.Chmod(filepath.Join(up, "none/below"), 0))
	must(t, os.Chmod(filepath.Join(up, "none"), 0))
	must(t, os.Chmod(filepath.Join(up, "readonly/below"), 0o500))
	must(t, os.Chmod(filepath.Join(up, "readonly"), 0o500))
	// As overlayfs leaves it.
	must(t, os.Mkdir(filepath.Join(d.Work("0123456789ab"), "work"), 0))
	must(t, os.Chmod(up, 0))
	must(t, d.Remove("0123456789ab"))
	if ids, err := d.List(); err != nil || !slices.Equal(ids, []api.ID{"ba9876543210"}) {
		t.Errorf("left %q, %v", ids, err)
	}
	if data, err := os.ReadFile(filepath.Join(outside, "precious/file")); err != nil || string(data) != "precious/file" {
		t.Errorf("what a link led to was touched: %q, %v", data, err)
	}
	if info, err := os.Stat(outside); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := os.Stat(d.Upper("ba9876543210")); err != nil {
		t.Error(err)
	}
}

// The session's directory itself may be a link that somebody put there.
func TestRemoveDoesNotFollowALinkInPlaceOfASession(t *testing.T) {
	outside := tree(t, "upper/file")
	d := workspace.Dirs{Root: filepath.Join(t.TempDir(), "sessions")}
	must(t, os.Mkdir(d.Root, 0o700))
	must(t, os.Symlink(outside, filepath.Join(d.Root, "0123456789ab")))
	must(t, d.Remove("0123456789ab"))
	if _, err := os.Stat(filepath.Join(outside, "upper/file")); err != nil {
		t.Errorf("what the link led to is gone: %v", err)
	}
	if ids, err := d.List(); err != nil || len(ids) > 0 {
		t.Errorf("%q, %v", ids, err)
	}
}
