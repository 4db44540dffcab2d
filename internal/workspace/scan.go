package workspace

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/policy"
)

// Layer is what a copy-on-write session changed of a project: the upper
// directory of its overlay, above a project that lives on.
//
// Overlayfs keeps no copy of what a file was before. What the host did meanwhile
// is therefore judged by the kernel's own record: a file of the project whose
// inode changed (ctime, which no program can set) since the session was made is
// the host's edit, unless ccc made it (Known).
type Layer struct {
	Project policy.Place
	// Upper is the overlay's upper directory. The session may be writing to it.
	Upper string
	// Since is when the session was made.
	Since time.Time
	// Known are the files that ccc itself wrote into the project since.
	Known  Known
	Bounds Bounds
}

// Bounds are how much of a layer is read. All are required.
type Bounds struct {
	// Entries counts files and directories, Depth directories in each other.
	Entries, Depth int
	// File is the largest file that is taken, Total all that is read, in bytes.
	File, Total int64
}

// DefaultBounds are far above what anybody reviews and far below what harms the
// host.
func DefaultBounds() Bounds {
	return Bounds{Entries: 100_000, Depth: 64, File: 256 << 20, Total: 4 << 30}
}

// errTooMany is the error for a layer, or a directory, with too many entries.
func errTooMany(most int) error {
	return &api.Error{
		Kind: api.KindLimit, Rule: "change.count", Msg: fmt.Sprintf("the session changed more than %d files", most),
		Hint: "remove in the session what was built or downloaded, then try again",
	}
}

// Scan returns the changes, sorted by path. Its cost depends on them, not on the
// project. Links are not followed; pipes, sockets and devices are not opened.
func (l Layer) Scan(ctx context.Context) ([]api.Change, error) {
	project, err := openProject(l.Project)
	if err != nil {
		return nil, err
	}
	defer project.close()
	upper, err := openDirectory(l.Upper)
	if err != nil {
		return nil, fmt.Errorf("open what the session changed: %w", err)
	}
	defer upper.close()
	s := &scanner{Layer: l, ctx: ctx, project: project, runs: runsHere(project)}
	var st unix.Stat_t
	if err := unix.Fstat(project.fd(), &st); err != nil {
		return nil, err
	}
	s.dev = st.Dev
	if err := s.walk(upper, &project, place{whole: opaque(upper)}); err != nil {
		return nil, restless(err)
	}
	slices.SortFunc(s.changes, func(a, b api.Change) int { return strings.Compare(a.Path, b.Path) })
	s.refuseRepositories(upper)
	for i := range s.changes {
		s.changes[i].Digest = digestOf(s.changes[i])
	}
	return s.changes, nil
}

// restless turns the errors of files that come and go while they are read into
// one that says so.
func restless(err error) error {
	if !noParent(err) {
		return err
	}
	return &api.Error{
		Kind: api.KindConflict, Rule: "change.moved", Msg: "files came and went while they were read", Err: err,
		Hint: "try again, and stop the session if it does not rest",
	}
}

// digestOf returns what stands for a change.
func digestOf(c api.Change) string {
	// A struct of texts and numbers always marshals.
	data, _ := json.Marshal([]any{c.Path, c.Old, c.New, c.Conflict, c.Refused, c.Tier})
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// scanner is one reading of a layer.
type scanner struct {
	Layer
	ctx     context.Context //nolint:containedctx // it lives as long as one call
	project directory
	dev     uint64
	runs    []string
	changes []api.Change
	entries int
	bytes   int64
}

// place is a directory being read.
type place struct {
	rel string
	// whole tells that the upper directory hides all of the lower one.
	whole bool
	// conflict is what the host did to a directory above; "" if nothing.
	conflict string
	depth    int
}

func (p place) join(name string) string { return path.Join(p.rel, name) }

// Extended attributes of an overlay mounted with userxattr; see the kernel's
// Documentation/filesystems/overlayfs.rst. A session cannot set them: the
// overlay keeps them to itself.
const (
	attrOpaque   = "user.overlay.opaque"
	attrWhiteout = "user.overlay.whiteout"
	attrOrigin   = "user.overlay.origin"
)

// opaque tells whether an upper directory hides the lower one.
func opaque(d directory) bool {
	v, _ := attribute(d.file, attrOpaque)
	return v == "y"
}

// walk reads one upper directory. lower is the project's of the same path, nil
// if it has none.
func (s *scanner) walk(upper directory, lower *directory, at place) error {
	if at.depth > s.Bounds.Depth {
		return &api.Error{Kind: api.KindLimit, Rule: "change.depth", Msg: fmt.Sprintf("the session made directories more than %d deep", s.Bounds.Depth), Hint: "remove them in the session, then try again"}
	}
	names, err := upper.names(s.Bounds.Entries)
	if err != nil {
		return err
	}
	first := len(s.changes)
	for _, name := range names {
		if err := s.entry(upper, lower, at, name); err != nil {
			return err
		}
	}
	// The project's own names cost as much as it has: they are read only where
	// they matter.
	var below []string
	if adds := s.addedIn(at, first); lower != nil && (at.whole || adds) {
		if below, err = lower.names(maxBelow); err != nil {
			return err
		}
	}
	if at.whole {
		for _, name := range below {
			if _, there := slices.BinarySearch(names, name); there {
				continue
			}
			if err := s.gone(*lower, at, name); err != nil {
				return err
			}
		}
	}
	s.refuseClashes(at, first, slices.Concat(names, below))
	return nil
}

// maxBelow bounds how many names one directory of the project may have: it is
// the host's own.
const maxBelow = 10_000_000

// count counts an entry against the bounds.
func (s *scanner) count() error {
	if s.entries++; s.entries > s.Bounds.Entries {
		return errTooMany(s.Bounds.Entries)
	}
	return s.ctx.Err()
}

// entry reads one name of an upper directory.
func (s *scanner) entry(upper directory, lower *directory, at place, name string) error {
	if err := s.count(); err != nil {
		return err
	}
	st, err := upper.stat(name)
	if errors.Is(err, unix.ENOENT) {
		return nil // The session has removed it meanwhile.
	}
	if err != nil {
		return err
	}
	old := s.below(lower, name)
	if whiteout(upper, name, st) {
		if old.kind == api.FileAbsent {
			return nil
		}
		return s.gone(*lower, at, name)
	}
	if kindOf(st) == api.FileDir {
		return s.directory(upper, lower, at, name)
	}
	c := api.Change{Path: at.join(name), Conflict: at.conflict, Refused: s.refusal(at.join(name), st)}
	copied := false
	if c.Refused == "" {
		if copied, err = s.readNew(&c, upper, name); err != nil {
			return err
		}
	} else {
		c.New = api.FileState{Kind: kindOf(st), Mode: api.Perm(st.Mode & 0o777), Size: st.Size}
	}
	if err := s.readOld(&c, lower, name, old); err != nil {
		return err
	}
	if copied && old.kind == api.FileAbsent && c.Conflict == "" {
		c.Conflict = "the host has deleted it"
	}
	s.emit(c)
	if old.kind == api.FileDir {
		return s.emptied(*lower, at, name)
	}
	return nil
}

// whiteout tells whether a name of an upper directory stands for a deletion: a
// device 0:0, or on newer kernels an empty file with an attribute.
func whiteout(d directory, name string, st unix.Stat_t) bool {
	if st.Mode&unix.S_IFMT == unix.S_IFCHR {
		return st.Rdev == 0
	}
	if kindOf(st) != api.FileRegular || st.Size != 0 {
		return false
	}
	if v, _ := attribute(d.file, attrOpaque); v != "x" {
		return false
	}
	f, _, err := d.regular(name)
	if err != nil {
		return false
	}
	defer f.Close()
	_, there := attribute(f, attrWhiteout)
	return there
}

// readNew fills what the session has, and tells whether overlayfs made it as a
// copy of a file of the project.
func (s *scanner) readNew(c *api.Change, upper directory, name string) (copied bool, err error) {
	c.New, err = s.state(upper, name)
	if errors.Is(err, unix.EACCES) {
		c.Refused, err = "it cannot be read; give yourself the permission in the session", nil
		c.New.Kind = api.FileOther
		return false, err
	}
	if err != nil {
		return false, err
	}
	if c.New.Kind == api.FileLink {
		c.Refused = badLink(c.Path, c.New.Target, s.project)
		return false, nil
	}
	f, _, err := upper.regular(name)
	if err != nil {
		return false, nil //nolint:nilerr // it is being replaced; the digest tells
	}
	defer f.Close()
	_, copied = attribute(f, attrOrigin)
	return copied, nil
}

// state is the state of a name, counted against the bounds.
func (s *scanner) state(d directory, name string) (api.FileState, error) {
	st, err := d.state(name)
	if s.bytes += st.Size; s.bytes > s.Bounds.Total {
		return st, &api.Error{Kind: api.KindLimit, Rule: "change.size", Msg: fmt.Sprintf("the session changed more than %d bytes", s.Bounds.Total), Hint: "remove in the session what was built or downloaded, then try again"}
	}
	return st, err
}

// emit adds a change, unless it is none.
func (s *scanner) emit(c api.Change) {
	if c.Old == c.New && c.Refused == "" {
		return
	}
	if c.Op = opOf(c.Old, c.New); c.Old == c.New {
		c.Op = api.ChangeModified
	}
	c.Tier = tierOf(c.Path, s.runs)
	s.changes = append(s.changes, c)
}

// opOf names the difference of two states.
func opOf(from, to api.FileState) api.ChangeOp {
	switch {
	case from.Kind == api.FileAbsent:
		return api.ChangeAdded
	case to.Kind == api.FileAbsent:
		return api.ChangeDeleted
	case from.Kind != to.Kind:
		return api.ChangeType
	}
	to.Mode = from.Mode
	if from == to {
		return api.ChangeMode
	}
	return api.ChangeModified
}

// directory reads a directory of the session and what is in it.
func (s *scanner) directory(upper directory, lower *directory, at place, name string) error {
	rel := at.join(name)
	d, err := upper.sub(name)
	old := s.below(lower, name)
	c := api.Change{Path: rel, Conflict: at.conflict, New: api.FileState{Kind: api.FileDir}, Refused: badName(rel)}
	if err != nil {
		c.Refused = "it cannot be read; give yourself the permission in the session"
	}
	if err == nil {
		defer d.close()
	}
	if c.Refused != "" {
		if old.kind == api.FileDir {
			c.Old = api.FileState{Kind: api.FileDir}
		}
		if err != nil || c.Old != c.New || !s.untouched(d) {
			s.emit(c)
		}
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(d.fd(), &st); err != nil {
		return err
	}
	c.New.Mode = api.Perm(st.Mode & 0o777)
	if err := s.readOld(&c, lower, name, old); err != nil {
		return err
	}
	if _, copied := attribute(d.file, attrOrigin); copied && old.kind != api.FileDir && c.Conflict == "" {
		c.Conflict = "the host has deleted the directory"
	}
	in := place{rel: rel, whole: at.whole || opaque(d), conflict: c.Conflict, depth: at.depth + 1}
	if old.kind != api.FileDir {
		s.emit(c)
		return s.walk(d, nil, in)
	}
	in.conflict = at.conflict
	return s.both(d, *lower, in, c)
}

// both reads a directory that the project has too.
func (s *scanner) both(d, lower directory, in place, c api.Change) error {
	if c.Old.Mode == c.New.Mode {
		// Files come and go in a directory of both; that is no conflict.
		c.Conflict = in.conflict
	}
	s.emit(c)
	return s.merged(d, lower, in, path.Base(c.Path))
}

// untouched tells whether nothing was done in an upper directory: overlayfs makes
// it before anything in it is changed.
func (s *scanner) untouched(d directory) bool {
	inside, err := d.names(s.Bounds.Entries)
	return err == nil && len(inside) == 0 && !opaque(d)
}

// merged reads what is in such a directory.
func (s *scanner) merged(d, lower directory, in place, name string) error {
	l, err := lower.sub(name)
	if err != nil {
		return fmt.Errorf("read the project: %w", err)
	}
	defer l.close()
	var st unix.Stat_t
	if err := unix.Fstat(l.fd(), &st); err != nil {
		return err
	}
	if in.conflict == "" && s.edited(in.rel, st) && st.Ctim != st.Mtim {
		// An entry that comes or goes sets both times; a directory that was moved
		// here, or its permission, only the one.
		in.conflict = "the host has moved or changed the directory " + api.Printable(in.rel)
	}
	return s.walk(d, &l, in)
}
