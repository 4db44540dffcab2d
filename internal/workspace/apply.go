package workspace

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/policy"
)

// Apply takes changes of a layer, as [Layer.Scan] gave them, over into the
// project: all of them or none. A change that is not what it was by now, in the
// session or on the host, fails the whole with a [api.KindConflict]. It does not
// ask whether a change may be taken; [Choose] does.
//
// The layer stays as it is. What was taken is then the same in both, and the
// session sees what it saw before: everything that an apply writes to the
// project lies under something in the layer. (To overlayfs a change of the lower
// directory is undefined, but for exactly that.)
func (l Ledger) Apply(ctx context.Context, id api.ID, layer Layer, changes []api.Change) error {
	b, err := l.open(id, layer.Project)
	if err != nil {
		return err
	}
	defer b.close()
	if b.has(dirActive) {
		return &api.Error{Kind: api.KindConflict, Rule: "change.cut", Msg: "an earlier apply was cut short at this moment", Hint: "run the command again"}
	}
	if err := b.prepare(); err != nil {
		return err
	}
	j := journal{Project: layer.Project, Token: rand.Text()}
	if err := b.stage(ctx, layer, changes, &j); err != nil {
		return errors.Join(err, b.drop(dirNext))
	}
	if err := b.perform(ctx, j); err != nil {
		return err
	}
	if b.has(dirLast) {
		if err := b.rename(dirLast, dirPrev); err != nil {
			return err
		}
	}
	return errors.Join(b.rename(dirActive, dirLast), b.drop(dirPrev))
}

// perform makes what was prepared happen, or puts everything back.
func (b *book) perform(ctx context.Context, j journal) error {
	if err := b.begin(j); err != nil {
		return errors.Join(err, b.drop(dirNext))
	}
	err := b.forward(ctx, j)
	if err == nil {
		err = b.remember(j.Steps, j.Clean, nil)
	}
	if err == nil {
		return nil
	}
	strange, backErr := b.back(context.WithoutCancel(ctx), j)
	if backErr == nil && len(strange) > 0 {
		backErr = errStrange(strange)
	}
	return errors.Join(err, backErr)
}

// errStrange tells of files that somebody changed while they were put back.
func errStrange(paths []string) error {
	return &api.Error{
		Kind: api.KindConflict, Rule: "change.raced", Msg: "left as the host has it: " + api.Printable(strings.Join(paths, ", ")),
		Hint: "look at it; the rest is as it was",
	}
}

// stage copies all that the changes will write and replace, and writes down what
// is to be done.
func (b *book) stage(ctx context.Context, layer Layer, changes []api.Change, j *journal) error {
	upper, err := openDirectory(layer.Upper)
	if err != nil {
		return err
	}
	defer upper.close()
	s := &scanner{Layer: layer}
	for _, c := range changes {
		if err := ctx.Err(); err != nil {
			return err
		}
		if c.New.Kind != api.FileAbsent {
			if err := b.stageOne(upper, c.Path, c.New); err != nil {
				return err
			}
		}
		at := step{Path: c.Path, Old: side{FileState: c.Old, Host: c.Conflict != ""}, New: side{FileState: c.New}}
		if c.Old.Kind != api.FileAbsent {
			if err := b.stageOne(b.project, c.Path, c.Old); err != nil {
				return err
			}
			at.Old.Time = modified(b.project, c.Path)
		}
		j.Steps = append(j.Steps, at)
		if dir := path.Dir(c.Path); !slices.Contains(j.Clean, dir) {
			if st, err := statBelow(b.project, dir); err == nil && !s.edited(dir, st) {
				j.Clean = append(j.Clean, dir)
			}
		}
	}
	return nil
}

// stageOne makes sure that a path still is what was seen, and keeps its content.
func (b *book) stageOne(root directory, rel string, want api.FileState) error {
	d, name, err := root.parent(rel)
	if err != nil {
		return ErrChanged(rel)
	}
	defer d.close()
	if want.Kind == api.FileRegular {
		err = b.keep(d, name, want)
		if api.KindOf(err) == api.KindConflict || errors.Is(err, unix.ENOENT) {
			return ErrChanged(rel)
		}
		return err
	}
	if now, err := d.state(name); err != nil || now != want {
		return errors.Join(ErrChanged(rel), err)
	}
	return nil
}

// statBelow returns what a path below a directory is.
func statBelow(root directory, rel string) (unix.Stat_t, error) {
	d, name, err := root.parent(rel)
	if err != nil {
		return unix.Stat_t{}, err
	}
	defer d.close()
	return d.stat(name)
}

// modified returns when a path was modified, in nanoseconds; zero if it is not
// there.
func modified(root directory, rel string) int64 {
	st, err := statBelow(root, rel)
	if err != nil {
		return 0
	}
	return st.Mtim.Nano()
}

// remember notes which files of the project are ccc's own work from now on. A
// state that the host brought about stays the host's.
func (b *book) remember(steps []step, clean, strange []string) error {
	known, err := b.known()
	if err != nil {
		return err
	}
	for _, s := range steps {
		if s.New.Kind == api.FileAbsent || s.New.Host || slices.Contains(strange, s.Path) {
			delete(known, s.Path)
			continue
		}
		before, err := statBelow(b.project, s.Path)
		if err != nil {
			continue
		}
		d, name, err := b.project.parent(s.Path)
		if err != nil {
			continue
		}
		now, err := d.state(name)
		after, statErr := d.stat(name)
		d.close()
		if err == nil && statErr == nil && now == s.New.FileState && stampOf(before) == stampOf(after) {
			known[s.Path] = stampOf(after)
		}
	}
	for _, dir := range clean {
		if st, err := statBelow(b.project, dir); err == nil && kindOf(st) == api.FileDir {
			known[dir] = stampOf(st)
		}
	}
	return b.write(fileKnown, known)
}

// Undo puts the project of a session back to what it was before the last apply,
// and returns the paths. What the host has edited since is a [api.KindConflict];
// with force a copy of it is kept beside, and the paths of the copies returned.
func (l Ledger) Undo(ctx context.Context, id api.ID, project policy.Place, force bool) (paths, kept []string, err error) {
	nothing := &api.Error{Kind: api.KindNotFound, Rule: "undo.nothing", Msg: "nothing was applied that can be undone", Hint: "ccc audit log shows what was done; only the last apply can be undone, and once"}
	if _, err := os.Lstat(filepath.Join(l.of(id), dirLast)); err != nil {
		return nil, nil, nothing
	}
	b, err := l.open(id, project)
	if err != nil {
		return nil, nil, err
	}
	defer b.close()
	if b.has(dirActive) || !b.has(dirLast) {
		return nil, nil, nothing
	}
	last, err := b.read(dirLast)
	if err != nil {
		return nil, nil, err
	}
	u := undoing{book: b, force: force, journal: journal{Project: project, Token: rand.Text(), Undo: true, Clean: last.Clean}}
	if err := b.prepare(); err != nil {
		return nil, nil, err
	}
	if err := u.plan(reversed(last.Steps)); err != nil {
		return nil, nil, errors.Join(err, b.drop(dirNext))
	}
	if err := b.perform(ctx, u.journal); err != nil {
		return nil, nil, err
	}
	for _, s := range last.Steps {
		paths = append(paths, s.Path)
	}
	return paths, u.kept, errors.Join(b.drop(dirLast), b.drop(dirActive))
}

// undoing is an undo being prepared.
type undoing struct {
	*book
	force   bool
	journal journal
	edited  []string
	kept    []string
}

// plan prepares the steps back.
func (u *undoing) plan(steps []step) error {
	stay := u.inhabited(steps)
	for _, s := range steps {
		for _, side := range []side{s.Old, s.New} {
			if err := u.reuse(side.FileState); err != nil {
				return err
			}
		}
		if slices.Contains(stay, s.Path) {
			u.edited = append(u.edited, s.Path)
			continue
		}
		if err := u.look(s); err != nil {
			return err
		}
	}
	if len(u.edited) > 0 && !u.force {
		return &api.Error{
			Kind: api.KindConflict, Rule: "undo.edited", Msg: "edited on the host since the apply: " + api.Printable(strings.Join(u.edited, ", ")),
			Hint: "--force undoes it all the same and keeps a copy of each file beside it",
		}
	}
	slices.SortFunc(u.journal.Steps, func(a, b step) int { return strings.Compare(a.Path, b.Path) })
	return nil
}

// reuse takes the content of a state over from the last transaction.
func (u *undoing) reuse(s api.FileState) error {
	name := path.Join(dirNext, dirBlobs, s.SHA256)
	if s.Kind != api.FileRegular || u.has(name) {
		return nil
	}
	return u.root.Link(path.Join(dirLast, dirBlobs, s.SHA256), name)
}

// look adds a step back, from what is there now.
func (u *undoing) look(s step) error {
	now := api.FileState{}
	d, name, err := u.project.parent(s.Path)
	if err == nil {
		defer d.close()
		now, err = d.state(name)
	}
	if err != nil && !noParent(err) {
		return err
	}
	if now == s.Old.FileState {
		u.journal.Steps = append(u.journal.Steps, s)
		return nil
	}
	u.edited = append(u.edited, s.Path)
	if !u.force {
		return nil
	}
	if now.Kind == api.FileDir || now.Kind == api.FileOther || s.Old.Kind == api.FileDir {
		return &api.Error{Kind: api.KindConflict, Rule: "undo.edited", Msg: "the host put something else in the place of " + api.Printable(s.Path), Hint: "move it away, then try again"}
	}
	if now.Kind != api.FileAbsent {
		if now.Kind == api.FileRegular {
			if err := u.keep(d, name, now); err != nil {
				return err
			}
		}
		beside := s.Path + ".kept-" + strings.ToLower(u.journal.Token[:6])
		u.kept = append(u.kept, beside)
		u.journal.Steps = append(u.journal.Steps, step{Path: beside, New: side{FileState: now, Time: modified(u.project, s.Path), Host: true}})
	}
	s.Old = side{FileState: now, Host: true}
	if s.Old.FileState != s.New.FileState {
		u.journal.Steps = append(u.journal.Steps, s)
	}
	return nil
}

// inhabited returns the directories that the undo would remove and that somebody
// has put something into since, with the directories above them.
func (u *undoing) inhabited(steps []step) []string {
	ours := map[string]bool{}
	for _, s := range steps {
		// What was edited is kept beside itself, and so needs its directory.
		d, name, err := u.project.parent(s.Path)
		if err != nil {
			continue
		}
		now, err := d.state(name)
		d.close()
		ours[s.Path] = err == nil && now == s.Old.FileState
	}
	var stay []string
	for _, s := range slices.Backward(steps) {
		if s.Old.Kind != api.FileDir || s.New.Kind != api.FileAbsent {
			continue
		}
		d, err := u.project.sub(s.Path)
		if err != nil {
			continue
		}
		names, err := d.names(maxBelow)
		d.close()
		if err == nil && slices.ContainsFunc(names, func(n string) bool {
			p := path.Join(s.Path, n)
			return !ours[p] || slices.Contains(stay, p)
		}) {
			stay = append(stay, s.Path)
		}
	}
	return stay
}

// Since returns when a session's directories were made, to the nanosecond: the
// creation that labels tell is cut to seconds. Where the file system does not
// tell, otherwise is returned.
func (d Dirs) Since(id api.ID, otherwise time.Time) time.Time {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, d.Of(id), unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BTIME, &st)
	if err != nil || st.Mask&unix.STATX_BTIME == 0 || !id.Valid() {
		return otherwise
	}
	return time.Unix(st.Btime.Sec, int64(st.Btime.Nsec))
}

// Check reads a file of the session or of the project as it is in a change, for
// showing it. It fails with a [api.KindConflict] if the file is another by now.
func (l Layer) Check(root, rel string, want api.FileState) ([]byte, error) {
	switch want.Kind {
	case api.FileLink:
		return []byte(want.Target), nil
	case api.FileRegular:
	default:
		return nil, nil
	}
	d, err := openDirectory(root)
	if err != nil {
		return nil, err
	}
	defer d.close()
	in, name, err := d.parent(rel)
	if err != nil {
		return nil, errors.Join(ErrChanged(rel), err)
	}
	defer in.close()
	var content buffer
	got, err := in.content(name, &content)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", api.Printable(rel), err)
	}
	if got != want {
		return nil, ErrChanged(rel)
	}
	return content, nil
}

// buffer collects what is written.
type buffer []byte

func (b *buffer) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}
