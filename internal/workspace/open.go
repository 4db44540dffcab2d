package workspace

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/policy"
)

// directory is an open directory. What is in it is reached by one name at a time
// and never through a link: whoever renames or replaces things meanwhile cannot
// lead ccc elsewhere. Package os's Root follows links that stay inside; here
// none is followed, because a link is itself something to review.
type directory struct{ file *os.File }

// openDirectory opens a directory whose path is known to hold no link.
func openDirectory(name string) (directory, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return directory{}, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return directory{os.NewFile(uintptr(fd), name)}, nil
}

// openProject opens a project and refuses another directory in its place.
func openProject(p policy.Place) (directory, error) {
	d, err := openDirectory(p.Path)
	if err != nil {
		return d, fmt.Errorf("open project: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(d.fd(), &st); err != nil || st.Dev != p.Dev || st.Ino != p.Ino {
		d.close()
		return d, api.Deniedf("project.moved", "put the project back where it was", "%s is not the directory any more that the session was made for", api.Printable(p.Path))
	}
	return d, nil
}

func (d directory) fd() int { return int(d.file.Fd()) }
func (d directory) close()  { _ = d.file.Close() }

// stat returns what a name is, a link itself rather than what it leads to.
func (d directory) stat(name string) (unix.Stat_t, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(d.fd(), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return st, &os.PathError{Op: "look at", Path: name, Err: err}
	}
	return st, nil
}

// beneath is how a path below a directory is resolved: no link, no way up, no
// mount point (overlayfs does not see what is mounted below its lower directory
// either). See openat2(2).
const beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV

// sub opens a directory below this one; "." is this one again.
func (d directory) sub(rel string) (directory, error) {
	how := unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: beneath}
	fd, err := openat2(d.fd(), rel, &how)
	if err != nil {
		return directory{}, &os.PathError{Op: "open", Path: rel, Err: err}
	}
	return directory{os.NewFile(uintptr(fd), rel)}, nil
}

// openat2 tries again what the kernel could not decide because of a rename
// somewhere else (EAGAIN, see openat2(2)).
func openat2(fd int, name string, how *unix.OpenHow) (int, error) {
	const tries = 64
	for range tries {
		got, err := unix.Openat2(fd, name, how)
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return got, err
		}
	}
	return -1, unix.EAGAIN
}

// parent opens the directory that a path below this one lies in.
func (d directory) parent(rel string) (directory, string, error) {
	in, err := d.sub(path.Dir(rel))
	return in, path.Base(rel), err
}

// regular opens a regular file for reading. Nothing else is ever opened: opening
// a named pipe waits, opening a device acts.
func (d directory) regular(name string) (*os.File, unix.Stat_t, error) {
	st, err := d.stat(name)
	if err != nil {
		return nil, st, err
	}
	odd := fmt.Errorf("%s is no regular file", api.Printable(name))
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, st, odd
	}
	fd, err := unix.Openat(d.fd(), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, st, &os.PathError{Op: "open", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		_ = f.Close()
		return nil, st, errors.Join(odd, err)
	}
	return f, st, nil
}

// openedFile makes a file of a descriptor.
func openedFile(fd int, name string) *os.File { return os.NewFile(uintptr(fd), name) }

// target returns where a link points.
func (d directory) target(name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(d.fd(), name, buf)
	if err != nil {
		return "", &os.PathError{Op: "readlink", Path: name, Err: err}
	}
	return string(buf[:n]), nil
}

// names returns the names in the directory, sorted; more than most are an error.
func (d directory) names(most int) ([]string, error) {
	// The descriptor's position is its own: another reader may have moved it.
	if _, err := d.file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	var all []string
	for {
		some, err := d.file.Readdirnames(1024)
		all = append(all, some...)
		if len(all) > most {
			return nil, errTooMany(most)
		}
		if errors.Is(err, io.EOF) {
			slices.Sort(all)
			return all, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// attribute returns an extended attribute of an open file; "" and false if it
// has none of that name.
func attribute(f *os.File, name string) (string, bool) {
	value := make([]byte, 256)
	n, err := unix.Fgetxattr(int(f.Fd()), name, value)
	if err != nil {
		return "", false
	}
	return string(value[:n]), true
}

// kindOf returns what a file is.
func kindOf(st unix.Stat_t) api.FileKind {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return api.FileRegular
	case unix.S_IFDIR:
		return api.FileDir
	case unix.S_IFLNK:
		return api.FileLink
	}
	return api.FileOther
}

// state returns what is at a name, with the digest of a regular file's content;
// the zero state if nothing is there.
func (d directory) state(name string) (api.FileState, error) {
	st, err := d.stat(name)
	if errors.Is(err, unix.ENOENT) {
		return api.FileState{}, nil
	}
	if err != nil {
		return api.FileState{}, err
	}
	s := api.FileState{Kind: kindOf(st)}
	switch s.Kind {
	case api.FileDir:
		s.Mode = api.Perm(st.Mode & 0o777)
	case api.FileLink:
		s.Target, err = d.target(name)
	case api.FileRegular:
		return d.content(name, io.Discard)
	}
	return s, err
}

// content copies a regular file to w and returns its state: the digest is of
// exactly what was copied.
func (d directory) content(name string, w io.Writer) (api.FileState, error) {
	f, st, err := d.regular(name)
	if err != nil {
		return api.FileState{}, err
	}
	defer f.Close()
	sum := sha256.New()
	// One byte more than there was: a file that grows without end ends here.
	n, err := io.Copy(io.MultiWriter(w, sum), io.LimitReader(f, st.Size+1))
	if err != nil {
		return api.FileState{}, err
	}
	return api.FileState{
		Kind: api.FileRegular, Mode: api.Perm(st.Mode & 0o777), Size: n, SHA256: hex.EncodeToString(sum.Sum(nil)),
	}, nil
}
