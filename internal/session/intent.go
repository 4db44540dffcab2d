package session

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/api"
)

// Intents are the creations under way: one file each, locked by the process
// that creates. The kernel drops the lock when that process ends, however it
// ends; a file without a lock is therefore a creation that was cut short, and
// whoever finds it removes what it made. The directory is on a tmpfs: after a
// reboot nothing is under way.
type Intents struct {
	// Dir is `$XDG_RUNTIME_DIR/ccc/making`.
	Dir string
}

// Intent is one creation under way, held by this process. Its file holds the
// name that the session would have, and once the engine has been asked to make
// its parts, in a second line, when that was.
type Intent struct {
	file *os.File
	path string
}

// Begin declares that a session of this id and name is about to be made. The
// caller ends the intent with [Intent.Done] once the session is whole or gone.
func (i Intents) Begin(id api.ID, name api.Name) (*Intent, error) {
	if err := os.MkdirAll(i.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("declare creation: %w", err)
	}
	// A file without a name, locked before it gets one: nobody can ever see it
	// unlocked while this process lives.
	fd, err := unix.Open(i.Dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("declare creation: %w", err)
	}
	path := filepath.Join(i.Dir, string(id))
	file := os.NewFile(uintptr(fd), path)
	err = errors.Join(
		unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB),
		write(file, string(name)),
		// The way to name a nameless file without privilege, see open(2), O_TMPFILE.
		unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW),
	)
	if err != nil {
		if errors.Is(err, fs.ErrExist) {
			err = &api.Error{Kind: api.KindConflict, Rule: "session.busy", Msg: fmt.Sprintf("session %q is being made or removed", name), Hint: "try again in a moment"}
		}
		return nil, errors.Join(err, file.Close())
	}
	return &Intent{file: file, path: path}, nil
}

func write(f *os.File, s string) error {
	_, err := f.WriteString(s)
	return err
}

// Asks notes that the engine is about to be asked to make something. It goes on
// with that even if this process ends.
func (i *Intent) Asks(at time.Time) error {
	return write(i.file, "\n"+at.UTC().Format(time.RFC3339Nano))
}

// Done ends the intent. The name goes before the lock: see take.
func (i *Intent) Done() error {
	return errors.Join(os.Remove(i.path), i.file.Close())
}

// Abandon leaves the intent to whoever comes next.
func (i *Intent) Abandon() error { return i.file.Close() }

// CutShort returns the creations whose process has ended without finishing,
// each held by this process from now on, with the name the session would have
// had. It costs one directory read when there is none.
func (i Intents) CutShort() (map[api.ID]Held, error) {
	entries, err := os.ReadDir(i.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for cut short creations: %w", err)
	}
	held := map[api.ID]Held{}
	for _, e := range entries {
		id := api.ID(e.Name())
		if !id.Valid() {
			continue
		}
		if h, ok := take(filepath.Join(i.Dir, e.Name())); ok {
			held[id] = h
		}
	}
	return held, nil
}

// take locks an intent file whose process has ended. It reports false for one
// whose process is at work, and for one that was finished meanwhile.
func take(path string) (Held, bool) {
	file, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return Held{}, false
	}
	var st unix.Stat_t
	content := make([]byte, 128)
	if unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil && unix.Fstat(int(file.Fd()), &st) == nil && st.Nlink > 0 {
		// Still named although unlocked: its process did not finish. (One that
		// finishes takes the name away before the lock.)
		n, err := file.ReadAt(content, 0)
		if err == nil || errors.Is(err, io.EOF) {
			name, at, _ := strings.Cut(string(content[:n]), "\n")
			// Zero if it was not asked, or died while it wrote this.
			asked, _ := time.Parse(time.RFC3339Nano, at)
			return Held{Intent: &Intent{file: file, path: path}, Name: api.Name(name), Asked: asked}, true
		}
	}
	file.Close()
	return Held{}, false
}

// Held is a creation that was cut short.
type Held struct {
	*Intent
	// Name is the name the session would have had.
	Name api.Name
	// Asked is when the engine was asked to make it; zero if it never was.
	Asked time.Time
}

// Underway tells whether a creation or removal of that session is under way or
// was cut short.
func (i Intents) Underway(id api.ID) bool {
	_, err := os.Lstat(filepath.Join(i.Dir, string(id)))
	return err == nil && id.Valid()
}
