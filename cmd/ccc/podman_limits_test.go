package main_test

import (
	"bytes"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/api"
)

// labels returns the security label of a file as the kernel keeps it; empty if
// there is none.
func labels(t *testing.T, file string) string {
	t.Helper()
	value := make([]byte, 256)
	n, err := unix.Lgetxattr(file, "security.selinux", value)
	if err != nil {
		return ""
	}
	return string(value[:n])
}

// podmanCommand returns a command of Podman itself.
func (l *lab) podmanCommand(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(l.Context(), "podman", args...)
	cmd.Env = l.podmanEnv()
	return cmd
}

// R01: a fork bomb fills its own session, and no other; the host answers, and
// the session can be removed.
func TestPodmanR01ForkBombStaysInside(t *testing.T) {
	l := newLab(t)
	l.ok("session", "create", "--name", "bomb", "--pids", "60")
	l.ok("session", "create", "--name", "other", "--pids", "60")
	bomb := l.command("session", "exec", "bomb", "--", "sh", "-c", "for i in $(seq 200); do sleep 300 & done; echo full; wait")
	var said bytes.Buffer
	bomb.Stdout, bomb.Stderr = &said, &said
	l.must(bomb.Start())
	for range 100 {
		if strings.Contains(said.String(), "can't fork") {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	count := strings.Count(l.podman("top", "ccc-bomb", "pid"), "\n") - 1
	if count < 30 || count > 60 {
		t.Errorf("%d processes where 60 are the most", count)
	}
	// The shim that would start a command there is one process too many.
	if r := l.ccc("session", "exec", "bomb", "--", "true"); r.code == 0 {
		t.Logf("there was room for one more: %v", r)
	}
	if r := l.sh("other", "for i in $(seq 30); do sleep 2 & done; wait; echo all"); r.stdout != "all\n" || r.stderr != "" {
		t.Errorf("beside a session that is full: %v", r)
	}
	l.ok("session", "create", "--name", "third", "--pids", "60")
	l.ok("session", "rm", "--yes", "bomb")
	_ = bomb.Wait()
	l.usable("other")
	// The same number of processes, without the limit, is no trouble.
	if got := l.plain("for i in $(seq 200); do sleep 1 & done; wait; echo all"); got != "all" {
		t.Errorf("without the limit: %q: this proves nothing", got)
	}
}

// R04: descriptors, sockets and locks in great numbers.
func TestPodmanR04Descriptors(t *testing.T) {
	l := newRealLab(t)
	l.ok("session", "create", "--name", "demo", "--nofile", "500")
	const greedy = `
import os, socket, fcntl, threading
def most(f):
    held = []
    try:
        for n in range(100000): held.append(f())
    except OSError as e: return "%d %s" % (len(held), e.strerror)
    return "no end"
print(most(lambda: open("/dev/null")))
print(most(lambda: socket.socketpair()))
print(most(lambda: socket.socket(socket.AF_INET)))
f = open("/tmp/lock", "w")
def storm():
    for n in range(2000):
        fcntl.flock(f, fcntl.LOCK_EX); fcntl.flock(f, fcntl.LOCK_UN)
threads = [threading.Thread(target=storm) for n in range(20)]
[t.start() for t in threads]; [t.join() for t in threads]
print("storm over")
`
	r := l.ccc("session", "exec", "demo", "--", "python3", "-c", greedy)
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	if r.code != 0 || len(lines) != 4 || lines[3] != "storm over" {
		t.Fatalf("%v", r)
	}
	for _, line := range lines[:3] {
		if !strings.HasSuffix(line, "Too many open files") || len(strings.Fields(line)[0]) > 3 {
			t.Errorf("%q", line)
		}
	}
	l.usable("demo")
}

// R05: what a command prints is passed on as it is, however much, in whatever
// encoding, without being kept.
func TestPodmanR05Output(t *testing.T) {
	l := newLab(t)
	l.ok("session", "create", "--name", "demo")
	const size = 200 << 20
	cmd := l.command("session", "exec", "demo", "--", "sh", "-c", "dd if=/dev/zero bs=1M count=200 2>/dev/null | tr '\\0' x")
	got := &counter{want: 'x'}
	cmd.Stdout = got
	l.must(cmd.Run())
	if got.n != size || got.wrong != 0 {
		t.Errorf("one line of %d bytes, %d of them wrong, want %d", got.n, got.wrong, size)
	}
	const most = 128 << 10 // KiB; the program itself and its runtime are most of it
	if used, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); !ok || used.Maxrss > most {
		t.Errorf("%d KiB of memory for it", used.Maxrss)
	}
	// Binary, invalid UTF-8 and escape sequences arrive byte for byte.
	if r := l.sh("demo", `printf '\000\377\376\303\050\033]0;title\007\033[2J\342\200\256'`); r.stdout != "\x00\xff\xfe\xc3(\x1b]0;title\a\x1b[2J\xe2\x80\xae" {
		t.Errorf("%q", r.stdout)
	}
	// Without an end: the reader decides when it is enough.
	endless := l.command("session", "exec", "demo", "--", "sh", "-c", "while :; do echo more; done")
	out, err := endless.StdoutPipe()
	l.must(err)
	l.must(endless.Start())
	if _, err := io.CopyN(io.Discard, out, 1<<20); err != nil {
		t.Error(err)
	}
	l.must(out.Close())
	_ = endless.Wait()
	l.usable("demo")
}

// counter counts what is written to it, and the bytes that are not wanted.
type counter struct {
	want     byte
	n, wrong int
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += len(p)
	c.wrong += len(p) - bytes.Count(p, []byte{c.want})
	return len(p), nil
}

// R06: processes that ignore every request, left their parents and their
// terminal, are gone with the session all the same.
func TestPodmanR06StubbornProcesses(t *testing.T) {
	l := newLab(t)
	l.ok("session", "create", "--name", "demo")
	const stubborn = `trap '' TERM HUP INT; (trap '' TERM HUP INT; setsid sh -c 'trap "" TERM HUP INT; (while :; do sleep 7711; done) & exit' &) ; sleep 0.2; ps | grep -c 'sleep 7711$'`
	if r := l.sh("demo", stubborn); r.stdout != "1\n" {
		t.Fatalf("%v", r)
	}
	l.usable("demo")
	begun := time.Now()
	l.ok("session", "stop", "demo", "--grace", "2s")
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("the stop took %v", took)
	}
	for _, p := range processes(t) {
		if strings.Contains(p, "7711") {
			t.Errorf("left: %s", p)
		}
	}
	if s := l.session("demo"); s.Status != api.StatusStopped {
		t.Errorf("%+v", s)
	}
	l.ok("session", "start", "demo")
	l.usable("demo")
}

// A session without work ends by itself, with no ccc there; one that works in
// the background lives on.
func TestPodmanR07Idle(t *testing.T) {
	l := newLab(t)
	l.ok("session", "create", "--name", "quiet", "--idle", "3s")
	l.ok("session", "create", "--name", "busy", "--idle", "3s")
	work := l.command("session", "exec", "busy", "--", "sh", "-c", "while :; do :; done")
	l.must(work.Start())
	for range 100 {
		if l.session("quiet").Status == api.StatusStopped {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	if s := l.session("quiet"); s.Ended != api.EndedIdle || s.ExitCode == nil || *s.ExitCode != 123 {
		t.Errorf("without work: %+v", s)
	}
	if s := l.session("busy"); s.Status != api.StatusRunning {
		t.Errorf("at work: %+v", s)
	}
	l.ok("session", "rm", "--yes", "busy")
	_ = work.Wait()
	l.ok("session", "start", "quiet")
	l.usable("quiet")
}

// newRealLab is newLab with the real session image.
func newRealLab(t *testing.T) *lab {
	t.Helper()
	l := newLab(t)
	for i, e := range l.env {
		if strings.HasPrefix(e, "CCC_IMAGE=") {
			l.env[i] = "CCC_IMAGE=localhost/ccc-session:latest"
		}
	}
	return l
}
