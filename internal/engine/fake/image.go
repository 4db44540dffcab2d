package fake

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
)

// image is an image as it is stored.
type image struct {
	engine.Image
	// Files are its files by absolute path.
	Files map[string]engine.File
}

// findImage returns an image by identity or name. The directory must be locked.
func (e *Engine) findImage(ref string) (image, error) {
	list, err := all[image](e, images)
	if err != nil {
		return image{}, err
	}
	for _, i := range list {
		if i.ID == ref || slices.Contains(i.Names, ref) {
			return i, nil
		}
	}
	return image{}, notFound("image", ref)
}

// files returns the files of an image. The directory must be locked.
func (e *Engine) files(id string) (map[string]engine.File, error) {
	i, err := e.findImage(id)
	return i.Files, err
}

// Image implements [engine.Images].
func (e *Engine) Image(ctx context.Context, ref string) (engine.Image, error) {
	var i image
	err := e.locked(ctx, func() (err error) {
		i, err = e.findImage(ref)
		return err
	})
	return i.Image, err
}

// ListImages implements [engine.Images].
func (e *Engine) ListImages(ctx context.Context) (found []engine.Image, err error) {
	err = e.locked(ctx, func() error {
		list, err := all[image](e, images)
		for _, i := range list {
			if _, ours := i.Labels[engine.LabelImage]; ours {
				found = append(found, i.Image)
			}
		}
		return err
	})
	return found, err
}

// ImportImage implements [engine.Images]. It keeps what the files are, not what
// is in them.
func (e *Engine) ImportImage(ctx context.Context, archive io.Reader, o engine.ImportOptions) (string, error) {
	if err := o.Check(); err != nil {
		return "", err
	}
	i := image{Image: engine.Image{ID: newID(), Labels: o.Labels}, Files: map[string]engine.File{"/": {Mode: fs.ModeDir | 0o755}}}
	for r := tar.NewReader(archive); ; {
		if err := ended(ctx); err != nil {
			return "", err
		}
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", &api.Error{Kind: api.KindInternal, Msg: "the archive cannot be read", Err: err}
		}
		f := engine.File{Mode: h.FileInfo().Mode()}
		name := path.Join("/", h.Name)
		if f.Mode&fs.ModeSymlink != 0 {
			f.Target = h.Linkname
		}
		i.Files[name], i.Size = f, i.Size+h.Size
	}
	return i.ID, e.change(ctx, "ImportImage", func() error {
		i.Created = e.now()
		if err := put(e, images, i.ID, i); err != nil {
			return err
		}
		return e.tag(i.ID, o.Name)
	})
}

// PullImage implements [engine.Images]. There is no registry: only what is
// there already can be had, under the name it was tagged with.
func (e *Engine) PullImage(ctx context.Context, ref string, progress func(string)) (id string, err error) {
	name, digest, _ := strings.Cut(ref, "@sha256:")
	if len(digest) != 64 {
		return "", invalid("image %.120q is not pinned by a digest", ref)
	}
	err = e.change(ctx, "PullImage", func() error {
		i, err := e.findImage(name)
		if err != nil {
			return &api.Error{Kind: api.KindUnavailable, Msg: "no registry answers", Hint: "check the image's name and the registry"}
		}
		if progress != nil {
			progress("found " + name)
		}
		id = i.ID
		return nil
	})
	return id, err
}

// TagImage implements [engine.Images].
func (e *Engine) TagImage(ctx context.Context, id, name string) error {
	if err := (engine.ImportOptions{Name: name}).Check(); err != nil {
		return err
	}
	return e.change(ctx, "TagImage", func() error {
		i, err := e.findImage(id)
		if err != nil {
			return err
		}
		return e.tag(i.ID, name)
	})
}

// tag gives an image a name and takes it from all others.
func (e *Engine) tag(id, name string) error {
	list, err := all[image](e, images)
	if err != nil {
		return err
	}
	for _, i := range list {
		had := slices.Contains(i.Names, name)
		if had == (i.ID == id) {
			continue
		}
		if had {
			i.Names = slices.DeleteFunc(i.Names, func(n string) bool { return n == name })
		} else {
			i.Names = append(i.Names, name)
		}
		if err := put(e, images, i.ID, i); err != nil {
			return err
		}
	}
	return nil
}

// RemoveImage implements [engine.Images].
func (e *Engine) RemoveImage(ctx context.Context, ref string) error {
	return e.change(ctx, "RemoveImage", func() error {
		i, err := e.findImage(ref)
		if api.KindOf(err) == api.KindNotFound {
			return nil
		}
		if err != nil {
			return err
		}
		list, err := all[container](e, containers)
		if err != nil {
			return err
		}
		for _, c := range list {
			if c.Wanted.Image == i.ID {
				return conflict("the image is in use by container %q", c.Wanted.Name)
			}
		}
		return e.drop(images, i.ID)
	})
}

// StatImage implements [engine.Images].
func (e *Engine) StatImage(ctx context.Context, id, file string) (f engine.File, err error) {
	if !path.IsAbs(file) || path.Clean(file) != file || strings.ContainsAny(file, "*?[\\\x00") {
		return f, invalid("path %.80q is not absolute and clean, or holds one of * ? [ \\", file)
	}
	err = e.locked(ctx, func() error {
		files, err := e.files(id)
		if err != nil {
			return err
		}
		where, ok := resolve(files, file, 0)
		if !ok {
			return notFound("file", file)
		}
		f = files[where]
		if f.Target != "" && !path.IsAbs(f.Target) {
			f.Target = path.Join(path.Dir(where), f.Target)
		}
		return nil
	})
	return f, err
}

// maxLinks is how many symbolic links a path may lead through
// (path_resolution(7)).
const maxLinks = 40

// resolve follows the symbolic links in a path but not one at its end, and
// tells whether the path is there. Above the root is the root.
func resolve(files map[string]engine.File, file string, links int) (string, bool) {
	at := "/"
	rest := strings.Split(strings.Trim(file, "/"), "/")
	for n, name := range rest {
		at = path.Join(at, name)
		f, ok := files[at]
		if !ok {
			return "", false
		}
		if n == len(rest)-1 {
			break
		}
		if f.Mode&fs.ModeSymlink == 0 {
			continue
		}
		if links == maxLinks {
			return "", false
		}
		target := f.Target
		if !path.IsAbs(target) {
			target = path.Join(path.Dir(at), target)
		}
		return resolve(files, path.Join(target, path.Join(rest[n+1:]...)), links+1)
	}
	return at, true
}

// follow is resolve that also follows links at the end.
func follow(files map[string]engine.File, file string) (engine.File, bool) {
	for range maxLinks {
		where, ok := resolve(files, file, 0)
		if !ok {
			return engine.File{}, false
		}
		f := files[where]
		if f.Mode&fs.ModeSymlink == 0 {
			return f, true
		}
		if file = f.Target; !path.IsAbs(file) {
			file = path.Join(path.Dir(where), f.Target)
		}
	}
	return engine.File{}, false
}
