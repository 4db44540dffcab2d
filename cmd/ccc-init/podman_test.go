package main_test

import (
	"bytes"
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

	"github.com/ccc-dev/ccc/internal/engine/enginetest"
	"github.com/ccc-dev/ccc/internal/guest"
	"github.com/ccc-dev/ccc/internal/kernel"
)

const testImage = "localhost/ccc-init-test:1"

// writable is where a session may write. /scratch is mounted read-write too, but
// is not in the list: only Landlock keeps a command from it.
var writable = []string{"/workspace", "/home/agent", "/tmp", "/run", "/dev/shm"}

// container is a session in real rootless Podman.
type container struct {
	t    testing.TB
	name string
	// dir is what it has at guest.SessionDir.
	dir string
}

// podman runs a podman command and returns what it printed and its exit code.
func podman(t testing.TB, args ...string) (string, int) {
	t.Helper()
	return output(t, exec.Command("podman", args...))
}

// needPodman leaves the test out unless real Podman was asked for; then, one that
// cannot be used is a failure.
func needPodman(t testing.TB) {
	t.Helper()
	if os.Getenv("CCC_TEST_PODMAN") != "1" {
		t.Skip("set CCC_TEST_PODMAN=1 to test against real rootless Podman")
	}
	if _, code := podman(t, "image", "exists", testImage); code == 0 {
		return
	}
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatalf("install Debian's busybox-static: %v", err)
	}
	cmd := exec.Command("podman", "import", "-q", "-", testImage)
	cmd.Stdin = enginetest.Rootfs(program)
	if said, code := output(t, cmd); code != 0 {
		t.Fatalf("real Podman was asked for and cannot be used: %s", said)
	}
}

// hardened are the options of every session.
var hardened = []string{
	"--cap-drop=all", "--security-opt=no-new-privileges", "--read-only", "--read-only-tmpfs=false",
	"--network=none", "--userns=keep-id", "--ulimit=nofile=4096:4096",
	"--tmpfs=/tmp:mode=1777", "--tmpfs=/run:mode=1777", "--tmpfs=/scratch:mode=1777",
	"--tmpfs=/workspace:mode=1777", "--tmpfs=/home/agent:mode=1777", "--workdir=/workspace",
}

// run starts a container with ccc-init as its first process.
func run(t testing.TB, life guest.Life, options ...string) *container {
	t.Helper()
	return runArgv(t, life, guest.PID1Argv(guest.Bounds{Write: writable}), options...)
}

// runArgv starts a container with another first process.
func runArgv(t testing.TB, life guest.Life, argv []string, options ...string) *container {
	t.Helper()
	needPodman(t)
	c := &container{t: t, name: "ccc-init-" + strconv.FormatInt(time.Now().UnixNano(), 36), dir: t.TempDir()}
	if err := guest.WriteLife(c.dir, life); err != nil {
		t.Fatal(err)
	}
	args := slices.Concat([]string{"run", "--detach", "--name", c.name}, hardened, options, []string{
		"--volume", theProgram(t) + ":" + guest.Path + ":ro",
		"--volume", c.dir + ":" + guest.SessionDir + ":ro", testImage,
	}, argv)
	t.Cleanup(func() { podman(t, "rm", "--force", "--time", "0", c.name) })
	if said, code := podman(t, args...); code != 0 {
		t.Fatalf("podman run: %d, %s", code, said)
	}
	return c
}

// theProgram is ccc-init as it is mounted: the one that was built, if the
// environment says where, else this very binary, which is ccc-init too.
func theProgram(t testing.TB) string {
	t.Helper()
	if p := os.Getenv("CCC_TEST_INIT"); p != "" {
		return p
	}
	return mustExecutable(t)
}

// state returns a field of podman inspect.
func (c *container) state(field string) string {
	c.t.Helper()
	said, code := podman(c.t, "inspect", "--format", "{{.State."+field+"}}", c.name)
	if code != 0 {
		c.t.Fatalf("podman inspect: %s", said)
	}
	return said
}

func (c *container) pid() int {
	c.t.Helper()
	pid, err := strconv.Atoi(c.state("Pid"))
	if err != nil || pid == 0 {
		c.t.Fatalf("it has no process: %v\n%s", err, c.said())
	}
	return pid
}

// bare runs a command without the shim, confined runs it as every command of a
// session is run.
func (c *container) bare(argv ...string) (string, int) {
	return podman(c.t, slices.Concat([]string{"exec", c.name}, argv)...)
}

func (c *container) confined(argv ...string) (string, int) {
	return c.bare(guest.ExecArgv(guest.Bounds{Write: writable}, argv)...)
}

// wait waits for the end of the first process and returns its exit code.
func (c *container) wait() int {
	c.t.Helper()
	said, code := output(c.t, exec.Command("timeout", fmt.Sprint(patience.Seconds()), "podman", "wait", c.name))
	n, err := strconv.Atoi(said)
	if code != 0 || err != nil {
		c.t.Fatalf("podman wait: %d, %s\n%s", code, said, c.said())
	}
	return n
}

func (c *container) said() string {
	said, _ := podman(c.t, "logs", c.name)
	return said
}

// TestPodmanAttestation: what the host reads to attest a session, it still reads,
// though the session itself can not.
func TestPodmanAttestation(t *testing.T) {
	c := run(t, within(time.Hour))
	pid := c.pid()
	facts, err := kernel.Reader{}.Process(pid, []string{"/workspace", guest.Path, guest.SessionDir})
	if err != nil {
		t.Fatal(err)
	}
	if !facts.NoNewPrivs || facts.CapBounding != 0 || facts.Seccomp != 2 || facts.UID != os.Getuid() || !facts.UserNamespace || len(facts.NetworkInterfaces) > 0 {
		t.Errorf("facts: %+v", facts)
	}
	mounts := map[string]kernel.Mount{}
	for _, m := range facts.Mounts {
		mounts[m.Point] = m
	}
	for _, point := range []string{guest.Path, guest.SessionDir} {
		if m := mounts[point]; !slices.Contains(m.Options, "ro") || m.Ino == 0 {
			t.Errorf("%s is not a read-only mount that can be told: %+v", point, m)
		}
	}
	if entries, err := (kernel.Reader{}).Entries(pid, guest.SessionDir, 9); err != nil || len(entries) != 1 || entries[0].Name != "life" {
		t.Errorf("through its root: %+v, %v", entries, err)
	}
	for _, link := range []string{"root", "ns/user", "ns/pid", "ns/net", "exe", "cwd"} {
		if _, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), link)); err != nil {
			t.Error(err)
		}
	}
	for _, file := range []string{"status", "cgroup", "mountinfo", "stat", "cmdline", "net/dev", "attr/current"} {
		// Without a security module, reading its label is an error of its own.
		if _, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), file)); err != nil && file != "attr/current" {
			t.Error(err)
		}
	}
}

// TestPodmanCannotBeTamperedWith: the same user, inside, without the shim, beside
// a first process that is not hardened.
func TestPodmanCannotBeTamperedWith(t *testing.T) {
	hardened := run(t, within(time.Hour))
	plain := runArgv(t, within(time.Hour), []string{"sleep", "1000"})
	for name, attack := range map[string]string{
		"write its memory":     `exec 3<>/proc/1/mem`,
		"read its environment": `cat /proc/1/environ`,
		"see its descriptors":  `ls /proc/1/fd/`,
		"use its descriptors":  `: <>/proc/1/fd/2`,
		"go through its root":  `ls /proc/1/root/`,
	} {
		t.Run(name, func(t *testing.T) {
			if said, code := plain.bare("sh", "-c", attack); code != 0 {
				t.Fatalf("the attack does not work even on a process that is not hardened: %s", said)
			}
			if said, code := hardened.bare("sh", "-c", attack); code == 0 {
				t.Errorf("it worked: %s", said)
			}
		})
	}
	for name, attack := range map[string]string{
		"replace the program": `echo x >/.ccc/init`,
		"remove the program":  `rm -f /.ccc/init`,
		"change the life":     `echo deadline 9000000000000000000 >/.ccc/session/life`,
		"replace the life":    `touch /.ccc/session/x`,
	} {
		if said, code := hardened.bare("sh", "-c", attack); code == 0 {
			t.Errorf("%s: it worked: %s", name, said)
		}
	}
}

func TestPodmanEndsByItself(t *testing.T) {
	for name, end := range map[string]struct {
		life func() guest.Life
		code int
		said string
	}{
		"lifetime": {func() guest.Life { return within(3 * time.Second) }, guest.ExitLifetime, "session ends: lifetime is over"},
		"idle": {func() guest.Life {
			l := within(time.Hour)
			l.Idle = 3 * time.Second
			return l
		}, guest.ExitIdle, "session ends: idle for 3s"},
	} {
		t.Run(name, func(t *testing.T) {
			c := run(t, end.life())
			podman(t, slices.Concat([]string{"exec", "--detach", c.name}, guest.ExecArgv(guest.Bounds{Write: writable}, []string{"sleep", "1000"}))...)
			if code := c.wait(); code != end.code || !strings.Contains(c.said(), end.said) {
				t.Errorf("exit code %d, said %q", code, c.said())
			}
			if running := c.state("Running"); running != "false" {
				t.Errorf("running: %s", running)
			}
		})
	}
}

// TestPodmanUseKeepsTheSession: commands that come and go, one by one, none of
// which does much; and then one long one.
func TestPodmanUseKeepsTheSession(t *testing.T) {
	life := within(time.Hour)
	life.Idle = shortly
	c := run(t, life)
	for begun := guest.Boottime(); guest.Boottime() < begun+2*shortly; time.Sleep(time.Second) {
		if said, code := c.confined("true"); code != 0 {
			t.Fatalf("the session is gone: %d, %s", code, said)
		}
	}
	if said, code := c.confined("sh", "-c", `end=$(( $(date +%s) + 12 )); while [ $(date +%s) -lt $end ]; do :; done`); code != 0 {
		t.Fatalf("the session ended while it was at work: %d, %s", code, said)
	}
	if code := c.wait(); code != guest.ExitIdle {
		t.Errorf("exit code %d", code)
	}
}

func TestPodmanLifeIsReadAgain(t *testing.T) {
	life := within(8 * time.Second)
	c := run(t, life)
	longer := guest.Life{Deadline: life.Deadline + 8*time.Second}
	if err := guest.WriteLife(c.dir, longer); err != nil {
		t.Fatal(err)
	}
	if code := c.wait(); code != guest.ExitLifetime || guest.Boottime() < longer.Deadline {
		t.Errorf("exit code %d, %v before the end", code, longer.Deadline-guest.Boottime())
	}
}

// TestPodmanStop ends sessions as Podman does.
func TestPodmanStop(t *testing.T) {
	for name, script := range map[string]string{
		"nothing runs":    "",
		"one obeys":       `sleep 1000`,
		"one does not":    `trap "" TERM INT HUP; touch /tmp/ready; while :; do sleep 1; done`,
		"one is orphaned": `(setsid sh -c 'trap "" TERM; touch /tmp/ready; while :; do sleep 1; done' &)`,
	} {
		t.Run(name, func(t *testing.T) {
			c := run(t, within(time.Hour))
			pid := c.pid()
			if script != "" {
				podman(t, slices.Concat([]string{"exec", "--detach", c.name}, guest.ExecArgv(guest.Bounds{Write: writable}, []string{"sh", "-c", script}))...)
			}
			if strings.Contains(script, "ready") {
				for _, code := c.bare("ls", "/tmp/ready"); code != 0; _, code = c.bare("ls", "/tmp/ready") {
					time.Sleep(50 * time.Millisecond)
				}
			}
			begun := time.Now()
			if said, code := podman(t, "stop", c.name); code != 0 {
				t.Fatalf("podman stop: %d, %s", code, said)
			}
			t.Logf("podman stop took %v", time.Since(begun).Round(time.Millisecond))
			if code := c.state("ExitCode"); code != strconv.Itoa(guest.ExitStopped) {
				t.Errorf("exit code %s: it was ended by force", code)
			}
			if exists(t, filepath.Join("/proc", strconv.Itoa(pid))) {
				t.Error("the first process is still there")
			}
		})
	}
}

// TestPodmanExec runs commands through the shim, and without it to show what it
// changes.
func TestPodmanExec(t *testing.T) {
	c := run(t, within(time.Hour))
	for name, attack := range map[string][]string{
		"write where nobody said": {"sh", "-c", "echo x >/scratch/x"},
		"its own name":            {"sh", "-c", "echo x >/proc/self/comm"},
		"mount as a new root":     {"busybox", "unshare", "-Urm", "busybox", "mount", "-t", "tmpfs", "none", "/scratch"},
		"plant a whiteout":        {"sh", "-c", "busybox mknod /workspace/$$ c 0 0"},
	} {
		t.Run(name, func(t *testing.T) {
			said, code := c.bare(attack...)
			if code != 0 {
				t.Fatalf("the attack does not work even without the shim: %s", said)
			}
			if said, code := c.confined(attack...); code == 0 {
				t.Errorf("it worked: %s", said)
			}
		})
	}
	for _, w := range writable {
		if said, code := c.confined("sh", "-c", "echo x >"+w+"/new && mkdir "+w+"/d && mv "+w+"/new "+w+"/d && rm -r "+w+"/d"); code != 0 {
			t.Errorf("%s is not to be written to: %s", w, said)
		}
	}
	for _, e := range []struct {
		argv []string
		code int
		said string
	}{
		{[]string{"sh", "-c", "exit 42"}, 42, ""},
		{[]string{"none"}, guest.ExitNotFound, "ccc-init: none: command not found"},
		{[]string{"/etc/passwd"}, guest.ExitNotExecutable, "ccc-init: /etc/passwd: permission denied"},
		{[]string{"sh", "-c", "kill -9 $$"}, 137, ""},
		// No -i: what is standard input then is the host's.
		{[]string{"sh", "-c", "cat /dev/stdin; echo x >/dev/stdout; echo y >/dev/stderr"}, 0, "x\ny"},
		{[]string{"pwd"}, 0, "/workspace"},
	} {
		said, code := c.confined(e.argv...)
		// Podman adds a line of its own to some.
		said, _, _ = strings.Cut(said, "\nError: ")
		if code != e.code || strings.ReplaceAll(said, "\r", "") != e.said {
			t.Errorf("%q: exit code %d, said %q; want %d, %q", e.argv, code, said, e.code, e.said)
		}
	}
	report, code := c.bare(guest.ReportArgv(guest.Bounds{Write: writable})...)
	for _, want := range []string{"outside_writes denied", "pid1 ok", "no_new_privs 1", "seccomp 2"} {
		if !slices.Contains(strings.Split(report, "\n"), want) {
			t.Errorf("exit code %d, report without %q:\n%s", code, want, report)
		}
	}
}

func TestPodmanTerminal(t *testing.T) {
	c := run(t, within(time.Hour))
	argv := guest.ExecArgv(guest.Bounds{Write: writable}, []string{"sh", "-ic", `stty size; echo to-terminal >/dev/tty; sleep 100 & kill %1 && echo jobs-work; stty -echo; tty; cat </dev/null >"$(tty)"`})
	cmd := exec.Command("podman", slices.Concat([]string{"exec", "--tty", "--interactive", c.name}, argv)...)
	person, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 33, Cols: 99})
	if err != nil {
		t.Fatal(err)
	}
	defer person.Close()
	var said bytes.Buffer
	// The end of a terminal is an error.
	_, _ = io.Copy(&said, person)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"33 99", "to-terminal", "jobs-work", "/dev/pts/"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("without %q:\n%s", want, said.String())
		}
	}
}

// TestPodmanForkBomb fills the session with processes. The first one needs no
// more of them, so it lives, reaps, and ends the session when it is told to.
func TestPodmanForkBomb(t *testing.T) {
	const limit, bombs = 60, 500
	c := run(t, within(time.Hour), fmt.Sprintf("--ulimit=nproc=%d:%d", limit, limit))
	pid := c.pid()
	before := field(pid, "Threads")
	bomb := fmt.Sprintf(`i=0; while [ $i -lt %d ]; do (trap "" TERM; exec setsid sleep 1000 >/dev/null 2>&1 </dev/null) & i=$((i+1)); done`, bombs)
	said, code := c.confined("sh", "-c", bomb)
	if code == 0 || !strings.Contains(said, "can't fork") {
		t.Fatalf("the limit was not reached, so nothing is shown: %d, %s", code, said)
	}
	count, _ := output(t, exec.Command("pgrep", "--ns", strconv.Itoa(pid), "--nslist", "pid", "--count", "sleep"))
	t.Logf("the session is full of %s processes", count)
	if after := field(pid, "Threads"); after != before {
		t.Fatalf("the first process had %s threads, and has %q:\n%s", before, after, c.said())
	}
	begun := time.Now()
	if said, code := podman(t, "stop", c.name); code != 0 {
		t.Fatalf("podman stop: %d, %s", code, said)
	}
	t.Logf("podman stop took %v", time.Since(begun).Round(time.Millisecond))
	if code := c.state("ExitCode"); code != strconv.Itoa(guest.ExitStopped) {
		t.Errorf("exit code %s, said %q", code, c.said())
	}
}

// TestPodmanMemory tells what the first process costs, seen from outside.
func TestPodmanMemory(t *testing.T) {
	c := run(t, within(time.Hour))
	pid := c.pid()
	for range 20 {
		c.confined("true")
	}
	var all []string
	for _, key := range []string{"VmRSS", "RssAnon", "RssFile", "VmHWM", "Threads"} {
		all = append(all, key+" "+field(pid, key))
	}
	t.Log(strings.Join(all, ", "))
	rss, err := strconv.Atoi(strings.TrimSuffix(field(pid, "RssAnon"), " kB"))
	if err != nil || rss > 6<<10 {
		t.Errorf("memory of its own: %d kB, %v", rss, err)
	}
	if n, err := strconv.Atoi(field(pid, "Threads")); err != nil || n > 10 {
		t.Errorf("%d threads, %v", n, err)
	}
}
