package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/audit"
)

// lab is real rootless Podman and the real program, with a configuration, a
// state and a project of the test's own.
type lab struct {
	*testing.T
	// bin is the program.
	bin string
	// dir holds config, state and the project.
	dir, state, project string
	// env is the environment of the program.
	env []string
	// before is what the engine and the kernel had when the test began.
	before map[string]bool
}

// testImage is what the sessions of these tests run: busybox and nothing else.
const testImage = "localhost/ccc-test/busybox:3"

// newLab skips the test unless it was asked for, and fails it if Podman or the
// program cannot be used.
func newLab(t *testing.T) *lab {
	t.Helper()
	if os.Getenv("CCC_TEST_PODMAN") != "1" {
		t.Skip("set CCC_TEST_PODMAN=1 to test against real rootless Podman")
	}
	if os.Getuid() == 0 {
		t.Fatal("real Podman was asked for, and this is root: run the test binary by testdata/lab/run")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	// In the home, because a directory in /tmp may be on another file system
	// than most projects are.
	dir, err := os.MkdirTemp(home, "ccc-test-")
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{T: t, bin: program(t), dir: dir, state: filepath.Join(dir, "state"), project: filepath.Join(dir, "project")}
	t.Cleanup(func() { l.must(os.RemoveAll(dir)) })
	l.env = append(l.podmanEnv(), "XDG_STATE_HOME="+l.state, "XDG_CONFIG_HOME="+filepath.Join(dir, "config"), "CCC_IMAGE="+testImage)
	l.must(os.MkdirAll(filepath.Join(dir, "config", "ccc"), 0o700))
	// Podman, started by ccc, reads its own configuration in the same place.
	l.must(os.Symlink(filepath.Join(home, ".config", "containers"), filepath.Join(dir, "config", "containers")))
	l.must(os.Mkdir(l.project, 0o755))
	l.write("README", "a project\n")
	l.write("src/main.c", "int main(void) { return 0; }\n")
	l.write(".git/config", "[core]\n")
	l.image(testImage, imageConfig{})
	// What a run that was given up has left.
	l.ok("session", "rm", "--all", "--yes")
	l.ok("prune", "--yes")
	l.warm()
	l.must(os.RemoveAll(l.state))
	l.before = l.present()
	t.Cleanup(l.tidy)
	return l
}

// podmanEnv is what Podman itself needs.
func (l *lab) podmanEnv() []string {
	var env []string
	for _, name := range []string{"HOME", "USER", "PATH", "XDG_RUNTIME_DIR", "LANG"} {
		env = append(env, name+"="+os.Getenv(name))
	}
	return env
}

// built is the program, found or built once for all tests.
var built struct {
	sync.Once
	path string
	err  error
}

// program returns the path of the program: that of CCC_TEST_BIN, else one that
// is built now, else bin/ccc if it is not older than its source.
func program(t *testing.T) string {
	t.Helper()
	built.Do(func() { built.path, built.err = findProgram() })
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.path
}

func findProgram() (string, error) {
	top, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		return "", err
	}
	bin := filepath.Join(top, "bin", "ccc")
	if given := os.Getenv("CCC_TEST_BIN"); given != "" {
		return filepath.Abs(given)
	}
	if fresh(top, bin) && fresh(top, bin+"-serve") && fresh(top, bin+"-init") {
		return bin, nil
	}
	if _, err := exec.LookPath("go"); err != nil {
		return "", errors.New("bin/ccc is not there or older than its source, and there is no Go to build it: run `make build`, or set CCC_TEST_BIN")
	}
	dir, err := os.MkdirTemp("", "ccc-test-bin-")
	if err != nil {
		return "", err
	}
	bin = filepath.Join(dir, "ccc")
	cmd := exec.Command("go", "build", "-tags=remote,containers_image_openpgp", "-ldflags=-s -w", "-o", dir+"/", "./cmd/ccc", "./cmd/ccc-serve", "./cmd/ccc-init")
	cmd.Dir, cmd.Env = top, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build ccc: %w\n%s", err, out)
	}
	return bin, nil
}

// fresh tells whether a binary is not older than the source of the program.
func fresh(top, bin string) bool {
	info, err := os.Stat(bin)
	if err != nil {
		return false
	}
	newer := false
	for _, dir := range []string{"cmd", "internal", "profiles", "go.mod"} {
		_ = filepath.WalkDir(filepath.Join(top, dir), func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.HasSuffix(p, "_test.go") || strings.Contains(p, "/testdata/") {
				return nil
			}
			if source, err := d.Info(); err != nil || source.ModTime().After(info.ModTime()) {
				newer = true
			}
			return nil
		})
	}
	return !newer
}

// warm makes one session, once in a run: the first one of a new image has the
// engine keep a copy of its layers with the session's owners.
func (l *lab) warm() {
	l.Helper()
	warmed.Do(func() {
		l.ok("session", "create", "--name", "warm", "--ttl", "1m")
		l.ok("session", "rm", "--yes", "warm")
	})
}

var warmed sync.Once

func (l *lab) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

// write makes a file of the project.
func (l *lab) write(name, text string) {
	l.Helper()
	p := filepath.Join(l.project, name)
	l.must(os.MkdirAll(filepath.Dir(p), 0o755))
	l.must(os.WriteFile(p, []byte(text), 0o644))
}

// command returns the program with arguments.
func (l *lab) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(l.Context(), l.bin, args...)
	cmd.Env, cmd.Dir = l.env, l.project
	return cmd
}

// result is what a command did.
type result struct {
	stdout, stderr string
	code           int
}

func (r result) String() string {
	return fmt.Sprintf("exit code %d, stdout %.1000q, stderr %.1000q", r.code, r.stdout, r.stderr)
}

// run runs a command to its end.
func (l *lab) run(cmd *exec.Cmd) result {
	l.Helper()
	var out, errs bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &out
	}
	cmd.Stderr = &errs
	err := cmd.Run()
	exited, ok := errors.AsType[*exec.ExitError](err)
	if err != nil && !ok {
		l.Fatalf("%q: %v", cmd.Args, err)
	}
	r := result{stdout: out.String(), stderr: errs.String()}
	if ok {
		r.code = exited.ExitCode()
	}
	return r
}

// ccc runs the program.
func (l *lab) ccc(args ...string) result {
	l.Helper()
	return l.run(l.command(args...))
}

// ok runs the program, which must succeed, and returns what it printed.
func (l *lab) ok(args ...string) string {
	l.Helper()
	r := l.ccc(args...)
	if r.code != 0 {
		l.Fatalf("ccc %q: %v", args, r)
	}
	return r.stdout
}

// sh runs a shell script in a session.
func (l *lab) sh(session, script string) result {
	l.Helper()
	return l.ccc("session", "exec", session, "--", "sh", "-c", script)
}

// podman runs Podman itself, which must succeed.
func (l *lab) podman(args ...string) string {
	l.Helper()
	cmd := exec.CommandContext(l.Context(), "podman", args...)
	cmd.Env = l.podmanEnv()
	r := l.run(cmd)
	if r.code != 0 {
		l.Fatalf("podman %q: %v", args, r)
	}
	return r.stdout
}

// session decodes what `session show --json` prints.
func (l *lab) session(ref string) api.Session {
	l.Helper()
	var s api.Session
	l.must(json.Unmarshal([]byte(l.ok("session", "show", "--json", ref)), &s))
	return s
}

// records returns the audit log, which must be whole.
func (l *lab) records() []audit.Record {
	l.Helper()
	log, err := audit.OpenReader(l.Context(), filepath.Join(l.state, "ccc", "audit"), "")
	l.must(err)
	defer log.Close()
	var all []audit.Record
	for e, err := range audit.Read(log) {
		l.must(err)
		all = append(all, e.Record)
	}
	return all
}

// denied checks that the last record is a refusal by the rule.
func (l *lab) denied(rule string) {
	l.Helper()
	all := l.records()
	if r := all[len(all)-1]; r.Decision != audit.Deny || r.Rule != rule {
		l.Errorf("the last record is %+v, want a refusal by %s", r, rule)
	}
}

// tidy removes every session and fails the test if anything is left of them.
func (l *lab) tidy() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, l.bin, "session", "rm", "--all", "--yes")
	cmd.Env, cmd.Dir = l.env, "/"
	if r := l.run(cmd); r.code != 0 {
		l.Errorf("remove all: %v", r)
	}
	l.nothing()
}

// nothing fails the test if anything is there that was not when it began. What
// is on its way out is waited for.
func (l *lab) nothing() {
	l.Helper()
	var left []string
	for range 50 {
		left = nil
		for what := range l.present() {
			if !l.before[what] {
				left = append(left, what)
			}
		}
		if len(left) == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	slices.Sort(left)
	l.Errorf("left: %q", left)
}

// present lists whatever sessions are made of: containers, volumes, directories
// of ccc, of the engine and of the runtime, mounts, processes.
func (l *lab) present() map[string]bool {
	l.Helper()
	all := map[string]bool{}
	add := func(kind, lines string) {
		for line := range strings.Lines(lines) {
			all[kind+" "+strings.TrimSpace(line)] = true
		}
	}
	ctx := context.Background()
	for kind, args := range map[string][]string{
		"container": {"ps", "--all", "--external", "--format", "{{.ID}} {{.Names}}"},
		"volume":    {"volume", "ls", "--format", "{{.Name}}"},
		"mount":     {"unshare", "cat", "/proc/self/mountinfo"},
	} {
		cmd := exec.CommandContext(ctx, "podman", args...)
		cmd.Env = l.podmanEnv()
		r := l.run(cmd)
		if r.code != 0 {
			l.Fatalf("podman %q: %v", args, r)
		}
		if kind == "mount" {
			for line := range strings.Lines(r.stdout) {
				// The numbers before it change from look to look; and Podman keeps
				// one directory for the networks of others.
				if point := strings.Fields(line)[4]; !strings.HasSuffix(point, "/netns") {
					all["mount "+point] = true
				}
			}
			continue
		}
		add(kind, r.stdout)
	}
	storage := filepath.Join(os.Getenv("HOME"), ".local/share/containers/storage")
	run := os.Getenv("XDG_RUNTIME_DIR")
	for _, dir := range []string{
		filepath.Join(storage, "overlay"), filepath.Join(storage, "overlay-containers"), filepath.Join(storage, "volumes"),
		filepath.Join(run, "containers", "overlay-containers"), filepath.Join(run, "crun"), filepath.Join(run, "ccc", "making"),
		filepath.Join(run, "ccc", "sessions"),
		filepath.Join(l.state, "ccc", "sessions"),
	} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			l.Fatal(err)
		}
		for _, e := range entries {
			all["in "+dir+" "+e.Name()] = true
		}
	}
	for _, p := range processes(l.T) {
		all["process "+p] = true
	}
	return all
}

// processes lists the processes of the user but for the tests' own and for
// Podman's service, with the process that holds its namespaces.
func processes(t *testing.T) []string {
	t.Helper()
	pause, _ := os.ReadFile(filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "libpod/tmp/pause.pid"))
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() || e.Name() == strings.TrimSpace(string(pause)) {
			continue
		}
		cmdline, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil || len(cmdline) == 0 {
			continue
		}
		args := strings.Split(strings.TrimSuffix(string(cmdline), "\x00"), "\x00")
		switch filepath.Base(args[0]) {
		case "conmon", "crun", "runc", "init", "ccc-init", "ccc-serve", "catatonit", "podman-init", "sleep", "sh", "bash", "busybox", "slirp4netns", "pasta", "ccc", "cat", "dd":
			all = append(all, e.Name()+" "+strings.Join(args, " "))
		}
	}
	return all
}
