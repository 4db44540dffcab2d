package main_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/guest"
)

// patience is how long a test waits for what must happen. It is no claim about
// how long it takes.
const patience = 60 * time.Second

// ccInit returns a name of ccc-init: a link to the test binary, which is
// ccc-init when it is called so.
func ccInit(t testing.TB) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "ccc-init")
	if err := os.Symlink(self, name); err != nil {
		t.Fatal(err)
	}
	return name
}

// built builds ccc-init as it is shipped, a static program.
func built(t testing.TB) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ccc-init")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", name, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, code := output(t, cmd); code != 0 {
		t.Fatal(said)
	}
	return name
}

// session is a PID namespace with a first process, as Podman makes them: its
// user is nobody special, and commands come into it from outside.
type session struct {
	t testing.TB
	// dir is what a session has at guest.SessionDir.
	dir string
	// log is the file that takes what the first process says.
	log string
	// pid is the first process, seen from here.
	pid   int
	ended chan struct{}
	code  int
}

// nobodySpecial drops the capabilities that being root of a user namespace
// gives: with them a process may do what no process of a session may.
var nobodySpecial = []string{"setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"}

// start makes a session with ccc-init.
func start(t testing.TB, life guest.Life, args ...string) *session {
	t.Helper()
	dir := t.TempDir()
	if err := guest.WriteLife(dir, life); err != nil {
		t.Fatal(err)
	}
	s := launch(t, dir, nil, append([]string{ccInit(t), guest.ModePID1, guest.FlagSession, dir}, args...)...)
	s.await("the first process is ready", func() bool { return s.isEnded() || s.settled() })
	return s
}

// settled tells whether the first process keeps the session: then it says so.
func (s *session) settled() bool { return strings.HasPrefix(s.said(), keeps) }

// keeps is how the first thing begins that it says.
const keeps = "ccc-init: session ends in "

// within returns a life that ends so long from now.
func within(d time.Duration) guest.Life { return guest.Life{Deadline: guest.Boottime() + d} }

// launch makes a PID namespace whose first process is argv.
func launch(t testing.TB, dir string, extra []*os.File, argv ...string) *session {
	t.Helper()
	s := &session{t: t, dir: dir, log: filepath.Join(t.TempDir(), "log"), ended: make(chan struct{})}
	log, err := os.Create(s.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	args := slices.Concat([]string{"--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc", "--"}, nobodySpecial, argv)
	cmd := exec.Command("unshare", args...)
	cmd.Stderr, cmd.Stdout, cmd.ExtraFiles = log, log, extra
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait()
		s.code = cmd.ProcessState.ExitCode()
		close(s.ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-s.ended
		if t.Failed() {
			t.Logf("the first process said:\n%s", s.said())
		}
	})
	children := fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid)
	s.await("the first process is there", func() bool {
		list, _ := os.ReadFile(children)
		s.pid, _ = strconv.Atoi(strings.TrimSpace(string(list)))
		args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", s.pid))
		return s.isEnded() || s.pid > 0 && strings.HasPrefix(string(args), argv[0]+"\x00")
	})
	return s
}

// await waits for a condition.
func (s *session) await(what string, is func() bool) {
	s.t.Helper()
	for limit := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(limit) {
			s.t.Fatalf("waited in vain: %s\nthe first process said:\n%s", what, s.said())
		}
	}
}

func (s *session) isEnded() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// wait waits for the session's end and returns the first process's exit code.
func (s *session) wait() int {
	s.t.Helper()
	s.await("the session ends", s.isEnded)
	return s.code
}

func (s *session) said() string {
	text, _ := os.ReadFile(s.log)
	return string(text)
}

// saidSince returns what the first process said after the first line.
func (s *session) saidSince() string {
	_, rest, _ := strings.Cut(s.said(), "\n")
	return rest
}

// command returns a command that runs inside, as one of podman exec does: its
// parent is outside.
func (s *session) command(argv ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	s.t.Cleanup(cancel)
	enter := []string{"--target", strconv.Itoa(s.pid), "--user", "--pid", "--mount", "--preserve-credentials", "--"}
	return exec.CommandContext(ctx, "nsenter", slices.Concat(enter, nobodySpecial, argv)...)
}

// sh runs a script inside and returns what it printed. A script that fails ends
// the test.
func (s *session) sh(script string) string {
	s.t.Helper()
	out, err := s.command("bash", "-c", script).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s\n%v\n%s\nthe first process said:\n%s", script, err, out, s.said())
	}
	return strings.TrimSpace(string(out))
}

// background starts a script inside and leaves it there.
func (s *session) background(script string) {
	s.t.Helper()
	cmd := s.command("bash", "-c", script)
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = cmd.Wait() }()
	s.t.Cleanup(func() { _ = cmd.Process.Kill(); <-done })
}

// terminal starts a command inside on a terminal of its own, leaves it there,
// and returns the side at which a person would sit.
func (s *session) terminal(argv ...string) *os.File {
	s.t.Helper()
	cmd := s.command(argv...)
	person, err := pty.Start(cmd)
	if err != nil {
		s.t.Fatal(err)
	}
	// A terminal that nobody looks at fills up.
	go func() { _, _ = io.Copy(io.Discard, person) }()
	done := make(chan struct{})
	go func() { defer close(done); _ = cmd.Wait() }()
	s.t.Cleanup(func() { _ = cmd.Process.Kill(); <-done; person.Close() })
	return person
}

// field returns a field of a process's status, empty if there is none.
func field(pid int, name string) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// exists tells whether a file is there.
func exists(t testing.TB, name string) bool {
	t.Helper()
	_, err := os.Lstat(name)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		t.Fatal(err)
	}
	return err == nil
}

// output runs a command on the host and returns what it printed and its exit
// code.
func output(t testing.TB, cmd *exec.Cmd) (string, int) {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return strings.TrimSpace(out.String()), cmd.ProcessState.ExitCode()
}
