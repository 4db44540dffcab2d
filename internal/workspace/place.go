// Package workspace takes project files into a session and out of it: it
// resolves host paths to what they really are, keeps the directories that a
// copy-on-write session writes to, and knows which files of a project run by
// themselves on the host.
//
// The package must not decide what may be shared; policy does. It follows no
// link without saying where it led.
package workspace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/kernel"
	"github.com/ccc-dev/ccc/internal/policy"
)

// Resolve returns the place that a host path leads to. dir is the directory
// that a relative path starts from. Links are followed once, by the kernel, and
// everything after is about the file they led to: its path is read back from
// the open descriptor, so no later change of a link matters to it.
//
// A path that is not there is a [api.KindNotFound]; one that is neither a
// directory nor a regular file a [api.KindInvalid].
func Resolve(kind, asked, dir string) (policy.Place, error) {
	if err := api.CheckPath(kind, asked); err != nil {
		return policy.Place{}, err
	}
	p := asked
	if !filepath.IsAbs(p) {
		p = filepath.Join(dir, p)
	}
	// O_PATH neither reads nor wakes what it opens: safe on sockets and devices.
	fd, err := unix.Open(p, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return policy.Place{}, openError(kind, asked, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return policy.Place{}, fmt.Errorf("look at %s: %w", kind, err)
	}
	format := st.Mode & unix.S_IFMT
	if format != unix.S_IFDIR && format != unix.S_IFREG {
		return policy.Place{}, api.Invalidf("give a directory", "%s %+q is neither a directory nor a regular file", kind, asked).By(kind + ".kind")
	}
	real, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return policy.Place{}, fmt.Errorf("resolve %s: %w", kind, err)
	}
	if err := api.CheckPath(kind, real); err != nil {
		return policy.Place{}, err
	}
	return policy.Place{Asked: asked, Path: real, Dev: st.Dev, Ino: st.Ino, Dir: format == unix.S_IFDIR}, nil
}

func openError(kind, asked string, err error) error {
	e := &api.Error{Rule: kind + ".open", Msg: fmt.Sprintf("%s %+q cannot be opened", kind, asked), Err: err}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.Kind, e.Hint = api.KindNotFound, "check the path; ccc does not create projects"
	case errors.Is(err, fs.ErrPermission):
		e.Kind, e.Hint = api.KindDenied, "ls -ld on the path and its parents shows who may open it"
	default:
		e.Kind, e.Hint = api.KindInvalid, "check the path"
	}
	return e
}

// Same tells whether the place still is what it was when it was resolved.
func Same(p policy.Place) bool {
	var st unix.Stat_t
	err := unix.Lstat(p.Path, &st)
	return err == nil && st.Dev == p.Dev && st.Ino == p.Ino
}

// Stray returns the name of the first entry seen in a copy-on-write view that
// is neither in the project nor in the upper layer, "" if there is none. Files
// must be the project's own by inode, directories by name. A project that was
// replaced since it was resolved is an error.
func Stray(p policy.Place, upper string, seen []kernel.Entry) (string, error) {
	dir, err := os.Open(p.Path)
	if err != nil {
		return "", fmt.Errorf("look at project: %w", err)
	}
	defer dir.Close()
	fd := int(dir.Fd())
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Dev != p.Dev || st.Ino != p.Ino {
		return "", api.Deniedf("project.moved", "run the command again", "the project %q was replaced after it was checked", p.Path)
	}
	for _, e := range seen {
		err := unix.Fstatat(fd, e.Name, &st, unix.AT_SYMLINK_NOFOLLOW)
		isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
		if err == nil && e.Dir == isDir && (e.Dir || sameInode(e.Ino, st.Ino)) {
			continue
		}
		if unix.Lstat(filepath.Join(upper, e.Name), &st) != nil {
			return e.Name, nil
		}
	}
	return "", nil
}

// sameInode compares inode numbers but for their highest bits, where overlayfs
// puts the number of a layer's file system when the layers lie on several.
func sameInode(a, b uint64) bool {
	const layerBits = 8
	return a<<layerBits == b<<layerBits
}
