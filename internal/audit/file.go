package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/api"
)

// lockWait is how long a caller whose context has no deadline waits for the
// other writers: far longer than they need, and short enough that a stopped
// process does not stop everybody.
const lockWait = 10 * time.Second

// ruleFile is the rule that refuses a log that others could have touched.
const ruleFile = "audit.file"

// openDir opens the log's directory and makes it if it is not there.
func openDir(dir string) (*os.File, error) {
	if !filepath.IsAbs(dir) {
		return nil, api.Invalidf("set audit.dir to an absolute path", "audit directory %q is not absolute", dir)
	}
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := makeDir(dir); err != nil {
			return nil, unusable(dir, err)
		}
	}
	f, err := os.OpenFile(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		return nil, api.Deniedf(ruleFile, "set audit.dir to the directory itself", "%s is not a directory, or a symbolic link to one", dir)
	}
	if err != nil {
		return nil, unusable(dir, err)
	}
	if err := private(f, unix.S_IFDIR, "chmod 700 "+dir); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// makeDir makes the directory and puts its name on disk.
func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	parent, err := os.Open(filepath.Dir(dir))
	if err != nil {
		return err
	}
	defer parent.Close()
	return parent.Sync()
}

// unusable is the error of a directory that cannot be had.
func unusable(dir string, err error) error {
	return &api.Error{Kind: api.KindUnavailable, Msg: "the audit directory " + dir + " cannot be used", Hint: "make it a directory of your own with mode 700, or set audit.dir to one", Err: err}
}

// private checks on the open file that nobody else can write or read it.
func private(f *os.File, kind uint32, hint string) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fmt.Errorf("stat %s: %w", f.Name(), err)
	}
	switch {
	case st.Mode&unix.S_IFMT != kind:
		return api.Deniedf(ruleFile, "remove it", "%s is not of the right type", f.Name())
	case int(st.Uid) != os.Geteuid():
		return api.Deniedf(ruleFile, "set audit.dir to a directory of your own", "%s belongs to another user (uid %d)", f.Name(), st.Uid)
	case st.Mode&0o077 != 0:
		return api.Deniedf(ruleFile, hint, "%s is open to other users", f.Name())
	case kind == unix.S_IFREG && st.Nlink != 1:
		return api.Deniedf(ruleFile, "replace it by a copy of its own", "%s has %d names", f.Name(), st.Nlink)
	}
	return nil
}

// openFile opens a file of the log's directory for appending. The directory is
// held open, so that the path cannot come to mean another one.
func (l *Log) openFile(name string, flags int) (*os.File, error) {
	path := filepath.Join(l.dir.Name(), name)
	// O_NONBLOCK: opening a FIFO must not wait for its other side.
	flags |= unix.O_APPEND | unix.O_CLOEXEC | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY
	fd, err := unix.Openat(int(l.dir.Fd()), name, flags, 0o600)
	switch {
	case errors.Is(err, unix.ELOOP):
		return nil, api.Deniedf(ruleFile, "remove the link", "%s is a symbolic link", path)
	case errors.Is(err, unix.ENOENT):
		return nil, l.unavailable("it was removed", err)
	case err != nil:
		return nil, l.unavailable("it cannot be opened", err)
	}
	f := os.NewFile(uintptr(fd), path)
	if err := private(f, unix.S_IFREG, "chmod 600 "+path); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// lock opens the log and waits for the lock on it. Closing the file lets go.
// Each append opens the log anew: the lock belongs to the open file, so
// goroutines exclude each other like processes, and a log that was exchanged
// meanwhile is noticed.
func (l *Log) lock(ctx context.Context, flags int) (*os.File, error) {
	for range 8 {
		f, err := l.openFile(l.o.File, unix.O_RDWR|flags)
		if err != nil {
			return nil, err
		}
		if f, err = flock(ctx, f, unix.LOCK_EX); err != nil {
			return nil, l.unavailable("another process holds it", err)
		}
		var mine, there unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &mine); err != nil {
			return nil, errors.Join(l.unavailable("stat", err), f.Close())
		}
		err = unix.Fstatat(int(l.dir.Fd()), l.o.File, &there, unix.AT_SYMLINK_NOFOLLOW)
		if err == nil && mine.Dev == there.Dev && mine.Ino == there.Ino {
			return f, nil
		}
		if err := f.Close(); err != nil {
			return nil, l.unavailable("close", err)
		}
	}
	return nil, l.unavailable("it is replaced again and again", nil)
}

// flock waits for the lock on f until the context ends. On error f is closed,
// now or as soon as the kernel lets go of it.
func flock(ctx context.Context, f *os.File, how int) (*os.File, error) {
	if unix.Flock(int(f.Fd()), how|unix.LOCK_NB) == nil {
		return f, nil
	}
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, lockWait)
		defer cancel()
	}
	// flock(2) cannot be told to stop waiting. It waits in a goroutine that
	// closes the file if nobody wants it any more; trying again and again
	// instead would starve whoever is unlucky.
	got, gone := make(chan error), make(chan struct{})
	go func() {
		err := retry(func() error { return unix.Flock(int(f.Fd()), how) })
		select {
		case got <- err:
		case <-gone:
			_ = f.Close()
		}
	}()
	select {
	case err := <-got:
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		return f, nil
	case <-ctx.Done():
		close(gone)
		return nil, ctx.Err()
	}
}

// retry repeats a system call that a signal interrupted.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
