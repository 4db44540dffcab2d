package image

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
)

// List returns the session images, the newest first: those that ccc built, and
// a registry image that has the default name.
func List(ctx context.Context, images engine.Images) ([]engine.Image, error) {
	list, err := images.ListImages(ctx)
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	named, err := images.Image(ctx, DefaultName)
	if err != nil && api.KindOf(err) != api.KindNotFound {
		return nil, fmt.Errorf("list images: %w", err)
	}
	if err == nil && !slices.ContainsFunc(list, func(i engine.Image) bool { return i.ID == named.ID }) {
		list = append(list, named)
	}
	slices.SortStableFunc(list, func(a, b engine.Image) int {
		if c := b.Created.Compare(a.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return list, nil
}

// Remove removes a session image, by name or identity. It returns a
// [api.KindNotFound] error if there is none, a [api.KindConflict] one while a
// session uses it, and refuses images that are not ccc's.
func Remove(ctx context.Context, images engine.Images, ref api.Image) error {
	img, err := images.Image(ctx, string(ref))
	if err != nil {
		return fmt.Errorf("remove image %s: %w", ref, err)
	}
	ours := img.Labels[engine.LabelImage] != "" ||
		slices.ContainsFunc(img.Names, func(n string) bool { return strings.HasPrefix(n, Repository+":") })
	if !ours {
		return api.Deniedf("image.foreign", "podman image rm "+string(ref), "%s is not an image of ccc", ref)
	}
	if err := images.RemoveImage(ctx, img.ID); err != nil {
		return fmt.Errorf("remove image %s: %w", ref, err)
	}
	return nil
}
