package workspace_test

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/workspace"
)

// node is a file, directory or link of a model tree; the path is its key.
type node struct {
	Kind    api.FileKind
	Mode    fs.FileMode
	Content string
}

// model is a tree in memory. Every path's parent is in it, but for the root.
type model map[string]node

func (m model) clone() model {
	c := model{}
	for p, n := range m {
		c[p] = n
	}
	return c
}

func (m model) paths() []string {
	var all []string
	for p := range m {
		all = append(all, p)
	}
	slices.Sort(all)
	return all
}

// children are the names in a directory.
func (m model) children(dir string) []string {
	var all []string
	for _, p := range m.paths() {
		if path.Dir(p) == path.Clean(dir) {
			all = append(all, path.Base(p))
		}
	}
	return all
}

// remove removes a path and all below it.
func (m model) remove(p string) {
	for q := range m {
		if q == p || strings.HasPrefix(q, p+"/") {
			delete(m, q)
		}
	}
}

// edits makes random trees and random edits of them.
type edits struct{ *rand.Rand }

var names = []string{"a", "b", "c", "a-b", "d e", "ü", "--help", "-rf", "f.c", "x.kept"}

func (r edits) name() string { return names[r.IntN(len(names))] }

func (r edits) node() node {
	switch r.IntN(10) {
	case 0, 1, 2:
		return node{Kind: api.FileDir, Mode: []fs.FileMode{0o755, 0o700, 0o777, 0o750}[r.IntN(4)]}
	case 3:
		return node{Kind: api.FileLink, Content: r.name()}
	}
	return node{
		Kind: api.FileRegular, Mode: []fs.FileMode{0o644, 0o755, 0o600, 0o444, 0o666}[r.IntN(5)],
		Content: strings.Repeat(fmt.Sprintln(r.IntN(50)), r.IntN(4)),
	}
}

// edit changes a tree in one random way, in a directory that is there.
func (r edits) edit(m model) {
	dirs := []string{"."}
	for _, p := range m.paths() {
		if m[p].Kind == api.FileDir && strings.Count(p, "/") < 4 {
			dirs = append(dirs, p)
		}
	}
	p := path.Join(dirs[r.IntN(len(dirs))], r.name())
	was, there := m[p]
	switch r.IntN(6) {
	case 0:
		m.remove(p)
	case 1:
		if there && was.Kind != api.FileLink {
			n := was
			n.Mode ^= 0o011
			m[p] = n
		}
	default:
		n := r.node()
		if was.Kind == api.FileDir && n.Kind == api.FileDir {
			return
		}
		m.remove(p)
		m[p] = n
	}
}

func (r edits) tree(n int) model {
	m := model{}
	for range n {
		r.edit(m)
	}
	return m
}

// write makes a tree in a directory that is there.
func (m model) write(t *testing.T, dir string) {
	t.Helper()
	for _, p := range m.paths() {
		writeNode(t, filepath.Join(dir, p), m[p])
	}
}

func writeNode(t *testing.T, file string, n node) {
	t.Helper()
	switch n.Kind {
	case api.FileDir:
		must(t, os.Mkdir(file, 0o700))
		must(t, os.Chmod(file, n.Mode))
	case api.FileLink:
		must(t, os.Symlink(n.Content, file))
	default:
		must(t, os.WriteFile(file, []byte(n.Content), 0o600))
		must(t, os.Chmod(file, n.Mode))
	}
}

// read returns the tree in a directory.
func read(t *testing.T, dir string) model {
	t.Helper()
	m := model{}
	must(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(p, dir+"/")
		switch {
		case d.IsDir():
			m[rel] = node{Kind: api.FileDir, Mode: info.Mode().Perm()}
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(p)
			m[rel] = node{Kind: api.FileLink, Content: target}
			return err
		default:
			data, err := os.ReadFile(p)
			m[rel] = node{Kind: api.FileRegular, Mode: info.Mode(), Content: string(data)}
			return err
		}
		return nil
	}))
	return m
}

// layer writes what overlayfs would have in the upper directory for a session
// that sees view of the project lower. It has the freedom that the kernel has:
// what is copied up unchanged, which directories are opaque.
func (r edits) layer(t *testing.T, upper, dir string, lower, view model, opaque bool) {
	t.Helper()
	for _, name := range view.children(dir) {
		p := path.Join(dir, name)
		file := filepath.Join(upper, p)
		was, now := lower[p], view[p]
		if now.Kind != api.FileDir {
			if was != now || opaque || r.IntN(10) == 0 {
				writeNode(t, file, now)
				if was.Kind == api.FileRegular && now.Kind == api.FileRegular && r.IntN(2) == 0 {
					must(t, origin(file, now))
				}
			}
			continue
		}
		must(t, os.Mkdir(file, 0o700))
		hides := opaque || was.Kind == api.FileDir && r.IntN(4) == 0
		if hides && was.Kind == api.FileDir {
			must(t, unix.Lsetxattr(file, "user.overlay.opaque", []byte("y"), 0))
		}
		r.layer(t, upper, p, lower, view, hides)
		must(t, os.Chmod(file, now.Mode))
	}
	for _, name := range lower.children(dir) {
		if p := path.Join(dir, name); view[p].Kind == api.FileAbsent && !opaque {
			must(t, unix.Mknod(filepath.Join(upper, p), unix.S_IFCHR, 0))
		}
	}
}

// origin marks a file as overlayfs marks the copy of a lower one.
func origin(file string, n node) error {
	if err := os.Chmod(file, 0o600); err != nil {
		return err
	}
	if err := unix.Lsetxattr(file, "user.overlay.origin", nil, 0); err != nil {
		return err
	}
	return os.Chmod(file, n.Mode)
}

// scene is a project, a session's layer over it, and the ledger.
type scene struct {
	*testing.T
	edits
	id             api.ID
	project, upper string
	layer          workspace.Layer
	ledger         workspace.Ledger
}

func newScene(t *testing.T, seed uint64) *scene {
	t.Helper()
	dir := tree(t, "project/", "state/upper/")
	s := &scene{
		T: t, edits: edits{rand.New(rand.NewPCG(seed, 7))}, id: "0123456789ab",
		project: filepath.Join(dir, "project"), upper: filepath.Join(dir, "state", "upper"),
		ledger: workspace.Ledger{Root: filepath.Join(dir, "state", "changes")},
	}
	s.layer = workspace.Layer{Project: place(t, s.project), Upper: s.upper, Bounds: workspace.DefaultBounds()}
	return s
}

// born says that the session is made now: what was done to the project before
// and what is done after are told apart by the kernel's clock, whose ticks are up
// to 10 ms long.
func (s *scene) born() {
	time.Sleep(11 * time.Millisecond)
	s.layer.Since = time.Now()
	time.Sleep(11 * time.Millisecond)
}

func (s *scene) scan() []api.Change {
	s.Helper()
	known, err := s.ledger.Known(s.id)
	must(s.T, err)
	s.layer.Known = known
	changes, err := s.layer.Scan(s.Context())
	must(s.T, err)
	return changes
}

// take applies what a request chooses and returns what was held back.
func (s *scene) take(r api.ApplyRequest) []api.Held {
	s.Helper()
	taken, held, err := workspace.Choose(s.scan(), r)
	must(s.T, err)
	must(s.T, s.ledger.Apply(s.Context(), s.id, s.layer, taken))
	return held
}

func (s *scene) undo() {
	s.Helper()
	_, _, err := s.ledger.Undo(s.Context(), s.id, s.layer.Project, false)
	must(s.T, err)
}

// holds fails the test unless the project is the tree.
func (s *scene) holds(want model, when string) {
	s.Helper()
	if diff := cmp.Diff(want, read(s.T, s.project)); diff != "" {
		s.Fatalf("%s (-want +got):\n%s", when, diff)
	}
}

// cases is how many random cases each property is tried on; CCC_TEST_CASES
// tries more.
func cases() int {
	if n, err := strconv.Atoi(os.Getenv("CCC_TEST_CASES")); err == nil {
		return n
	}
	return 100
}

// random makes a project, and a session that has edited it.
func random(t *testing.T, seed uint64) (s *scene, lower, view model) {
	t.Helper()
	s = newScene(t, seed)
	lower = s.tree(5 + s.IntN(25))
	lower.write(t, s.project)
	view = lower.clone()
	for range 1 + s.IntN(12) {
		s.edit(view)
	}
	s.edits.layer(t, s.upper, ".", lower, view, false)
	s.born()
	return s, lower, view
}

// Everything applied is the session's view; undone, it is what it was; and the
// layer tells the same as before.
func TestApplyAllThenUndo(t *testing.T) {
	t.Parallel()
	changed := 0
	for seed := range uint64(cases()) {
		s, lower, view := random(t, seed)
		before := s.scan()
		changed += len(before)
		s.take(api.ApplyRequest{All: true})
		s.holds(view, fmt.Sprintf("seed %d, applied", seed))
		if again := s.scan(); len(again) > 0 {
			t.Fatalf("seed %d: changes are left: %+v", seed, again)
		}
		s.undo()
		s.holds(lower, fmt.Sprintf("seed %d, undone", seed))
		if diff := cmp.Diff(before, s.scan()); diff != "" {
			t.Fatalf("seed %d: the layer tells something else after the undo:\n%s", seed, diff)
		}
	}
	if changed < cases() {
		t.Errorf("only %d changes were tried", changed)
	}
}

// Some and then the rest are the same as all at once.
func TestApplyInParts(t *testing.T) {
	t.Parallel()
	for seed := range uint64(cases()) {
		s, _, view := random(t, 10_000+seed)
		for range 3 {
			var some []string
			for _, c := range s.scan() {
				if s.IntN(3) == 0 {
					some = append(some, c.Path)
				}
			}
			if len(some) > 0 {
				s.take(api.ApplyRequest{Paths: some})
			}
		}
		s.take(api.ApplyRequest{All: true})
		s.holds(view, fmt.Sprintf("seed %d", seed))
	}
}

// What the host does meanwhile is never lost: with --ours it stays, without a
// choice nothing happens, and what --theirs replaces comes back by undo.
func TestHostEditsAreNeverLost(t *testing.T) {
	t.Parallel()
	conflicts := 0
	for seed := range uint64(cases()) {
		s, lower, _ := random(t, 20_000+seed)
		host := lower.clone()
		for range 1 + s.IntN(6) {
			s.edit(host)
		}
		edited := s.become(lower, host)
		_, _, err := workspace.Choose(s.scan(), api.ApplyRequest{All: true})
		if api.KindOf(err) == api.KindConflict {
			conflicts++
		} else {
			must(t, err)
		}
		s.take(api.ApplyRequest{All: true, Conflicts: api.SideOurs})
		now := read(t, s.project)
		for _, p := range edited {
			if now[p] != host[p] && host[p].Kind != api.FileAbsent {
				t.Fatalf("seed %d: the host's %s was %+v and is %+v", seed, p, host[p], now[p])
			}
		}
		s.undo()
		s.holds(host, fmt.Sprintf("seed %d, ours undone", seed))
		s.take(api.ApplyRequest{All: true, Conflicts: api.SideTheirs})
		s.undo()
		s.holds(host, fmt.Sprintf("seed %d, theirs undone", seed))
	}
	if conflicts < cases()/10 {
		t.Errorf("only %d cases had a conflict", conflicts)
	}
}

// become edits the project on the host until it is the tree, and returns the
// paths that were edited.
func (s *scene) become(from, to model) []string {
	s.Helper()
	var edited []string
	all := append(from.paths(), to.paths()...)
	slices.Sort(all)
	all = slices.Compact(all)
	for _, p := range slices.Backward(all) {
		if was, is := from[p], to[p]; was.Kind != api.FileAbsent && (is.Kind == api.FileAbsent || is.Kind != was.Kind) {
			must(s.T, os.Remove(filepath.Join(s.project, p)))
		}
	}
	for _, p := range all {
		was, is := from[p], to[p]
		if was == is {
			continue
		}
		edited = append(edited, p)
		file := filepath.Join(s.project, p)
		switch {
		case is.Kind == api.FileAbsent:
		case was.Kind == api.FileDir && is.Kind == api.FileDir:
			must(s.T, os.Chmod(file, is.Mode))
		default:
			if was.Kind == is.Kind {
				must(s.T, os.Remove(file))
			}
			writeNode(s.T, file, is)
		}
	}
	return edited
}
