package podman_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/engine/enginetest"
	"github.com/ccc-dev/ccc/internal/engine/fake"
	"github.com/ccc-dev/ccc/internal/engine/podman"
	"github.com/containers/podman/v5/pkg/specgen"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// real is real Podman with the test image in it.
type real struct {
	*testing.T
	*podman.Engine
	image string
}

const realImage = "localhost/ccc-podmantest/busybox:1"

func openReal(t *testing.T) *real {
	t.Helper()
	r := &real{T: t, Engine: openPodman(t)}
	image, err := r.Image(t.Context(), realImage)
	if api.KindOf(err) == api.KindNotFound && err != nil {
		image.ID, err = r.ImportImage(t.Context(), enginetest.Rootfs(busybox(t)), engine.ImportOptions{Name: realImage})
	}
	if err != nil {
		t.Fatal(err)
	}
	r.image = image.ID
	return r
}

// raw sends a request of the test's own, to show what the driver never asks for.
func (r *real) raw(method, path string, body any, out any) int {
	r.Helper()
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", r.Socket())
	}}}
	defer client.CloseIdleConnections()
	reader := io.Reader(nil)
	switch b := body.(type) {
	case nil:
	case io.Reader:
		reader = b
	default:
		data, err := json.Marshal(b)
		if err != nil {
			r.Fatal(err)
		}
		reader = strings.NewReader(string(data))
	}
	request, err := http.NewRequestWithContext(r.Context(), method, "http://d/v4.0.0/libpod"+path, reader)
	if err != nil {
		r.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		r.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		r.Fatal(err)
	}
	if response.StatusCode >= 400 {
		r.Logf("%s %s: %s", method, path, data)
	}
	if out != nil && response.StatusCode < 300 {
		if err := json.Unmarshal(data, out); err != nil {
			r.Fatalf("%s: %v", data, err)
		}
	}
	return response.StatusCode
}

// wanted returns a container that sleeps.
func (r *real) wanted() engine.Container {
	c := least()
	c.Reap = true
	c.Name, c.Image, c.Argv, c.Dir = "ccc-podmantest-"+strconv.FormatInt(time.Now().UnixNano(), 36), r.image, []string{"sleep", "infinity"}, "/workspace"
	c.Hostname, c.Env = "box", map[string]string{"PATH": "/bin", "HOME": "/home/agent"}
	c.Memory, c.CPUs, c.PIDs, c.Timeout, c.ShmSize = 256<<20, 1000, 64, time.Hour, 1<<20
	c.Tmpfs = []engine.Tmpfs{{Target: "/tmp", Size: 1 << 20, Mode: 0o777 | fs.ModeSticky, NoExec: true}}
	c.Labels = map[string]string{engine.LabelSchema: engine.Schema}
	return c
}

// run makes and starts a container that goes with the test.
func (r *real) run(c engine.Container) string {
	r.Helper()
	r.Cleanup(func() {
		if err := r.RemoveContainer(context.Background(), c.Name); err != nil {
			r.Error(err)
		}
	})
	id, err := r.CreateContainer(r.Context(), c)
	if err == nil {
		err = r.StartContainer(r.Context(), id)
	}
	if err != nil {
		r.Fatal(err)
	}
	return id
}

// runSpec is run for a specification that was tampered with.
func (r *real) runSpec(s *specgen.SpecGenerator) string {
	r.Helper()
	r.Cleanup(func() {
		if err := r.RemoveContainer(context.Background(), s.Name); err != nil {
			r.Error(err)
		}
	})
	var made struct{ Id string }
	if status := r.raw(http.MethodPost, "/containers/create", s, &made); status != 201 {
		r.Fatalf("create: %d", status)
	}
	if status := r.raw(http.MethodPost, "/containers/"+made.Id+"/start", nil, nil); status != 204 {
		r.Fatalf("start: %d", status)
	}
	return made.Id
}

// sh runs a script and returns its code and all that it printed.
func (r *real) sh(id, script string) (int, string) {
	r.Helper()
	var out strings.Builder
	p := engine.Process{Argv: []string{"sh", "-c", script}, Dir: "/", Env: map[string]string{"PATH": "/bin"}}
	code, err := r.Exec(r.Context(), id, p, api.Streams{Out: &out, Err: &out})
	if err != nil {
		r.Fatal(err)
	}
	return code, out.String()
}

// Each wall is tried from the inside, and the same attack against a container
// without it must succeed: an attack that fails anyway proves nothing.
func TestPodmanWalls(t *testing.T) {
	r := openReal(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	base := r.wanted()
	base.Binds = []engine.Bind{{Source: dir, Target: "/mnt"}}
	held := r.run(base)
	neighbour := r.wanted()
	neighbour.Argv = []string{"sleep", "98765"}
	other := r.run(neighbour)
	for _, w := range []struct {
		name, attack string
		without      func(*specgen.SpecGenerator)
	}{
		{"read-only root", "touch /home/agent/x", func(s *specgen.SpecGenerator) { s.ReadOnlyFilesystem = new(bool) }},
		{"read-only mount", "echo y > /mnt/file", func(s *specgen.SpecGenerator) {
			s.Mounts[slices.IndexFunc(s.Mounts, func(m specs.Mount) bool { return m.Type == "bind" })].Options = []string{"bind", "rw"}
		}},
		{"no capabilities", "hostname other", func(s *specgen.SpecGenerator) {
			s.CapDrop, s.CapAdd, s.User = nil, []string{"SYS_ADMIN"}, "0:0"
		}},
		{"not root inside", "test $(id -u) = 0", func(s *specgen.SpecGenerator) { s.User = "0:0" }},
		{"no execution in /tmp", "echo '#!/bin/sh' > /tmp/x; chmod +x /tmp/x; /tmp/x", func(s *specgen.SpecGenerator) { mountWithout(s, "/tmp", "noexec") }},
		{"bounded /tmp", "cat /bin/busybox > /tmp/big", func(s *specgen.SpecGenerator) { mountWithout(s, "/tmp", "size=") }},
		{"bounded /dev/shm", "cat /bin/busybox > /dev/shm/big", func(s *specgen.SpecGenerator) { mountWithout(s, "/dev/shm", "size=") }},
		{"no interface", `grep -vE "lo:|Inter|face" /proc/net/dev`, func(s *specgen.SpecGenerator) { s.NetNS = specgen.Namespace{NSMode: specgen.Slirp} }},
		{"the host's names", "grep -qE '" + hostNames(t) + "' /etc/hosts", func(s *specgen.SpecGenerator) { s.UseImageHosts = nil }},
		{"no new privileges", "grep -q 'NoNewPrivs:.0' /proc/self/status", func(s *specgen.SpecGenerator) { s.NoNewPrivileges = new(bool) }},
		{"system call filter", "grep -q 'Seccomp:.0' /proc/self/status", func(s *specgen.SpecGenerator) { s.SeccompProfilePath = "unconfined" }},
		// Virtual machines may lack firmware, hosts without a session keys.
		{"masked files", "test -n \"$(ls /sys/firmware; cat /proc/keys)\"", func(s *specgen.SpecGenerator) { s.Unmask = []string{"ALL"} }},
		{"processes of others", "ps | grep -q '[s]leep 98765'", func(s *specgen.SpecGenerator) {
			s.PidNS, s.Init = specgen.Namespace{NSMode: specgen.FromContainer, Value: other}, new(bool)
		}},
	} {
		t.Run(w.name, func(t *testing.T) {
			r := &real{T: t, Engine: r.Engine, image: r.image}
			if code, out := r.sh(held, w.attack); code == 0 {
				t.Errorf("the wall does not hold: %s", out)
			}
			c := r.wanted()
			c.Binds = base.Binds
			s, err := podman.Spec(c, os.Getuid(), r.Version())
			if err != nil {
				t.Fatal(err)
			}
			w.without(s)
			if code, out := r.sh(r.runSpec(s), w.attack); code != 0 {
				t.Errorf("the attack fails without the wall too (%d): %s", code, out)
			}
		})
	}
}

// hostNames returns a pattern for what Podman writes of the host into a
// container's list of hosts; newer ones give it a name only where there is a way
// to it, but copy its own list.
func hostNames(t *testing.T) string {
	t.Helper()
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return `host\.containers\.internal|` + regexp.QuoteMeta(name)
}

// mountWithout takes the options that begin so from a mount.
func mountWithout(s *specgen.SpecGenerator, target, option string) {
	n := slices.IndexFunc(s.Mounts, func(m specs.Mount) bool { return m.Destination == target })
	s.Mounts[n].Options = slices.DeleteFunc(s.Mounts[n].Options, func(o string) bool { return strings.HasPrefix(o, option) })
}

func TestPodmanOverlayKeepsTheProject(t *testing.T) {
	r := openReal(t)
	dir := shortDir(t)
	// The kernel leaves what is the container root's in the work directory.
	t.Cleanup(func() {
		if err := r.RemoveTree(context.Background(), dir+"/work"); err != nil {
			t.Error(err)
		}
	})
	c := r.wanted()
	o := engine.Overlay{Lower: dir + "/lower", Upper: dir + "/upper", Work: dir + "/work", Target: "/workspace"}
	for _, d := range []string{o.Lower, o.Upper, o.Work} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(o.Lower, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("kept", "old")
	write("removed", "old")
	c.Overlays = []engine.Overlay{o}
	if code, out := r.sh(r.run(c), "cd /workspace && echo new > kept && busybox rm removed && echo more > added && ls"); code != 0 || out != "added\nkept\n" {
		t.Errorf("%d, %q", code, out)
	}
	for name, want := range map[string]string{"kept": "old", "removed": "old"} {
		if got, err := os.ReadFile(filepath.Join(o.Lower, name)); err != nil || string(got) != want {
			t.Errorf("%s of the project is %q, %v", name, got, err)
		}
	}
	if _, err := os.Stat(filepath.Join(o.Lower, "added")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the project has what was added: %v", err)
	}
	if err := os.RemoveAll(o.Work); err == nil {
		t.Error("the work directory can be removed without RemoveTree, which this test is about too")
	}
	if got, err := os.ReadFile(filepath.Join(o.Upper, "added")); err != nil || string(got) != "more\n" {
		t.Errorf("what was added is %q, %v", got, err)
	}
}

func TestPodmanHomeOutlivesARun(t *testing.T) {
	r := openReal(t)
	c := r.wanted()
	v := engine.Volume{Name: c.Name, Labels: c.Labels}
	t.Cleanup(func() {
		if err := r.RemoveVolume(context.Background(), v.Name); err != nil {
			t.Error(err)
		}
	})
	if err := r.CreateVolume(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	c.Homes = []engine.Home{{Volume: v.Name, Target: "/home/agent"}}
	id := r.run(c)
	if code, out := r.sh(id, "echo mine > /home/agent/file"); code != 0 {
		t.Errorf("%d, %q", code, out)
	}
	if err := errors.Join(r.StopContainer(t.Context(), id, time.Second), r.StartContainer(t.Context(), id)); err != nil {
		t.Fatal(err)
	}
	if code, out := r.sh(id, "cat /home/agent/file"); code != 0 || out != "mine\n" {
		t.Errorf("%d, %q", code, out)
	}
}

func TestPodmanSeccompProfileIsApplied(t *testing.T) {
	r := openReal(t)
	file := filepath.Join(t.TempDir(), "seccomp.json")
	profile := `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":1}]}`
	if err := os.WriteFile(file, []byte(profile), 0o644); err != nil {
		t.Fatal(err)
	}
	c := r.wanted()
	c.Seccomp = file
	if code, out := r.sh(r.run(c), "mkdir /tmp/x"); code == 0 {
		t.Errorf("the profile's rule does not hold: %s", out)
	}
	if code, out := r.sh(r.run(r.wanted()), "mkdir /tmp/x"); code != 0 {
		t.Errorf("it fails without the profile too: %s", out)
	}
	c = r.wanted()
	c.Seccomp = file + ".missing"
	if _, err := r.CreateContainer(t.Context(), c); api.KindOf(err) != api.KindNotFound {
		t.Errorf("%v", err)
	}
}

// An image's configuration has no say in what runs, as whom, with what.
func TestPodmanImageHasNoSay(t *testing.T) {
	r := openReal(t)
	changes := url.Values{"reference": {"localhost/ccc-podmantest/talks:1"}, "changes": {
		`ENTRYPOINT ["/bin/echo","IMAGE"]`, `CMD ["IMAGE"]`, "ENV IMAGE=1", "ENV PATH=/image", "VOLUME /home/image", "USER 0",
		"WORKDIR /etc", "STOPSIGNAL SIGKILL", "EXPOSE 80", "LABEL io.podman.annotations.privileged=TRUE",
	}}
	var made struct{ Id string }
	if status := r.raw(http.MethodPost, "/images/import?"+changes.Encode(), enginetest.Rootfs(busybox(t)), &made); status != 200 {
		t.Fatal(status)
	}
	id := strings.TrimPrefix(made.Id, "sha256:")
	t.Cleanup(func() {
		if err := r.RemoveImage(context.Background(), id); err != nil {
			t.Error(err)
		}
	})
	c := r.wanted()
	c.Image = id
	box := r.run(c)
	code, out := r.sh(box, "ps; env; id -u; mount; ls -ld /home/image; cat /proc/1/cmdline")
	if code != 0 || strings.Contains(strings.ToUpper(out), "IMAGE") && !strings.Contains(out, "/home/image: No such file") || !strings.Contains(out, "sleep infinity") {
		t.Errorf("%d, %s", code, out)
	}
	if !strings.Contains(out, "\n1000\n") {
		t.Errorf("runs as another user: %s", out)
	}
	i, err := r.Container(t.Context(), box)
	if err != nil {
		t.Fatal(err)
	}
	p := i.Spec.Process
	if p.Cwd != "/workspace" || slices.Contains(p.Env, "IMAGE=1") || !slices.Contains(p.Env, "PATH=/bin") || p.User.UID != 1000 {
		t.Errorf("%+v", p)
	}
	if err := r.StopContainer(t.Context(), box, 20*time.Second); err != nil {
		t.Fatal(err)
	}
	if i, err := r.Container(t.Context(), box); err != nil || i.ExitCode != 128+int(syscall.SIGTERM) {
		t.Errorf("ended by another signal than SIGTERM: %d, %v", i.ExitCode, err)
	}
}

// services returns the numbers of the processes that serve the socket.
func (r *real) services() []int {
	r.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		r.Fatal(err)
	}
	var pids []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		line, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		if err == nil && strings.HasSuffix(string(line), "unix://"+r.Socket()+"\x00") {
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestPodmanServiceHasAScrubbedEnvironment(t *testing.T) {
	r := openReal(t)
	pids := r.services()
	if len(pids) == 0 {
		// Podman was started by somebody else, who chose its environment.
		t.Logf("the service at %s is not ccc's own", r.Socket())
		return
	}
	// What Podman itself adds when it enters its user namespace.
	own := regexp.MustCompile(`^(_CONTAINERS_|PATH=|HOME=|USER=|XDG_|DBUS_|LANG=|TMPDIR=|CONTAINERS_)`)
	for _, pid := range pids {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00") {
			if !own.MatchString(v) {
				t.Errorf("process %d has %.40s", pid, v)
			}
		}
	}
}

// A service that was killed is replaced, and what it had made lives on.
func TestPodmanServiceIsReplaced(t *testing.T) {
	r := openReal(t)
	c := r.wanted()
	id := r.run(c)
	pids := r.services()
	if len(pids) == 0 {
		t.Logf("the service at %s is not ccc's own", r.Socket())
		return
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Fatal(err)
		}
	}
	r.Engine = openPodman(t)
	if code, out := r.sh(id, "echo here"); code != 0 || out != "here\n" {
		t.Errorf("%d, %q", code, out)
	}
}

// A runtime that loses a race at its first attempts: the start is repeated, and
// the container is whole.
func TestPodmanStartIsRepeated(t *testing.T) {
	r := openReal(t)
	dir := t.TempDir()
	runtime := filepath.Join(dir, "crun")
	script := fmt.Sprintf(`#!/bin/sh
# Fails as crun does under load, for the first two containers it is to create.
case " $* " in
*" create "*)
	n=$(cat %[1]s/count 2>/dev/null || echo 0)
	echo $((n + 1)) >%[1]s/count
	if [ "$n" -lt 2 ]; then
		echo 'write to `+"`/proc/sys/net/ipv4/ping_group_range`"+`: Invalid argument' >&2
		exit 1
	fi
esac
exec /usr/bin/crun "$@"
`, dir)
	if err := os.WriteFile(runtime, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	r.Engine = openWithRuntime(t, runtime)
	c := r.wanted()
	t.Cleanup(func() {
		if err := r.RemoveContainer(context.Background(), c.Name); err != nil {
			t.Error(err)
		}
	})
	if _, err := r.CreateContainer(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := r.StartContainer(t.Context(), c.Name); err != nil {
		t.Fatal(err)
	}
	if count, err := os.ReadFile(filepath.Join(dir, "count")); err != nil || string(count) != "3\n" {
		t.Errorf("the runtime was called %q times, %v", count, err)
	}
	if code, out := r.sh(c.Name, "echo here; touch /tmp/x"); code != 0 || out != "here\n" {
		t.Errorf("%d, %q", code, out)
	}
	if err := r.StopContainer(t.Context(), c.Name, 20*time.Second); err != nil {
		t.Error(err)
	}
}

// openWithRuntime connects to a service whose OCI runtime is the given program.
func openWithRuntime(t *testing.T, runtime string) *podman.Engine {
	t.Helper()
	config := filepath.Join(t.TempDir(), "containers")
	home, err := os.UserHomeDir()
	if err == nil {
		err = os.Mkdir(config, 0o700)
	}
	if err == nil {
		err = os.CopyFS(config, os.DirFS(filepath.Join(home, ".config", "containers")))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(config, "containers.conf"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(f, "[engine.runtimes]\ncrun = [%q]\n", runtime); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(shortDir(t), "s")
	service := exec.Command("podman", "--log-level=error", "system", "service", "--time=0", "unix://"+socket)
	service.Env = append(os.Environ(), "XDG_CONFIG_HOME="+filepath.Dir(config))
	service.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := service.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-service.Process.Pid, syscall.SIGTERM)
		_ = service.Wait()
	})
	for range 500 {
		if e, err := podman.Open(t.Context(), podman.Options{Socket: socket, UID: os.Getuid(), Env: os.Getenv}); err == nil {
			return e
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("the service did not come up")
	return nil
}

// Four at a time, none fails and nothing is left. CCC_TEST_MANY says how many.
func TestPodmanManyAtATime(t *testing.T) {
	r := openReal(t)
	many, err := strconv.Atoi(os.Getenv("CCC_TEST_MANY"))
	if err != nil {
		many = 16
	}
	work, errs := make(chan engine.Container), make(chan error)
	for range 4 {
		go func() {
			for c := range work {
				errs <- r.life(c)
			}
		}()
	}
	go func() {
		for range many {
			work <- r.wanted()
		}
		close(work)
	}()
	for range many {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	list, err := r.ListContainers(t.Context())
	if err != nil || slices.ContainsFunc(list, func(i engine.Instance) bool { return strings.HasPrefix(i.Name, "ccc-podmantest-") }) {
		t.Errorf("left: %+v, %v", list, err)
	}
}

// life takes a container from its making to its removal.
func (r *real) life(c engine.Container) (err error) {
	ctx := context.WithoutCancel(r.Context())
	id, err := r.CreateContainer(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.RemoveContainer(ctx, id), leftovers(id)) }()
	if err := r.StartContainer(ctx, id); err != nil {
		return err
	}
	p := engine.Process{Argv: []string{"true"}, Dir: "/", Env: map[string]string{"PATH": "/bin"}}
	var errs strings.Builder
	code, err := r.Exec(ctx, id, p, api.Streams{Err: &errs})
	if err == nil && code != 0 {
		err = fmt.Errorf("code %d: %s", code, errs.String())
	}
	return err
}

// leftovers looks for processes that speak of the container. What was killed
// takes a moment to be gone.
func leftovers(id string) error {
	var err error
	for range 100 {
		if err = leftover(id); err == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}

func leftover(id string) error {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return err
	}
	for _, file := range files {
		if line, err := os.ReadFile(file); err == nil && strings.Contains(string(line), id) {
			return fmt.Errorf("left: %s: %.60q", file, line)
		}
	}
	return nil
}

// The fake says what a runtime would have been given. Tests of what reads that
// are worth something only as long as it is what Podman really writes.
func TestPodmanSpecIsLikeTheFakes(t *testing.T) {
	r := openReal(t)
	dir := shortDir(t)
	c := r.wanted()
	v := engine.Volume{Name: c.Name, Labels: c.Labels}
	t.Cleanup(func() {
		if err := errors.Join(r.RemoveVolume(context.Background(), v.Name), r.RemoveTree(context.Background(), dir+"/work")); err != nil {
			t.Error(err)
		}
	})
	if err := r.CreateVolume(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"bind", "lower", "upper", "work"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c.Binds = []engine.Bind{{Source: dir + "/bind", Target: "/mnt", Writable: true}, {Source: dir + "/bind", Target: "/srv"}}
	c.Overlays = []engine.Overlay{{Lower: dir + "/lower", Upper: dir + "/upper", Work: dir + "/work", Target: "/workspace"}}
	c.Homes = []engine.Home{{Volume: v.Name, Target: "/home/agent"}}
	c.Rlimits = map[string]uint64{"NOFILE": 512}
	// A user whom the image does not know.
	c.UID, c.GID = 1234, 1235
	i, err := r.Container(t.Context(), r.run(c))
	if err != nil {
		t.Fatal(err)
	}
	got, want := i.Spec, fake.Spec(c)
	for _, s := range []*specs.Spec{got, want} {
		slices.Sort(s.Process.Env)
		s.Process.Rlimits = slices.DeleteFunc(s.Process.Rlimits, func(l specs.POSIXRlimit) bool { return c.Rlimits[l.Type[len("RLIMIT_"):]] == 0 })
		slices.SortFunc(s.Linux.Namespaces, func(a, b specs.LinuxNamespace) int { return strings.Compare(string(a.Type), string(b.Type)) })
	}
	// How many subordinate ids there are is the host's business.
	ids := cmpopts.IgnoreFields(specs.LinuxIDMapping{}, "Size")
	for _, part := range [][2]any{
		{want.Process, got.Process}, {want.Root.Readonly, got.Root.Readonly}, {want.Hostname, got.Hostname}, {want.Hooks, got.Hooks},
		{want.Linux.UIDMappings, got.Linux.UIDMappings}, {want.Linux.GIDMappings, got.Linux.GIDMappings}, {want.Linux.Resources, got.Linux.Resources},
		{want.Linux.Namespaces, got.Linux.Namespaces}, {r.like(want.Linux.MaskedPaths), r.like(got.Linux.MaskedPaths)}, {want.Linux.ReadonlyPaths, got.Linux.ReadonlyPaths},
		{want.Linux.Sysctl, got.Linux.Sysctl}, {want.Linux.Devices, got.Linux.Devices}, {r.mountLines(want), r.mountLines(got)},
	} {
		if diff := cmp.Diff(part[0], part[1], ids, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%T, the fake's -, Podman's +:\n%s", part[0], diff)
		}
	}
}

// like returns what the fake imitates of Podman 4 and other versions do
// differently: nothing of it for those.
func (r *real) like(list []string) []string {
	if r.Version().AtLeast(5, 0) {
		return nil
	}
	return list
}

// mountLines renders mounts without what differs from container to container.
func (r *real) mountLines(s *specs.Spec) []string {
	var lines []string
	for _, m := range s.Mounts {
		if len(r.like([]string{m.Destination})) == 0 && !slices.Contains([]string{"/tmp", "/dev/shm", "/mnt", "/srv", "/workspace", "/home/agent"}, m.Destination) {
			continue
		}
		source := m.Source
		if at := strings.Index(source, "/userdata/"); at >= 0 {
			source = source[at:]
		}
		if at := strings.Index(source, "/volumes/"); at >= 0 {
			source = source[at:]
		}
		if m.Type == "overlay" {
			source = "overlay"
		}
		lines = append(lines, fmt.Sprint(m.Destination, " ", m.Type, " ", source, " ", slices.Sorted(slices.Values(m.Options))))
	}
	slices.Sort(lines)
	return lines
}
