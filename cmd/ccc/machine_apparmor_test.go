package main_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/apparmor"
	"github.com/ccc-dev/ccc/internal/guest"
)

// sudo runs the program as root, who needs no password here.
func (m machine) sudo(args ...string) result {
	m.Helper()
	return m.any("sudo", append([]string{m.bin}, args...)...)
}

// confine has root load the profile, unless it is there: every test but those
// about its absence runs with it.
func (m machine) confine() {
	m.Helper()
	if (apparmor.Host{}).Status().InForce() {
		return
	}
	if r := m.sudo("profile", "install"); r.code != 0 {
		m.Fatalf("load the profile: %v", r)
	}
	if s := (apparmor.Host{}).Status(); !s.InForce() {
		m.Fatalf("the profile is not in force: %+v", s)
	}
}

// free has root remove the profile.
func (m machine) free() {
	m.Helper()
	if r := m.sudo("profile", "install", "--uninstall"); r.code != 0 {
		m.Fatalf("remove the profile: %v", r)
	}
}

// armed puts the attacks into a file that can be executed inside.
func (m machine) armed(file string) {
	m.Helper()
	self, err := os.Executable()
	m.must(err)
	program, err := os.ReadFile(self)
	m.must(err)
	m.must(os.WriteFile(file, program, 0o755))
}

// outcomes reads what the attacks printed.
func (m machine) outcomes(r result) map[string]string {
	m.Helper()
	all := map[string]string{}
	for line := range strings.Lines(r.stdout) {
		what, came, _ := strings.Cut(strings.TrimSpace(line), ": ")
		all[what] = came
	}
	if r.code != 0 || len(all) == 0 {
		m.Fatalf("the attacks did not run: %v", r)
	}
	return all
}

// compare fails the test for each attack that did not come out as wanted.
func (m machine) compare(where string, want, got map[string]string) {
	m.Helper()
	for _, what := range slices.Sorted(maps.Keys(want)) {
		if got[what] != want[what] {
			m.Errorf("%s: %s: %s, want %s", where, what, got[what], want[what])
		}
	}
}

// status asks ccc what is in force and returns its exit code.
func (m machine) status() (apparmor.Status, int) {
	m.Helper()
	var s struct{ AppArmor apparmor.Status }
	r := m.ccc("profile", "status", "--json")
	if err := json.Unmarshal([]byte(r.stdout), &s); err != nil {
		m.Fatalf("%v: %v", err, r)
	}
	return s.AppArmor, r.code
}

// Case S15: a profile that is not loaded is missing, said and refused where it is
// required, never passed over; the command that ccc prints loads it.
func TestMachineAppArmorIsMissingUntilLoaded(t *testing.T) {
	m := newMachine(t)
	m.free()
	before := m.create()
	c := before.control("lsm")
	if c.State != api.StateMissing || !strings.Contains(c.Detail, "ccc-session is not loaded; run: ccc profile install") {
		t.Errorf("%+v", c)
	}
	if label := m.read(fmt.Sprintf("/proc/%d/attr/current", before.pid)); strings.Contains(label, "ccc-session") {
		t.Fatalf("the label is %q: the profile is loaded all the same", label)
	}
	if s, code := m.status(); code != api.KindDegraded.ExitCode() || s.Kernel != apparmor.Yes || s.Current != apparmor.No || s.Profiles[0].Loaded != apparmor.No {
		t.Errorf("exit code %d, %+v", code, s)
	}
	r := m.ccc("session", "create", "--name", "required", "--require", "fallback")
	if r.code != api.KindDegraded.ExitCode() || !strings.Contains(r.stderr, "lsm is missing") {
		t.Errorf("%v", r)
	}
	all := m.records()
	if last := all[len(all)-1]; last.Rule != "require.fallback" || !strings.Contains(last.Message, "lsm is missing") {
		t.Errorf("the record is %+v", last)
	}

	command := strings.TrimSpace(m.ok("profile", "install"))
	if r := m.any("sh", "-c", command); r.code != 0 {
		t.Fatalf("%s: %v", command, r)
	}
	if s := (apparmor.Host{}).Status(); !s.InForce() || s.Installed != apparmor.Yes {
		t.Fatalf("after %q: %+v", command, s)
	}
	// What ran before is not confined by that, and ccc says so.
	if c := (box{machine: m, Session: m.session(string(before.Name))}).control("lsm"); c.State != api.StateMissing || !strings.Contains(c.Detail, "was not when the session was started") {
		t.Errorf("%+v", c)
	}
	if _, code := m.status(); code != api.KindDegraded.ExitCode() {
		t.Errorf("exit code %d with a session that is not confined", code)
	}
	m.ok("session", "restart", string(before.Name))
	if s, code := m.status(); code != 0 {
		t.Errorf("exit code %d, %+v", code, s)
	}
	r = m.ccc("session", "create", "--name", "required", "--require", "fallback")
	if strings.Contains(r.stderr, "lsm is") {
		t.Errorf("%v", r)
	}
	m.ok("session", "rm", "--yes", "required")
	// It is not taken from under a session.
	if r := m.sudo("profile", "install", "--uninstall"); r.code != api.KindConflict.ExitCode() {
		t.Errorf("%v", r)
	}
	before.alive()
}

// Case S16: the label is on the first process, on every command and on all that
// those start.
func TestMachineAppArmorLabelsEveryProcess(t *testing.T) {
	m := newMachine(t)
	for _, w := range []string{"overlay", "bind"} {
		b := m.create("--workspace", w)
		want := map[string]string{"overlay": "ccc-session (enforce)", "bind": "ccc-session-bind (enforce)"}[w]
		if c := b.control("lsm"); c.State != api.StateEnforced || c.Detail != "AppArmor: "+want {
			t.Errorf("%s: %+v", w, c)
		}
		end := b.start("sleep 600 & echo here; cat /proc/self/attr/current; sleep 600", want)
		seen := 0
		for _, pid := range strings.Fields(b.group("cgroup.procs")) {
			label, err := os.ReadFile("/proc/" + pid + "/attr/current")
			if err != nil {
				continue // over by now
			}
			seen++
			if strings.TrimSpace(string(label)) != want {
				t.Errorf("%s: process %s has the label %q", w, pid, label)
			}
		}
		// The first one, the shell, and what it left in the background.
		if seen < 3 {
			t.Errorf("%s: only %d processes were seen", w, seen)
		}
		end()
	}
}

// stock runs Podman alone with ccc-init attached, hardened but for what options
// change, and returns how to run a command through ccc-init or beside it.
func (m machine) stock(name string, options ...string) (through, beside func(...string) result) {
	m.Helper()
	life := filepath.Join(m.dir, "life-"+name)
	m.must(os.Mkdir(life, 0o700))
	m.must(guest.WriteLife(life, guest.Life{Deadline: guest.Boottime() + time.Hour}))
	args := slices.Concat([]string{
		"run", "--detach", "--name", name, "--cap-drop=all", "--security-opt=no-new-privileges", "--read-only", "--network=none",
		"--userns=keep-id", "--tmpfs=/tmp:mode=1777", "--volume", filepath.Join(filepath.Dir(m.bin), "ccc-init") + ":" + guest.Path + ":ro",
		"--volume", life + ":" + guest.SessionDir + ":ro",
	}, options, []string{testImage}, guest.PID1Argv(guest.Bounds{Write: []string{"/tmp"}}))
	m.podman(args...)
	m.Cleanup(func() {
		if said, err := exec.Command("podman", "rm", "--force", "--time=0", name).CombinedOutput(); err != nil {
			m.Errorf("remove %s: %v: %s", name, err, said)
		}
	})
	beside = func(argv ...string) result { return m.any("podman", append([]string{"exec", name}, argv...)...) }
	through = func(argv ...string) result {
		return beside(guest.ExecArgv(guest.Bounds{Write: []string{"/tmp"}}, argv)...)
	}
	return through, beside
}

// Case S16, S02, S07 to S09: AppArmor alone, with no system call filter in its
// way; beside ccc-init, where no profile is attached, the same attacks succeed.
func TestMachineAppArmorAloneDenies(t *testing.T) {
	m := newMachine(t)
	program := filepath.Join(m.dir, "attack")
	m.armed(program)
	through, beside := m.stock("ccc-test-stock", "--security-opt=seccomp=unconfined", "--security-opt=unmask=ALL", "--volume", program+":/attack:ro")
	denied := map[string]string{
		"socket 38 5": "EACCES", // AF_ALG, SOCK_SEQPACKET
		"socket 40 1": "EACCES", // AF_VSOCK, SOCK_STREAM
		"userns":      "EACCES", "sibling-memory": "EACCES", "sibling-trace": "EACCES",
		"read /proc/kallsyms": "EACCES", "read /proc/timer_list": "EACCES", "read /proc/keys": "EACCES", "read /sys/kernel/notes": "EACCES",
		"write /proc/self/attr/exec": "EACCES",
	}
	// timer_list is root's, whoever asks.
	free := map[string]string{}
	for what := range denied {
		if what != "read /proc/timer_list" {
			free[what] = "ok"
		}
	}
	// These fail without AppArmor, too, since no capability is there.
	ordinary := map[string]string{
		"socket 2 1": "ok", "socket 10 2": "ok", "socket 1 1": "ok", "socket 16 3": "ok", "sibling-see": "ok",
		"read /proc/self/status": "ok", "read /proc/1/stat": "ok", "read /proc/meminfo": "ok", "read /proc/sys/kernel/pid_max": "ok",
		"create /tmp/x": "ok", "mkdir /tmp/d": "ok", "symlink /tmp/x /tmp/l": "ok", "link /tmp/x /tmp/h": "ok", "rename /tmp/d /tmp/e": "ok",
	}
	attacks := append(slices.Sorted(maps.Keys(denied)), slices.Sorted(maps.Keys(ordinary))...)
	got := m.outcomes(through(append([]string{"/attack"}, attacks...)...))
	m.compare("confined", denied, got)
	m.compare("confined", ordinary, got)
	m.compare("not confined", free, m.outcomes(beside(append([]string{"/attack"}, slices.Sorted(maps.Keys(free))...)...)))
	// The kernel drops some of many at a time.
	if log := m.any("sudo", "dmesg"); !strings.Contains(log.stdout, `apparmor="DENIED"`) || !strings.Contains(log.stdout, `profile="ccc-session"`) {
		t.Error("the kernel's log says nothing of it")
	}
}

// Case S08: with every capability that mounting and raw sockets take, AppArmor
// alone still denies them.
func TestMachineAppArmorDeniesWhatCapabilitiesAllow(t *testing.T) {
	m := newMachine(t)
	program := filepath.Join(m.dir, "attack")
	m.armed(program)
	through, beside := m.stock("ccc-test-capable", "--security-opt=seccomp=unconfined", "--userns=host", "--user=0:0",
		"--cap-add=sys_admin,net_raw", "--volume", program+":/attack:ro")
	attacks := []string{"mount /tmp", "umount /tmp", "socket 17 3"} // AF_PACKET, SOCK_RAW
	// To unmount, the kernel asks for the capability before anything else.
	want := map[string]string{"mount /tmp": "EACCES", "umount /tmp": "EPERM", "socket 17 3": "EACCES"}
	free := map[string]string{"mount /tmp": "ok", "umount /tmp": "ok", "socket 17 3": "ok"}
	m.compare("confined", want, m.outcomes(through(append([]string{"/attack"}, attacks...)...)))
	m.compare("not confined", free, m.outcomes(beside(append([]string{"/attack"}, attacks...)...)))
}

// onProject are attacks on what programs on the host run by themselves, where it
// is not there yet or a mount does not reach.
var onProject = []string{
	"mkdir .vscode", "create .envrc", "create .mcp.json", "symlink /tmp .idea", "create .husky", "create .gitmodules",
	"create .claude/settings.json", "rename .claude .c", "link README .gitattributes", "mkdir .cursor",
}

// Files of a live project that programs on the host run by themselves cannot be
// made; without AppArmor they can, and in a copy they may be.
func TestMachineGuardedPathsCannotBeMade(t *testing.T) {
	for name, c := range map[string]struct {
		workspace string
		confined  bool
		want      string
		// reaches tells that the project has them afterwards.
		reaches bool
	}{
		"bind": {"bind", true, "EACCES", false}, "bind without AppArmor": {"bind", false, "ok", true}, "overlay": {"overlay", true, "ok", false},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			if !c.confined {
				m.free()
			}
			m.write(".claude/CLAUDE.md", "x\n")
			m.armed(filepath.Join(m.project, "attack"))
			b := m.create("--workspace", c.workspace)
			want := map[string]string{}
			for _, a := range onProject {
				want[a] = c.want
			}
			if c.workspace == "overlay" {
				// The project's own directories are not renamed there, by nature.
				want["rename .claude .c"] = "EXDEV"
			}
			script := "exec ./attack"
			for _, a := range onProject {
				script += " '" + a + "'"
			}
			m.compare(name, want, m.outcomes(b.does(script)))
			for _, made := range []string{".vscode", ".envrc", ".mcp.json", ".idea", ".husky", ".gitmodules", ".cursor", ".gitattributes"} {
				_, err := os.Lstat(filepath.Join(m.project, made))
				if there := err == nil; there != c.reaches {
					t.Errorf("the project has %s: %v", made, there)
				}
			}
			// Work goes on: what is not guarded is written, what is guarded read.
			if r := b.does("echo more >>src/main.c && mkdir new && mv new newer && cat .git/config"); r.code != 0 {
				t.Errorf("%v", r)
			}
			if ws := b.control("workspace"); c.workspace == "bind" && strings.Contains(ws.Detail, "whether they exist or not") != c.confined {
				t.Errorf("%+v", ws)
			}
			b.alive()
		})
	}
}

// What an agent does with git works under the profile and the filter: programs of
// the machine itself, since the image here has nothing but busybox.
func TestMachineGitWorksConfined(t *testing.T) {
	m := newMachine(t)
	filter := filepath.Join(m.dir, "agent.json")
	m.must(os.WriteFile(filter, []byte(m.ok("profile", "show", "seccomp:agent")), 0o600))
	through, _ := m.stock("ccc-test-git", "--security-opt=seccomp="+filter,
		"--volume", "/usr:/usr:ro", "--volume", "/usr/lib:/lib:ro", "--volume", "/usr/lib64:/lib64:ro", "--env", "HOME=/tmp", "--tmpfs=/workspace:mode=1777")
	r := through("/usr/bin/bash", "-ec", `
cat /proc/self/attr/current
export PATH=/usr/bin
git init -q -b main /workspace/project && cd /workspace/project
git config user.name agent && git config user.email agent@example.org
printf '#!/bin/sh\necho hook ran\n' >.git/hooks/pre-commit && chmod +x .git/hooks/pre-commit
echo one >file && git add file && git commit -q -m one
git switch -q -c work && echo two >>file && git commit -q -a -m two && git switch -q main && git merge -q work
git remote add origin /tmp/origin.git && git init -q --bare -b main /tmp/origin.git && git push -q origin main
git clone -q /tmp/origin.git /tmp/again && git -C /tmp/again log --oneline | wc -l
git gc -q && git status --short --branch && git stash list && git worktree add -q /tmp/tree
perl -e 'my $pid = fork; exit 0 unless $pid; waitpid $pid, 0; print "perl ran\n"'
ps -e >/dev/null && find /proc/self/fd >/dev/null && flock /tmp/lock true && echo all done
`)
	for _, says := range []string{"ccc-session (enforce)\n", "hook ran\n", "\n2\n", "perl ran\n", "all done\n"} {
		if !strings.Contains(r.stdout+r.stderr, says) {
			t.Fatalf("%q is missing: %v", says, r)
		}
	}
	if r.code != 0 {
		t.Errorf("%v", r)
	}
}

// A level that lets programs sandbox themselves has a profile that lets them, and
// no other level has.
func TestMachineNestedSessionsHaveTheirProfile(t *testing.T) {
	m := newMachine(t)
	levels := filepath.Join(m.dir, "config", "ccc", "profiles")
	m.must(os.MkdirAll(levels, 0o700))
	for _, filter := range []string{"nested", "debug"} {
		level := strings.Replace(m.ok("profile", "show", "level:standard"), "seccomp: agent", "seccomp: "+filter, 1)
		m.must(os.WriteFile(filepath.Join(levels, filter+".yaml"), []byte(level), 0o600))
	}
	const attacks = "exec ./attack userns sibling-memory sibling-trace"
	m.armed(filepath.Join(m.project, "attack"))
	for profile, want := range map[string]map[string]string{
		"standard": {"userns": "EPERM", "sibling-memory": "EACCES", "sibling-trace": "EPERM"},
		"nested":   {"userns": "ok", "sibling-memory": "EACCES", "sibling-trace": "EPERM"},
		"debug":    {"userns": "EPERM", "sibling-memory": "ok", "sibling-trace": "ok"},
	} {
		b := m.create("--profile", profile)
		if c := b.control("lsm"); c.State != api.StateEnforced {
			t.Errorf("%s: %+v", profile, c)
		}
		m.compare(profile, want, m.outcomes(b.does(attacks)))
	}
}

// Both files that ccc ships can be read by the machine's parser.
func TestMachineParserReadsBothProfiles(t *testing.T) {
	m := newMachine(t)
	for _, abi := range []string{apparmor.OldABI, apparmor.NewABI} {
		file := filepath.Join(m.dir, "abi"+abi)
		m.must(os.WriteFile(file, []byte(m.ok("profile", "show", apparmor.ShownAs, "--abi", abi)), 0o600))
		if r := m.any("/usr/sbin/apparmor_parser", "--skip-kernel-load", "--skip-cache", "--names", file); r.code != 0 || strings.Count(r.stdout, "ccc-session") != len(apparmor.Profiles())+1 {
			t.Errorf("ABI %s: %v", abi, r)
		}
	}
	// It does refuse what it cannot read.
	bad := filepath.Join(m.dir, "bad")
	m.must(os.WriteFile(bad, []byte("profile x { nonsense }\n"), fs.FileMode(0o600)))
	if r := m.any("/usr/sbin/apparmor_parser", "--skip-kernel-load", "--skip-cache", bad); r.code == 0 {
		t.Error("the parser takes anything")
	}
}
