package workspace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/api"
)

// mover takes the paths of a journal from one state to the other. It never
// writes a file in its place: what is new is made beside it, whole, and changes
// places with it in one step, and what came out is looked at before it goes. What
// somebody else wrote at the last moment is put back.
type mover struct {
	*book
	ctx   context.Context //nolint:containedctx // it lives as long as one call
	token string
	steps []step
	// lenient leaves alone what is strange, instead of failing.
	lenient bool
	strange []string
	// touched are the directories to make durable.
	touched map[string]bool
}

// forward does what a journal says. On error the project may be in between.
func (b *book) forward(ctx context.Context, j journal) error {
	m := &mover{book: b, ctx: ctx, token: j.Token, steps: j.Steps, touched: map[string]bool{}}
	return m.run()
}

// back undoes what a journal says, as far as it was done, remembers the result,
// and ends the transaction.
func (b *book) back(ctx context.Context, j journal) (strange []string, err error) {
	m := &mover{book: b, ctx: ctx, token: j.Token, steps: reversed(j.Steps), lenient: true, touched: map[string]bool{}}
	m.sweep()
	if err := m.run(); err != nil {
		return m.strange, fmt.Errorf("put the project back: %w", err)
	}
	if err := b.remember(m.steps, j.Clean, m.strange); err != nil {
		return m.strange, err
	}
	return m.strange, b.drop(dirActive)
}

// run goes through the phases. Removals go from the leaves, creations from the
// root, and the permissions of directories come first and last, so that none is
// in the way.
func (m *mover) run() error {
	each := func(do func(step) error, backwards bool) error {
		for i := range m.steps {
			if backwards {
				i = len(m.steps) - 1 - i
			}
			if err := m.ctx.Err(); err != nil && !m.lenient {
				return err
			}
			if err := m.try(m.steps[i], do); err != nil {
				return err
			}
		}
		return nil
	}
	err := each(m.unlock, false)
	if err == nil {
		err = each(m.takeAway, true)
	}
	if err == nil {
		err = each(m.put, false)
	}
	if err == nil {
		err = each(m.permit, true)
	}
	return errors.Join(err, m.durable())
}

// try does one step. What is strange to a lenient mover is noted and left.
func (m *mover) try(s step, do func(step) error) error {
	if slices.Contains(m.strange, s.Path) {
		return nil
	}
	err := do(s)
	if err != nil && m.lenient && api.KindOf(err) == api.KindConflict {
		m.strange = append(m.strange, s.Path)
		return nil
	}
	return err
}

// at opens the directory that a step's path lies in.
func (m *mover) at(s step) (directory, string, error) {
	d, name, err := m.project.parent(s.Path)
	if err == nil {
		m.touched[path.Dir(s.Path)] = true
		return d, name, nil
	}
	if m.lenient && noParent(err) && s.New.Kind == api.FileAbsent {
		return d, name, errNothing
	}
	if noParent(err) || errors.Is(err, unix.EXDEV) {
		return d, name, errMeanwhile(s.Path)
	}
	return d, name, err
}

// noParent tells from an error that there is no directory in which a path could
// be: nothing, a file or a link is in its place.
func noParent(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}

// errNothing tells that there is nothing to do.
var errNothing = errors.New("nothing is there")

// errMeanwhile is the error for a path of the project that is not what it was
// when the transaction began.
func errMeanwhile(p string) error {
	return &api.Error{
		Kind: api.KindConflict, Rule: "change.raced", Msg: "the host changed " + api.Printable(p) + " at this very moment; nothing was taken",
		Hint: "look again with ccc session diff",
	}
}

// unlock lets the owner into a directory that the transaction works in.
func (m *mover) unlock(s step) error {
	if s.Old.Kind != api.FileDir || s.Old.Mode&0o700 == 0o700 {
		return nil
	}
	return m.chmod(s, func(st unix.Stat_t) uint32 { return st.Mode&0o777 | 0o700 })
}

// permit gives what is there its permission at the end.
func (m *mover) permit(s step) error {
	if s.New.Kind != api.FileDir && (s.New.Kind != api.FileRegular || s.op() != api.ChangeMode) {
		return nil
	}
	return m.chmod(s, func(unix.Stat_t) uint32 { return uint32(s.New.Mode) })
}

// chmod changes the permission of a file or directory, never of what a link
// leads to.
func (m *mover) chmod(s step, mode func(unix.Stat_t) uint32) error {
	d, name, err := m.at(s)
	if errors.Is(err, errNothing) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.close()
	fd, err := unix.Openat(d.fd(), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) && m.lenient {
		return nil
	}
	if err != nil {
		return errMeanwhile(s.Path)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	kind := kindOf(st)
	if kind != s.New.Kind && kind != s.Old.Kind || kind != api.FileDir && kind != api.FileRegular {
		return errMeanwhile(s.Path)
	}
	want := mode(st)
	if st.Mode&0o777 == want {
		return nil
	}
	m.note("chmod " + s.Path)
	// The way to a file that is open without permission: see open(2), O_PATH.
	special := st.Mode & 0o7000
	if kind != api.FileDir {
		special = 0
	}
	if err := unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), special|want); err != nil {
		return fmt.Errorf("change the permission of %s: %w", api.Printable(s.Path), err)
	}
	return nil
}

// leaves tells whether a path has to be empty before what is new can come.
func leaves(s step) bool {
	return s.Old.Kind != api.FileAbsent && (s.New.Kind == api.FileAbsent || s.Old.Kind != s.New.Kind && (s.Old.Kind == api.FileDir || s.New.Kind == api.FileDir))
}

// takeAway removes what has to leave.
func (m *mover) takeAway(s step) error {
	if !leaves(s) {
		return nil
	}
	d, name, err := m.at(s)
	if errors.Is(err, errNothing) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.close()
	if m.lenient {
		if now, err := d.state(name); err != nil || now.Kind == api.FileAbsent || now.Kind == s.New.Kind {
			return err
		}
	}
	if s.Old.Kind == api.FileDir {
		m.note("rmdir " + s.Path)
		if err := unix.Unlinkat(d.fd(), name, unix.AT_REMOVEDIR); err != nil {
			return m.fault(s, err)
		}
		return nil
	}
	swap := m.swapName(s)
	m.note("move away " + s.Path)
	if err := renameNew(d, name, swap); err != nil {
		return m.fault(s, err)
	}
	if now, err := d.state(swap); err != nil || now != s.Old.FileState {
		return errors.Join(errMeanwhile(s.Path), err, renameNew(d, swap, name))
	}
	m.note("remove " + s.Path)
	return unix.Unlinkat(d.fd(), swap, 0)
}

// fault turns what the kernel says of a path that others changed into a conflict.
func (m *mover) fault(s step, err error) error {
	for _, e := range []error{unix.ENOTEMPTY, unix.EEXIST, unix.ENOENT, unix.ENOTDIR, unix.EISDIR, unix.ELOOP, unix.EBUSY} {
		if errors.Is(err, e) {
			return errMeanwhile(s.Path)
		}
	}
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EROFS) {
		return &api.Error{Kind: api.KindDenied, Rule: "project.readonly", Msg: "the project does not let you change " + api.Printable(s.Path), Hint: "ls -ld on its directory shows who may", Err: err}
	}
	return fmt.Errorf("change %s: %w", api.Printable(s.Path), err)
}

// swapName and partName are the names of a step's temporary files, beside what
// they are for. Under the first there is only ever something whole.
func (m *mover) swapName(s step) string { return m.temporary(s) + ".swap" }
func (m *mover) partName(s step) string { return m.temporary(s) + ".part" }

func (m *mover) temporary(s step) string {
	i, _ := slices.BinarySearchFunc(m.steps, s.Path, func(s step, p string) int { return strings.Compare(s.Path, p) })
	return fmt.Sprintf(".ccc-%s-%d", m.token, i)
}

// put makes what is new.
func (m *mover) put(s step) error {
	switch {
	case s.New.Kind == api.FileAbsent, s.New.Kind == api.FileDir && s.Old.Kind == api.FileDir:
		return nil
	case s.op() == api.ChangeMode:
		return m.expect(s)
	}
	d, name, err := m.at(s)
	if err != nil {
		return err
	}
	defer d.close()
	now, err := d.state(name)
	if err != nil {
		return err
	}
	if m.lenient && (now == s.New.FileState || now.Kind == api.FileDir && s.New.Kind == api.FileDir) {
		return nil
	}
	return m.fill(s, d, name, now)
}

// fill makes what is new where now is something else, or nothing.
func (m *mover) fill(s step, d directory, name string, now api.FileState) error {
	if s.New.Kind == api.FileDir {
		m.note("mkdir " + s.Path)
		if err := unix.Mkdirat(d.fd(), name, 0o700); err != nil {
			return m.fault(s, err)
		}
		return nil
	}
	if err := m.build(s, d); err != nil {
		return err
	}
	if leaves(s) || s.Old.Kind == api.FileAbsent || m.lenient && now.Kind == api.FileAbsent {
		m.note("create " + s.Path)
		if err := renameNew(d, m.swapName(s), name); err != nil {
			return errors.Join(m.fault(s, err), unix.Unlinkat(d.fd(), m.swapName(s), 0))
		}
		return nil
	}
	return m.exchange(s, d, name)
}

// expect fails if a file whose permission alone is to change has another
// content by now.
func (m *mover) expect(s step) error {
	d, name, err := m.at(s)
	if err != nil {
		return err
	}
	defer d.close()
	now, err := d.state(name)
	if err != nil {
		return err
	}
	if now != s.Old.FileState && (!m.lenient || now != s.New.FileState) {
		return errMeanwhile(s.Path)
	}
	return nil
}

// exchange lets the new file and the old one change places and looks at what
// came out.
func (m *mover) exchange(s step, d directory, name string) error {
	swap := m.swapName(s)
	m.note("exchange " + s.Path)
	err := unix.Renameat2(d.fd(), swap, d.fd(), name, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		// A file system without exchange (NFS): look, then replace.
		if now, err := d.state(name); err != nil || now != s.Old.FileState {
			return errors.Join(errMeanwhile(s.Path), err, unix.Unlinkat(d.fd(), swap, 0))
		}
		return unix.Renameat(d.fd(), swap, d.fd(), name)
	}
	if err != nil {
		return errors.Join(m.fault(s, err), unix.Unlinkat(d.fd(), swap, 0))
	}
	m.note("look at what came out of " + s.Path)
	if now, err := d.state(swap); err != nil || now != s.Old.FileState {
		back := unix.Renameat2(d.fd(), swap, d.fd(), name, unix.RENAME_EXCHANGE)
		if back == nil {
			back = unix.Unlinkat(d.fd(), swap, 0)
		}
		return errors.Join(errMeanwhile(s.Path), err, back)
	}
	m.note("remove the old " + s.Path)
	return unix.Unlinkat(d.fd(), swap, 0)
}

// build makes the new file beside its place, whole and durable.
func (m *mover) build(s step, d directory) error {
	part, swap := m.partName(s), m.swapName(s)
	m.note("build " + s.Path)
	// Left by an attempt that was cut short.
	if err := unix.Unlinkat(d.fd(), part, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	if s.New.Kind == api.FileLink {
		if err := unix.Symlinkat(s.New.Target, d.fd(), part); err != nil {
			return m.fault(s, err)
		}
		return renameNew(d, part, swap)
	}
	in, err := m.blob(s.New.SHA256)
	if err != nil {
		return err
	}
	defer in.Close()
	fd, err := unix.Openat(d.fd(), part, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return m.fault(s, err)
	}
	out := openedFile(fd, part)
	_, err = io.Copy(out, in)
	// The umask may have taken bits away.
	err = errors.Join(err, unix.Fchmod(fd, uint32(s.New.Mode)))
	if s.New.Time != 0 {
		at := unix.NsecToTimespec(s.New.Time)
		err = errors.Join(err, unix.UtimesNanoAt(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), []unix.Timespec{at, at}, 0))
	}
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return errors.Join(err, unix.Unlinkat(d.fd(), part, 0))
	}
	m.note("name " + s.Path)
	return renameNew(d, part, swap)
}

// renameNew gives a file a name that nothing may have.
func renameNew(d directory, from, to string) error {
	err := unix.Renameat2(d.fd(), from, d.fd(), to, unix.RENAME_NOREPLACE)
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	// A file system without that (NFS): a hard link fails if the name is taken.
	if err := unix.Linkat(d.fd(), from, d.fd(), to, 0); err != nil {
		return err
	}
	return unix.Unlinkat(d.fd(), from, 0)
}

// durable writes the directories out that were changed.
func (m *mover) durable() error {
	var errs []error
	for dir := range m.touched {
		d, err := m.project.sub(dir)
		if err != nil {
			continue // It is gone, and its parent is in the list too.
		}
		errs = append(errs, d.file.Sync())
		d.close()
	}
	return errors.Join(errs...)
}

// sweep removes the temporary files of an attempt that was cut short. One that
// is neither of the two states is a file of the host's that came out of an
// exchange at that moment: it goes back to its place.
func (m *mover) sweep() {
	for _, s := range m.steps {
		d, name, err := m.project.parent(s.Path)
		if err != nil {
			continue
		}
		// Whatever is wrong with it is found again by the step itself.
		_ = unix.Unlinkat(d.fd(), m.partName(s), 0)
		swap := m.swapName(s)
		switch out, err := d.state(swap); {
		case err != nil || out.Kind == api.FileAbsent:
		case out == s.Old.FileState || out == s.New.FileState:
			_ = unix.Unlinkat(d.fd(), swap, 0)
		default:
			m.strange = append(m.strange, s.Path)
			if renameNew(d, swap, name) == nil {
				break
			}
			if now, err := d.state(name); err == nil && (now == s.Old.FileState || now == s.New.FileState) {
				_ = unix.Renameat(d.fd(), swap, d.fd(), name)
			}
		}
		d.close()
	}
}
