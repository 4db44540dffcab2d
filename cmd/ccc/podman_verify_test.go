package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/audit"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/engine/podman"
	"github.com/ccc-dev/ccc/internal/guest"
	"github.com/ccc-dev/ccc/internal/image"
	"github.com/ccc-dev/ccc/internal/kernel"
	"github.com/ccc-dev/ccc/internal/policy"
	"github.com/ccc-dev/ccc/internal/probe"
	"github.com/ccc-dev/ccc/internal/session"
	"github.com/ccc-dev/ccc/internal/session/sessiontest"
	"github.com/ccc-dev/ccc/internal/workspace"
)

// verification decodes what `session verify --json` prints.
func (l *lab) verification(r result) api.Verification {
	l.Helper()
	var v api.Verification
	if err := json.Unmarshal([]byte(r.stdout), &v); err != nil {
		l.Fatalf("%v: %v", r, err)
	}
	return v
}

// verdicts returns the controls that have the verdict.
func verdicts(v api.Verification, verdict api.Verdict) []string {
	var ids []string
	for _, c := range v.Controls {
		if c.Verdict == verdict {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

// Every wall of a fresh session holds, or is one that the posture says this host
// cannot put up. The session does not notice.
func TestPodmanVerify(t *testing.T) {
	l := newLab(t)
	// The last is the image that sessions have.
	for _, args := range [][]string{{}, {"--workspace", "bind"}, {"--profile", "strict"}, {"--image", image.DefaultName}} {
		t.Run(strings.Join(append([]string{"create"}, args...), " "), func(t *testing.T) {
			l.ok(append([]string{"session", "create", "--name", "demo"}, args...)...)
			defer l.ok("session", "rm", "--yes", "demo")
			before := l.sh("demo", "ls -a /workspace /tmp /run /dev/shm /home/agent; ls -d /proc/[0-9]* | wc -l").stdout
			r := l.ccc("session", "verify", "demo", "--json")
			v := l.verification(r)
			if r.code != 0 || !v.Holds() || v.Session.Name != "demo" || len(v.Controls) < 40 {
				t.Errorf("%v", r)
			}
			missing := map[string]bool{}
			for _, c := range l.session("demo").Posture {
				missing[c.Name] = c.State != api.StateEnforced
			}
			for _, c := range v.Controls {
				if c.Verdict != api.VerdictPass && (c.Verdict != api.VerdictMissing || !missing[c.ID] || c.Hint == "") {
					t.Errorf("%+v, and by the posture it is missing: %t", c, missing[c.ID])
				}
			}
			// An orphan that has ended is there until the first process notices.
			after := ""
			for range 50 {
				if after = l.sh("demo", "ls -a /workspace /tmp /run /dev/shm /home/agent; ls -d /proc/[0-9]* | wc -l").stdout; after == before {
					break
				}
				time.Sleep(50 * time.Millisecond)
			}
			if after != before {
				t.Errorf("something was left: before %q, after %q", before, after)
			}
			all := l.records()
			i := slices.IndexFunc(all, func(r audit.Record) bool { return r.Action == "session.verify" && r.Phase == audit.PhaseEnd })
			if i < 0 || !strings.Contains(string(all[i].Detail), `"pass":`) {
				t.Errorf("no record of it")
			}
		})
	}
}

// What people see: a table of words, and an exit code that scripts can use.
func TestPodmanVerifyPrinted(t *testing.T) {
	l := newLab(t)
	l.ok("session", "create", "--name", "demo", "--env", "GITHUB_TOKEN=none")
	r := l.ccc("session", "verify", "demo", "--expected")
	if r.code != 3 || !strings.Contains(r.stdout, "fail\tenvironment\tinside\tF06,N14\tGITHUB_TOKEN has the name of a secret\tonly the variables") ||
		!strings.Contains(r.stdout, "pass\tcapabilities\t") || !strings.Contains(r.stderr, "ccc: hint: environment: leave secrets out of --env") {
		t.Errorf("%v", r)
	}
	l.ok("session", "stop", "demo")
	if r := l.ccc("session", "verify", "demo"); r.code != 5 || !strings.Contains(r.stderr, "ccc session start demo") {
		t.Errorf("%v", r)
	}
}

// elsewhere is an engine that runs a session's commands in another container, and
// says that it is the session: a session whose walls are not what they are
// thought to be.
type elsewhere struct {
	engine.Engine
	id  string
	pid int
	// shim tells that commands begin as ccc-init.
	shim bool
}

func (e elsewhere) Container(ctx context.Context, id string) (engine.Instance, error) {
	in, err := e.Engine.Container(ctx, id)
	if in.PID != 0 {
		in.PID = e.pid
	}
	return in, err
}

func (e elsewhere) Exec(ctx context.Context, _ string, p engine.Process, s api.Streams) (int, error) {
	if i := slices.Index(p.Argv, guest.EndOfFlags); i >= 0 && !e.shim {
		p.Argv = p.Argv[i+1:]
	}
	return e.Engine.Exec(ctx, e.id, p, s)
}

// stockOptions are those of a session, as far as `podman run` has them: what is
// left out is the filter, Landlock, and the first process.
var stockOptions = []string{
	"--cap-drop=all", "--security-opt=no-new-privileges", "--read-only", "--read-only-tmpfs=false", "--network=none",
	"--userns=keep-id:uid=1000,gid=1000", "--user=1000:1000", "--ulimit=nofile=4096:4096", "--ulimit=core=0:0", "--ulimit=nproc=512:512",
	"--tmpfs=/tmp:size=1g,mode=1777", "--tmpfs=/run:size=16m,mode=1777,noexec", "--tmpfs=/workspace:size=16m,mode=1777", "--tmpfs=/home/agent:size=16m,mode=1777",
}

// Verification can fail: in containers that leave walls out, the controls that are
// about them do, and no others of those that must not.
func TestPodmanVerifyFails(t *testing.T) {
	l := newLab(t)
	l.ok("session", "create", "--name", "demo")
	without := func(options []string, leave ...string) []string {
		return slices.DeleteFunc(slices.Clone(options), func(o string) bool {
			return slices.ContainsFunc(leave, func(p string) bool { return strings.HasPrefix(o, p) })
		})
	}
	host := filepath.Join(l.dir, "host")
	l.must(os.Mkdir(host, 0o755))
	for _, c := range []struct {
		name    string
		options []string
		fails   []string
		passes  []string
	}{
		{
			"stock Podman, hardened", stockOptions,
			[]string{
				"first-process", "landlock", "seccomp-namespaces", "seccomp-sockets", "seccomp-high-bits", "seccomp-other-tables", "seccomp-primitives",
				"seccomp-mounts", "device-nodes", "writable",
			},
			[]string{
				"report", "namespaces", "user", "capabilities", "no-new-privileges", "seccomp", "descriptors", "environment", "usable", "masked-paths",
				"read-only-proc", "devices", "network-devices", "routes", "dns", "host-sockets", "rlimits", "set-id", "lifetime",
			},
		},
		{
			"no filter at all, everything unmasked", append(slices.Clone(stockOptions), "--security-opt=seccomp=unconfined", "--security-opt=unmask=ALL"),
			[]string{"seccomp", "seccomp-namespaces", "seccomp-host", "masked-paths"},
			[]string{"report", "capabilities", "no-new-privileges", "network-devices"},
		},
		{
			"the host's network", append(without(stockOptions, "--network"), "--network=host"),
			[]string{"namespaces", "host-sockets"},
			[]string{"report", "capabilities", "no-new-privileges"},
		},
		{
			"a network of Podman's", append(without(stockOptions, "--network"), "--network=slirp4netns"),
			[]string{"network-devices", "routes"},
			[]string{"report", "capabilities", "namespaces", "host-sockets"},
		},
		{
			"Podman's defaults", append(without(stockOptions, "--cap-drop", "--security-opt", "--read-only", "--ulimit", "--user="),
				"--cap-add=sys_ptrace", "--read-only=false", "--env=AWS_SECRET_ACCESS_KEY=none", "--volume="+host+":/host", "--user=1000:0", "--group-add=5"),
			[]string{"capabilities", "no-new-privileges", "user", "environment", "mounts", "writable", "rlimits"},
			[]string{"report", "network-devices", "routes", "namespaces"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := l.elsewhere(c.options)
			if v.Holds() {
				t.Error("the whole holds")
			}
			for _, id := range append(c.fails, c.passes...) {
				want := api.VerdictPass
				if slices.Contains(c.fails, id) {
					want = api.VerdictFail
				}
				i := slices.IndexFunc(v.Controls, func(c api.Checked) bool { return c.ID == id })
				if i < 0 || v.Controls[i].Verdict != want {
					t.Errorf("want %s: %+v", want, v.Controls[max(i, 0)])
				}
			}
			t.Logf("fail: %s", strings.Join(verdicts(v, api.VerdictFail), " "))
		})
	}
}

// elsewhere verifies the session demo, whose place a container with the options
// has taken.
func (l *lab) elsewhere(options []string) api.Verification {
	l.Helper()
	ctx := l.Context()
	e, err := podman.Open(ctx, podman.Options{UID: os.Getuid(), Env: os.Getenv})
	l.must(err)
	log, err := audit.Open(ctx, filepath.Join(l.dir, "audit"), audit.Options{Clock: time.Now, Version: "test"})
	l.must(err)
	defer log.Close()
	runtime := filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "ccc")
	core := &session.Core{
		Engine: e, Audit: log, Kernel: kernel.Reader{}, Dirs: workspace.Dirs{Root: filepath.Join(l.state, "ccc", "sessions")},
		Intents: session.Intents{Dir: filepath.Join(runtime, "making")}, Ground: policy.Ground{Home: os.Getenv("HOME")},
		Guest: session.Guest{Programs: filepath.Join(l.state, "ccc", "init"), Dirs: filepath.Join(runtime, "sessions"), Boottime: guest.Boottime},
		Clock: time.Now, Random: sessiontest.Random, Dir: l.project,
	}
	programs, err := os.ReadDir(core.Guest.Programs)
	l.must(err)
	if len(programs) != 1 {
		l.Fatalf("there are %d programs to begin with", len(programs))
	}
	name := "ccc-test-elsewhere"
	args := slices.Concat([]string{
		"run", "--detach", "--name", name, "--volume", filepath.Join(core.Guest.Programs, programs[0].Name()) + ":" + guest.Path + ":ro",
		"--volume", core.Guest.Dir(l.session("demo").ID) + ":" + guest.SessionDir + ":ro",
	}, options, []string{"--workdir=/workspace", testImage, "sleep", "300"})
	id := strings.TrimSpace(l.podman(args...))
	// The driver also ends the monitors that execs leave for a while.
	defer func() { l.must(e.RemoveContainer(context.WithoutCancel(ctx), id)) }()
	pid, err := strconv.Atoi(strings.TrimSpace(l.podman("inspect", "--format", "{{.State.Pid}}", name)))
	l.must(err)
	core.Engine = elsewhere{Engine: e, id: id, pid: pid}
	v, err := core.Verify(ctx, sessiontest.Caller(), api.VerifyRequest{Ref: "demo"})
	l.must(err)
	return v
}

// Somebody who can run commands in a session cannot make a probe of their own
// pass for the one that is asked, nor write to the file that it is.
func TestPodmanVerifyHostileSession(t *testing.T) {
	l := newLab(t)
	l.ok("session", "create", "--name", "demo")
	// A process that looks for the probe and tries to stop it, read it and write to
	// it, for as long as the session lives.
	busy := l.command("session", "exec", "demo", "--", "sh", "-c", `while :; do for p in $(pgrep -f 'init probe'); do
		head -c1 /proc/$p/mem; (echo x > /proc/$p/mem); (echo x > /proc/$p/comm); done; done 2>/dev/null`)
	var out bytes.Buffer
	busy.Stdout = &out
	l.must(busy.Start())
	defer func() {
		_ = busy.Process.Signal(os.Interrupt)
		_ = busy.Wait()
	}()
	r := l.ccc("session", "verify", "demo", "--json")
	if v := l.verification(r); r.code != 0 || !v.Holds() {
		t.Errorf("%q %q", verdicts(v, api.VerdictFail), verdicts(v, api.VerdictUnknown))
	}
	if r := l.sh("demo", "echo x > /.ccc/init; rm -f /.ccc/init; mv /.ccc /tmp/"); r.code == 0 {
		t.Errorf("ccc-init could be changed: %v", r)
	}
}

// The checklist is answered from what is really installed.
func TestPodmanChecklist(t *testing.T) {
	l := newLab(t)
	l.ok("session", "create", "--name", "demo")
	r := l.ccc("doctor", "--checklist", "--json")
	var c probe.Checklist
	l.must(json.Unmarshal([]byte(r.stdout), &c))
	if r.code != 7 || c.Ready || len(c.Items) != 8 || len(c.Flaws) < 30 {
		t.Errorf("%v", r)
	}
	for _, i := range c.Items {
		if i.Answer == probe.Unknown || len(i.Evidence) == 0 {
			t.Errorf("%+v", i)
		}
		if strings.HasPrefix(i.Item, "network isolation") && !strings.Contains(strings.Join(i.Evidence, "; "), "1 sessions run now") {
			t.Errorf("%+v", i)
		}
	}
	version := strings.TrimSpace(l.podman("version", "--format", "{{.Client.Version}}"))
	for _, f := range c.Flaws {
		if f.Component == "podman" && !strings.Contains(f.Evidence, version) && !strings.Contains(f.Evidence, "changes of podman") {
			t.Errorf("%+v, Podman is %s", f, version)
		}
	}
	if r := l.ccc("doctor", "--checklist"); r.code != 7 || !strings.Contains(r.stdout, "\tCVE-2026-57231\tpodman\t") || !strings.Contains(r.stderr, "known vulnerabilities:") {
		t.Errorf("%v", r)
	}
}
