package image_test

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/engine/fake"
	"github.com/ccc-dev/ccc/internal/image"
)

func TestBuildMakesNamesAndWarms(t *testing.T) {
	b := newBench(t)
	var warmed []string
	b.engine.Fault = func(step string) error { warmed = append(warmed, step); return nil }
	img, err := b.Build(t.Context(), image.Request{})
	if err != nil {
		t.Fatal(err)
	}
	recipe := shipped(t)
	for _, name := range []string{image.DefaultName, recipe.Tag(), img.ID} {
		if found, err := b.engine.Image(t.Context(), name); err != nil || found.ID != img.ID {
			t.Errorf("%s is %q (%v), want %q", name, found.ID, err, img.ID)
		}
	}
	if got := img.Labels[engine.LabelImage]; got != recipe.Label() {
		t.Errorf("label %q, want %q", got, recipe.Label())
	}
	_, containers, files := b.left(t)
	if len(containers)+len(files) > 0 {
		t.Errorf("left behind: %v %v", containers, files)
	}
	steps := strings.Join(warmed, " ")
	if !strings.Contains(steps, "CreateContainer.after RemoveContainer.before RemoveContainer.after TagImage.before") {
		t.Errorf("the image was not warmed before it was named: %s", steps)
	}
	if !strings.Contains(strings.Join(b.said, "\n"), "extracting archives") {
		t.Errorf("progress was not told: %q", b.said)
	}
}

func TestBuildRunsMmdebstrapWithAnEnvironmentOfItsOwn(t *testing.T) {
	b := newBench(t)
	if _, err := b.Build(t.Context(), image.Request{Mirror: "https://mirror.example/debian"}); err != nil {
		t.Fatal(err)
	}
	if len(b.ran) != 1 {
		t.Fatalf("ran %d programs, want one", len(b.ran))
	}
	args, env := strings.Join(b.ran[0].Args, " "), strings.Join(b.ran[0].Env, " ")
	for _, want := range []string{"--mode=unshare", "--include=bash,", " -- trixie - https://mirror.example/debian"} {
		if !strings.Contains(args, want) {
			t.Errorf("arguments lack %q: %s", want, args)
		}
	}
	for _, want := range []string{"SOURCE_DATE_EPOCH=1767225600", "HOME=/home/x", "https_proxy=http://proxy:1", "PATH=/usr/local/sbin:"} {
		if !strings.Contains(env, want) {
			t.Errorf("environment lacks %q: %s", want, env)
		}
	}
	if strings.Contains(env, "evil") {
		t.Errorf("a variable of the caller's reached the build: %s", env)
	}
}

func TestBuildFindsWhatIsThere(t *testing.T) {
	b := newBench(t)
	first, err := b.Build(t.Context(), image.Request{})
	if err != nil {
		t.Fatal(err)
	}
	again, err := b.Build(t.Context(), image.Request{Name: "mine"})
	if err != nil {
		t.Fatal(err)
	}
	if again.ID != first.ID || len(b.ran) != 1 {
		t.Errorf("built again: %s then %s, %d runs", first.ID, again.ID, len(b.ran))
	}
	if found, err := b.engine.Image(t.Context(), "localhost/mine:latest"); err != nil || found.ID != first.ID {
		t.Errorf("the name was not given: %v, %v", found, err)
	}
}

func TestBuildDoesNotBelieveANameAlone(t *testing.T) {
	b := newBench(t)
	_, err := b.engine.ImportImage(t.Context(), fake.Rootfs(), engine.ImportOptions{Name: shipped(t).Tag()})
	if err != nil {
		t.Fatal(err)
	}
	img, err := b.Build(t.Context(), image.Request{})
	if err != nil {
		t.Fatal(err)
	}
	if len(b.ran) != 1 || img.Labels[engine.LabelImage] == "" {
		t.Error("an image with the recipe's name but not its label was taken for built")
	}
}

func TestRefreshReplaces(t *testing.T) {
	b := newBench(t)
	old, err := b.Build(t.Context(), image.Request{})
	if err != nil {
		t.Fatal(err)
	}
	img, err := b.Build(t.Context(), image.Request{Refresh: true})
	if err != nil {
		t.Fatal(err)
	}
	if img.ID == old.ID {
		t.Fatal("not built again")
	}
	if images, _, _ := b.left(t); len(images) != 1 {
		t.Errorf("want the new image alone, got %v", images)
	}
}

func TestRefreshKeepsAnImageInUse(t *testing.T) {
	b := newBench(t)
	old, err := b.Build(t.Context(), image.Request{})
	if err != nil {
		t.Fatal(err)
	}
	session := engine.Container{
		Name: "s", Image: old.ID, Argv: []string{"true"}, Dir: "/", UID: 1000, GID: 1000,
		Memory: 1 << 20, CPUs: 1, PIDs: 1, Timeout: time.Minute,
	}
	if _, err := b.engine.CreateContainer(t.Context(), session); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Build(t.Context(), image.Request{Refresh: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.engine.Image(t.Context(), old.ID); err != nil {
		t.Errorf("the image of a session is gone: %v", err)
	}
}

// A failure at any step, or an answer that is lost at any step, leaves the
// engine as it was.
func TestBuildUndoesAtEveryStep(t *testing.T) {
	steps := []string{
		"ImportImage.before", "CreateContainer.before", "CreateContainer.after",
		"TagImage.before", "TagImage.after",
	}
	for _, step := range steps {
		t.Run(step, func(t *testing.T) {
			b := newBench(t)
			old, err := b.Build(t.Context(), image.Request{})
			if err != nil {
				t.Fatal(err)
			}
			broken := errors.New("broken")
			once := false
			b.engine.Fault = func(at string) error {
				if at != step || once {
					return nil
				}
				once = true
				return broken
			}
			if _, err := b.Build(t.Context(), image.Request{Refresh: true, Name: "other"}); !errors.Is(err, broken) {
				t.Fatalf("got %v, want the fault", err)
			}
			b.engine.Fault = nil
			images, containers, files := b.left(t)
			if len(images) != 1 || len(containers)+len(files) > 0 {
				t.Errorf("left behind: images %v, containers %v, files %v", images, containers, files)
			}
			for _, name := range []string{image.DefaultName, shipped(t).Tag()} {
				if found, err := b.engine.Image(t.Context(), name); err != nil || found.ID != old.ID {
					t.Errorf("%s is now %q (%v), want %q", name, found.ID, err, old.ID)
				}
			}
		})
	}
}

func TestBuildAfterACrashWhileWarming(t *testing.T) {
	b := newBench(t)
	img, err := b.Build(t.Context(), image.Request{})
	if err != nil {
		t.Fatal(err)
	}
	crashed := engine.Container{
		Name: "ccc-warm-" + img.ID[:12], Image: img.ID, Argv: []string{"true"}, Dir: "/", UID: 1000, GID: 1000,
		Memory: 1 << 20, CPUs: 1, PIDs: 1, Timeout: time.Minute, Labels: map[string]string{engine.LabelSchema: engine.Schema},
	}
	if _, err := b.engine.CreateContainer(t.Context(), crashed); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Build(t.Context(), image.Request{}); err != nil {
		t.Fatal(err)
	}
	if _, containers, _ := b.left(t); len(containers) > 0 {
		t.Errorf("left behind: %v", containers)
	}
}

func TestBuildTellsWhyMmdebstrapFailed(t *testing.T) {
	b := newBench(t)
	b.program = func(_ context.Context, _ image.Program, stdout io.Writer, line func(string)) error {
		// A whole archive is no proof: the program may fail after it.
		if err := writeTree(goodTree()...)(t.Context(), image.Program{}, stdout, line); err != nil {
			return err
		}
		line("E: the mirror is on fire")
		return &exec.ExitError{}
	}
	_, err := b.Build(t.Context(), image.Request{})
	if err == nil || !strings.Contains(err.Error(), "the mirror is on fire") {
		t.Fatalf("got %v", err)
	}
	b.nothingLeft(t)
}

func TestBuildRefusesACutStream(t *testing.T) {
	b := newBench(t)
	b.program = func(_ context.Context, _ image.Program, stdout io.Writer, line func(string)) error {
		var whole strings.Builder
		if err := writeTree(goodTree()...)(t.Context(), image.Program{}, &whole, line); err != nil {
			return err
		}
		_, err := io.WriteString(stdout, whole.String()[:700])
		return err
	}
	if _, err := b.Build(t.Context(), image.Request{}); err == nil {
		t.Fatal("a cut archive was taken for an image")
	}
	b.nothingLeft(t)
}

func TestBuildRefusesFiles(t *testing.T) {
	for name, entry := range map[string]tar.Header{
		"setuid":       {Name: "./usr/bin/su", Typeflag: tar.TypeReg, Mode: 0o4755},
		"setgid":       {Name: "./usr/bin/chage", Typeflag: tar.TypeReg, Mode: 0o2755},
		"capabilities": {Name: "./usr/bin/ping", Typeflag: tar.TypeReg, Mode: 0o755, PAXRecords: map[string]string{"SCHILY.xattr.security.capability": "\x01"}},
		"device":       {Name: "./dev/sda", Typeflag: tar.TypeBlock, Mode: 0o600},
		"escape":       {Name: "../etc/passwd", Typeflag: tar.TypeReg, Mode: 0o644},
		"home of root": {Name: "./home/agent/", Typeflag: tar.TypeDir, Mode: 0o700},
		"link as home": {Name: "./home/agent", Typeflag: tar.TypeSymlink, Linkname: "/root", Uid: 1000, Gid: 1000},
		"link as work": {Name: "./workspace", Typeflag: tar.TypeSymlink, Linkname: "/etc"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.program = writeTree(append(goodTree(), entry)...)
			_, err := b.Build(t.Context(), image.Request{})
			wantKind(t, err, api.KindDenied, "image.files")
			b.nothingLeft(t)
		})
	}
}

func TestBuildRefusesATreeThatWasNotFinished(t *testing.T) {
	b := newBench(t)
	b.program = writeTree(goodTree()[:4]...)
	if _, err := b.Build(t.Context(), image.Request{}); err == nil || !strings.Contains(err.Error(), "no directory") {
		t.Fatalf("got %v", err)
	}
	b.nothingLeft(t)
}

func TestBuildSaysWhatIsMissing(t *testing.T) {
	for _, name := range []string{"mmdebstrap", "newuidmap", "newgidmap"} {
		b := newBench(t)
		b.Tools.Look = func(s string) (string, error) {
			if s == name {
				return "", exec.ErrNotFound
			}
			return "/usr/bin/" + s, nil
		}
		_, err := b.Build(t.Context(), image.Request{})
		wantKind(t, err, api.KindUnavailable, "")
		if !strings.Contains(err.Error(), name) || len(b.ran) > 0 {
			t.Errorf("%s missing: %v, ran %v", name, err, b.ran)
		}
		b.nothingLeft(t)
	}
}

func TestBuildEndsWithItsContext(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := false
	b.program = func(ctx context.Context, _ image.Program, _ io.Writer, _ func(string)) error {
		cancel()
		<-ctx.Done()
		ended = true
		return ctx.Err()
	}
	if _, err := b.Build(ctx, image.Request{}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if !ended {
		t.Error("Build returned before its program")
	}
	b.nothingLeft(t)
}

func TestRequestsThatAreRefused(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("a", 64)
	for rule, requests := range map[string][]image.Request{
		"input.base": {
			{Base: "debian"}, {Base: "docker.io/library/debian:trixie"}, {Base: "debian@sha256:abc"},
			{Base: "-x" + digest}, {Base: "a b" + digest}, {Base: "docker://x" + digest + "\n"},
			{Base: "debian" + digest, Refresh: true},
		},
		"input.mirror": {
			{Mirror: "mirror.example"}, {Mirror: "file:///etc"}, {Mirror: "https://x/ main"}, {Mirror: "https://x\n"},
			{Mirror: "--hook-dir=/tmp/x"}, {Mirror: "https://[trusted=yes]/"},
		},
		"input.image": {{Name: "-x"}, {Name: "UPPER"}, {Name: "a b"}, {Name: "localhost/../x"}, {Name: "x" + api.Image(digest)}},
	} {
		for _, r := range requests {
			b := newBench(t)
			_, err := b.Build(t.Context(), r)
			wantKind(t, err, api.KindInvalid, rule)
			if len(b.ran) > 0 {
				t.Errorf("%+v: something was run", r)
			}
			b.nothingLeft(t)
		}
	}
}

func TestBuildFromBase(t *testing.T) {
	b := newBench(t)
	id, err := b.engine.ImportImage(t.Context(), fake.Rootfs(), engine.ImportOptions{Name: "registry.example/agent:1"})
	if err != nil {
		t.Fatal(err)
	}
	// The fake's registry is what it has, under the name before the digest.
	base := "registry.example/agent:1@sha256:" + strings.Repeat("a", 64)
	img, err := b.Build(t.Context(), image.Request{Base: base})
	if err != nil {
		t.Fatal(err)
	}
	if img.ID != id || len(b.ran) > 0 {
		t.Errorf("got %s (%d programs run), want %s", img.ID, len(b.ran), id)
	}
	list, err := image.List(t.Context(), b.engine)
	if err != nil || len(list) != 1 || list[0].ID != id {
		t.Errorf("list: %v, %v", list, err)
	}
}

func TestListIsNewestFirst(t *testing.T) {
	b := newBench(t)
	for _, mirror := range []string{"https://a.example/", "https://b.example/", "https://c.example/"} {
		if _, err := b.Build(t.Context(), image.Request{Mirror: mirror}); err != nil {
			t.Fatal(err)
		}
	}
	list, err := image.List(t.Context(), b.engine)
	if err != nil || len(list) != 3 {
		t.Fatalf("got %v, %v", list, err)
	}
	for i := 1; i < len(list); i++ {
		if list[i].Created.After(list[i-1].Created) {
			t.Errorf("image %d is newer than the one before it", i)
		}
	}
}

func TestRemove(t *testing.T) {
	b := newBench(t)
	if _, err := b.Build(t.Context(), image.Request{}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.engine.ImportImage(t.Context(), fake.Rootfs(), engine.ImportOptions{Name: "localhost/theirs:1"}); err != nil {
		t.Fatal(err)
	}
	wantKind(t, image.Remove(t.Context(), b.engine, "localhost/theirs:1"), api.KindDenied, "image.foreign")
	if err := image.Remove(t.Context(), b.engine, "localhost/nothing:1"); api.KindOf(err) != api.KindNotFound {
		t.Errorf("removing nothing: %v", err)
	}
	if err := image.Remove(t.Context(), b.engine, image.DefaultName); err != nil {
		t.Fatal(err)
	}
	if _, err := b.engine.Image(t.Context(), "localhost/theirs:1"); err != nil {
		t.Errorf("another's image is gone: %v", err)
	}
	b.nothingLeft(t)
}

func TestRecipeIDFollowsItsContent(t *testing.T) {
	recipe := shipped(t)
	seen := map[string]string{recipe.ID(): "as shipped"}
	for what, change := range map[string]func(*image.Recipe){
		"suite":     func(r *image.Recipe) { r.Suite = "sid" },
		"epoch":     func(r *image.Recipe) { r.Epoch++ },
		"packages":  func(r *image.Recipe) { r.Packages = append([]string{"make"}, r.Packages...) },
		"exclude":   func(r *image.Recipe) { r.Exclude = nil },
		"keep":      func(r *image.Recipe) { r.Keep = nil },
		"customize": func(r *image.Recipe) { r.Customize += "true\n" },
		"mirror":    func(r *image.Recipe) { r.Mirror = "https://mirror.example/" },
	} {
		r := shipped(t)
		change(&r)
		if other, ok := seen[r.ID()]; ok {
			t.Errorf("a recipe with another %s has the identity of the one %s", what, other)
		}
		seen[r.ID()] = "with another " + what
	}
	if again := shipped(t); again.ID() != recipe.ID() {
		t.Error("the identity changes by itself")
	}
}

// What a build that was killed left is removed by the next; what another build
// works in is not, nor what is another's.
func TestBuildSweeps(t *testing.T) {
	b := newBench(t)
	left, theirs, busy := filepath.Join(b.TempDir, "ccc-image-1"), filepath.Join(b.TempDir, "other"), ""
	for _, dir := range []string{left, theirs} {
		if err := os.MkdirAll(filepath.Join(dir, "mmdebstrap.x"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	program := b.program
	b.program = func(ctx context.Context, p image.Program, stdout io.Writer, line func(string)) error {
		// While this build works, another one begins and sweeps.
		for _, e := range p.Env {
			if dir, ok := strings.CutPrefix(e, "TMPDIR="); ok {
				busy = dir
			}
		}
		b.program = program
		if _, err := b.Build(ctx, image.Request{Mirror: "https://mirror.example/"}); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(busy, "customize")); err != nil {
			t.Errorf("a build took away what another works in: %v", err)
		}
		return program(ctx, p, stdout, line)
	}
	if _, err := b.Build(t.Context(), image.Request{}); err != nil {
		t.Fatal(err)
	}
	_, _, files := b.left(t)
	if len(files) != 1 || files[0].Name() != "other" {
		t.Errorf("left: %v", files)
	}
}

// An engine that is slow with the copy, and one that has somebody else's
// container in the way, still end with a warm image and no container.
func TestWarmingInsists(t *testing.T) {
	b := newBench(t)
	failures := 2
	b.engine.Fault = func(step string) error {
		if step == "CreateContainer.after" && failures > 0 {
			failures--
			return &api.Error{Kind: api.KindUnavailable, Msg: "no answer within a minute"}
		}
		return nil
	}
	if _, err := b.Build(t.Context(), image.Request{}); err != nil {
		t.Fatal(err)
	}
	if _, containers, _ := b.left(t); len(containers) > 0 || failures > 0 {
		t.Errorf("left: %v, %d failures to go", containers, failures)
	}
}
