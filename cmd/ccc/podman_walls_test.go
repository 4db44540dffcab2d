package main_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/audit"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/engine/podman"
	"github.com/ccc-dev/ccc/internal/guest"
	"github.com/ccc-dev/ccc/internal/kernel"
	"github.com/ccc-dev/ccc/internal/policy"
	"github.com/ccc-dev/ccc/internal/profile"
	"github.com/ccc-dev/ccc/internal/seccomp"
	"github.com/ccc-dev/ccc/internal/session"
	"github.com/ccc-dev/ccc/internal/session/sessiontest"
	"github.com/ccc-dev/ccc/internal/workspace"
	"github.com/ccc-dev/ccc/profiles"
)

// leaked is a value that must not be seen inside.
const leaked = "canary-value-4711"

// wall is something that a session cannot do, or has.
type wall struct {
	name, script string
	// inside is what the script prints in a session, outside without the wall;
	// what has no outside is no wall.
	inside, outside string
	// plain are the options of `podman run` that leave the wall out.
	plain string
}

var walls = []wall{
	{"read-only root", "touch /new 2>/dev/null && echo written || echo refused", "refused", "written", ""},
	{"read-only /etc", "(echo x >> /etc/passwd) 2>/dev/null && echo written || echo refused", "refused", "written", ""},
	{"read-only /usr", "ln -s x /usr/bin/x 2>/dev/null && echo written || echo refused", "refused", "written", ""},
	{"not root", "id -u", "1000", "0", ""},
	{"no new privileges", "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1", "NoNewPrivs:\t0", ""},
	{"no programs in /run", "echo '#!/bin/sh' > /run/x; chmod +x /run/x; /run/x 2>/dev/null && echo executed || echo refused", "refused", "executed", ""},
	{"user namespaces", "unshare -U true 2>/dev/null && echo made || echo refused", "refused", "made", ""},
	{"mounts in one", "unshare -Urm mount -t tmpfs none /tmp 2>/dev/null && echo mounted || echo refused", "refused", "mounted", ""},
	{"capabilities", "grep CapBnd /proc/self/status", "CapBnd:\t0000000000000000", "CapBnd:\t00000000000005fb", "--cap-drop=all --cap-add=chown,dac_override,fowner,fsetid,kill,setgid,setuid,setpcap,net_bind_service"},
	{"effective ones", "grep CapEff /proc/self/status", "CapEff:\t0000000000000000", "CapEff:\t00000000000005fb", "--cap-drop=all --cap-add=chown,dac_override,fowner,fsetid,kill,setgid,setuid,setpcap,net_bind_service"},
	{"seccomp", "grep Seccomp: /proc/self/status", "Seccomp:\t2", "Seccomp:\t0", "--security-opt=seccomp=unconfined"},
	{"read-only sysctls", "grep -c ' /proc/sys proc ro' /proc/mounts", "1", "0", "--security-opt=unmask=ALL"},
	{"masked keys", "grep -c ' /proc/keys ' /proc/mounts", "1", "0", "--security-opt=unmask=ALL"},
	{"mount", "mount -t tmpfs none /tmp 2>/dev/null && echo mounted || echo refused", "refused", "mounted", "--cap-add=sys_admin"},
	{"network interfaces", "ls /sys/class/net | tr '\\n' ' '", "lo ", "lo tap0 ", "--network=slirp4netns"},
	{"core files", "ulimit -c", "0", "unlimited", "--ulimit=core=-1:-1"},
	{"home can be written", "echo x > ~/x && cat ~/x", "x", "", ""},
	{"tmp can be written", "echo x > /tmp/x && cat /tmp/x", "x", "", ""},
	{"tmp has a size", "stat -f -c %b /tmp", "262144", "", ""},
	{"tmp executes", "echo '#!/bin/sh' > /tmp/y; chmod +x /tmp/y; /tmp/y && echo executed", "executed", "", ""},
	{"loopback works", "(nc -l -p 8080 -e echo inside & sleep 1; nc 127.0.0.1 8080)", "inside", "", ""},
	{"open files", "ulimit -n", "4096", "", ""},
	{"processes", "ulimit -u", "512", "", ""},
	{"host name", "cat /proc/sys/kernel/hostname", "ccc", "", ""},
	{"podman's socket", "ls /run/podman /run/user /var/run 2>/dev/null | wc -l", "0", "", ""},
}

// What a session cannot do. For each wall it is also shown that the same thing
// works in a container of plain `podman run` on this machine that leaves it out:
// else it would prove nothing about the wall.
func TestPodmanWalls(t *testing.T) {
	l := newLab(t)
	l.ok("session", "create", "--name", "demo")
	scripts := map[string]string{}
	for _, w := range walls {
		if w.outside != "" {
			scripts[w.plain] += "printf '" + w.name + "='; (" + w.script + "); "
		}
	}
	without := map[string]string{}
	for plain, script := range scripts {
		args := append([]string{"run", "--rm"}, strings.Fields(plain)...)
		for line := range strings.Lines(l.podman(append(args, testImage, "sh", "-c", script+"true")...)) {
			name, shown, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			without[name] = shown
		}
	}
	for _, w := range walls {
		if r := l.sh("demo", w.script); strings.TrimSuffix(r.stdout, "\n") != w.inside {
			t.Errorf("%s: %v, want %q", w.name, r, w.inside)
		}
		if without[w.name] != w.outside {
			t.Errorf("%s without the wall: %q, want %q: this proves nothing", w.name, without[w.name], w.outside)
		}
	}
}

// No network at all: not even an attempt leaves the session.
func TestPodmanNetwork(t *testing.T) {
	l := newLab(t)
	l.ok("session", "create", "--name", "demo")
	for _, target := range []string{"192.0.2.1", "10.0.2.2", "169.254.1.2", "169.254.169.254"} {
		r := l.sh("demo", "nc -w 2 "+target+" 80 </dev/null 2>&1")
		if !strings.Contains(r.stdout, "Network is unreachable") {
			t.Errorf("%s: %v", target, r)
		}
	}
	if r := l.sh("demo", "cat /proc/net/route /proc/net/dev | grep -v 'Iface\\|Inter\\|face\\|lo:' | wc -l"); r.stdout != "0\n" {
		t.Errorf("routes and interfaces: %v", r)
	}
}

// Nothing of the environment of ccc, nor of the service that starts containers,
// is inside, for any process.
func TestPodmanEnvironment(t *testing.T) {
	l := newLab(t)
	socket := l.service("AWS_SECRET_ACCESS_KEY="+leaked, "HTTP_PROXY=http://"+leaked, "TERM="+leaked, "CANARY="+leaked)
	l.env = append(l.env, "AWS_SECRET_ACCESS_KEY="+leaked, "HTTP_PROXY=http://"+leaked, "CANARY="+leaked)
	for _, connection := range []string{"", socket} {
		name := "own"
		if connection != "" {
			name = "given"
		}
		l.ok("--connection", connection, "session", "create", "--name", name, "--env", "MINE=yes")
		r := l.ccc("--connection", connection, "session", "exec", "-e", "ALSO=mine", name, "--", "sh", "-c", "env; tr '\\0' '\\n' </proc/1/environ; tr '\\0' '\\n' </proc/2/environ")
		if strings.Contains(r.stdout, leaked) || !strings.Contains(r.stdout, "MINE=yes") {
			t.Errorf("%s: %v", name, r)
		}
		var names []string
		for line := range strings.Lines(l.ccc("--connection", connection, "session", "exec", "-e", "ALSO=mine", name, "env").stdout) {
			key, _, _ := strings.Cut(line, "=")
			names = append(names, key)
		}
		slices.Sort(names)
		if want := []string{"ALSO", "ASAN_OPTIONS", "HOME", "HOSTNAME", "LANG", "MINE", "PATH", "TMPDIR", "USER"}; !slices.Equal(names, want) {
			t.Errorf("%s: variables %q", name, names)
		}
		// It would be there if it were asked for.
		cmd := exec.CommandContext(t.Context(), "podman", "run", "--rm", "--env", "CANARY", testImage, "env")
		cmd.Env = append(l.podmanEnv(), "CANARY="+leaked)
		if r := l.run(cmd); !strings.Contains(r.stdout, leaked) {
			t.Errorf("without the wall: %v", r)
		}
		l.ok("session", "rm", "--yes", name)
	}
}

// service starts a Podman service of the test's own with further variables in
// its environment, and returns its socket.
func (l *lab) service(variables ...string) string {
	l.Helper()
	socket := filepath.Join(l.dir, "podman.sock")
	cmd := exec.Command("podman", "system", "service", "--time=0", "unix://"+socket)
	cmd.Env = append(l.podmanEnv(), variables...)
	l.must(cmd.Start())
	l.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for range 100 {
		if _, err := os.Lstat(socket); err == nil {
			return socket
		}
		time.Sleep(100 * time.Millisecond)
	}
	l.Fatal("the service does not answer")
	return ""
}

// Images that reach the host through a plain engine are refused, and would not
// reach it through ours even if they were not.
func TestPodmanHostileImages(t *testing.T) {
	l := newLab(t)
	outside := filepath.Join(l.dir, "outside")
	l.must(os.Mkdir(outside, 0o755))
	socket := l.service("CANARY=" + leaked)
	for _, c := range []struct {
		name   string
		rule   string
		config imageConfig
		// attack runs a plain container of it, and tells whether it reached the
		// host.
		attack func(image string) bool
		// checked tells the same of a container that our driver makes.
		reached func(e engine.Engine, id string) bool
	}{
		{
			"env", "image.env", imageConfig{Env: []string{"PATH=/bin", "*"}},
			func(image string) bool {
				return strings.Contains(l.podmanAt(socket, "run", "--rm", image, "env").stdout, leaked)
			},
			func(e engine.Engine, id string) bool {
				return strings.Contains(l.execIn(e, id, "env"), leaked)
			},
		},
		{
			"env-name", "image.env", imageConfig{Env: []string{"PATH=/bin", "CANARY"}},
			func(image string) bool {
				return strings.Contains(l.podmanAt(socket, "run", "--rm", image, "env").stdout, leaked)
			},
			func(e engine.Engine, id string) bool {
				return strings.Contains(l.execIn(e, id, "env"), leaked)
			},
		},
		{
			"workdir", "image.workdir", imageConfig{WorkingDir: "/link/made", links: map[string]string{"link": outside}},
			func(image string) bool {
				l.podmanAt(socket, "run", "--rm", image, "true")
				_, err := os.Lstat(filepath.Join(outside, "made"))
				_ = os.Remove(filepath.Join(outside, "made"))
				return err == nil
			},
			func(e engine.Engine, id string) bool {
				l.execIn(e, id, "true")
				_, err := os.Lstat(filepath.Join(outside, "made"))
				return err == nil
			},
		},
		{
			"seccomp", "image.label", imageConfig{Labels: map[string]string{"io.containers.seccomp.profile": `{"defaultAction":"SCMP_ACT_ALLOW"}`}},
			nil, nil,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := "localhost/ccc-test/" + c.name + ":" + l.unique()
			l.image(name, c.config)
			t.Cleanup(func() { l.podman("image", "rm", "--force", name) })
			r := l.ccc("session", "create", "--name", "evil", "--image", name)
			if r.code != 3 || !strings.Contains(r.stderr, "ccc: hint: ") {
				t.Errorf("not refused: %v", r)
			}
			l.denied(c.rule)
			if c.attack == nil {
				return
			}
			if !c.attack(name) {
				t.Error("a plain container does not reach the host either: this proves nothing")
			}
			e, err := podman.Open(t.Context(), podman.Options{Socket: socket, UID: os.Getuid(), Env: os.Getenv})
			l.must(err)
			img, err := e.Image(t.Context(), name)
			l.must(err)
			if id := l.unchecked(e, img.ID); c.reached(e, id) {
				t.Error("our driver's container reaches the host")
			}
			l.must(e.RemoveContainer(t.Context(), "ccc-test-unchecked"))
		})
	}
}

func (l *lab) unique() string { return strings.TrimPrefix(filepath.Base(l.dir), "ccc-test-") }

// podmanAt runs Podman through a service, which may fail.
func (l *lab) podmanAt(socket string, args ...string) result {
	l.Helper()
	cmd := exec.CommandContext(l.Context(), "podman", append([]string{"--remote", "--url=unix://" + socket}, args...)...)
	cmd.Env = l.podmanEnv()
	return l.run(cmd)
}

// unchecked starts a container of an image as the core would, had it not looked
// at the image.
func (l *lab) unchecked(e engine.Engine, imageID string) string {
	l.Helper()
	id, err := e.CreateContainer(l.Context(), engine.Container{
		Name: "ccc-test-unchecked", Image: imageID, Hostname: "ccc", Argv: []string{"sleep", "infinity"}, Reap: true,
		Env: map[string]string{"PATH": "/bin"}, Dir: "/workspace", UID: 1000, GID: 1000,
		Memory: 1 << 30, CPUs: 1000, PIDs: 100, Timeout: time.Minute, Labels: map[string]string{engine.LabelSchema: engine.Schema},
	})
	l.must(err)
	l.must(e.StartContainer(l.Context(), id))
	return id
}

// execIn runs a command in a container and returns what it printed.
func (l *lab) execIn(e engine.Engine, id string, argv ...string) string {
	l.Helper()
	var out strings.Builder
	_, err := e.Exec(l.Context(), id, engine.Process{Argv: argv, Env: map[string]string{"PATH": "/bin"}, Dir: "/"}, api.Streams{Out: &out, Err: &out})
	l.must(err)
	return out.String()
}

// swapping is an engine during whose start the project is another directory.
type swapping struct {
	engine.Engine
	swap, back func()
}

func (s swapping) StartContainer(ctx context.Context, id string) error {
	s.swap()
	defer s.back()
	return s.Engine.StartContainer(ctx, id)
}

// A project that is swapped for another directory while Podman mounts it, and
// swapped back, is given away by what the session sees. Without that look the
// session would be taken for good, with the other directory in it.
func TestPodmanSwappedProject(t *testing.T) {
	l := newLab(t)
	victim := filepath.Join(l.dir, "victim")
	l.must(os.MkdirAll(filepath.Join(victim, ".git"), 0o755))
	l.must(os.WriteFile(filepath.Join(victim, "id_ed25519"), []byte(leaked), 0o600))
	e, err := podman.Open(t.Context(), podman.Options{UID: os.Getuid(), Env: os.Getenv})
	l.must(err)
	log, err := audit.Open(t.Context(), filepath.Join(l.state, "ccc", "audit"), audit.Options{Clock: time.Now, Version: "test"})
	l.must(err)
	defer log.Close()
	runtime := filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "ccc")
	for _, c := range []struct {
		name    string
		kernel  session.Kernel
		mode    api.Workspace
		back    bool
		refused bool
	}{
		{"overlay, nobody looks", trusting{}, api.WorkspaceOverlay, true, false},
		{"overlay", kernel.Reader{}, api.WorkspaceOverlay, true, true},
		{"overlay, not swapped back", trusting{}, api.WorkspaceOverlay, false, true},
		{"bind", kernel.Reader{}, api.WorkspaceBind, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			swapped := swapping{
				Engine: e,
				swap: func() {
					l.must(os.Rename(l.project, l.project+".was"))
					l.must(os.Symlink(victim, l.project))
				},
				back: func() {
					if c.back {
						l.must(os.Remove(l.project))
						l.must(os.Rename(l.project+".was", l.project))
					}
				},
			}
			core := &session.Core{
				Engine: swapped, Audit: log, Kernel: c.kernel,
				Dirs: workspace.Dirs{Root: filepath.Join(l.state, "ccc", "sessions")}, Intents: session.Intents{Dir: filepath.Join(runtime, "making")},
				Levels: []profile.Source{{FS: profiles.Levels, Dir: "levels"}}, Ground: policy.Ground{Home: os.Getenv("HOME")},
				Defaults: session.Defaults{Image: testImage, Level: "standard"},
				Clock:    time.Now, Random: sessiontest.Random, Dir: l.project,
				Guest: session.Guest{
					Source: l.bin + "-init", Programs: filepath.Join(l.state, "ccc", "init"), Dirs: filepath.Join(runtime, "sessions"),
					Boottime: guest.Boottime,
				},
				Seccomp: func(filter []byte) (string, error) { return seccomp.Deliver(filepath.Join(runtime, "seccomp"), filter) },
			}
			s, err := core.Create(t.Context(), sessiontest.Caller(), api.CreateRequest{Project: l.project, Name: "swapped", Workspace: c.mode})
			if !c.back {
				l.must(errors.Join(os.Remove(l.project), os.Rename(l.project+".was", l.project)))
			}
			if c.refused {
				if r := api.ReportOf(orNone(err)); r.Rule != "attest" && r.Rule != "project.moved" {
					t.Errorf("not refused: %+v, %v", s, err)
				}
				l.nothing()
				return
			}
			l.must(err)
			if r := l.sh("swapped", "cat /workspace/id_ed25519"); r.stdout != leaked {
				t.Errorf("the attack does not work, so that the other cases prove nothing: %v", r)
			}
			l.ok("session", "rm", "--yes", "swapped")
			l.nothing()
		})
	}
}

func orNone(err error) error {
	if err == nil {
		return errors.New("none")
	}
	return err
}

// trusting is the kernel, of which nobody asks what the session sees.
type trusting struct{ kernel.Reader }

func (trusting) Entries(int, string, int) ([]kernel.Entry, error) { return nil, nil }

// What doctor says of a host on which all other tests pass.
func TestPodmanDoctor(t *testing.T) {
	l := newLab(t)
	l.ok("session", "create", "--name", "demo")
	r := l.ccc("doctor", "--json")
	var found []struct{ Check, Verdict, Detail, Mend string }
	l.must(json.Unmarshal([]byte(r.stdout), &found))
	if r.code != 0 || len(found) < 12 {
		t.Errorf("%v", r)
	}
	for _, f := range found {
		if f.Verdict == "fail" || (f.Verdict == "warn") != (f.Mend != "") {
			t.Errorf("%+v", f)
		}
	}
}

// Root is refused, also the root of a user namespace, before anything is asked
// or recorded.
func TestPodmanRefusesRoot(t *testing.T) {
	l := newLab(t)
	for _, args := range [][]string{{"session", "list"}, {"session", "create"}, {"image", "list"}} {
		cmd := exec.CommandContext(t.Context(), "podman", append([]string{"unshare", l.bin}, args...)...)
		cmd.Env, cmd.Dir = l.env, l.project
		if r := l.run(cmd); r.code != 3 || !strings.Contains(r.stderr, "ccc does not run as root") {
			t.Errorf("%q: %v", args, r)
		}
	}
	if _, err := os.Stat(filepath.Join(l.state, "ccc", "audit")); err == nil {
		t.Error("something was recorded")
	}
}
