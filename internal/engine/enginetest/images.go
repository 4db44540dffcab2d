package enginetest

import (
	"context"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing/iotest"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
)

// imported imports an image that is removed when the case is over.
func (r *rig) imported(labels map[string]string) (id, name string) {
	r.Helper()
	name = "localhost/" + unique() + ":1"
	id, err := r.e.ImportImage(r.Context(), r.s.Rootfs(), engine.ImportOptions{Name: name, Labels: labels})
	r.must(err)
	r.cleanup(func(ctx context.Context) error { return r.e.RemoveImage(ctx, id) })
	return id, name
}

func imageCases() []testCase {
	labels := map[string]string{engine.LabelImage: "recipe 1", "odd": "a \"b\" $c, d=e 'f' \\n ü", "quoted": `"q"`, "empty": ""}
	return []testCase{
		{"an image is imported with name and labels", func(r *rig) {
			id, name := r.imported(labels)
			for _, ref := range []string{id, name} {
				i, err := r.e.Image(r.Context(), ref)
				r.must(err)
				if i.ID != id || !slices.Equal(i.Names, []string{name}) || i.Created.IsZero() {
					r.Errorf("%+v", i)
				}
				if !maps.Equal(i.Labels, labels) {
					r.Errorf("labels %q, want %q", i.Labels, labels)
				}
				if len(i.Env)+len(i.Entrypoint)+len(i.Volumes) > 0 || i.User != "" || i.WorkingDir != "" {
					r.Errorf("the image asks for something: %+v", i)
				}
			}
		}},
		{"images are listed by label", func(r *rig) {
			with, _ := r.imported(labels)
			without, _ := r.imported(map[string]string{"other": "1"})
			list, err := r.e.ListImages(r.Context())
			r.must(err)
			if !slices.ContainsFunc(list, func(i engine.Image) bool {
				return i.ID == with && maps.Equal(i.Labels, labels) && len(i.Names) == 1 && !i.Created.IsZero()
			}) {
				r.Errorf("%s is not in %+v", with, list)
			}
			if slices.ContainsFunc(list, func(i engine.Image) bool { return i.ID == without }) {
				r.Errorf("%s is in %+v", without, list)
			}
		}},
		{"a name moves from image to image", func(r *rig) {
			first, name := r.imported(labels)
			second, other := r.imported(labels)
			r.must(r.e.TagImage(r.Context(), second, name))
			i, err := r.e.Image(r.Context(), name)
			r.must(err)
			names := slices.Sorted(slices.Values(i.Names))
			if want := slices.Sorted(slices.Values([]string{name, other})); i.ID != second || !slices.Equal(names, want) {
				r.Errorf("%s is %+v", name, i)
			}
			i, err = r.e.Image(r.Context(), first)
			r.must(err)
			if len(i.Names) != 0 {
				r.Errorf("%+v", i)
			}
			r.wantKind(r.e.TagImage(r.Context(), strings.Repeat("0", 64), name), api.KindNotFound)
			r.wantKind(r.e.TagImage(r.Context(), first, "no tag"), api.KindInvalid)
		}},
		{"an image is removed with all its names, and again", func(r *rig) {
			id, name := r.imported(labels)
			r.must(r.e.TagImage(r.Context(), id, "localhost/"+unique()+":2"))
			r.must(r.e.RemoveImage(r.Context(), id))
			for _, ref := range []string{id, name} {
				_, err := r.e.Image(r.Context(), ref)
				r.wantKind(err, api.KindNotFound)
				r.must(r.e.RemoveImage(r.Context(), ref))
			}
		}},
		{"an image in use stays, with its names", func(r *rig) {
			id, name := r.imported(labels)
			c := r.wanted()
			c.Image = id
			r.create(c)
			for _, ref := range []string{id, name} {
				r.wantKind(r.e.RemoveImage(r.Context(), ref), api.KindConflict)
			}
			i, err := r.e.Image(r.Context(), name)
			r.must(err)
			if i.ID != id {
				r.Errorf("%+v", i)
			}
			r.must(r.e.RemoveContainer(r.Context(), c.Name))
		}},
		{"what is no archive is not imported", func(r *rig) {
			name := "localhost/" + unique() + ":1"
			for _, bad := range []string{"this is no archive", strings.Repeat("x", 100_000)} {
				if _, err := r.e.ImportImage(r.Context(), strings.NewReader(bad), engine.ImportOptions{Name: name}); err == nil {
					r.Errorf("%.20q was imported", bad)
				}
			}
			if _, err := r.e.ImportImage(r.Context(), iotest.TimeoutReader(r.s.Rootfs()), engine.ImportOptions{Name: name}); err == nil {
				r.Error("half an archive was imported")
			}
			_, err := r.e.Image(r.Context(), name)
			r.wantKind(err, api.KindNotFound)
			_, err = r.e.ImportImage(r.Context(), r.s.Rootfs(), engine.ImportOptions{Name: "bare"})
			r.wantKind(err, api.KindInvalid)
		}},
		{"an image without a digest is not pulled", func(r *rig) {
			for _, ref := range []string{"docker.io/library/debian:trixie", "debian", "dir:/tmp", "oci-archive:/tmp/x@sha256:" + strings.Repeat("0", 63)} {
				_, err := r.e.PullImage(r.Context(), ref, nil)
				r.wantKind(err, api.KindInvalid)
			}
		}},
		{"files of an image are described without running it", statCase},
	}
}

func statCase(r *rig) {
	id := r.image()
	before, err := r.e.ListContainers(r.Context())
	r.must(err)
	for path, want := range map[string]engine.File{
		"/bin":            {Mode: fs.ModeDir | 0o755},
		"/bin/busybox":    {Mode: 0o755},
		"/bin/sh":         {Mode: fs.ModeSymlink | 0o777, Target: "/bin/busybox"},
		"/absolute":       {Mode: fs.ModeSymlink | 0o777, Target: "/etc/passwd"},
		"/outside":        {Mode: fs.ModeSymlink | 0o777, Target: "/etc/passwd"},
		"/dangling":       {Mode: fs.ModeSymlink | 0o777, Target: "/nowhere/at/all"},
		"/etc/dangling":   {Mode: fs.ModeSymlink | 0o777, Target: "/nowhere"},
		"/sbin/dangling":  {Mode: fs.ModeSymlink | 0o777, Target: "/usr/bin/nowhere"},
		"/sbin":           {Mode: fs.ModeSymlink | 0o777, Target: "/usr/bin"},
		"/sbin/setuid":    {Mode: fs.ModeSetuid | 0o755},
		"/usr/bin/setuid": {Mode: fs.ModeSetuid | 0o755},
		"/etc/passwd":     {Mode: 0o644},
	} {
		f, err := r.e.StatImage(r.Context(), id, path)
		if err != nil || f != want {
			r.Errorf("%s is %+v (%v), want %+v", path, f, err, want)
		}
	}
	for _, path := range []string{"/missing", "/missing/below", "/etc/missing", "/etc/passwd/below", "/dangling/below"} {
		_, err := r.e.StatImage(r.Context(), id, path)
		r.wantKind(err, api.KindNotFound)
	}
	for _, path := range []string{"", "etc", "/etc/../etc", "/b*"} {
		_, err := r.e.StatImage(r.Context(), id, path)
		r.wantKind(err, api.KindInvalid)
	}
	_, err = r.e.StatImage(r.Context(), strings.Repeat("0", 64), "/bin")
	r.wantKind(err, api.KindNotFound)
	after, err := r.e.ListContainers(r.Context())
	r.must(err)
	if len(after) > len(before) {
		r.Errorf("there were %d containers, now %d", len(before), len(after))
	}
}
