package workspace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/policy"
	"github.com/ccc-dev/ccc/internal/private"
)

// Ledger keeps, for each session, what is needed to take changes over as a whole
// or not at all, and to undo that.
//
// Everything that an apply will write, and everything that it will replace, is
// copied into the directory `next` first, with a journal. Renamed to `active`, it
// is a promise: whoever finds it there without a lock on the project puts the
// project back. Renamed to `last` it is done, and what undo works from. All of
// it is the user's alone.
type Ledger struct {
	// Root is `$XDG_STATE_HOME/ccc/changes`.
	Root string
	// Step, if set, is called before each step that changes a disk, with its
	// name. Tests end the process there.
	Step func(string)
}

// Changes returns the ledger that belongs to the sessions of these directories.
func (d Dirs) Changes() Ledger {
	return Ledger{Root: filepath.Join(filepath.Dir(d.Root), "changes")}
}

// journal is one transaction on a project.
type journal struct {
	Project policy.Place `json:"project"`
	// Token is in the names of temporary files: whose they are.
	Token string `json:"token"`
	// Undo tells that it undoes the last one.
	Undo bool `json:"undo,omitempty"`
	// Steps are in the order of their paths.
	Steps []step `json:"steps"`
	// Clean are the directories that the host had not touched.
	Clean []string `json:"clean,omitempty"`
}

// step is one path from one state to another.
type step struct {
	Path string `json:"path"`
	Old  side   `json:"old,omitzero"`
	New  side   `json:"new,omitzero"`
}

// side is a state of a path, before or after.
type side struct {
	api.FileState `json:"state,omitzero"`
	// Time is the modification time that the file gets, in nanoseconds; zero
	// means that of its writing.
	Time int64 `json:"time,omitempty"`
	// Host tells that the host brought it about, after the session was made.
	Host bool `json:"host,omitempty"`
}

// op names what a step does.
func (s step) op() api.ChangeOp { return opOf(s.Old.FileState, s.New.FileState) }

// reversed returns the steps that undo these.
func reversed(steps []step) []step {
	back := make([]step, len(steps))
	for i, s := range steps {
		back[i] = step{Path: s.Path, Old: s.New, New: s.Old}
	}
	return back
}

// The names in a session's directory of the ledger.
const (
	dirNext   = "next"
	dirActive = "active"
	dirLast   = "last"
	dirPrev   = "prev"
	dirTrash  = "trash"
	fileKnown = "known.json"
	fileSteps = "journal.json"
	dirBlobs  = "blobs"
)

// book is one session's part of the ledger, open and with the project locked.
type book struct {
	root    *os.Root
	project directory
	// note is told of each step.
	note func(string)
}

func (l Ledger) of(id api.ID) string { return filepath.Join(l.Root, string(id)) }

// open locks a project and opens a session's part of the ledger. Whoever holds
// the lock is alone with the project, as far as ccc goes; the kernel drops it
// with the process.
func (l Ledger) open(id api.ID, p policy.Place) (*book, error) {
	if !id.Valid() {
		return nil, fmt.Errorf("open ledger: bad id %q", id)
	}
	project, err := openProject(p)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(project.fd(), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		project.close()
		return nil, &api.Error{Kind: api.KindConflict, Rule: "project.busy", Msg: "changes are being taken over into the project right now", Hint: "try again in a moment"}
	}
	root, err := private.Open(l.of(id))
	if err != nil {
		project.close()
		return nil, err
	}
	note := l.Step
	if note == nil {
		note = func(string) {}
	}
	return &book{root: root, project: project, note: note}, nil
}

func (b *book) close() {
	// Not left to the closing: a process that is being started has a copy of the
	// descriptor for a moment.
	_ = unix.Flock(b.project.fd(), unix.LOCK_UN)
	b.project.close()
	_ = b.root.Close()
}

// has tells whether a name is there.
func (b *book) has(name string) bool {
	_, err := b.root.Lstat(name)
	return err == nil
}

// rename moves a name in the ledger, durably.
func (b *book) rename(from, to string) error {
	b.note("rename " + from + " to " + to)
	if err := b.root.Rename(from, to); err != nil {
		return err
	}
	return b.sync(".")
}

// drop removes a name in the ledger: first from its place, then from the disk.
func (b *book) drop(name string) error {
	if !b.has(name) {
		return nil
	}
	if name != dirTrash {
		if err := errors.Join(b.root.RemoveAll(dirTrash), b.rename(name, dirTrash)); err != nil {
			return err
		}
	}
	b.note("remove " + name)
	return b.root.RemoveAll(dirTrash)
}

// sync makes a directory of the ledger durable.
func (b *book) sync(name string) error {
	d, err := b.root.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// read returns the journal of a transaction.
func (b *book) read(name string) (journal, error) {
	var j journal
	data, err := b.root.ReadFile(path.Join(name, fileSteps))
	if err != nil {
		return j, err
	}
	if err := json.Unmarshal(data, &j); err != nil {
		return j, fmt.Errorf("read journal: %w", err)
	}
	return j, nil
}

// write puts a file into the ledger, durably and whole or not at all.
func (b *book) write(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	b.note("write " + name)
	f, err := b.root.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return errors.Join(b.root.Rename(name+".new", name), b.sync(path.Dir(name)))
}

// prepare makes the directory of a transaction that has not begun.
func (b *book) prepare() error {
	b.note("prepare")
	return errors.Join(b.root.RemoveAll(dirNext), b.root.MkdirAll(path.Join(dirNext, dirBlobs), 0o700))
}

// begin makes what was prepared a promise.
func (b *book) begin(j journal) error {
	if err := b.write(path.Join(dirNext, fileSteps), j); err != nil {
		return err
	}
	if err := errors.Join(b.sync(path.Join(dirNext, dirBlobs)), b.sync(dirNext)); err != nil {
		return err
	}
	return b.rename(dirNext, dirActive)
}

// keep copies a regular file into the prepared transaction, under the name of
// its content, which has to be the one that was seen.
func (b *book) keep(d directory, name string, want api.FileState) error {
	to := path.Join(dirNext, dirBlobs, want.SHA256)
	if b.has(to) {
		return nil
	}
	b.note("keep")
	f, err := b.root.OpenFile(to+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	got, err := d.content(name, f)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if got != want {
		return ErrChanged(name)
	}
	return b.root.Rename(to+".new", to)
}

// blob opens a file that a transaction keeps.
func (b *book) blob(sha string) (io.ReadCloser, error) {
	return b.root.Open(path.Join(dirActive, dirBlobs, sha))
}

// known returns the files that ccc wrote into the project.
func (b *book) known() (Known, error) {
	k := Known{}
	data, err := b.root.ReadFile(fileKnown)
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err != nil {
		return nil, err
	}
	return k, json.Unmarshal(data, &k)
}

// Known returns the files that ccc wrote into the project for a session.
func (l Ledger) Known(id api.ID) (Known, error) {
	root, err := os.OpenRoot(l.of(id))
	if errors.Is(err, fs.ErrNotExist) || !id.Valid() {
		return Known{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read ledger: %w", err)
	}
	defer root.Close()
	k, err := (&book{root: root}).known()
	if err != nil {
		return nil, fmt.Errorf("read ledger: %w", err)
	}
	return k, nil
}

// CutShort returns the sessions with a transaction that was begun and not ended,
// whether somebody is still at it or not.
func (l Ledger) CutShort() ([]api.ID, error) {
	ids, err := Dirs{Root: l.Root}.List()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(ids, func(id api.ID) bool {
		for _, name := range []string{dirActive, dirPrev} {
			if _, err := os.Lstat(filepath.Join(l.of(id), name)); err == nil {
				return false
			}
		}
		return true
	}), nil
}

// Recover puts back what a transaction that was cut short has done, and returns
// the paths that it left alone because they are neither what they were nor what
// they were to become.
func (l Ledger) Recover(ctx context.Context, id api.ID) (strange []string, err error) {
	j, err := l.journal(id)
	if err != nil {
		return nil, err
	}
	b, err := l.open(id, j.Project)
	if err != nil {
		return nil, err
	}
	defer b.close()
	return b.settle(context.WithoutCancel(ctx))
}

// Busy tells whether a process is at work on the project that a session's
// transaction is about: it will end it.
func (l Ledger) Busy(id api.ID) bool {
	j, err := l.journal(id)
	if err != nil {
		return false
	}
	b, err := l.open(id, j.Project)
	if err != nil {
		return api.KindOf(err) == api.KindConflict
	}
	b.close()
	return false
}

// journal reads which project a session's transactions are about, without the
// lock.
func (l Ledger) journal(id api.ID) (journal, error) {
	var errs []error
	for _, name := range []string{dirActive, dirPrev, dirLast} {
		var j journal
		data, err := os.ReadFile(filepath.Join(l.of(id), name, fileSteps))
		if err == nil {
			err = json.Unmarshal(data, &j)
		}
		if err == nil {
			return j, nil
		}
		errs = append(errs, err)
	}
	return journal{}, fmt.Errorf("read journal: %w", errors.Join(errs...))
}

// settle ends what was cut short: a transaction that was not done is undone.
func (b *book) settle(ctx context.Context) (strange []string, err error) {
	if b.has(dirActive) {
		j, err := b.read(dirActive)
		if err != nil {
			return nil, err
		}
		if j.Undo && !b.has(dirLast) {
			// Taking `last` away is the last thing an undo does: it was done.
			return nil, b.drop(dirActive)
		}
		if strange, err = b.back(ctx, j); err != nil {
			return strange, err
		}
	}
	if b.has(dirPrev) && !b.has(dirLast) {
		return strange, b.rename(dirPrev, dirLast)
	}
	return strange, b.drop(dirPrev)
}

// Remove forgets a session. What it has taken over stays, and cannot be undone
// any more. While an apply is under way it fails with a [api.KindConflict].
func (l Ledger) Remove(id api.ID) error {
	if j, err := l.journal(id); err == nil {
		b, err := l.open(id, j.Project)
		if api.KindOf(err) == api.KindConflict {
			return err
		}
		if err == nil {
			defer b.close()
		}
	}
	return Dirs{Root: l.Root}.Remove(id)
}

// List returns the sessions that the ledger has something of.
func (l Ledger) List() ([]api.ID, error) { return Dirs{Root: l.Root}.List() }
