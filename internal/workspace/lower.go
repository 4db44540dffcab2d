package workspace

import (
	"errors"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/api"
)

// Stamp is the identity of a file in one state: another edit gives another.
type Stamp struct {
	Ino uint64 `json:"ino"`
	// Ctime is in nanoseconds.
	Ctime int64 `json:"ctime"`
}

// Known are files that ccc wrote into a project, as they were right after.
type Known map[string]Stamp

func stampOf(st unix.Stat_t) Stamp { return Stamp{Ino: st.Ino, Ctime: st.Ctim.Nano()} }

// lowerFile is what the project has at a path.
type lowerFile struct {
	kind api.FileKind
	st   unix.Stat_t
}

// below returns what the project has at a name.
func (s *scanner) below(lower *directory, name string) lowerFile {
	if lower == nil {
		return lowerFile{}
	}
	st, err := lower.stat(name)
	if err != nil {
		return lowerFile{}
	}
	return lowerFile{kind: kindOf(st), st: st}
}

// edited tells whether the host changed a file since the session was made.
func (s *scanner) edited(rel string, st unix.Stat_t) bool {
	return st.Ctim.Nano() >= s.Since.UnixNano() && s.Known[rel] != stampOf(st)
}

// readOld fills what the project has, and whether the host changed it.
func (s *scanner) readOld(c *api.Change, lower *directory, name string, old lowerFile) error {
	if old.kind == api.FileAbsent {
		return nil
	}
	if s.edited(c.Path, old.st) && c.Conflict == "" {
		c.Conflict = "the host has changed it since the session was made"
	}
	switch {
	case old.st.Dev != s.dev:
		c.Refused = "another file system is mounted there on the host"
	case old.kind == api.FileOther:
		c.Refused = "the host has a " + special(old.st) + " there"
	case old.kind == api.FileRegular && (c.Refused != "" || old.st.Size > s.Bounds.File):
		if c.Refused == "" {
			c.Refused = "the host's file is too large to be kept for undo"
		}
	default:
		var err error
		if c.Old, err = s.state(*lower, name); errors.Is(err, unix.EACCES) {
			c.Refused, err = "the host's file cannot be read", nil
		}
		return err
	}
	c.Old = api.FileState{Kind: old.kind, Mode: api.Perm(old.st.Mode & 0o777), Size: old.st.Size}
	return nil
}

// gone adds the deletion of what the project has at a name, and of all below.
func (s *scanner) gone(lower directory, at place, name string) error {
	if err := s.count(); err != nil {
		return err
	}
	old := s.below(&lower, name)
	if old.kind == api.FileAbsent {
		return nil
	}
	c := api.Change{Path: at.join(name), Conflict: at.conflict, Refused: badName(at.join(name))}
	if err := s.readOld(&c, &lower, name, old); err != nil {
		return err
	}
	s.emit(c)
	if old.kind != api.FileDir || c.Refused != "" {
		return nil
	}
	return s.emptied(lower, at, name)
}

// emptied adds the deletion of everything in a directory of the project. A
// change of any of it on the host is in the way of each.
func (s *scanner) emptied(lower directory, at place, name string) error {
	d, err := lower.sub(name)
	if err != nil {
		// A mount point, or unreadable: the deletion of the directory itself
		// stands in the list, and cannot succeed.
		return nil //nolint:nilerr // see above
	}
	defer d.close()
	names, err := d.names(s.Bounds.Entries)
	if err != nil {
		return err
	}
	in := place{rel: at.join(name), conflict: at.conflict, depth: at.depth + 1}
	for _, n := range names {
		if err := s.gone(d, in, n); err != nil {
			return err
		}
	}
	return nil
}

// addedIn tells whether something is new in a directory itself, among the
// changes from the first on.
func (s *scanner) addedIn(at place, first int) bool {
	return slices.ContainsFunc(s.changes[first:], func(c api.Change) bool {
		return c.Op == api.ChangeAdded && path.Dir(c.Path) == path.Clean(at.rel)
	})
}

// refuseClashes refuses what is new in a directory and differs from another name
// in it only by case, or the like: where it is checked out on a file system that
// folds case, one of the two becomes the other.
func (s *scanner) refuseClashes(at place, first int, names []string) {
	if !s.addedIn(at, first) {
		return
	}
	here := map[string]*api.Change{}
	for i := range s.changes[first:] {
		if c := &s.changes[first+i]; path.Dir(c.Path) == path.Clean(at.rel) {
			here[path.Base(c.Path)] = c
		}
	}
	same := map[string][]string{}
	for _, n := range names {
		if c := here[n]; c != nil && c.Op == api.ChangeDeleted {
			continue
		}
		if f := fold(n); !slices.Contains(same[f], n) {
			same[f] = append(same[f], n)
		}
	}
	for name, c := range here {
		for _, other := range same[fold(name)] {
			if other != name && c.Op == api.ChangeAdded && c.Refused == "" {
				c.Refused = "its name differs only in case from " + api.Printable(other)
			}
		}
	}
}

// refuseRepositories refuses what would complete a repository without a .git
// around it: git obeys the configuration in a directory that looks like one.
func (s *scanner) refuseRepositories(upper directory) {
	var found []string
	for _, c := range s.changes {
		dir := path.Dir(c.Path)
		switch path.Base(c.Path) {
		case "HEAD", "objects", "refs", "config", "commondir":
			if !slices.Contains(found, dir) && s.has(upper, dir, "HEAD") && (s.has(upper, dir, "commondir") || s.has(upper, dir, "objects") && s.has(upper, dir, "refs")) {
				found = append(found, dir)
			}
		}
	}
	for i := range s.changes {
		for _, dir := range found {
			if c := &s.changes[i]; c.Refused == "" && (dir == "." || strings.HasPrefix(c.Path, dir+"/")) {
				c.Refused = "its directory would be a git repository"
			}
		}
	}
}

// has tells whether the session sees a name in a directory, or whether it could
// with the project's part of it.
func (s *scanner) has(upper directory, dir, name string) bool {
	for _, root := range []directory{upper, s.project} {
		in, err := root.sub(dir)
		if err != nil {
			continue
		}
		st, err := in.stat(name)
		in.close()
		if err == nil && kindOf(st) != api.FileOther {
			return true
		}
	}
	return false
}

// runsHere returns the paths of this project, folded, that run by themselves
// because a name that does leads to them, or git is told to look there.
func runsHere(project directory) []string {
	var all []string
	for _, g := range slices.Concat(guarded, runs) {
		in, base, err := project.parent(g)
		if err != nil {
			continue
		}
		if target, err := in.target(base); err == nil && !path.IsAbs(target) {
			all = append(all, fold(path.Join(path.Dir(g), target)))
		}
		in.close()
	}
	if hooks := hooksPath(project); hooks != "" {
		all = append(all, fold(hooks))
	}
	return all
}

// hooksPath returns where the repository's own configuration has git look for
// hooks, if that is in the project. It reads lines, not sections: a path too
// many is asked about once too often.
func hooksPath(project directory) string {
	git, err := project.sub(".git")
	if err != nil {
		return ""
	}
	defer git.close()
	var b strings.Builder
	const most = 1 << 20
	if st, err := git.stat("config"); err != nil || st.Size > most {
		return ""
	}
	if _, err := git.content("config", &b); err != nil {
		return ""
	}
	found := ""
	for line := range strings.Lines(b.String()) {
		key, value, ok := strings.Cut(line, "=")
		if ok && strings.EqualFold(strings.TrimSpace(key), "hookspath") {
			found = path.Clean(strings.Trim(strings.TrimSpace(value), `"`))
		}
	}
	if path.IsAbs(found) || found == "." || strings.HasPrefix(found, "..") {
		return ""
	}
	return found
}
