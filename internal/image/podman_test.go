package image_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/engine/podman"
	"github.com/ccc-dev/ccc/internal/image"
	"github.com/ccc-dev/ccc/internal/spec"
)

// real returns a builder for real Podman and real mmdebstrap. Without
// CCC_TEST_PODMAN=1 the test is left out; with it, a host that cannot be used is
// a failure.
func real(t *testing.T) (image.Builder, *podman.Engine) {
	t.Helper()
	if os.Getenv("CCC_TEST_PODMAN") != "1" {
		t.Skip("set CCC_TEST_PODMAN=1 to test against real rootless Podman")
	}
	e, err := podman.Open(t.Context(), podman.Options{UID: os.Getuid(), Env: os.Getenv})
	if err != nil {
		t.Fatalf("real Podman was asked for and cannot be used: %v", err)
	}
	// Not t.TempDir(): subordinate ids must be able to enter every directory
	// above it.
	dir, err := os.MkdirTemp("/var/tmp", "ccc-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return image.Builder{
		Images: e, Containers: e, Tools: image.HostTools(), Env: os.Environ(), TempDir: dir,
		Progress: func(s string) { t.Log(s) },
	}, e
}

// TestPodmanBuild builds the image twice: the first build is ended when all but
// its last step is done and must leave nothing, the second must give the same
// bytes. Then it looks at the image from inside a container.
func TestPodmanBuild(t *testing.T) {
	b, e := real(t)
	var sums []string
	b.Tools.Run = func(ctx context.Context, p image.Program, stdout io.Writer, line func(string)) error {
		h := sha256.New()
		err := image.HostTools().Run(ctx, p, io.MultiWriter(stdout, h), line)
		sums = append(sums, hex.EncodeToString(h.Sum(nil)))
		return err
	}
	cancelAt(t, b, e, "preparing")
	img, err := b.Build(t.Context(), image.Request{Refresh: true})
	if err != nil {
		t.Fatal(err)
	}
	nothingAt(t, b.TempDir)
	if len(sums) != 2 || sums[0] != sums[1] {
		t.Errorf("two builds of one recipe differ: %v", sums)
	}
	if len(img.Entrypoint)+len(img.Volumes) > 0 || img.User != "" || img.WorkingDir != "" {
		t.Errorf("the image asks for something: %+v", img)
	}
	if err := image.Check(img); err != nil {
		t.Error(err)
	}

	// Found, not made: the same image, and mmdebstrap is not run.
	again, err := b.Build(t.Context(), image.Request{})
	if err != nil || again.ID != img.ID || len(sums) != 2 {
		t.Errorf("got %s (%v) after %d builds, want %s", again.ID, err, len(sums), img.ID)
	}
	lookInside(t, e, img)
}

// lookInside checks what a session would see of the image.
func lookInside(t *testing.T, e *podman.Engine, img engine.Image) {
	t.Helper()
	c := engine.Container{
		Name: "ccc-test-image", Image: img.ID, Argv: []string{"sleep", "infinity"}, Reap: true, Dir: "/",
		UID: spec.UID, GID: spec.GID, Hostname: "ccc",
		Env:    map[string]string{"PATH": "/usr/bin:/bin", "HOME": spec.HomeDir},
		Tmpfs:  []engine.Tmpfs{{Target: "/tmp", Size: 1 << 20, Mode: fs.ModeSticky | 0o777}},
		Memory: 1 << 30, CPUs: 1000, PIDs: 64, Timeout: 5 * time.Minute,
		Labels: map[string]string{engine.LabelSchema: engine.Schema},
	}
	id, err := e.CreateContainer(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.RemoveContainer(context.WithoutCancel(t.Context()), id); err != nil {
			t.Error(err)
		}
	})
	if err := e.StartContainer(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	for script, want := range map[string]string{
		`id -un; id -u; id -g; echo ~agent`:               "agent\n1000\n1000\n/home/agent\n",
		`stat -c '%n %a %u' /home/agent /workspace /.ccc`: "/home/agent 700 1000\n/workspace 755 0\n/.ccc 755 0\n",
		`for t in git curl rg jq less python3 node ps make patch unzip xz; do command -v $t >/dev/null || echo $t; done`:                "",
		`find / -xdev ! -type l -perm /6000 2>/dev/null`:                                                                                "",
		`command -v apt apt-get sudo; find /var/cache /var/log /var/lib/apt -mindepth 1 2>/dev/null`:                                    "",
		`python3 -c 'import json, sqlite3, ssl, unittest; print(1)'; node -e 'console.log(2)'; git init -q /tmp/g && git -C /tmp/g log`: "1\n2\n",
		`getent hosts localhost >/dev/null && touch /var/tmp/x && ls /tmp/x; touch /x 2>/dev/null || echo read-only`:                    "/tmp/x\nread-only\n",
		`cat /etc/machine-id /etc/hostname 2>/dev/null`:                                                                                 "ccc",
	} {
		var out, errs bytes.Buffer
		p := engine.Process{Argv: []string{"bash", "-c", script}, Env: c.Env, Dir: "/"}
		if _, err := e.Exec(t.Context(), id, p, api.Streams{Out: &out, Err: &errs}); err != nil || out.String() != want {
			t.Errorf("%s\ngot %q, want %q (%v, %s)", script, out.String(), want, err, errs.String())
		}
	}
}

// TestPodmanBuildCancelled ends a real build in the middle of mmdebstrap's work.
func TestPodmanBuildCancelled(t *testing.T) {
	b, e := real(t)
	cancelAt(t, b, e, "installing")
}

// cancelAt ends a real build at a step; nothing must be left of it, neither
// image nor container, file nor process.
func cancelAt(t *testing.T, b image.Builder, e *podman.Engine, step string) {
	t.Helper()
	before, err := e.ListImages(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b.Progress = func(s string) {
		if strings.HasPrefix(s, step) {
			cancel()
		}
	}
	if _, err := b.Build(ctx, image.Request{Refresh: true, Name: "localhost/ccc-test-cancelled:1"}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	nothingAt(t, b.TempDir)
	after, err := e.ListImages(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if a, b := names(after), names(before); !slices.Equal(a, b) {
		t.Errorf("the images were %v, now %v", b, a)
	}
	containers, err := e.ListContainers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range containers {
		if strings.HasPrefix(c.Name, "ccc-warm-") {
			t.Errorf("a container is left: %s", c.Name)
		}
	}
}

// names lists identities and names, sorted.
func names(list []engine.Image) (all []string) {
	for _, i := range list {
		all = append(all, i.ID)
		all = append(all, i.Names...)
	}
	slices.Sort(all)
	return all
}

// nothingAt fails the test if a directory is not empty, or a process still works
// in it.
func nothingAt(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("left in %s: %v (%v)", dir, entries, err)
	}
	all, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil || len(all) == 0 {
		t.Fatalf("no processes to look at: %v", err)
	}
	for _, p := range all {
		if env, err := os.ReadFile(p); err == nil && bytes.Contains(env, []byte("TMPDIR="+dir)) {
			t.Errorf("a process of the build is left: %s", p)
		}
	}
}
