package workspace_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/workspace"
)

// plain is a scene with a small project of known content.
func plain(t *testing.T) *scene {
	t.Helper()
	s := newScene(t, 1)
	s.put(s.project, "README", "a project\n")
	s.put(s.project, "src/main.c", "int main(void);\n")
	s.put(s.project, ".git/config", "[core]\n\thooksPath = tools/hooks\n")
	s.born()
	return s
}

func (s *scene) put(root, name, text string) {
	s.Helper()
	file := filepath.Join(root, name)
	must(s.T, os.MkdirAll(filepath.Dir(file), 0o755))
	must(s.T, os.WriteFile(file, []byte(text), 0o644))
}

func (s *scene) find(p string) api.Change {
	s.Helper()
	all := s.scan()
	i := slices.IndexFunc(all, func(c api.Change) bool { return c.Path == p })
	if i < 0 {
		s.Fatalf("%q is not among %+v", p, all)
	}
	return all[i]
}

// What a session can leave behind that must not come out, and why it does not.
func TestNeverTaken(t *testing.T) {
	t.Parallel()
	s := plain(t)
	outside := filepath.Join(s.Dir(), "secret")
	must(t, os.WriteFile(outside, []byte("secret"), 0o600))
	for _, f := range []string{
		".git/hooks/pre-commit", ".git/config", ".GIT/config", "src/.git/config", "deep/.Git", "git~1/config", ".g\u200cit/config",
		"two\nlines", "esc\x1b[2J", "bidi\u202egpj", "readme", "new/File", "new/file",
	} {
		s.put(s.upper, f, "x")
	}
	must(t, unix.Mkfifo(filepath.Join(s.upper, "fifo"), 0o600))
	must(t, unix.Mknod(filepath.Join(s.upper, "sock"), unix.S_IFSOCK|0o600, 0))
	s.put(s.upper, "suid", "x")
	must(t, os.Chmod(filepath.Join(s.upper, "suid"), fs.ModeSetuid|0o755))
	s.put(s.upper, "sparse", "")
	must(t, os.Truncate(filepath.Join(s.upper, "sparse"), 1<<40))
	s.put(s.upper, "unreadable", "x")
	must(t, os.Chmod(filepath.Join(s.upper, "unreadable"), 0))
	for link, target := range map[string]string{
		"abs": "/etc/passwd", "up": "../secret", "src/upup": "../../secret", "down": "src/../../secret", "hook": ".git/hooks/pre-commit",
	} {
		must(t, os.MkdirAll(filepath.Join(s.upper, "src"), 0o755))
		must(t, os.Symlink(target, filepath.Join(s.upper, link)))
	}
	for _, bare := range []string{"HEAD", "objects/x", "refs/x", "config"} {
		s.put(s.upper, "data/"+bare, "x")
	}
	done := make(chan []api.Change)
	go func() { done <- s.scan() }()
	var changes []api.Change
	select {
	case changes = <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("it waits, for a named pipe or for a terabyte")
	}
	taken := []string{}
	for _, c := range changes {
		if c.Refused == "" {
			taken = append(taken, c.Path)
		}
	}
	// One of two names that clash is as good as the other: neither comes.
	if want := []string{"data", "deep", "new"}; !slices.Equal(taken, want) {
		t.Errorf("may be taken: %q", taken)
	}
	for p, why := range map[string]string{
		"fifo": "named pipe", "sock": "socket", "suid": "setuid", "sparse": "bytes", "unreadable": "cannot be read", "abs": "out of the project",
		"up": "out of the project", "src/upup": "out of the project", "down": "goes up after", "hook": "git's own", "readme": "only in case from README",
		"data/HEAD": "git repository", "data/config": "git repository", ".git": "git's own", "two\nlines": "cannot be shown",
	} {
		if c := s.find(p); !strings.Contains(c.Refused, why) {
			t.Errorf("%q: %q", p, c.Refused)
		}
	}
	before := read(t, s.project)
	held := s.take(api.ApplyRequest{All: true})
	if len(held) < 20 {
		t.Errorf("held back %+v", held)
	}
	for p := range read(t, s.project) {
		if _, was := before[p]; !was && !slices.Contains([]string{"data", "deep", "new"}, p) {
			t.Errorf("%q came out", p)
		}
	}
	if _, _, err := workspace.Choose(s.scan(), api.ApplyRequest{Paths: []string{"suid"}}); api.KindOf(err) != api.KindDenied {
		t.Errorf("named: %v", err)
	}
}

// Dir is the directory that the scene lies in.
func (s *scene) Dir() string { return filepath.Dir(s.project) }

// What runs by itself needs its own yes, at any depth, in any case, and where the
// project itself leads a name elsewhere.
func TestTiers(t *testing.T) {
	t.Parallel()
	s := newScene(t, 2)
	s.put(s.project, ".git/config", "[core]\n\thooksPath = tools/hooks\n")
	s.put(s.project, "editor/tasks.json", "{}")
	must(t, os.Symlink("editor", filepath.Join(s.project, ".vscode")))
	s.born()
	want := map[string]api.Tier{
		".envrc": api.TierRuns, "sub/.envrc": api.TierRuns, ".ENVRC": api.TierRuns, ".vscode-x": api.TierPlain,
		"deep/er/.vscode/tasks.json": api.TierRuns, ".claude/settings.json": api.TierRuns, ".mcp.json": api.TierRuns, ".gitattributes": api.TierRuns,
		"x/.gitmodules": api.TierRuns, ".husky/pre-commit": api.TierRuns, "tools/hooks/pre-commit": api.TierRuns, "editor/tasks.json": api.TierRuns,
		"Makefile": api.TierBuild, "a/b/package.json": api.TierBuild, ".github/workflows/ci.yml": api.TierBuild, "Cargo.lock": api.TierBuild,
		"main.go": api.TierPlain, "envrc": api.TierPlain, "tools/main.sh": api.TierPlain,
	}
	for p := range want {
		s.put(s.upper, p, "changed")
	}
	must(t, os.Remove(filepath.Join(s.upper, ".ENVRC")))
	delete(want, ".ENVRC")
	s.put(s.upper, "other/.ENVRC", "changed")
	want["other/.ENVRC"] = api.TierRuns
	for p, tier := range want {
		if got := s.find(p).Tier; got != tier {
			t.Errorf("%s is %s, want %s", p, got, tier)
		}
	}
	alone, err := workspace.ByThemselves(s.project)
	must(t, err)
	for p, tier := range want {
		if got := alone(p); got != (tier == api.TierRuns) {
			t.Errorf("%s runs by itself: %v, and is %s", p, got, tier)
		}
	}
	if !alone("sub/HEAD") || alone("sub/HEADER") {
		t.Error("what makes a directory a repository is not held")
	}
	held := s.take(api.ApplyRequest{All: true})
	for p, tier := range want {
		_, err := os.Stat(filepath.Join(s.project, p))
		is := slices.ContainsFunc(held, func(h api.Held) bool { return h.Path == p && h.Rule == "change.runs-by-itself" && h.Hint != "" })
		if is != (tier == api.TierRuns) || p != "editor/tasks.json" && (err == nil) == is {
			t.Errorf("%s: held %v, %v", p, is, err)
		}
	}
	if _, _, err := workspace.Choose(s.scan(), api.ApplyRequest{Paths: []string{".envrc"}}); api.ReportOf(errOrNone(err)).Rule != "change.runs-by-itself" {
		t.Errorf("named without its own yes: %v", err)
	}
	s.take(api.ApplyRequest{Paths: []string{".envrc"}, Runs: []string{".envrc"}})
	if data, err := os.ReadFile(filepath.Join(s.project, ".envrc")); err != nil || string(data) != "changed" {
		t.Errorf("with its own yes: %q, %v", data, err)
	}
}

// While the session exchanges a directory for a link to the host's secrets and
// back, and a file for a link, as fast as it can, nothing of them is ever read,
// and nothing is written where the link leads.
func TestRaceOfLinks(t *testing.T) {
	t.Parallel()
	s := plain(t)
	victim := filepath.Join(s.Dir(), "victim")
	must(t, os.MkdirAll(victim, 0o755))
	must(t, os.WriteFile(filepath.Join(victim, "f"), []byte("secret"), 0o600))
	stop, both := race(t, filepath.Join(s.upper, "dir"), victim)
	rounds, seen := 10_000, 0
	if testing.Short() {
		rounds = 1000
	}
	for range rounds {
		changes, err := s.layer.Scan(t.Context())
		if err != nil {
			// What came and went under the reader; it may not be believed.
			continue
		}
		for _, c := range changes {
			if c.New.SHA256 == "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b" {
				t.Fatalf("the secret was read: %+v", c)
			}
			if c.New.Kind == api.FileRegular {
				seen++
			}
		}
	}
	close(stop)
	both.Wait()
	if seen == 0 {
		t.Error("the file was never seen: nothing was tried")
	}
	// Without the control the same race is won.
	stop, both = race(t, filepath.Join(s.upper, "naive"), victim)
	won := false
	for deadline := time.Now().Add(20 * time.Second); !won && time.Now().Before(deadline); {
		data, err := os.ReadFile(filepath.Join(s.upper, "naive", "f"))
		won = err == nil && string(data) == "secret"
	}
	close(stop)
	both.Wait()
	if !won {
		t.Error("a reader that follows links never lost: the race is none")
	}
}

// race exchanges a directory that holds an innocent file with a link to another,
// until stopped.
func race(t *testing.T, name, to string) (stop chan struct{}, both *sync.WaitGroup) {
	t.Helper()
	must(t, os.Mkdir(name, 0o755))
	must(t, os.WriteFile(filepath.Join(name, "f"), []byte("innocent"), 0o644))
	link := name + ".link"
	must(t, os.Symlink(to, link))
	stop, both = make(chan struct{}), &sync.WaitGroup{}
	both.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, name, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE)
			}
		}
	})
	return stop, both
}

// While a program on the host exchanges a directory of the project for a link
// that leads out, an apply writes nothing where it leads.
func TestRaceInTheProject(t *testing.T) {
	t.Parallel()
	s := plain(t)
	victim := filepath.Join(s.Dir(), "victim")
	must(t, os.MkdirAll(victim, 0o755))
	dir := filepath.Join(s.project, "dir")
	stop, both := race(t, dir, victim)
	s.put(s.upper, "dir/f", "from the session")
	s.put(s.upper, "dir/new", "from the session")
	applied := 0
	for range 300 {
		changes, err := s.layer.Scan(t.Context())
		if err != nil {
			continue
		}
		taken, _, err := workspace.Choose(changes, api.ApplyRequest{All: true, Conflicts: api.SideTheirs})
		if err == nil && s.ledger.Apply(t.Context(), s.id, s.layer, taken) == nil {
			applied++
			_, _, _ = s.ledger.Undo(t.Context(), s.id, s.layer.Project, true)
		}
		cut, err := s.ledger.CutShort()
		must(t, err)
		for _, id := range cut {
			_, _ = s.ledger.Recover(t.Context(), id)
		}
	}
	close(stop)
	both.Wait()
	entries, err := os.ReadDir(victim)
	must(t, err)
	if len(entries) > 0 {
		t.Errorf("written where the link led: %v", entries)
	}
	if applied == 0 {
		t.Error("no apply ever succeeded: nothing was tried")
	}
}

// A file that the session writes again after it was shown is not taken.
func TestChangedAfterTheLook(t *testing.T) {
	t.Parallel()
	s := plain(t)
	s.put(s.upper, "README", "reviewed\n")
	seen := s.find("README")
	s.put(s.upper, "README", "evil....\n")
	_, _, err := workspace.Choose(s.scan(), api.ApplyRequest{Paths: []string{"README"}, Digests: map[string]string{"README": seen.Digest}})
	if r := api.ReportOf(errOrNone(err)); r.Rule != "change.moved" || r.Kind != api.KindConflict {
		t.Errorf("by digest: %v", err)
	}
	// And between the choice and the copy.
	if err := s.ledger.Apply(t.Context(), s.id, s.layer, []api.Change{seen}); api.ReportOf(errOrNone(err)).Rule != "change.moved" {
		t.Errorf("applied: %v", err)
	}
	if data, err := os.ReadFile(filepath.Join(s.project, "README")); err != nil || string(data) != "a project\n" {
		t.Errorf("%q, %v", data, err)
	}
	// What was not looked at does not come along.
	s.put(s.upper, "unseen/f", "x")
	f := s.find("unseen/f")
	_, _, err = workspace.Choose(s.scan(), api.ApplyRequest{Paths: []string{"unseen/f"}, Digests: map[string]string{"unseen/f": f.Digest}})
	if api.ReportOf(errOrNone(err)).Rule != "change.unseen" {
		t.Errorf("its directory: %v", err)
	}
}

// A hard link in the project is broken, not written through.
func TestHardLinks(t *testing.T) {
	t.Parallel()
	s := newScene(t, 3)
	s.put(s.Dir(), "outside", "mine\n")
	must(t, os.Link(filepath.Join(s.Dir(), "outside"), filepath.Join(s.project, "linked")))
	s.born()
	s.put(s.upper, "linked", "theirs\n")
	s.take(api.ApplyRequest{All: true})
	if data, err := os.ReadFile(filepath.Join(s.Dir(), "outside")); err != nil || string(data) != "mine\n" {
		t.Errorf("outside: %q, %v", data, err)
	}
	if data, err := os.ReadFile(filepath.Join(s.project, "linked")); err != nil || string(data) != "theirs\n" {
		t.Errorf("inside: %q, %v", data, err)
	}
}

// A layer that is too large is an error that says so, at once.
func TestBounds(t *testing.T) {
	t.Parallel()
	s := plain(t)
	for i := range 30 {
		s.put(s.upper, fmt.Sprintf("many/%d", i), "0123456789")
	}
	s.put(s.upper, strings.Repeat("d/", 12)+"f", "x")
	for rule, b := range map[string]workspace.Bounds{
		"change.count": {Entries: 20, Depth: 50, File: 100, Total: 1000},
		"change.depth": {Entries: 200, Depth: 10, File: 100, Total: 1000},
		"change.size":  {Entries: 200, Depth: 50, File: 100, Total: 99},
	} {
		s.layer.Bounds = b
		if _, err := s.layer.Scan(t.Context()); api.KindOf(err) != api.KindLimit || api.ReportOf(errOrNone(err)).Rule != rule {
			t.Errorf("%s: %v", rule, err)
		}
	}
}

// A project that is another directory by now is not touched.
func TestProjectReplaced(t *testing.T) {
	t.Parallel()
	s := plain(t)
	s.put(s.upper, "README", "x")
	changes := s.scan()
	must(t, os.Rename(s.project, s.project+".was"))
	must(t, os.Mkdir(s.project, 0o755))
	if _, err := s.layer.Scan(t.Context()); api.ReportOf(errOrNone(err)).Rule != "project.moved" {
		t.Errorf("scan: %v", err)
	}
	if err := s.ledger.Apply(t.Context(), s.id, s.layer, changes); api.ReportOf(errOrNone(err)).Rule != "project.moved" {
		t.Errorf("apply: %v", err)
	}
}

// An undo after the host has edited needs force, and then keeps a copy.
func TestUndoForce(t *testing.T) {
	t.Parallel()
	s := plain(t)
	s.put(s.upper, "README", "theirs\n")
	s.put(s.upper, "new/f", "theirs\n")
	s.put(s.upper, "new/g", "theirs\n")
	s.take(api.ApplyRequest{All: true})
	s.put(s.project, "README", "edited\n")
	s.put(s.project, "new/f", "edited\n")
	edited := read(t, s.project)
	if _, _, err := s.ledger.Undo(t.Context(), s.id, s.layer.Project, false); api.ReportOf(errOrNone(err)).Rule != "undo.edited" {
		t.Errorf("without force: %v", err)
	}
	s.holds(edited, "refused")
	_, kept, err := s.ledger.Undo(t.Context(), s.id, s.layer.Project, true)
	must(t, err)
	if len(kept) != 2 {
		t.Errorf("kept %q", kept)
	}
	for _, k := range kept {
		if data, err := os.ReadFile(filepath.Join(s.project, k)); err != nil || string(data) != "edited\n" {
			t.Errorf("%s: %q, %v", k, data, err)
		}
	}
	if data, err := os.ReadFile(filepath.Join(s.project, "README")); err != nil || string(data) != "a project\n" {
		t.Errorf("%q, %v", data, err)
	}
	for _, gone := range []string{"new/f", "new/g"} {
		if _, err := os.Lstat(filepath.Join(s.project, gone)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", gone, err)
		}
	}
	if _, _, err := s.ledger.Undo(t.Context(), s.id, s.layer.Project, true); api.ReportOf(errOrNone(err)).Rule != "undo.nothing" {
		t.Errorf("twice: %v", err)
	}
}
