// Package private keeps files that other programs are pointed at and that must
// be exactly what ccc put there: the system call filter that the engine reads,
// the program that a session begins with.
//
// It knows nothing of what is in them, and must not be used for what changes:
// a file here is written once, under a name that only this content has.
package private

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/api"
)

// File is a file to be kept.
type File struct {
	// Dir is the directory, which is made if need be and belongs to the calling
	// user alone. Name should be made from Content.
	Dir, Name string
	Content   []byte
	// Mode is the file's permission: 0600 for what is read, 0500 for what is
	// run. Nobody but the user may have any.
	Mode fs.FileMode
	// Attribute and Value are an extended attribute that the file gets, if there
	// is a name and the file system has such attributes (xattr(7)).
	Attribute, Value string
}

// Put makes sure that the file is there and returns its absolute path.
//
// A file that is there already is used only if it is a regular one of the
// calling user with exactly this mode, this content and no other name; anything
// else of that name is replaced, a directory excepted, which is an error. A
// directory that others may enter, or that is a symbolic link or somebody
// else's, is refused with a [api.KindDenied] error. Put may be called from
// several processes at once.
func Put(f File) (string, error) {
	dir, err := filepath.Abs(f.Dir)
	if err != nil {
		return "", err
	}
	root, err := Open(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	if !f.there(root) {
		if err := f.replace(root); err != nil {
			return "", err
		}
	}
	return filepath.Join(dir, f.Name), nil
}

// Open opens a directory that is the calling user's alone, and makes it first if
// it is not there. What is checked is what was opened.
func Open(dir string) (*os.Root, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	named, err := os.Lstat(dir)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	opened, err := root.Stat(".")
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	if !os.SameFile(named, opened) || opened.Mode().Perm()&0o077 != 0 || !own(opened) {
		_ = root.Close()
		return nil, api.Deniedf("directory.private", "chmod 700 "+api.Printable(dir)+", if it is yours",
			"the directory %s is a link, somebody else's, or open to others", api.Printable(dir))
	}
	return root, nil
}

// Read returns the content of a file that [Put] could have left: a regular one
// of the calling user with this mode and no other name, at most most bytes long.
func Read(file string, mode fs.FileMode, most int64) ([]byte, error) {
	root, err := os.OpenRoot(filepath.Dir(file))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return read(root, filepath.Base(file), mode, most)
}

// own tells whether the file belongs to the calling user.
func own(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int64(st.Uid) == int64(os.Geteuid())
}

// there tells whether the file is there as it should be.
func (f File) there(root *os.Root) bool {
	got, err := read(root, f.Name, f.Mode, int64(len(f.Content)))
	return err == nil && bytes.Equal(got, f.Content) && f.marked(filepath.Join(root.Name(), f.Name))
}

// marked tells whether the file has its attribute, or cannot have any.
func (f File) marked(file string) bool {
	if f.Attribute == "" {
		return true
	}
	value := make([]byte, len(f.Value)+1)
	n, err := unix.Lgetxattr(file, f.Attribute, value)
	if errors.Is(err, unix.ENOTSUP) {
		return true
	}
	return err == nil && string(value[:n]) == f.Value
}

// mark gives an open file its attribute, if it can have one.
func (f File) mark(w *os.File) error {
	if f.Attribute == "" {
		return nil
	}
	err := unix.Fsetxattr(int(w.Fd()), f.Attribute, []byte(f.Value), 0)
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	return err
}

// read returns a private file's content. It follows no link and waits for
// nothing.
func read(root *os.Root, name string, mode fs.FileMode, most int64) ([]byte, error) {
	named, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	bad := fmt.Errorf("%s is not a file of mode %v of this user alone", api.Printable(name), mode)
	if !named.Mode().IsRegular() {
		return nil, bad
	}
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !os.SameFile(named, info) || info.Mode() != mode || !own(info) || info.Sys().(*syscall.Stat_t).Nlink != 1 || info.Size() > most {
		return nil, bad
	}
	content := make([]byte, info.Size())
	if _, err := io.ReadFull(f, content); err != nil {
		return nil, err
	}
	return content, nil
}

// replace writes the content to a new file and gives it the name. Whoever opens
// the name finds the old file or the whole new one.
func (f File) replace(root *os.Root) (err error) {
	temporary := f.Name + "." + rand.Text()
	w, err := root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, root.Remove(temporary))
		}
	}()
	_, err = w.Write(f.Content)
	// The umask may have taken bits away. The attribute comes first: it cannot be
	// set on a file that may not be written.
	if err = errors.Join(err, f.mark(w), w.Chmod(f.Mode), w.Close()); err != nil {
		return err
	}
	return root.Rename(temporary, f.Name)
}
