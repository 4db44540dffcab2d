package fake_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/engine/enginetest"
	"github.com/ccc-dev/ccc/internal/engine/fake"
)

// TestMain also plays another process that uses the same directory: with a
// directory and a step it kills itself at that step of life.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "life" {
		os.Exit(other(os.Args[2], os.Args[3]))
	}
	os.Exit(m.Run())
}

func other(dir, step string) int {
	e, err := fake.Open(dir, time.Now)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	e.Fault = func(s string) error {
		if s == step {
			return syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		return nil
	}
	if err := life(context.Background(), e); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// open returns an engine in a directory of the test's own.
func open(t *testing.T) *fake.Engine {
	t.Helper()
	e, err := fake.Open(t.TempDir(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

const imageName = "localhost/test:1"

// wanted returns a container.
func wanted(image string) engine.Container {
	return engine.Container{
		Name: "box", Image: image, Argv: []string{"sleep", "infinity"}, Reap: true, Env: map[string]string{"PATH": "/bin"}, Dir: "/workspace",
		UID: 1000, GID: 1000, Memory: 1 << 20, CPUs: 1000, PIDs: 10, Timeout: time.Hour,
		Homes: []engine.Home{{Volume: "home", Target: "/home/agent"}}, Labels: map[string]string{engine.LabelSchema: "1"},
	}
}

// life does all that changes something once.
func life(ctx context.Context, e *fake.Engine) error {
	image, err := e.ImportImage(ctx, fake.Rootfs(), engine.ImportOptions{Name: imageName, Labels: map[string]string{engine.LabelImage: "x"}})
	if err != nil {
		return err
	}
	c := wanted(image)
	if err := e.TagImage(ctx, image, "localhost/test:2"); err != nil {
		return err
	}
	if _, err := e.PullImage(ctx, imageName+"@sha256:"+strings.Repeat("0", 64), nil); err != nil {
		return err
	}
	if err := e.CreateVolume(ctx, engine.Volume{Name: "home", Labels: c.Labels}); err != nil {
		return err
	}
	id, err := e.CreateContainer(ctx, c)
	if err != nil {
		return err
	}
	if err := e.StartContainer(ctx, id); err != nil {
		return err
	}
	if _, err := e.Exec(ctx, id, engine.Process{Argv: []string{"true"}, Dir: "/"}, api.Streams{}); err != nil {
		return err
	}
	if err := e.StopContainer(ctx, id, 0); err != nil {
		return err
	}
	return errors.Join(e.RemoveContainer(ctx, id), e.RemoveVolume(ctx, "home"), e.RemoveImage(ctx, image))
}

// steps are all that Fault is called with, in the order of life.
var steps = []string{
	"ImportImage", "TagImage", "PullImage", "CreateVolume", "CreateContainer", "StartContainer", "Exec", "StopContainer",
	"RemoveContainer", "RemoveVolume", "RemoveImage",
}

func TestConformance(t *testing.T) {
	enginetest.Run(t, func(t *testing.T) enginetest.Subject {
		return enginetest.Subject{Name: "fake", Engine: open(t), Rootfs: func() io.Reader { return enginetest.Rootfs(nil) }}
	})
}

func TestFaultIsCalledAroundEveryChange(t *testing.T) {
	e := open(t)
	var got []string
	e.Fault = func(step string) error {
		got = append(got, step)
		return nil
	}
	if err := life(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, s := range steps {
		want = append(want, s+".before", s+".after")
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got %q, want %q", got, want)
	}
}

// exists says what is there: image, volume, container.
func exists(t *testing.T, e *fake.Engine) string {
	t.Helper()
	images, err := e.ListImages(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	volumes, err := e.ListVolumes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	containers, err := e.ListContainers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	state := ""
	for _, c := range containers {
		state += " " + string(c.State)
	}
	return fmt.Sprintf("%d %d%s", len(images), len(volumes), state)
}

// left is what is there after each change of life.
var left = map[string]string{
	"": "0 0", "ImportImage": "1 0", "TagImage": "1 0", "PullImage": "1 0", "CreateVolume": "1 1", "CreateContainer": "1 1 created",
	"StartContainer": "1 1 running", "Exec": "1 1 running", "StopContainer": "1 1 exited", "RemoveContainer": "1 1", "RemoveVolume": "1 0", "RemoveImage": "0 0",
}

func TestFaultReturnsItsError(t *testing.T) {
	broken := errors.New("broken")
	before := ""
	for _, s := range steps {
		for when, want := range map[string]string{".before": left[before], ".after": left[s]} {
			e := open(t)
			e.Fault = func(step string) error {
				if step == s+when {
					return broken
				}
				return nil
			}
			err := life(t.Context(), e)
			// The last three are called whatever happened to those before.
			if !errors.Is(err, broken) || !strings.HasPrefix(s, "Remove") && exists(t, e) != want {
				t.Errorf("%s: %v, left %q, want %q", s+when, err, exists(t, e), want)
			}
		}
		before = s
	}
}

// A process that is killed at any step leaves what another can read.
func TestKilledAtEveryStep(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	before := ""
	for _, s := range steps {
		for when, want := range map[string]string{".before": left[before], ".after": left[s]} {
			dir := t.TempDir()
			out, err := exec.CommandContext(t.Context(), self, "life", dir, s+when).CombinedOutput()
			if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("%s: %v: %s", s+when, err, out)
			}
			e, err := fake.Open(dir, time.Now)
			if err != nil {
				t.Fatal(err)
			}
			if got := exists(t, e); got != want {
				t.Errorf("%s: left %q, want %q", s+when, got, want)
			}
		}
		before = s
	}
}

func TestProcessesShareTheDirectory(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), self, "life", dir, "StopContainer.before").CombinedOutput(); err == nil {
		t.Fatalf("not killed: %s", out)
	}
	e, err := fake.Open(dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	code, err := e.Exec(t.Context(), "box", engine.Process{Argv: []string{"echo", "here"}, Dir: "/"}, api.Streams{Out: &out})
	if err != nil || code != 0 || out.String() != "here\n" {
		t.Errorf("%d, %q, %v", code, out.String(), err)
	}
}

// clock is a time that moves only when told to.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func TestContainersAgeByTheClock(t *testing.T) {
	c := &clock{at: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	e, err := fake.Open(t.TempDir(), c.now)
	if err != nil {
		t.Fatal(err)
	}
	image, err := e.ImportImage(t.Context(), fake.Rootfs(), engine.ImportOptions{Name: imageName})
	if err != nil {
		t.Fatal(err)
	}
	start := func(name string, argv ...string) {
		w := wanted(image)
		w.Homes, w.Name, w.Argv = nil, name, argv
		if _, err := e.CreateContainer(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		if err := e.StartContainer(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	state := func(name string) string {
		i, err := e.Container(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		if err := e.Logs(t.Context(), name, engine.LogOptions{}, &out, nil); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%s %d %q", i.State, i.ExitCode, out.String())
	}
	start("talks", "sh", "-c", "echo a; sleep 60; echo b; exit 3")
	start("stays", "sleep", "infinity")
	for _, s := range []struct {
		pass         time.Duration
		talks, stays string
	}{
		{0, `running 0 "a\n"`, `running 0 ""`},
		{59 * time.Second, `running 0 "a\n"`, `running 0 ""`},
		{time.Second, `exited 3 "a\nb\n"`, `running 0 ""`},
		{time.Hour, `exited 3 "a\nb\n"`, `exited -1 ""`},
	} {
		c.pass(s.pass)
		if got := state("talks"); got != s.talks {
			t.Errorf("after %v talks is %s, want %s", s.pass, got, s.talks)
		}
		if got := state("stays"); got != s.stays {
			t.Errorf("after %v stays is %s, want %s", s.pass, got, s.stays)
		}
	}
}

func TestShell(t *testing.T) {
	e := open(t)
	image, err := e.ImportImage(t.Context(), fake.Rootfs(), engine.ImportOptions{Name: imageName})
	if err != nil {
		t.Fatal(err)
	}
	c := wanted(image)
	c.Homes = nil
	if _, err := e.CreateContainer(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := e.StartContainer(t.Context(), "box"); err != nil {
		t.Fatal(err)
	}
	for _, s := range []struct {
		script    string
		code      int
		out, errs string
	}{
		{"", 0, "", ""},
		{"echo a; echo 'b  c' \"$X d\" $X\necho e>&2", 0, "a\nb  c x d x\n", "e\n"},
		{"false", 1, "", ""},
		{"false; true", 0, "", ""},
		{"false; exit", 1, "", ""},
		{"exit 300", 2, "", "sh: exit: \"300\" is not a number\n"},
		{"exec echo a; echo b", 0, "a\n", ""},
		{"no-such; echo a", 0, "a\n", "no-such: not found\n"},
		{"/bin/echo a", 0, "a\n", ""},
		{"/etc/passwd", 126, "", "/etc/passwd: permission denied\n"},
		{"./echo", 127, "", "./echo: not found\n"},
		{"echo ''", 0, "\n", ""},
		{"sh -c 'echo $X'", 0, "x\n", ""},
		{"id -u; id -g; pwd; hostname", 0, "1000\n1000\n/\n\n", ""},
		// What the host's shell would do, and this must not.
		{"echo $(id)", 2, "", "sh: '(' is not supported\n"},
		{"echo `id`", 2, "", "sh: '`' is not supported\n"},
		{"echo a > /tmp/x", 2, "", "sh: '>' is not supported\n"},
		{"echo a | cat", 2, "", "sh: '|' is not supported\n"},
		{"echo a && echo b", 2, "", "sh: '&' is not supported\n"},
		{"echo *", 2, "", "sh: '*' is not supported\n"},
		{"echo 'a", 2, "", "sh: quoting not supported\n"},
		{"trap 'echo a' EXIT", 2, "", "sh: trap: only trap \"\" TERM\n"},
	} {
		var out, errs strings.Builder
		p := engine.Process{Argv: []string{"sh", "-c", s.script}, Dir: "/", Env: map[string]string{"X": "x"}}
		code, err := e.Exec(t.Context(), "box", p, api.Streams{Out: &out, Err: &errs})
		if err != nil || code != s.code || out.String() != s.out || errs.String() != s.errs {
			t.Errorf("%q: code %d, stdout %q, stderr %q, %v", s.script, code, out.String(), errs.String(), err)
		}
	}
}

func TestBrokenDirectoryIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := fake.Open(file, time.Now); err == nil {
		t.Error("a file was opened")
	}
	dir := t.TempDir()
	e, err := fake.Open(dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "containers", "x.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := e.ListContainers(t.Context()); err == nil {
		t.Error("half an object was read")
	}
}
