package image_test

import (
	"archive/tar"
	"bytes"
	"context"
	"testing"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/image"
)

func TestCheckAllowsOrdinaryImages(t *testing.T) {
	for _, img := range []engine.Image{
		{},
		{Env: []string{"PATH=/bin", "EMPTY=", "STARS=a*b", "EQUALS=a=b"}},
		{Labels: map[string]string{
			"io.buildah.version": "1", "org.opencontainers.image.title": "x", "maintainer": "y",
			engine.LabelImage: "trixie-0", engine.LabelSchema: engine.Schema, "run.ocean": "z",
		}},
		{Annotations: map[string]string{"org.opencontainers.image.created": "x"}},
		// Declared and ignored: no way to the host.
		{User: "0", Volumes: map[string]struct{}{"/etc": {}}, Entrypoint: []string{"/bin/sh"}},
	} {
		if err := image.Check(img); err != nil {
			t.Errorf("%+v: %v", img, err)
		}
	}
}

func TestCheckRefusesWhatReachesTheHost(t *testing.T) {
	for rule, images := range map[string][]engine.Image{
		"image.env": {
			{Env: []string{"HOME"}}, {Env: []string{"*"}}, {Env: []string{"AWS_*"}}, {Env: []string{"*=x"}},
			{Env: []string{"A*=x"}}, {Env: []string{""}}, {Env: []string{"=x"}}, {Env: []string{"PATH=/bin", "TOKEN"}},
		},
		"image.label": {
			{Labels: map[string]string{"io.containers.seccomp.profile": "{}"}},
			{Labels: map[string]string{"io.containers.capabilities": "SYS_ADMIN"}},
			{Labels: map[string]string{"io.containers.anything": ""}},
			{Labels: map[string]string{"run.oci.handler": "krun"}},
			{Labels: map[string]string{"org.systemd.property.ExecStart": "x"}},
		},
		"image.annotation": {
			{Annotations: map[string]string{"run.oci.hooks.stdout": "/tmp/x"}},
			{Annotations: map[string]string{"run.oci.seccomp_bpf_data": "x"}},
			{Annotations: map[string]string{"run.oci.keep_original_groups": "1"}},
			{Annotations: map[string]string{"io.podman.annotations.seccomp": "unconfined"}},
			{Annotations: map[string]string{"org.criu.config": "/x"}},
		},
	} {
		for _, img := range images {
			wantKind(t, image.Check(img), api.KindDenied, rule)
		}
	}
}

// counted counts the questions about files.
type counted struct {
	engine.Images
	stats int
}

func (c *counted) StatImage(ctx context.Context, id, path string) (engine.File, error) {
	c.stats++
	return c.Images.StatImage(ctx, id, path)
}

// filesOf imports an image of the entries into a fake engine.
func filesOf(t *testing.T, entries ...tar.Header) (*counted, string) {
	t.Helper()
	b := newBench(t)
	var tree bytes.Buffer
	if err := writeTree(entries...)(t.Context(), image.Program{}, &tree, func(string) {}); err != nil {
		t.Fatal(err)
	}
	id, err := b.engine.ImportImage(t.Context(), &tree, engine.ImportOptions{Name: "localhost/files:1"})
	if err != nil {
		t.Fatal(err)
	}
	return &counted{Images: b.engine}, id
}

// oddTree is an image with everything that CheckFiles looks at.
func oddTree() []tar.Header {
	return []tar.Header{
		{Name: "usr/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "usr/bin/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "usr/bin/sh", Typeflag: tar.TypeReg, Mode: 0o755},
		{Name: "usr/bin/su", Typeflag: tar.TypeReg, Mode: 0o4755},
		{Name: "usr/bin/chage", Typeflag: tar.TypeReg, Mode: 0o2755},
		{Name: "usr/bin/run", Typeflag: tar.TypeSymlink, Linkname: "../../sbin/su"},
		{Name: "usr/bin/loop", Typeflag: tar.TypeSymlink, Linkname: "loop"},
		{Name: "bin", Typeflag: tar.TypeSymlink, Linkname: "usr/bin"},
		{Name: "sbin", Typeflag: tar.TypeSymlink, Linkname: "/usr/bin"},
		{Name: "srv/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "srv/app/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "srv/out", Typeflag: tar.TypeSymlink, Linkname: "/home"},
	}
}

func TestCheckFilesAllows(t *testing.T) {
	images, id := filesOf(t, oddTree()...)
	for _, img := range []engine.Image{
		{WorkingDir: "/"}, {WorkingDir: "/srv"}, {WorkingDir: "/srv/app"}, {WorkingDir: "/srv/not/there"},
		{Entrypoint: []string{"/usr/bin/sh", "-c"}}, {Entrypoint: []string{"sh"}}, {Entrypoint: []string{"/bin/sh"}},
		{Entrypoint: []string{"not-there"}}, {WorkingDir: "/usr", Entrypoint: []string{"bin/sh"}},
	} {
		img.ID = id
		if err := image.CheckFiles(t.Context(), images, img); err != nil {
			t.Errorf("%+v: %v", img, err)
		}
	}
}

func TestCheckFilesRefuses(t *testing.T) {
	images, id := filesOf(t, oddTree()...)
	for rule, list := range map[string][]engine.Image{
		"image.workdir": {
			{WorkingDir: "/srv/out"}, {WorkingDir: "/srv/out/user"}, {WorkingDir: "/bin"}, {WorkingDir: "/srv/../etc"}, {WorkingDir: "srv"},
		},
		"image.entrypoint": {
			{Entrypoint: []string{"/usr/bin/su"}}, {Entrypoint: []string{"/usr/bin/chage"}}, {Entrypoint: []string{"su"}},
			{Entrypoint: []string{"/bin/su"}}, {Entrypoint: []string{"/sbin/su", "-"}}, {Entrypoint: []string{"/usr/bin/run"}},
			{Entrypoint: []string{"/bin/run"}}, {Entrypoint: []string{"/usr/bin/loop"}},
			{WorkingDir: "/usr", Entrypoint: []string{"bin/su"}},
		},
	} {
		for _, img := range list {
			img.ID = id
			wantKind(t, image.CheckFiles(t.Context(), images, img), api.KindDenied, rule)
		}
	}
}

func TestCheckFilesCostsNothingForOurs(t *testing.T) {
	images, id := filesOf(t, goodTree()...)
	if err := image.CheckFiles(t.Context(), images, engine.Image{ID: id}); err != nil || images.stats != 0 {
		t.Errorf("%v, %d questions", err, images.stats)
	}
}

func TestBaseImagesAreCheckedBeforeTheyAreUsed(t *testing.T) {
	b := newBench(t)
	if _, err := b.engine.ImportImage(t.Context(), bytes.NewReader(make([]byte, 1024)), engine.ImportOptions{Name: "registry.example/agent:1"}); err != nil {
		t.Fatal(err)
	}
	b.Images = declaring{b.engine, engine.Image{Env: []string{"*"}}}
	_, err := b.Build(t.Context(), image.Request{Base: "registry.example/agent:1@sha256:" + digestOfNothing})
	wantKind(t, err, api.KindDenied, "image.env")
	if _, err := b.engine.Image(t.Context(), image.DefaultName); api.KindOf(err) != api.KindNotFound {
		t.Errorf("the refused image got the default name: %v", err)
	}
	if _, containers, _ := b.left(t); len(containers) > 0 {
		t.Errorf("left behind: %v", containers)
	}
}

const digestOfNothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// declaring is an engine whose images declare what the fake's cannot.
type declaring struct {
	engine.Images
	as engine.Image
}

func (d declaring) Image(ctx context.Context, ref string) (engine.Image, error) {
	img, err := d.Images.Image(ctx, ref)
	img.Env, img.WorkingDir, img.Entrypoint = d.as.Env, d.as.WorkingDir, d.as.Entrypoint
	return img, err
}
