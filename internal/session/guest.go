package session

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/apparmor"
	"github.com/ccc-dev/ccc/internal/guest"
	"github.com/ccc-dev/ccc/internal/private"
)

// maxProgram bounds the size of ccc-init, in bytes: each session keeps it in
// memory, and it is no bigger than it says.
const maxProgram = 4 << 20

// warning is how long before its end a session's log tells of it.
const warning = 5 * time.Minute

// Guest is the host's side of what runs inside: the program that every session
// begins with, and the directory that each one is told its life in.
//
// Sessions get a private copy of the program, named by its content. A session
// keeps the copy that it was made with: an upgrade of ccc does not change what
// runs below an agent, and the file that is mounted cannot be replaced through
// the place where ccc was installed.
type Guest struct {
	// Source is ccc-init as it was installed.
	Source string
	// Programs is where the copies lie, `$XDG_STATE_HOME/ccc/init`. It outlives a
	// reboot, for a stopped session does too.
	Programs string
	// Dirs has one directory for each session, `$XDG_RUNTIME_DIR/ccc/sessions`.
	// A reboot empties it, together with the clock that the lives are told by.
	Dirs string
	// Boottime reads that clock, see [guest.Boottime].
	Boottime func() time.Duration
}

// Digest returns the digest of the installed program, by which [Guest.Program]
// finds its copy: that of its content and of the mark by which AppArmor tells what
// kind of session it is for, see [apparmor.MarkAttribute]. It writes nothing.
func (g Guest) Digest(mark string) (string, error) {
	content, err := g.installed()
	if err != nil {
		return "", err
	}
	return digestOf(mark, content), nil
}

// Keep makes sure that the copy of a digest, with its mark, is there and is what
// its name says: made from the installed program if that is the one, else it has
// to be there since the session was made. Where the file system has no attributes
// the copy is not marked; which profile confines a session then is for its label
// to say.
func (g Guest) Keep(digest, mark string) error {
	content, err := g.installed()
	if err == nil && digestOf(mark, content) == digest {
		f := private.File{Dir: g.Programs, Name: digest, Content: content, Mode: 0o500}
		if mark != "" {
			f.Attribute, f.Value = apparmor.MarkAttribute, mark
		}
		if _, err := private.Put(f); err != nil {
			return fmt.Errorf("keep ccc-init: %w", err)
		}
		return nil
	}
	content, err = private.Read(g.Program(digest), 0o500, maxProgram)
	if err == nil && digestOf(mark, content) == digest {
		return nil
	}
	return &api.Error{
		Kind: api.KindUnavailable, Rule: "init.changed", Err: err,
		Msg:  "the copy of ccc-init that the session was made with is gone or was changed",
		Hint: "make a new session; what this one changed is still there until ccc session rm",
	}
}

// digestOf returns the digest of a program with a mark; without one it is that of
// the program alone.
func digestOf(mark string, content []byte) string {
	if mark == "" {
		sum := sha256.Sum256(content)
		return hex.EncodeToString(sum[:])
	}
	h := sha256.New()
	// A hash takes all that it is given.
	_, _ = fmt.Fprintf(h, "%s\x00", mark)
	_, _ = h.Write(content)
	return hex.EncodeToString(h.Sum(nil))
}

// installed reads the installed program.
func (g Guest) installed() ([]byte, error) {
	f, err := os.Open(g.Source)
	if err != nil {
		return nil, &api.Error{
			Kind: api.KindUnavailable, Rule: "init.missing", Msg: "ccc-init, the first process of every session, is not there", Err: err,
			Hint: "install it beside ccc: `make build` or `make install` puts both in place",
		}
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxProgram+1))
	if err == nil && (len(content) == 0 || len(content) > maxProgram) {
		err = fmt.Errorf("%s has not the size of ccc-init", g.Source)
	}
	if err != nil {
		return nil, fmt.Errorf("read ccc-init: %w", err)
	}
	return content, nil
}

// Program returns the copy of a digest.
func (g Guest) Program(digest string) string { return filepath.Join(g.Programs, digest) }

// Dir returns the directory of a session.
func (g Guest) Dir(id api.ID) string { return filepath.Join(g.Dirs, string(id)) }

// Make makes a session's directory, empty: an engine wants to see what it will
// mount. A session that is started now refuses to begin.
func (g Guest) Make(id api.ID) error {
	if !id.Valid() {
		return fmt.Errorf("make session directory: bad id %q", id)
	}
	if err := os.MkdirAll(g.Dir(id), 0o700); err != nil {
		return fmt.Errorf("make session directory: %w", err)
	}
	return nil
}

// Begin tells a session its life, before each start: it ends when left is over
// and after idle without work. A session that ran since the machine was started
// keeps its end if that comes first, whatever became of the wall clock.
func (g Guest) Begin(id api.ID, left, idle time.Duration) error {
	if err := g.Make(id); err != nil {
		return err
	}
	life := guest.Life{Deadline: g.Boottime() + left, Idle: idle, Warn: min(warning, idle/2)}
	if before, err := g.life(id); err == nil {
		life.Deadline = min(life.Deadline, before.Deadline)
	}
	return guest.WriteLife(g.Dir(id), life)
}

// life reads what a session was told.
func (g Guest) life(id api.ID) (guest.Life, error) {
	text, err := os.ReadFile(guest.LifeFile(g.Dir(id)))
	if err != nil {
		return guest.Life{}, err
	}
	return guest.ParseLife(text)
}

// Remove removes a session's directory; one that is not there is no error.
func (g Guest) Remove(id api.ID) error {
	if !id.Valid() {
		return fmt.Errorf("remove session directory: bad id %q", id)
	}
	root, err := os.OpenRoot(g.Dirs)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove session directory: %w", err)
	}
	defer root.Close()
	if err := root.RemoveAll(string(id)); err != nil {
		return fmt.Errorf("remove session directory: %w", err)
	}
	return nil
}

// List returns the sessions that have a directory.
func (g Guest) List() ([]api.ID, error) {
	names, err := list(g.Dirs)
	var ids []api.ID
	for _, n := range names {
		if id := api.ID(n); id.Valid() {
			ids = append(ids, id)
		}
	}
	return ids, err
}

// Unused returns the names of the copies that are not in use at a time: neither by
// a session nor by one that is being made, which has that of the installed program.
// What a killed writer has left has another name, and is one once it is an hour
// old. If the installed program cannot be read, nothing is known to be unused.
func (g Guest) Unused(used map[string]bool, now time.Time) ([]string, error) {
	content, err := g.installed()
	if err != nil {
		return nil, nil //nolint:nilerr // doctor and create say so
	}
	current := map[string]bool{}
	for _, p := range apparmor.Profiles() {
		current[digestOf(p.Mark, content)] = true
	}
	names, err := list(g.Programs)
	return slices.DeleteFunc(names, func(n string) bool {
		if len(n) == hex.EncodedLen(sha256.Size) {
			return used[n] || current[n]
		}
		info, err := os.Lstat(g.Program(n))
		return err != nil || now.Sub(info.ModTime()) < time.Hour
	}), err
}

// list returns the names in a directory; one that is not there has none.
func list(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list what sessions have: %w", err)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

// Drop removes the copy of a program that no session needs.
func (g Guest) Drop(name string) error {
	if err := os.Remove(g.Program(filepath.Base(name))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove a copy of ccc-init: %w", err)
	}
	return nil
}
