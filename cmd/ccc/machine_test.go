package main_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/probe"
)

// machine is a lab on a whole machine: one with a systemd of the user's own,
// delegated control groups, a security module that enforces. testdata/machine/run
// boots it, and nothing of these tests may be skipped there. What they compare
// ccc's words with is read from the kernel and from systemd, not from ccc.
type machine struct{ *lab }

// newMachine leaves the test out unless it runs there.
func newMachine(t *testing.T) machine {
	t.Helper()
	if os.Getenv("CCC_TEST_MACHINE") != "1" {
		t.Skip("set CCC_TEST_MACHINE=1 on a machine with systemd and AppArmor; make test-machine boots one")
	}
	m := machine{newLab(t)}
	m.confine()
	return m
}

// any runs a program to its end, whatever its exit code.
func (m machine) any(name string, args ...string) result {
	m.Helper()
	return m.run(exec.CommandContext(m.Context(), name, args...))
}

// answers fails the test unless the machine itself still starts programs.
func (m machine) answers() {
	m.Helper()
	if r := m.any("uptime"); r.code != 0 {
		m.Errorf("the machine does not answer: %v", r)
	}
}

// read returns a small file without the space around it.
func (m machine) read(file string) string {
	m.Helper()
	data, err := os.ReadFile(file)
	m.must(err)
	return strings.TrimSpace(string(data))
}

// eventually waits until done is true; the machine may be very slow.
func (m machine) eventually(what string, done func() bool) {
	m.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			m.Fatalf("never happened: %s", what)
		}
	}
}

// box is a session, seen from outside.
type box struct {
	machine
	api.Session
	// pid is its first process, cgroup the directory of that one's control group.
	pid    int
	cgroup string
}

// create makes a session, which goes with the test, and finds it in the kernel.
func (m machine) create(flags ...string) box {
	m.Helper()
	b := box{machine: m}
	out := m.ok(append([]string{"session", "create", "--json"}, flags...)...)
	if err := json.Unmarshal([]byte(out), &b.Session); err != nil {
		m.Fatalf("%v: %s", err, out)
	}
	pid := m.podman("inspect", "--format", "{{.State.Pid}}", "ccc-"+string(b.Name))
	var err error
	if b.pid, err = strconv.Atoi(strings.TrimSpace(pid)); err != nil || b.pid == 0 {
		m.Fatalf("the session's first process is %q", pid)
	}
	of := m.read(fmt.Sprintf("/proc/%d/cgroup", b.pid))
	own := regexp.MustCompile(`^0::(/.*/libpod-[0-9a-f]{64}\.scope/.*)$`).FindStringSubmatch(of)
	if own == nil {
		m.Fatalf("the session has no scope of its own: %s", of)
	}
	b.cgroup = filepath.Join("/sys/fs/cgroup", own[1])
	return b
}

// does runs a script in the session.
func (b box) does(script string) result {
	b.Helper()
	return b.sh(string(b.Name), script)
}

// alive fails the test unless the session runs a command.
func (b box) alive() {
	b.Helper()
	if r := b.does("echo here"); r.code != 0 || r.stdout != "here\n" {
		b.Errorf("session %s does not answer: %v", b.Name, r)
	}
}

// control returns a control of the session's posture.
func (b box) control(name string) api.Control {
	b.Helper()
	i := slices.IndexFunc(b.Posture, func(c api.Control) bool { return c.Name == name })
	if i < 0 {
		b.Fatalf("the posture says nothing of %s: %+v", name, b.Posture)
	}
	return b.Posture[i]
}

// group reads a file of the session's control group.
func (b box) group(file string) string {
	b.Helper()
	return b.read(filepath.Join(b.cgroup, file))
}

// counter reads a number from such a file with lines "KEY NUMBER".
func (b box) counter(file, key string) int64 {
	b.Helper()
	text := b.group(file)
	for line := range strings.Lines(text) {
		if k, value, _ := strings.Cut(strings.TrimSpace(line), " "); k == key {
			n, err := strconv.ParseInt(value, 10, 64)
			b.must(err)
			return n
		}
	}
	b.Fatalf("%s has no %s: %s", file, key, text)
	return 0
}

// Where systemd keeps podman.socket, ccc uses that and starts nothing itself.
func TestMachineUsesTheSocketOfSystemd(t *testing.T) {
	m := newMachine(t)
	if r := m.any("systemctl", "--user", "stop", "podman.socket", "podman.service"); r.code != 0 {
		t.Fatal(r)
	}
	active := func(unit string) bool { return m.any("systemctl", "--user", "is-active", "--quiet", unit).code == 0 }
	if active("podman.socket") || active("podman.service") {
		t.Fatal("Podman's units cannot be stopped: the test would prove nothing")
	}
	m.ok("session", "list")
	if !active("podman.socket") {
		t.Error("ccc did not start podman.socket")
	}
	main := m.any("systemctl", "--user", "show", "--value", "--property=MainPID", "podman.service").stdout
	if pid, err := strconv.Atoi(strings.TrimSpace(main)); err != nil || pid == 0 {
		t.Errorf("systemd did not start podman.service: %q", main)
	}
	own := filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "ccc", "podman.sock")
	if _, err := os.Lstat(own); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ccc has a socket of its own: %v", err)
	}
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	m.must(err)
	for _, file := range files {
		// One may be gone by now.
		if line, _ := os.ReadFile(file); strings.Contains(string(line), own) {
			t.Errorf("ccc has a service of its own: %q", line)
		}
	}
}

func TestMachineDoctorFindsOnlyWhatIsMissing(t *testing.T) {
	m := newMachine(t)
	var found []probe.Finding
	r := m.ccc("doctor", "--json")
	if err := json.Unmarshal([]byte(r.stdout), &found); err != nil || r.code != 0 {
		t.Fatalf("%v: %v", err, r)
	}
	// Without a network this machine has no use for mmdebstrap.
	missing := []string{"mmdebstrap"}
	for _, f := range found {
		if f.Verdict != probe.OK && !slices.Contains(missing, f.Check) {
			t.Errorf("%+v", f)
		}
	}
	for _, check := range []string{"limits", "storage", "engine", "seccomp", "security module", "session image"} {
		if !slices.ContainsFunc(found, func(f probe.Finding) bool { return f.Check == check && f.Verdict == probe.OK }) {
			t.Errorf("%s is not ok: %+v", check, found)
		}
	}
}

// The posture says enforced where the kernel has the very limit.
func TestMachineLimitsAreInTheKernel(t *testing.T) {
	b := newMachine(t).create("--memory", "256m", "--cpus", "0.5", "--pids", "64")
	for _, name := range []string{"memory", "cpu", "pids"} {
		if c := b.control(name); c.State != api.StateEnforced {
			t.Errorf("%+v", c)
		}
	}
	for file, want := range map[string]string{
		"memory.max": "268435456", "memory.swap.max": "0", "cpu.max": "50000 100000", "pids.max": "64",
	} {
		if got := b.group(file); got != want {
			t.Errorf("%s is %q, want %q", file, got, want)
		}
	}
}

// What is required is refused for exactly what the posture says is short of it,
// and nothing of the session is left.
func TestMachineRequireRefusesWhatFallsShort(t *testing.T) {
	m := newMachine(t)
	posture := m.create().Posture
	for _, require := range []api.Require{api.RequireFallback, api.RequireEnforced} {
		short := posture.Short(require)
		r := m.ccc("session", "create", "--name", "required", "--require", string(require))
		if refused := r.code == api.KindDegraded.ExitCode(); refused != (len(short) > 0) || !refused && r.code != 0 {
			t.Errorf("--require %s, short is %+v: %v", require, short, r)
		}
		for _, c := range posture {
			if says := strings.Contains(r.stderr, c.Name+" is "+string(c.State)); says != slices.Contains(short, c) {
				t.Errorf("--require %s, %s is %s: %v", require, c.Name, c.State, r)
			}
		}
		left := m.podman("ps", "--all", "--quiet", "--filter", "name=^ccc-required$")
		if (left == "") != (len(short) > 0) {
			t.Errorf("--require %s, short is %+v, there is %q", require, short, left)
		}
		m.ok("session", "rm", "--yes", "required")
	}
}

// hog reads 200 MB into memory at once.
const hog = "busybox dd if=/dev/zero of=/dev/null bs=209715200 count=1"

func TestMachineMemoryHogDiesAlone(t *testing.T) {
	m := newMachine(t)
	small, other := m.create("--memory", "64m"), m.create("--memory", "512m")
	if r := small.does(hog); r.code != 137 || !strings.Contains(r.stderr, "memory was used up") {
		t.Errorf("200 MB in 64 MB: %v", r)
	}
	all := m.records()
	if last := all[len(all)-1]; last.Action != "session.exec" || string(last.Detail) != `{"code":137,"oom_killed":true}` {
		t.Errorf("the record is %+v", last)
	}
	if !m.session(string(small.Name)).OOMKilled || m.session(string(other.Name)).OOMKilled {
		t.Error("the session is not said to have run out of memory, or the other one is")
	}
	// Where the limit does not stand in the way the same command succeeds.
	if r := other.does(hog); r.code != 0 || strings.Contains(r.stderr, "memory was used up") {
		t.Errorf("200 MB in 512 MB: %v", r)
	}
	small.alive()
	other.alive()
	m.answers()
	if small.counter("memory.events", "oom_kill") == 0 || other.counter("memory.events", "oom_kill") > 0 {
		t.Error("it was not the kernel, or not the limit, that ended the hog")
	}
	// Podman tells of it when the session is over.
	m.ok("session", "stop", string(small.Name))
	says := strings.TrimSpace(m.podman("inspect", "--format", "{{.State.OOMKilled}}", "ccc-"+string(small.Name)))
	if after := m.session(string(small.Name)); !after.OOMKilled || says != "true" {
		t.Errorf("oom_killed is %v, Podman says %s", after.OOMKilled, says)
	}
}

// start runs a script in the session, does not wait for it, and returns when it
// has printed the words. It is over when end was called, or the test is.
func (b box) start(script, words string) (end func()) {
	b.Helper()
	cmd := b.command("session", "exec", string(b.Name), "--", "sh", "-c", script)
	// So that ccc ends what it started: killed, it cannot.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	out, in, err := os.Pipe()
	b.must(err)
	cmd.Stdout, cmd.Stderr = in, in
	b.must(cmd.Start())
	b.must(in.Close())
	end = sync.OnceFunc(func() {
		_ = cmd.Cancel() // it may be over
		_ = cmd.Wait()
		_ = out.Close()
	})
	b.Cleanup(end)
	b.must(out.SetReadDeadline(time.Now().Add(time.Minute)))
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.Contains(lines.Text(), words) {
			// Nothing that is printed later may block it.
			b.must(out.SetReadDeadline(time.Time{}))
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return end
		}
	}
	b.Fatalf("%q never said %q: %v", script, words, lines.Err())
	return nil
}

// bomb doubles itself for ever.
const bomb = "bomb() { bomb | bomb & sleep 1; }; bomb; sleep 600"

func TestMachineForkBombStopsAtTheCap(t *testing.T) {
	m := newMachine(t)
	small, large, other := m.create("--pids", "40"), m.create("--pids", "80"), m.create()
	peak := func(b box) int {
		n, err := strconv.Atoi(b.group("pids.peak"))
		m.must(err)
		return n
	}
	small.start(bomb, "can't fork")
	other.alive()
	m.answers()
	if n := peak(small); n > 40 {
		t.Errorf("there were %d processes where 40 are allowed", n)
	}
	// The session can be removed while it does its worst.
	m.ok("session", "rm", "--yes", string(small.Name))
	if _, err := os.Stat(small.cgroup); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the session's control group is still there: %v", err)
	}
	// The same bomb grows further where it may.
	large.start(bomb, "can't fork")
	if n := peak(large); n <= 40 || n > 80 {
		t.Errorf("there were %d processes where 80 are allowed", n)
	}
}

// What one session uses up must not be missing in another.
func TestMachineProcessLimitsAreNotShared(t *testing.T) {
	m := newMachine(t)
	full, other := m.create("--pids", "40"), m.create("--pids", "40")
	defer full.start("for i in $(seq 60); do sleep 600 & done", "can't fork")()
	other.alive()
	if r := other.does("for i in $(seq 20); do sleep 2 & done; wait"); r.code != 0 || r.stderr != "" {
		t.Errorf("20 processes where 40 are allowed, beside a session that is full: %v", r)
	}
	m.create("--pids", "40").alive()
}

// burn lets the session compute for some seconds and returns the share of a
// processor that it got.
func (b box) burn() float64 {
	b.Helper()
	defer b.start("echo here; while :; do :; done", "here")()
	used, start := b.counter("cpu.stat", "usage_usec"), time.Now()
	time.Sleep(4 * time.Second)
	used = b.counter("cpu.stat", "usage_usec") - used
	return float64(used) / float64(time.Since(start).Microseconds())
}

func TestMachineBurnerGetsItsShare(t *testing.T) {
	m := newMachine(t)
	half, whole := m.create("--cpus", "0.5"), m.create("--cpus", "1")
	got, free := half.burn(), whole.burn()
	held := half.counter("cpu.stat", "nr_throttled")
	t.Logf("of a processor: %.2f with --cpus 0.5 (held back %d times), %.2f with --cpus 1", got, held, free)
	// The bounds are wide, and apart: what the first must not exceed, the same
	// loop exceeds where it may.
	if got < 0.2 || got > 0.65 || held == 0 {
		t.Errorf("half a processor gave %.2f, held back %d times", got, held)
	}
	if free < 0.75 {
		t.Errorf("without the limit the loop gets %.2f: the machine is too busy to tell", free)
	}
}

// The life of a session ends without any ccc: the engine's monitor does it.
func TestMachineLifetimeEndsWithoutCCC(t *testing.T) {
	m := newMachine(t)
	long, short := m.create("--ttl", "1h"), m.create("--ttl", "8s")
	first := fmt.Sprintf("/proc/%d", short.pid)
	for _, p := range processes(t) {
		if strings.Contains(p, m.bin) {
			t.Errorf("a ccc is running: %s", p)
		}
	}
	if _, err := os.Stat(first); err != nil {
		t.Fatalf("the session is over before it was looked at: %v", err)
	}
	m.eventually("the session's first process ends", func() bool {
		_, err := os.Stat(first)
		return errors.Is(err, fs.ErrNotExist)
	})
	long.alive()
	if after := m.session(string(short.Name)); after.Status != api.StatusExpired {
		t.Errorf("the session is %s", after.Status)
	}
}

// canary is a program that the machine's AppArmor forbids one file; beside it is
// the same one, free.
const canary = "/usr/local/lib/canary/"

// AppArmor enforces here: what these tests see of it is not for want of it.
func TestMachineAppArmorEnforces(t *testing.T) {
	m := newMachine(t)
	const attack = "echo x > /tmp/canary-denied"
	if r := m.any(canary+"confined/sh", "-c", attack); r.code == 0 {
		t.Fatal("AppArmor does not enforce on this machine")
	}
	if r := m.any(canary+"free/sh", "-c", attack); r.code != 0 {
		t.Fatalf("what AppArmor denies fails without it, too: %v", r)
	}
}
