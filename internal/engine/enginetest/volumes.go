package enginetest

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
)

// volume makes a volume that is removed when the case is over.
func (r *rig) volume(v engine.Volume) {
	r.Helper()
	r.cleanup(func(ctx context.Context) error { return r.e.RemoveVolume(ctx, v.Name) })
	r.must(r.e.CreateVolume(r.Context(), v))
}

// volumeNamed returns a volume from the list.
func (r *rig) volumeNamed(name string) (engine.Volume, bool) {
	r.Helper()
	list, err := r.e.ListVolumes(r.Context())
	r.must(err)
	n := slices.IndexFunc(list, func(v engine.Volume) bool { return v.Name == name })
	if n < 0 {
		return engine.Volume{}, false
	}
	return list[n], true
}

func volumeCases() []testCase {
	labels := map[string]string{engine.LabelSchema: engine.Schema, engine.LabelID: "0123456789ab", engine.LabelUser + "odd": "a \"b\" $c, d=e"}
	return []testCase{
		{"a volume is made once and listed with its labels", func(r *rig) {
			v := engine.Volume{Name: unique(), Labels: labels}
			r.volume(v)
			got, ok := r.volumeNamed(v.Name)
			if !ok || !maps.Equal(got.Labels, labels) || got.Created.IsZero() {
				r.Errorf("%+v, %t", got, ok)
			}
			r.wantKind(r.e.CreateVolume(r.Context(), v), api.KindConflict)
		}},
		{"a volume without the label is not listed", func(r *rig) {
			v := engine.Volume{Name: unique(), Labels: map[string]string{"other": "1"}}
			r.volume(v)
			if got, ok := r.volumeNamed(v.Name); ok {
				r.Errorf("%+v", got)
			}
		}},
		{"a volume is removed, and again", func(r *rig) {
			v := engine.Volume{Name: unique(), Labels: labels}
			r.volume(v)
			r.must(r.e.RemoveVolume(r.Context(), v.Name))
			if got, ok := r.volumeNamed(v.Name); ok {
				r.Errorf("%+v", got)
			}
			r.must(r.e.RemoveVolume(r.Context(), v.Name))
		}},
		{"a volume in use stays", func(r *rig) {
			v := engine.Volume{Name: unique(), Labels: labels}
			r.volume(v)
			c := r.wanted()
			c.Homes = []engine.Home{{Volume: v.Name, Target: "/home/agent"}}
			id := r.create(c)
			r.wantKind(r.e.RemoveVolume(r.Context(), v.Name), api.KindConflict)
			r.must(r.e.RemoveContainer(r.Context(), id))
			if _, ok := r.volumeNamed(v.Name); !ok {
				r.Error("the volume went with its container")
			}
			r.must(r.e.RemoveVolume(r.Context(), v.Name))
		}},
		{"a tree is removed but not what it links to", func(r *rig) {
			top := r.TempDir()
			dir, other := filepath.Join(top, "dir"), filepath.Join(top, "other")
			r.must(errors.Join(os.MkdirAll(dir+"/a/b", 0o755), os.Mkdir(other, 0o755), os.WriteFile(other+"/file", nil, 0o600), os.Symlink(other, dir+"/a/link")))
			r.must(r.e.RemoveTree(r.Context(), dir))
			if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
				r.Errorf("%v", err)
			}
			if _, err := os.Stat(other + "/file"); err != nil {
				r.Error(err)
			}
			r.must(r.e.RemoveTree(r.Context(), dir))
			for _, bad := range []string{"", "/", "/home", "/home/me", "a/b/c/d", "/a/b/../c/d", "/a/b/c/"} {
				r.wantKind(r.e.RemoveTree(r.Context(), bad), api.KindInvalid)
			}
		}},
		{"a volume's name is checked", func(r *rig) {
			for _, name := range []string{"", "..", "a/b", "a b", "-a", "a\n"} {
				r.wantKind(r.e.CreateVolume(r.Context(), engine.Volume{Name: name}), api.KindInvalid)
				r.wantKind(r.e.RemoveVolume(r.Context(), name), api.KindInvalid)
			}
		}},
	}
}
