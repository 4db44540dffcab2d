package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/guest"
)

const zombies = `grep -l '^State:.*zombie' /proc/[0-9]*/status 2>/dev/null | wc -l`

// orphans makes a thousand processes whose parents end before them.
const orphans = `for i in $(seq 1000); do (sleep 0.5 &); done`

func TestOrphansAreReaped(t *testing.T) {
	t.Parallel()
	s := start(t, within(time.Hour))
	before := field(s.pid, "Threads")
	s.sh(orphans)
	s.await("no zombie is left", func() bool { return s.sh(zombies) == "0" })
	// It must not need more of them when the session is full.
	if after := field(s.pid, "Threads"); after != before {
		t.Errorf("it had %s threads, and has %s", before, after)
	}

	// A first process that does not care shows what would be left.
	other := launch(t, t.TempDir(), nil, "sleep", "1000")
	other.sh(orphans)
	other.await("the zombies are there", func() bool { return other.sh(zombies) == "1000" })
}

// shortly is an idle time that a test can wait for and a busy machine's pauses
// do not exceed.
const shortly = 5 * time.Second

func TestDeadlineEndsTheSession(t *testing.T) {
	t.Parallel()
	s := start(t, within(5*time.Second))
	s.background(`trap '' TERM; while :; do :; done`)
	if code := s.wait(); code != guest.ExitLifetime {
		t.Errorf("exit code %d", code)
	}
	if said := s.saidSince(); said != "ccc-init: session ends: lifetime is over\n" {
		t.Errorf("said %q", said)
	}
}

func TestIdlenessEndsTheSession(t *testing.T) {
	t.Parallel()
	life := within(time.Hour)
	life.Idle = shortly
	s := start(t, life)
	s.background(`exec sleep 1000`)
	s.terminal("bash", "--norc", "-i")
	s.await("the server sleeps, and the shell waits at its prompt", func() bool {
		return s.sh(`pgrep -cx sleep; pgrep -cfx 'bash --norc -i'; true`) == "1\n1"
	})
	if code := s.wait(); code != guest.ExitIdle {
		t.Errorf("exit code %d", code)
	}
	if said := s.saidSince(); said != "ccc-init: session ends: idle for 5s\n" {
		t.Errorf("said %q", said)
	}
}

// TestWorkKeepsTheSession: each kind of work goes on for longer than the idle
// time and leaves a sign that it came to its end.
func TestWorkKeepsTheSession(t *testing.T) {
	t.Parallel()
	for name, work := range map[string]string{
		"one process": `while [ $SECONDS -lt 12 ]; do :; done`,
		"many short ones, one after the other": `
			while [ $SECONDS -lt 12 ]; do bash -c 'for i in {1..2000}; do :; done'; done`,
		"orphans that come and go": `
			while [ $SECONDS -lt 12 ]; do (setsid bash -c 'for i in {1..5000}; do :; done' &); sleep 0.05; done`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			life := within(time.Hour)
			life.Idle = shortly
			s := start(t, life)
			done := filepath.Join(t.TempDir(), "done")
			s.background(work + "\ntouch " + done)
			if code := s.wait(); code != guest.ExitIdle {
				t.Errorf("exit code %d", code)
			}
			if !exists(t, done) {
				t.Error("the session ended while it was at work")
			}
		})
	}
}

// TestAnnouncementKeepsTheSession: commands that do next to nothing, but come.
func TestAnnouncementKeepsTheSession(t *testing.T) {
	t.Parallel()
	life := within(time.Hour)
	life.Idle = shortly
	s := start(t, life)
	program := ccInit(t)
	for begun := guest.Boottime(); guest.Boottime() < begun+2*shortly; {
		if out, code := output(t, s.command(program, "exec", "--announce", "--", "true")); code != 0 {
			t.Fatalf("the session is gone: %d, %s", code, out)
		}
		time.Sleep(500 * time.Millisecond)
	}
	if code := s.wait(); code != guest.ExitIdle {
		t.Errorf("exit code %d", code)
	}
}

// TestTypingKeepsTheSession: a person at a terminal whose work is done elsewhere.
// The kernel tells of input with eight seconds' precision.
func TestTypingKeepsTheSession(t *testing.T) {
	t.Parallel()
	life := within(time.Hour)
	life.Idle = 10 * time.Second
	s := start(t, life)
	keyboard := s.terminal("cat")
	begun := guest.Boottime()
	for guest.Boottime() < begun+2*life.Idle {
		if s.isEnded() {
			t.Fatal("the session ended under a person's hands")
		}
		if _, err := keyboard.Write([]byte("x\n")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(500 * time.Millisecond)
	}
	if code := s.wait(); code != guest.ExitIdle {
		t.Errorf("exit code %d", code)
	}
}

func TestLifeIsReadAgain(t *testing.T) {
	t.Parallel()
	life := within(2 * shortly)
	s := start(t, life)
	// Times of the file are the wall clock's, and nobody's business.
	for _, at := range []time.Time{time.Unix(0, 0), time.Now().AddDate(1, 0, 0)} {
		if err := os.Chtimes(guest.LifeFile(s.dir), at, at); err != nil {
			t.Fatal(err)
		}
	}
	longer := guest.Life{Deadline: life.Deadline + shortly, Warn: time.Second}
	if err := guest.WriteLife(s.dir, longer); err != nil {
		t.Fatal(err)
	}
	s.await("the new life is noticed", func() bool { return strings.Contains(s.said(), "session now ends in") })
	// What is not understood changes nothing.
	if err := os.WriteFile(guest.LifeFile(s.dir), []byte("deadline 1"), 0o644); err != nil {
		t.Fatal(err)
	}
	if code := s.wait(); code != guest.ExitLifetime {
		t.Errorf("exit code %d", code)
	}
	if now := guest.Boottime(); now < longer.Deadline {
		t.Errorf("it ended %v too early", longer.Deadline-now)
	}
	for _, want := range []string{"warning: the life file does not end with a line break; the last good one stays in force", "session ends in "} {
		if !strings.Contains(s.said(), want) {
			t.Errorf("said %q, without %q", s.said(), want)
		}
	}
}

func TestRefusesToStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Symlink("/", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		life string
		args []string
		want string
	}{
		"no life file":       {"", nil, "read the life file: no such file or directory"},
		"nonsense":           {"deadline soon\n", nil, `the life file deadline is no number of nanoseconds: "soon"`},
		"nowhere to write":   {"deadline 1\n", []string{"--write", dir + "/none"}, "allow writing to " + dir + "/none: no such file or directory"},
		"a way out":          {"deadline 1\n", []string{"--write", dir + "/link"}, "allow writing to " + dir + "/link: it is a symbolic link"},
		"too much is wanted": {"deadline 1\n", []string{"--require-landlock", "6"}, "5 is the highest that is used"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if c.life != "" {
				if err := os.WriteFile(guest.LifeFile(dir), []byte(c.life), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			s := launch(t, dir, nil, append([]string{ccInit(t), "pid1", "--session", dir}, c.args...)...)
			if code := s.wait(); code != guest.ExitRefused || !strings.Contains(s.said(), c.want) {
				t.Errorf("exit code %d, said %q; want %d, %q", code, s.said(), guest.ExitRefused, c.want)
			}
		})
	}
}

func TestRefusesToBeAnythingButFirst(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := guest.WriteLife(dir, within(time.Hour)); err != nil {
		t.Fatal(err)
	}
	out, code := output(t, exec.Command(ccInit(t), "pid1", "--session", dir))
	if code != guest.ExitRefused || out != "ccc-init: error: pid1 is for the first process of a session" {
		t.Errorf("exit code %d, said %q", code, out)
	}
}

// stubborn are processes that do not want to end; what obeys leaves a file.
const stubborn = `
	cd "$1"
	bash -c 'trap "" TERM INT HUP; touch ready1; while :; do sleep 1000; done' &
	(setsid bash -c 'trap "" TERM; touch ready2; exec sleep 1000' &)
	(setsid bash -c '(trap "" TERM; touch ready3; sleep 1000; touch never) & exec true' &)
	bash -c 'trap "touch obeyed; exit" TERM; touch ready4; while :; do sleep 0.05; done' &
	bash -c 'trap "touch obeyed-stopped; exit" TERM; touch ready5; while :; do sleep 0.05; done' & stopped=$!
	while [ ! -e ready5 ]; do sleep 0.01; done
	kill -STOP $stopped
	touch ready
	wait`

func TestStubbornProcessesEnd(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]struct {
		left time.Duration
		code int
	}{
		"asked to end": {time.Hour, guest.ExitStopped},
		"deadline":     {10 * time.Second, guest.ExitLifetime},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, within(how.left))
			dir := t.TempDir()
			s.background("set -- " + dir + "\n" + stubborn)
			for _, ready := range []string{"ready", "ready1", "ready2", "ready3", "ready4"} {
				s.await("the processes are there", func() bool { return exists(t, filepath.Join(dir, ready)) })
			}
			if how.code == guest.ExitStopped {
				if err := unix.Kill(s.pid, unix.SIGTERM); err != nil {
					t.Fatal(err)
				}
			}
			if code := s.wait(); code != how.code {
				t.Errorf("exit code %d, want %d", code, how.code)
			}
			for _, obeyed := range []string{"obeyed", "obeyed-stopped"} {
				if !exists(t, filepath.Join(dir, obeyed)) {
					t.Errorf("a process that would have obeyed was not asked: %s", obeyed)
				}
			}
			if out, code := output(t, exec.Command("pgrep", "-f", dir)); code != 1 {
				t.Errorf("still there: %s", out)
			}
		})
	}
}

// TestSignalsDoNotEndIt sends every signal but the two that are to end it, from
// inside, where anybody may send them.
func TestSignalsDoNotEndIt(t *testing.T) {
	t.Parallel()
	s := start(t, within(time.Hour))
	// One that is neither handled nor ignored kills it if it comes at a moment at
	// which the first thread blocks it. Moments cannot be tried, so look.
	for n := 1; n <= 64; n++ {
		if n != int(unix.SIGKILL) && n != int(unix.SIGSTOP) && !s.deals(n) {
			t.Errorf("signal %d is left to the kernel", n)
		}
	}
	s.sh(`for n in $(seq 64); do
		case $n in 2|15) continue ;; esac
		kill -$n 1 2>/dev/null; kill -$n 1 2>/dev/null; kill -$n 1 2>/dev/null
	done; true`)
	s.sh(orphans)
	s.await("it still works", func() bool { return s.sh(zombies) == "0" })
	if said := s.saidSince(); said != "" {
		t.Errorf("said %q", said)
	}
	if err := unix.Kill(s.pid, unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := s.wait(); code != guest.ExitStopped {
		t.Errorf("exit code %d", code)
	}
}

// deals tells whether the first process handles or ignores a signal.
func (s *session) deals(n int) bool {
	s.t.Helper()
	for _, mask := range []string{"SigIgn", "SigCgt"} {
		m, err := strconv.ParseUint(field(s.pid, mask), 16, 64)
		if err != nil {
			s.t.Fatal(err)
		}
		if m>>(n-1)&1 == 1 {
			return true
		}
	}
	return false
}

// TestCannotBeTamperedWith: what a process of the same user could do to make it
// forget the end, tried on it and on a first process that is not hardened.
func TestCannotBeTamperedWith(t *testing.T) {
	t.Parallel()
	hardened := start(t, within(time.Hour))
	plain := launch(t, t.TempDir(), nil, "sleep", "1000")
	for name, attack := range map[string]string{
		"read its memory":      `exec 3</proc/1/mem`,
		"write its memory":     `exec 3<>/proc/1/mem`,
		"read its environment": `[ -n "$(tr -d '\0' </proc/1/environ)" ]`,
		"go through its root":  `ls /proc/1/root/ | grep -q .`,
		"take its place":       `ls -l /proc/1/exe | grep -q -- '->'`,
	} {
		t.Run(name, func(t *testing.T) {
			if out, code := output(t, plain.command("bash", "-c", attack)); code != 0 {
				t.Fatalf("the attack does not work even on a process that is not hardened: %s", out)
			}
			if out, code := output(t, hardened.command("bash", "-c", attack)); code == 0 {
				t.Errorf("it worked: %s", out)
			}
		})
	}
}

// TestBlindedItStillEndsTheSession: a process of the same user may lower its
// limits, and takes all descriptors from it, so that it can neither read its life
// nor look for work. What it knows, it keeps to.
func TestBlindedItStillEndsTheSession(t *testing.T) {
	t.Parallel()
	life := within(2 * shortly)
	life.Idle = time.Second
	s := start(t, life)
	s.sh(`python3 -c 'import resource as r; r.prlimit(1, r.RLIMIT_NOFILE, (0, 0))'`)
	if code := s.wait(); code != guest.ExitLifetime {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(s.said(), "warning: read the life file: too many open files; the last good one stays in force") {
		t.Errorf("it was not blinded, so nothing is shown: %q", s.said())
	}
}

// TestInheritsNothing starts it with descriptors that somebody forgot.
func TestInheritsNothing(t *testing.T) {
	t.Parallel()
	stray, err := os.Open("/etc")
	if err != nil {
		t.Fatal(err)
	}
	defer stray.Close()
	open := func(s *session) []string {
		links, err := filepath.Glob("/proc/" + field(s.pid, "Pid") + "/fd/*")
		if err != nil {
			t.Fatal(err)
		}
		var targets []string
		for _, l := range links {
			if target, err := os.Readlink(l); err == nil {
				targets = append(targets, target)
			}
		}
		return targets
	}
	plain := launch(t, t.TempDir(), []*os.File{stray, stray}, "sleep", "1000")
	if got := open(plain); !strings.Contains(strings.Join(got, " "), "/etc") {
		t.Fatalf("the descriptor did not get so far: %q", got)
	}
	dir := t.TempDir()
	if err := guest.WriteLife(dir, within(time.Hour)); err != nil {
		t.Fatal(err)
	}
	s := launch(t, dir, []*os.File{stray, stray}, ccInit(t), "pid1", "--session", dir)
	s.await("it is ready", s.settled)
	for _, target := range open(s) {
		if target != "/dev/null" && target != s.log && !strings.HasPrefix(target, "anon_inode:") {
			t.Errorf("it holds %s", target)
		}
	}
}

// TestConfinesItself: it confines itself as it confines commands, so that what
// cannot be applied is found at the start.
func TestConfinesItself(t *testing.T) {
	t.Parallel()
	s := start(t, within(time.Hour), "--write", t.TempDir())
	if got := field(s.pid, "NoNewPrivs"); got != "1" {
		t.Errorf("NoNewPrivs %q", got)
	}
}
