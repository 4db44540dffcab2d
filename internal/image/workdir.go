package image

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/ccc-dev/ccc/internal/api"
)

// workDirs begins the names of the directories that builds work in.
const workDirs = "ccc-image-"

// workDir is a directory that a build works in. A lock on it tells other builds
// that it is in use; the kernel lets go of it however the build ends.
type workDir struct {
	path string
	lock *os.File
}

// hook is the path of the script that finishes the tree.
func (d workDir) hook() string { return filepath.Join(d.path, "customize") }

// lockWorkDir takes the lock of a directory, or says that it is in use or gone.
func lockWorkDir(path string) (workDir, error) {
	f, err := os.Open(path)
	if err != nil {
		return workDir{}, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		// It may have been removed while it was being locked.
		_, err = os.Lstat(path)
	}
	if err != nil {
		return workDir{}, errors.Join(err, f.Close())
	}
	return workDir{path: path, lock: f}, nil
}

// newWorkDir makes a directory with the recipe's script in it. Both are open to
// others to enter and read: the root of the namespace that the script runs in is
// one of the user's subordinate ids, not the user.
func (b Builder) newWorkDir(r Recipe) (workDir, error) {
	d, err := b.emptyWorkDir()
	if err != nil {
		return workDir{}, err
	}
	err = errors.Join(
		os.WriteFile(d.hook(), []byte(r.Customize), 0o600),
		os.Chmod(d.hook(), 0o755), //nolint:gosec // see above
		os.Chmod(d.path, 0o711),   //nolint:gosec // see above
	)
	if err != nil {
		return workDir{}, errors.Join(err, os.RemoveAll(d.path), d.lock.Close())
	}
	return d, nil
}

// emptyWorkDir makes a directory and locks it. A build that sweeps at the same
// moment may take it for left behind; then another is made.
func (b Builder) emptyWorkDir() (d workDir, err error) {
	for range 3 {
		path, err := os.MkdirTemp(b.TempDir, workDirs)
		if err != nil {
			return workDir{}, err
		}
		if d, err = lockWorkDir(path); err == nil {
			return d, nil
		}
	}
	return workDir{}, &api.Error{Kind: api.KindConflict, Msg: "other builds are in the way", Hint: "wait for them to end"}
}

// removeWorkDir removes what a build left. mmdebstrap's tree belongs to
// subordinate ids: if mmdebstrap was killed before it removed the tree, only
// root of a user namespace can.
func (b Builder) removeWorkDir(ctx context.Context, d workDir) error {
	defer func() { _ = d.lock.Close() }()
	if os.RemoveAll(d.path) == nil {
		return nil
	}
	podman, err := b.Tools.Look("podman")
	if err == nil {
		p := Program{Path: podman, Args: []string{"unshare", "rm", "-rf", "--", d.path}, Env: b.toolEnvironment()}
		err = b.Tools.Run(context.WithoutCancel(ctx), p, io.Discard, func(string) {})
	}
	if err == nil {
		return nil
	}
	return &api.Error{
		Msg:  "the build left a directory behind: " + d.path,
		Hint: "podman unshare rm -rf " + d.path,
		Err:  err,
	}
}

// sweep removes what builds left that were killed. That this fails, for example
// because a directory is another user's, is no reason not to build.
func (b Builder) sweep(ctx context.Context) {
	left, err := filepath.Glob(filepath.Join(b.TempDir, workDirs+"*"))
	if err != nil {
		return
	}
	for _, path := range left {
		info, err := os.Lstat(path)
		if err != nil || !info.IsDir() || int(info.Sys().(*syscall.Stat_t).Uid) != os.Getuid() {
			continue
		}
		if d, err := lockWorkDir(path); err == nil {
			b.Progress("removing what an earlier build left: " + path)
			if err := b.removeWorkDir(ctx, d); err != nil {
				b.Progress(err.Error())
			}
		}
	}
}
