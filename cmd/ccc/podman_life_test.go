package main_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/audit"
)

// The whole life of a session, on real Podman, by the real program.
func TestPodmanLife(t *testing.T) {
	l := newLab(t)
	if out := l.ok("session", "create", "--name", "demo", "--label", "team=blue", "--ttl", "1h"); out != "demo\n" {
		t.Errorf("created %q", out)
	}
	s := l.session("demo")
	if s.Status != api.StatusRunning || s.Project != l.project || s.Labels["team"] != "blue" || s.Expires.Sub(s.Created) != time.Hour || len(s.Posture) < 15 {
		t.Errorf("%+v", s)
	}
	for _, c := range s.Posture {
		if c.State != api.StateEnforced && slices.Contains([]string{"user-namespace", "capabilities", "no-new-privileges", "read-only-root", "masked-paths", "network", "tmp-size", "lifetime", "workspace"}, c.Name) {
			t.Errorf("%+v", c)
		}
	}
	if out := l.ok("session", "list"); !strings.HasPrefix(out, "demo\t"+string(s.ID)+"\trunning\tstandard\toverlay\t") {
		t.Errorf("listed %q", out)
	}
	if r := l.sh("demo", "echo out; echo err >&2; exit 7"); r.stdout != "out\n" || r.stderr != "err\n" || r.code != 7 {
		t.Errorf("streams: %v", r)
	}
	for argv, code := range map[string]int{"true": 0, "false": 1, "nosuch": 127, "/etc/passwd": 126} {
		if r := l.ccc("session", "exec", string(s.ID[:6]), argv); r.code != code {
			t.Errorf("%s: %v", argv, r)
		}
	}
	if r := l.sh("demo", "kill -9 $$"); r.code != 137 {
		t.Errorf("killed: %v", r)
	}
	if r := l.ccc("session", "exec", "-w", "/tmp", "-e", "WORD=a b", "demo", "--", "sh", "-c", "pwd; echo \"$WORD\""); r.stdout != "/tmp\na b\n" {
		t.Errorf("directory and variable: %v", r)
	}
	if r := l.sh("demo", "pwd; cat README; echo changed > README; echo new > new; rm -r src; ls"); r.stdout != "/workspace\na project\nREADME\nnew\n" {
		t.Errorf("workspace: %v", r)
	}
	l.sh("demo", "echo kept > ~/kept")
	l.ok("session", "stop", "demo")
	if r := l.ccc("session", "exec", "demo", "true"); r.code != 125 || !strings.Contains(r.stderr, "hint: ccc session start demo") {
		t.Errorf("exec in a stopped session: %v", r)
	}
	if r := l.ccc("session", "wait", "demo"); r.code != 0 {
		t.Errorf("wait: %v", r)
	}
	if got := l.session("demo"); got.Status != api.StatusStopped || got.ExitCode == nil {
		t.Errorf("stopped: %+v", got)
	}
	l.ok("session", "start", "demo")
	if r := l.sh("demo", "cat README new ~/kept"); r.stdout != "changed\nnew\nkept\n" {
		t.Errorf("after a start: %v", r)
	}
	l.ok("session", "restart", "demo", "--grace", "1s")
	if r := l.sh("demo", "cat README"); r.stdout != "changed\n" {
		t.Errorf("after a restart: %v", r)
	}
	l.ok("session", "logs", "demo", "--tail", "3")
	if out := l.ok("session", "rm", "--yes", "demo"); out != "demo\n" {
		t.Errorf("removed %q", out)
	}
	l.nothing()
	l.untouched()
	l.ok("audit", "verify")
	var acts []string
	for _, r := range l.records() {
		if r.Phase == audit.PhaseEnd && r.Action != "session.exec" {
			acts = append(acts, r.Action+" "+string(r.Result))
		}
	}
	want := []string{"session.create ok", "session.stop ok", "session.start ok", "session.restart ok", "session.remove ok"}
	if !slices.Equal(acts, want) {
		t.Errorf("recorded %q", acts)
	}
}

// untouched fails the test unless the project is as it was made.
func (l *lab) untouched() {
	l.Helper()
	var names []string
	l.must(filepath.WalkDir(l.project, func(p string, _ os.DirEntry, err error) error {
		names = append(names, strings.TrimPrefix(p, l.project))
		return err
	}))
	if want := []string{"", "/.git", "/.git/config", "/README", "/src", "/src/main.c"}; !slices.Equal(names, want) {
		l.Errorf("the project has %q", names)
	}
	if data, err := os.ReadFile(filepath.Join(l.project, "README")); err != nil || string(data) != "a project\n" {
		l.Errorf("the project's file says %q, %v", data, err)
	}
}

// Any path that is a project's, however odd, can be one.
func TestPodmanOddProject(t *testing.T) {
	l := newLab(t)
	l.project = filepath.Join(l.dir, "a b=c#d%20é'$HOME`id`;&(x)[1]")
	l.must(os.Mkdir(l.project, 0o755))
	l.write("README", "odd\n")
	for _, workspace := range []string{"overlay", "bind"} {
		l.ok("session", "create", "--name", workspace, "--workspace", workspace)
		if r := l.sh(workspace, "cat README; echo x > new"); r.stdout != "odd\n" || r.code != 0 {
			t.Errorf("%s: %v", workspace, r)
		}
		l.session(workspace)
		l.ok("session", "restart", workspace)
		l.ok("session", "rm", "--yes", workspace)
	}
}

// Standard input and output carry any bytes, and any number of them.
func TestPodmanPipe(t *testing.T) {
	l := newLab(t)
	l.ok("session", "create", "--name", "demo")
	data := make([]byte, 10<<20)
	_, _ = rand.Read(data)
	sum := sha256.Sum256(data)
	cmd := l.command("session", "exec", "-i", "demo", "--", "sh", "-c", "sha256sum >&2")
	cmd.Stdin = bytes.NewReader(data)
	if r := l.run(cmd); !strings.HasPrefix(r.stderr, hex.EncodeToString(sum[:])) || r.code != 0 {
		t.Errorf("in: %v", r)
	}
	cmd = l.command("session", "exec", "-i", "demo", "--", "cat")
	cmd.Stdin = bytes.NewReader(data)
	var out bytes.Buffer
	cmd.Stdout = &out
	if r := l.run(cmd); r.code != 0 || !bytes.Equal(out.Bytes(), data) {
		t.Errorf("in and out: %d of %d bytes, equal %v: %v", out.Len(), len(data), bytes.Equal(out.Bytes(), data), r)
	}
	cmd = l.command("session", "exec", "demo", "--", "cat")
	cmd.Stdin = bytes.NewReader(data)
	if r := l.run(cmd); r.stdout != "" || r.code != 0 {
		t.Errorf("input that was not to be passed on: %v", r)
	}
	// A reader that goes away ends the command, and leaves nothing running.
	r, w, err := os.Pipe()
	l.must(err)
	cmd = l.command("session", "exec", "demo", "--", "sh", "-c", "while echo endless; do :; done")
	var errs strings.Builder
	cmd.Stdout, cmd.Stderr = w, &errs
	l.must(cmd.Start())
	l.must(w.Close())
	_, err = io.ReadFull(r, make([]byte, 1<<16))
	l.must(err)
	l.must(r.Close())
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case <-done:
		if code := cmd.ProcessState.ExitCode(); code != 141 {
			t.Errorf("exit code %d", code)
		}
	case <-time.After(20 * time.Second):
		t.Error("it goes on for ever")
		// For the trace of what it waits for.
		l.must(cmd.Process.Signal(syscall.SIGQUIT))
		<-done
		t.Log(errs.String())
	}
	l.nobody("demo", "echo endless")
}

// nobody fails the test if a process with these words runs in a session.
func (l *lab) nobody(session, words string) {
	l.Helper()
	var out string
	for range 30 {
		if out = l.ok("session", "exec", session, "--", "ps"); !strings.Contains(out, words) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	l.Errorf("runs still:\n%s", out)
}

func TestPodmanExecEnds(t *testing.T) {
	l := newLab(t)
	l.ok("session", "create", "--name", "demo")
	if r := l.ccc("session", "exec", "--timeout", "300ms", "demo", "--", "sh", "-c", "sleep 4711; true"); r.code != 124 || !strings.Contains(r.stderr, "killed after 300ms") {
		t.Errorf("time limit: %v", r)
	}
	l.nobody("demo", "4711")
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		cmd := l.command("session", "exec", "demo", "--", "sh", "-c", "echo begun; sleep 4712; true")
		out, err := cmd.StdoutPipe()
		l.must(err)
		l.must(cmd.Start())
		_, err = io.ReadFull(out, make([]byte, len("begun\n")))
		l.must(err)
		l.must(cmd.Process.Signal(sig))
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 130 {
			t.Errorf("%v: exit code %d", sig, code)
		}
		l.nobody("demo", "4712")
	}
	// Commands side by side do not end each other.
	cmd := l.command("session", "exec", "demo", "--", "sh", "-c", "echo begun; sleep 2; echo ended")
	out, err := cmd.StdoutPipe()
	l.must(err)
	l.must(cmd.Start())
	_, err = io.ReadFull(out, make([]byte, len("begun\n")))
	l.must(err)
	l.ccc("session", "exec", "--timeout", "100ms", "demo", "--", "sleep", "4713")
	rest, err := io.ReadAll(out)
	l.must(err)
	if err := cmd.Wait(); err != nil || string(rest) != "ended\n" {
		t.Errorf("the other command: %q, %v", rest, err)
	}
	var interrupted int
	for _, r := range l.records() {
		if r.Action == "session.exec" && r.Kind == "interrupted" && r.Phase == audit.PhaseEnd {
			interrupted++
		}
	}
	if interrupted != 2 {
		t.Errorf("%d commands are recorded as interrupted", interrupted)
	}
}

// A session's life ends by itself, whatever became of ccc.
func TestPodmanLifetime(t *testing.T) {
	l := newLab(t)
	l.ok("session", "create", "--name", "short", "--ttl", "2s")
	if r := l.ccc("session", "wait", "short"); r.code != 124 {
		t.Errorf("wait: %v", r)
	}
	if s := l.session("short"); s.Status != api.StatusExpired {
		t.Errorf("%+v", s)
	}
	if r := l.ccc("session", "start", "short"); r.code != 3 || !strings.Contains(r.stderr, "past its life") {
		t.Errorf("start: %v", r)
	}
	if out := l.ok("prune", "--dry-run"); out != "session short\n" {
		t.Errorf("would prune %q", out)
	}
	if out := l.ok("prune", "--yes"); out != "session short\n" {
		t.Errorf("pruned %q", out)
	}
	l.nothing()
}

// screen is a terminal that a command runs on, and what it has shown.
type screen struct {
	*testing.T
	cmd   *exec.Cmd
	tty   *os.File
	shown strings.Builder
}

func (l *lab) screen(cmd *exec.Cmd) *screen {
	l.Helper()
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 33, Cols: 99})
	l.must(err)
	l.Cleanup(func() { tty.Close() })
	return &screen{T: l.T, cmd: cmd, tty: tty}
}

// until waits for words to be shown.
func (s *screen) until(want string) {
	s.Helper()
	b := make([]byte, 4096)
	for !strings.Contains(s.shown.String(), want) {
		n, err := s.tty.Read(b)
		s.shown.Write(b[:n])
		if err != nil {
			s.Fatalf("%q never came: %q, %v", want, s.shown.String(), err)
		}
	}
}

// keys types.
func (s *screen) keys(keys string) {
	s.Helper()
	if _, err := io.WriteString(s.tty, keys); err != nil {
		s.Fatal(err)
	}
}

// code waits for the end and returns the exit code.
func (s *screen) code() int {
	s.Helper()
	// The end of a terminal reads as an error.
	_, _ = io.Copy(&s.shown, s.tty)
	_ = s.cmd.Wait()
	return s.cmd.ProcessState.ExitCode()
}

func TestPodmanTerminal(t *testing.T) {
	l := newLab(t)
	l.ok("session", "create", "--name", "demo")
	// The size at the start, then a new one while it runs.
	cmd := l.command("session", "exec", "-it", "demo", "--", "sh", "-c", "stty size; read x; stty size; test -t 0 && test -t 1 && test -t 2 && echo yes $TERM; exit 5")
	cmd.Env = append(cmd.Env, "TERM=xterm-256color")
	s := l.screen(cmd)
	s.until("33 99")
	l.must(pty.Setsize(s.tty, &pty.Winsize{Rows: 44, Cols: 111}))
	// The size is passed on by a signal: it takes its time.
	time.Sleep(500 * time.Millisecond)
	s.keys("go\n")
	s.until("44 111")
	s.until("yes xterm-256color")
	if code := s.code(); code != 5 {
		t.Errorf("exit code %d", code)
	}
	s = l.screen(l.command("session", "shell", "demo"))
	s.keys("echo $((6*7)) $PWD $HOME; exit 3\n")
	s.until("42 /workspace /home/agent")
	if code := s.code(); code != 3 {
		t.Errorf("shell: exit code %d, %q", code, s.shown.String())
	}
	// Ctrl-C belongs to the command: it ends that, not ccc.
	s = l.screen(l.command("session", "exec", "-it", "demo", "--", "sh", "-c", "trap 'echo caught; exit 9' INT; echo ready; while sleep 0.1; do :; done"))
	s.until("ready")
	s.keys("\x03")
	s.until("caught")
	if code := s.code(); code != 9 {
		t.Errorf("Ctrl-C: exit code %d, %q", code, s.shown.String())
	}
	l.nobody("demo", "sleep 0.1")
	// A terminal that goes away takes the command with it.
	s = l.screen(l.command("session", "exec", "-it", "demo", "--", "sh", "-c", "echo ready; sleep 4715; echo slept"))
	s.until("ready")
	l.must(s.tty.Close())
	_ = s.cmd.Wait()
	l.nobody("demo", "4715")
}

func TestPodmanBind(t *testing.T) {
	l := newLab(t)
	l.write(".envrc", "export A=1\n")
	l.write(".claude/settings.json", "{}\n")
	l.ok("session", "create", "--name", "live", "--workspace", "bind")
	r := l.sh("live", `echo new > new; echo changed > README; cat src/main.c
		for f in .git/config .git/hooks/x .envrc .claude/settings.json; do (echo evil > $f) 2>/dev/null && echo "wrote $f"; done
		mv .git .was 2>/dev/null && echo moved; rm -rf .git 2>/dev/null; test -e .git/config && echo there`)
	if !strings.HasSuffix(r.stdout, "there\n") || strings.Contains(r.stdout, "wrote") || strings.Contains(r.stdout, "moved") {
		t.Errorf("guarded: %v", r)
	}
	for name, want := range map[string]string{"new": "new\n", "README": "changed\n", ".git/config": "[core]\n", ".envrc": "export A=1\n", ".claude/settings.json": "{}\n"} {
		if data, err := os.ReadFile(filepath.Join(l.project, name)); err != nil || string(data) != want {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	if info, err := os.Stat(filepath.Join(l.project, "new")); err != nil || info.Sys().(*syscall.Stat_t).Uid != uint32(os.Getuid()) {
		t.Errorf("what the session made is not the user's: %v, %v", info, err)
	}
	l.ok("session", "restart", "live")
	l.ok("session", "rm", "--yes", "live")
	if _, err := os.Stat(filepath.Join(l.project, "new")); err != nil {
		t.Errorf("removing the session took the project's file: %v", err)
	}
}
