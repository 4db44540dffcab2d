package fake

import (
	"context"
	"slices"

	"github.com/ccc-dev/ccc/internal/engine"
)

// CreateVolume implements [engine.Volumes].
func (e *Engine) CreateVolume(ctx context.Context, v engine.Volume) error {
	if err := v.Check(); err != nil {
		return err
	}
	return e.change(ctx, "CreateVolume", func() error {
		if _, err := get[engine.Volume](e, volumes, v.Name); err == nil {
			return conflict("the volume %q is there already", v.Name)
		}
		v.Created = e.now()
		return put(e, volumes, v.Name, v)
	})
}

// ListVolumes implements [engine.Volumes].
func (e *Engine) ListVolumes(ctx context.Context) (found []engine.Volume, err error) {
	err = e.locked(ctx, func() error {
		list, err := all[engine.Volume](e, volumes)
		found = slices.DeleteFunc(list, func(v engine.Volume) bool {
			_, ours := v.Labels[engine.LabelSchema]
			return !ours
		})
		return err
	})
	return found, err
}

// RemoveVolume implements [engine.Volumes].
func (e *Engine) RemoveVolume(ctx context.Context, name string) error {
	if err := (engine.Volume{Name: name}).Check(); err != nil {
		return err
	}
	return e.change(ctx, "RemoveVolume", func() error {
		list, err := all[container](e, containers)
		if err != nil {
			return err
		}
		for _, c := range list {
			if slices.ContainsFunc(c.Wanted.Homes, func(h engine.Home) bool { return h.Volume == name }) {
				return conflict("the volume %q is in use by container %q", name, c.Wanted.Name)
			}
		}
		return e.drop(volumes, name)
	})
}
