package seccomp

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
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

// maxProfile bounds a profile's file, in bytes.
const maxProfile = 1 << 20

// Deliver puts a profile into a file that the container engine can be pointed
// at, and returns the file's absolute path. The file's name is made from its
// content, so that two versions of ccc do not overwrite each other's; it belongs
// to the calling user and nobody else may read or write it.
//
// A file that is there already is used only if it is such a file with exactly
// this content; anything else of that name is replaced, a directory excepted,
// which is an error. dir is created if need be; one that others may enter, or
// that is a symbolic link or somebody else's, is refused with a [api.KindDenied]
// error. Deliver may be called from several processes at once.
//
// The engine opens the file later, and by name. What then really took effect is
// for [Compare] to say.
func Deliver(dir string, profile []byte) (string, error) {
	if len(profile) == 0 || len(profile) > maxProfile {
		return "", &api.Error{Msg: fmt.Sprintf("deliver seccomp profile: %d bytes cannot be one", len(profile))}
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("deliver seccomp profile: %w", err)
	}
	root, err := openPrivate(dir)
	if err != nil {
		return "", fmt.Errorf("deliver seccomp profile: %w", err)
	}
	defer root.Close()
	sum := sha256.Sum256(profile)
	name := "seccomp-" + hex.EncodeToString(sum[:]) + ".json"
	if !holdsExactly(root, name, profile) {
		if err := replace(root, name, profile); err != nil {
			return "", fmt.Errorf("deliver seccomp profile: %w", err)
		}
	}
	return filepath.Join(dir, name), nil
}

// openPrivate opens a directory that is the calling user's alone, and makes it
// first if it is not there. What is checked is what was opened.
func openPrivate(dir string) (*os.Root, error) {
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
		return nil, api.Deniedf("seccomp.directory", "chmod 700 "+api.Printable(dir)+", if it is yours",
			"the directory %s is a link, somebody else's, or open to others", api.Printable(dir))
	}
	return root, nil
}

// own tells whether the file belongs to the calling user.
func own(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int64(st.Uid) == int64(os.Geteuid())
}

// holdsExactly tells whether name is a private file of the calling user with
// exactly this content. It follows no link and waits for nothing.
func holdsExactly(root *os.Root, name string, content []byte) bool {
	named, err := root.Lstat(name)
	if err != nil || !named.Mode().IsRegular() {
		return false
	}
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !os.SameFile(named, info) || info.Mode() != 0o600 || !own(info) || info.Sys().(*syscall.Stat_t).Nlink != 1 {
		return false
	}
	got, err := io.ReadAll(io.LimitReader(f, int64(len(content))+1))
	return err == nil && bytes.Equal(got, content)
}

// replace writes the content to a new file and gives it the name. Whoever opens
// the name finds the old file or the whole new one.
func replace(root *os.Root, name string, content []byte) (err error) {
	temporary := name + "." + rand.Text()
	f, err := root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, root.Remove(temporary))
		}
	}()
	_, err = f.Write(content)
	// The umask may have taken bits away.
	if err = errors.Join(err, f.Chmod(0o600), f.Close()); err != nil {
		return err
	}
	return root.Rename(temporary, name)
}
