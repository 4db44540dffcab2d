package mcpserver

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync/atomic"

	"github.com/ccc-dev/ccc/internal/api"
)

// The bounds of a tree that is copied.
const (
	maxTree    = 256 << 20
	maxEntries = 100_000
	maxLevels  = 64
)

// tree is what was copied of a file or directory.
type tree struct {
	// obeyed tells of a path in the project whether programs on the host obey it.
	obeyed func(name string) bool
	// files counts what is not a directory; bytes may be read while it grows.
	files int
	bytes atomic.Int64
	// skipped counts what is never copied: devices, sockets, pipes.
	skipped int
}

// tooLarge is the refusal of a tree beyond the bounds.
func tooLarge(what string) error {
	return &api.Error{Kind: api.KindLimit, Rule: "transfer.size", Msg: "the tree has " + what, Hint: "copy parts of it"}
}

// pack writes a file or directory of a host directory as a tar stream. Links are
// kept as they are, never followed; set-user-ID bits are not.
func (t *tree) pack(ctx context.Context, root *os.Root, name, as string, w io.Writer) error {
	out := tar.NewWriter(w)
	entries := 0
	err := fs.WalkDir(root.FS(), name, func(p string, d fs.DirEntry, err error) error {
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		if entries++; entries > maxEntries {
			return tooLarge(fmt.Sprintf("more than %d entries", maxEntries))
		}
		inside := as + strings.TrimPrefix(p, name)
		if name == "." {
			inside = path.Join(as, p)
		}
		return t.packOne(root, p, inside, out)
	})
	return errors.Join(err, out.Close())
}

// packOne writes one entry.
func (t *tree) packOne(root *os.Root, p, as string, out *tar.Writer) error {
	info, err := root.Lstat(p)
	if err != nil {
		return err
	}
	h := &tar.Header{Name: as, Mode: int64(info.Mode().Perm()), ModTime: info.ModTime()}
	switch {
	case info.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, as+"/"
		return out.WriteHeader(h)
	case info.Mode()&fs.ModeSymlink != 0:
		t.files++
		if h.Linkname, err = root.Readlink(p); err != nil {
			return err
		}
		h.Typeflag = tar.TypeSymlink
		return out.WriteHeader(h)
	case !info.Mode().IsRegular():
		t.skipped++
		return nil
	}
	f, err := root.Open(p)
	if err != nil {
		return err
	}
	defer f.Close()
	t.files++
	h.Typeflag, h.Size = tar.TypeReg, info.Size()
	if t.bytes.Load()+h.Size > maxTree {
		return tooLarge(fmt.Sprintf("more than %d bytes", maxTree))
	}
	if err := out.WriteHeader(h); err != nil {
		return err
	}
	n, err := io.CopyN(out, f, h.Size)
	t.bytes.Add(n)
	return err
}

// unpack makes what a tar stream holds in an empty directory of the host. The
// stream comes from a session and may hold anything: only plain files,
// directories and links that stay inside are made, only below directories that
// it made itself, without set-user-ID bits. final is where the directory's
// content will lie in the project; a path there that programs of the host obey
// is refused.
func (t *tree) unpack(r io.Reader, stage *os.Root, base, final string) error {
	in := tar.NewReader(r)
	made := map[string]bool{".": true}
	for entries := 1; ; entries++ {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read what the session sent: %w", err)
		}
		if entries > maxEntries {
			return tooLarge(fmt.Sprintf("more than %d entries", maxEntries))
		}
		name := path.Clean(h.Name)
		if !fs.ValidPath(name) || name != base && !strings.HasPrefix(name, base+"/") || !made[path.Dir(name)] || made[name] ||
			strings.Count(name, "/") > maxLevels || strings.ContainsRune(name, 0) {
			return hostile("an entry named %+.100q", h.Name)
		}
		if err := t.unguarded(path.Join(final, strings.TrimPrefix(name, base))); err != nil {
			return err
		}
		if err := t.unpackOne(in, h, stage, name, base); err != nil {
			return err
		}
		if h.Typeflag == tar.TypeDir {
			made[name] = true
		}
	}
}

// unpackOne makes one entry.
func (t *tree) unpackOne(in *tar.Reader, h *tar.Header, stage *os.Root, name, base string) error {
	mode := fs.FileMode(h.Mode) & fs.ModePerm
	switch h.Typeflag {
	case tar.TypeDir:
		return stage.Mkdir(name, mode|0o700)
	case tar.TypeSymlink:
		t.files++
		//nolint:gosec // this is the check that the rule asks for; nothing is opened
		if to := path.Join(path.Dir(name), h.Linkname); path.IsAbs(h.Linkname) || to != base && !strings.HasPrefix(to, base+"/") {
			return hostile("the link %+.100q to %+.100q, which leads out of it", name, h.Linkname)
		}
		return stage.Symlink(h.Linkname, name)
	case tar.TypeReg:
	case tar.TypeLink:
		return hostile("the hard link %+.100q", name)
	default:
		t.skipped++
		return nil
	}
	if h.Size < 0 || t.bytes.Load()+h.Size > maxTree {
		return tooLarge(fmt.Sprintf("more than %d bytes", maxTree))
	}
	f, err := stage.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode|0o200)
	if err != nil {
		return err
	}
	t.files++
	n, err := io.Copy(f, in)
	t.bytes.Add(n)
	if mode&0o200 == 0 {
		err = errors.Join(err, f.Chmod(mode))
	}
	return errors.Join(err, f.Sync(), f.Close())
}

// hostile is the refusal of a tree that would reach beyond itself.
func hostile(format string, args ...any) error {
	return api.Deniedf("transfer.hostile", "look at it in the session", "the tree holds "+format, args...)
}

// unguarded refuses a path of a project that programs on the host obey without
// being asked: git, shells, editors, agents.
func (t *tree) unguarded(p string) error {
	if t.obeyed(p) {
		return api.Deniedf("project.guarded", "ask the user to copy it, or to run ccc session apply",
			"%+.100q is obeyed by programs on the host: only a person may put it into the project", p)
	}
	return nil
}
