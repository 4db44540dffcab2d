package image_test

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/engine/fake"
	"github.com/ccc-dev/ccc/internal/image"
)

// bench is a builder over a fake engine, with an mmdebstrap that is a function.
type bench struct {
	image.Builder
	engine *fake.Engine
	// program is what runs in place of mmdebstrap.
	program func(ctx context.Context, p image.Program, stdout io.Writer, line func(string)) error
	ran     []image.Program
	said    []string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	e, err := fake.Open(t.TempDir(), func() time.Time { at = at.Add(time.Second); return at })
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{engine: e, program: writeTree(goodTree()...)}
	b.Builder = image.Builder{
		Images: e, Containers: e, TempDir: t.TempDir(),
		Env:      []string{"HOME=/home/x", "PERL5OPT=-Mevil", "PATH=/tmp/evil", "https_proxy=http://proxy:1"},
		Progress: func(s string) { b.said = append(b.said, s) },
		Tools: image.Tools{
			Look: func(name string) (string, error) { return "/usr/bin/" + name, nil },
			Run: func(ctx context.Context, p image.Program, stdout io.Writer, line func(string)) error {
				b.ran = append(b.ran, p)
				return b.program(ctx, p, stdout, line)
			},
		},
	}
	return b
}

// goodTree is the least that a session image has.
func goodTree() []tar.Header {
	return []tar.Header{
		{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./bin", Typeflag: tar.TypeSymlink, Linkname: "usr/bin"},
		{Name: "./usr/bin/true", Typeflag: tar.TypeReg, Mode: 0o755},
		{Name: "./home/agent/", Typeflag: tar.TypeDir, Mode: 0o700, Uid: 1000, Gid: 1000},
		{Name: "./tmp/", Typeflag: tar.TypeDir, Mode: 0o1777},
		{Name: "./workspace/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./.ccc/", Typeflag: tar.TypeDir, Mode: 0o755},
	}
}

// writeTree is a program that prints a tar of the entries.
func writeTree(entries ...tar.Header) func(context.Context, image.Program, io.Writer, func(string)) error {
	return func(_ context.Context, _ image.Program, stdout io.Writer, line func(string)) error {
		line("I: extracting archives...")
		w := tar.NewWriter(stdout)
		for _, h := range entries {
			h.Format = tar.FormatPAX
			if err := w.WriteHeader(&h); err != nil {
				return err
			}
		}
		return w.Close()
	}
}

// left returns all images and containers, and what is in the build directory.
func (b *bench) left(t *testing.T) (images []engine.Image, containers []engine.Instance, files []os.DirEntry) {
	t.Helper()
	images, err := b.engine.ListImages(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if containers, err = b.engine.ListContainers(t.Context()); err != nil {
		t.Fatal(err)
	}
	if files, err = os.ReadDir(b.TempDir); err != nil {
		t.Fatal(err)
	}
	return images, containers, files
}

// nothingLeft fails the test if a failed build left anything.
func (b *bench) nothingLeft(t *testing.T) {
	t.Helper()
	images, containers, files := b.left(t)
	if len(images)+len(containers)+len(files) > 0 {
		t.Errorf("left behind: images %v, containers %v, files %v", images, containers, files)
	}
}

// wantKind fails the test unless err is of the kind, by the rule, with a hint.
func wantKind(t *testing.T, err error, kind api.Kind, rule string) {
	t.Helper()
	var e *api.Error
	if !errors.As(err, &e) || e.Kind != kind || e.Rule != rule || e.Hint == "" {
		t.Fatalf("got %#v (%v), want kind %v, rule %q and a hint", e, err, kind, rule)
	}
}

func shipped(t *testing.T) image.Recipe {
	t.Helper()
	r, err := image.Shipped()
	if err != nil {
		t.Fatal(err)
	}
	return r
}
