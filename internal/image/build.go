package image

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/spec"
)

// Builder makes session images. All fields are required.
type Builder struct {
	Images     engine.Images
	Containers engine.Containers
	Tools      Tools
	// Env is the caller's environment, "NAME=value" each. The build's programs
	// get of it where the home and the proxies are, and nothing else.
	Env []string
	// TempDir is where the tree is put together: a directory on disk that
	// others may enter, such as /var/tmp.
	TempDir string
	// Progress is told each step in a few words. It is called from one
	// goroutine at a time.
	Progress func(string)
}

// Request says which image to make. Its zero value makes the shipped one.
type Request struct {
	// Name is the name that the image gets; [DefaultName] if empty. A bare word
	// means localhost/WORD, and no tag means latest.
	Name api.Image
	// Base is an image of a registry to take in place of building one, with
	// its digest: IMAGE@sha256:DIGEST.
	Base string
	// Mirror is the address of a package mirror, http or https.
	Mirror string
	// Refresh builds again even if an image of the same recipe is there, which
	// brings newer packages of the suite.
	Refresh bool
}

// buildTimeout bounds a build: a slow mirror is worth waiting for, a dead one
// is not.
const buildTimeout = time.Hour

// pinned is an image reference with a digest. What stands before the digest is
// only where to fetch it.
var pinned = api.Syntax(330, `[a-z0-9][a-zA-Z0-9._:/-]*@sha256:[0-9a-f]{64}`)

// mirrorAddress is an address without anything that apt's source lists would
// read as more than one word or as an option.
var mirrorAddress = api.Syntax(260, `https?://[A-Za-z0-9.:_~%/-]+`)

// Validate returns a [api.KindInvalid] error unless the request can be carried
// out as it is meant.
func (r Request) Validate() error {
	if err := (engine.ImportOptions{Name: r.fullName()}).Check(); err != nil {
		return api.Invalidf("give a name such as localhost/NAME:TAG", "%.80q is not a name for an image", r.Name).By("input.image")
	}
	if r.Base != "" && !pinned(r.Base) {
		return api.Invalidf("give the digest: IMAGE@sha256:DIGEST (podman image inspect shows it)",
			"the base image %.80q is not pinned by a digest", r.Base).By("input.base")
	}
	if r.Mirror != "" && !mirrorAddress(r.Mirror) {
		return api.Invalidf("give an address such as https://mirror.example/debian",
			"the mirror %.80q is not an address", r.Mirror).By("input.mirror")
	}
	if r.Base != "" && (r.Mirror != "" || r.Refresh) {
		return api.Invalidf("leave out --mirror and --refresh with --base", "a registry image is not built").By("input.base")
	}
	return nil
}

// fullName is the name as the engine stores it.
func (r Request) fullName() string {
	name := string(cmp.Or(r.Name, DefaultName))
	if !strings.Contains(name, "/") {
		name = "localhost/" + name
	}
	if !strings.Contains(path.Base(name), ":") {
		name += ":latest"
	}
	return name
}

// Build makes the image, or finds it made, and returns it with its names. It
// also has the engine make the copy of the layers that sessions use, which
// would otherwise make the first session wait. When it fails, what was there
// before is there still, under the same names, and nothing else.
func (b Builder) Build(ctx context.Context, r Request) (engine.Image, error) {
	if err := r.Validate(); err != nil {
		return engine.Image{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	name := r.fullName()
	var img engine.Image
	var err error
	if r.Base != "" {
		img, err = b.pull(ctx, r.Base, name)
	} else {
		img, err = b.make(ctx, r, name)
	}
	if err != nil {
		return engine.Image{}, fmt.Errorf("build image %s: %w", name, err)
	}
	return img, nil
}

// make builds the shipped recipe, unless an image of it is there.
func (b Builder) make(ctx context.Context, r Request, name string) (engine.Image, error) {
	recipe, err := Shipped()
	if err != nil {
		return engine.Image{}, err
	}
	recipe.Mirror = r.Mirror
	old, err := b.find(ctx, recipe.Tag())
	if err != nil {
		return engine.Image{}, err
	}
	// The name alone proves nothing: anybody can tag an image.
	if !r.Refresh && old.Labels[engine.LabelImage] == recipe.Label() {
		b.Progress("an image of this recipe is there: " + recipe.Tag())
		return b.finish(ctx, old.ID, name)
	}
	id, err := b.fromDebian(ctx, recipe)
	var img engine.Image
	if err == nil {
		img, err = b.finish(ctx, id, name)
	}
	if err != nil {
		return engine.Image{}, b.undo(ctx, err, id, old.ID, recipe.Tag())
	}
	b.drop(ctx, old, id)
	return img, nil
}

// drop removes an image that lost its last name to a new one. Sessions may
// still use it; then it stays until somebody prunes.
func (b Builder) drop(ctx context.Context, old engine.Image, replacement string) {
	if old.ID == "" || old.ID == replacement {
		return
	}
	now, err := b.find(ctx, old.ID)
	if err == nil && now.ID != "" && len(now.Names) == 0 {
		err = b.Images.RemoveImage(ctx, now.ID)
	}
	if err != nil && api.KindOf(err) != api.KindConflict {
		b.Progress("the image that this one replaces was not removed: " + err.Error())
	}
}

// pull fetches a registry image.
func (b Builder) pull(ctx context.Context, base, name string) (engine.Image, error) {
	old, err := b.find(ctx, base)
	if err != nil {
		return engine.Image{}, err
	}
	id := old.ID
	if id == "" {
		b.Progress("fetching " + base)
		if id, err = b.Images.PullImage(ctx, base, b.Progress); err != nil {
			return engine.Image{}, err
		}
	}
	img, err := b.finish(ctx, id, name)
	if err != nil && old.ID == "" {
		err = b.undo(ctx, err, id, "", "")
	}
	return img, err
}

// finish checks the image, warms it, and only then gives it the name that was
// asked for. On error the name is where it was.
func (b Builder) finish(ctx context.Context, id, name string) (engine.Image, error) {
	img, err := b.Images.Image(ctx, id)
	if err != nil {
		return engine.Image{}, err
	}
	if err := Check(img); err != nil {
		return engine.Image{}, err
	}
	if err := CheckFiles(ctx, b.Images, img); err != nil {
		return engine.Image{}, err
	}
	if err := b.warm(ctx, img); err != nil {
		return engine.Image{}, err
	}
	if slices.Contains(img.Names, name) {
		return img, nil
	}
	img.Names = append(img.Names, name)
	return img, b.Images.TagImage(ctx, id, name)
}

// warm makes and removes a container with the same mapping of ids as a session
// has: the first container with a new mapping copies the image with new owners,
// which takes seconds, and all later ones share the copy.
func (b Builder) warm(ctx context.Context, img engine.Image) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.Progress("preparing the image for the first session")
	c := engine.Container{
		Name:  "ccc-warm-" + img.ID[:min(12, len(img.ID))],
		Image: img.ID,
		Argv:  []string{"true"},
		Dir:   "/",
		UID:   spec.UID, GID: spec.GID,
		// Never started; the engine takes no container without limits.
		Memory: 64 << 20, CPUs: 1000, PIDs: 16, Timeout: time.Minute,
		Labels: map[string]string{engine.LabelSchema: engine.Schema, engine.LabelImage: img.ID},
	}
	// Once begun, the copy is not interrupted: the engine would go on with it and
	// make the container after we had looked for it.
	uncut := context.WithoutCancel(ctx)
	err := b.create(uncut, c)
	// By name and whatever the answer was: the call may have made it.
	err = errors.Join(err, b.Containers.RemoveContainer(uncut, c.Name), ctx.Err())
	if err != nil {
		return fmt.Errorf("warm the image: %w", err)
	}
	return nil
}

// create creates a container whatever is there under its name: one that a killed
// build left, one of a build that runs now, or one whose creation took longer
// than a call may. Which it is does not matter, for the copy is what counts.
func (b Builder) create(ctx context.Context, c engine.Container) error {
	const tries = 5
	var err error
	for range tries {
		_, err = b.Containers.CreateContainer(ctx, c)
		switch api.KindOf(err) {
		case api.KindConflict:
			if gone := b.Containers.RemoveContainer(ctx, c.Name); gone != nil {
				return errors.Join(err, gone)
			}
		case api.KindUnavailable:
			// The engine may be busy with the copy.
		default:
			return err
		}
	}
	return err
}

// undo removes the image that this build made, if it came that far, and gives
// the name that it took back to the image that had it.
func (b Builder) undo(ctx context.Context, err error, id, old, name string) error {
	ctx = context.WithoutCancel(ctx)
	if id != "" && id != old {
		err = errors.Join(err, b.Images.RemoveImage(ctx, id))
	}
	if old != "" {
		err = errors.Join(err, b.Images.TagImage(ctx, old, name))
	}
	return err
}

// find returns the image, or the zero image if there is none.
func (b Builder) find(ctx context.Context, ref string) (engine.Image, error) {
	img, err := b.Images.Image(ctx, ref)
	if api.KindOf(err) == api.KindNotFound {
		return engine.Image{}, nil
	}
	return img, err
}
