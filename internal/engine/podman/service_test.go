package podman_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine/enginetest"
	"github.com/ccc-dev/ccc/internal/engine/podman"
)

// TestMain also plays the programs that the driver starts: under the name podman
// this binary is a service, under the name systemctl what starts one.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "podman":
		os.Exit(playService(os.Args[1:]))
	case "systemctl":
		os.Exit(playSystemctl(os.Args[1:]))
	}
	code := m.Run()
	if err := removeImages(); err != nil {
		fmt.Fprintln(os.Stderr, "remove the test images:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// removeImages removes the images that the tests against real Podman leave.
func removeImages() error {
	if os.Getenv("CCC_TEST_PODMAN") != "1" {
		return nil
	}
	ctx := context.Background()
	e, err := podman.Open(ctx, podman.Options{UID: os.Getuid(), Env: os.Getenv})
	if err != nil {
		return err
	}
	return errors.Join(e.RemoveImage(ctx, enginetest.Image), e.RemoveImage(ctx, realImage))
}

// playService is `podman system service --time=N unix://SOCKET`. It notes its
// environment and arguments beside the program, and ends when the file "end" is
// there.
func playService(args []string) int {
	home := filepath.Dir(os.Args[0])
	if _, err := os.Stat(filepath.Join(home, "broken")); err == nil {
		fmt.Fprintln(os.Stderr, "first line\nError: the storage is broken")
		return 125
	}
	pgid, _ := syscall.Getpgid(0)
	note := strings.Join(append(slices.Sorted(slices.Values(os.Environ())), args...), "\n")
	note += fmt.Sprintf("\nleader %t\n", pgid == os.Getpid())
	f, err := os.OpenFile(filepath.Join(home, "starts"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return 1
	}
	fmt.Fprintln(f, note+"--")
	f.Close()
	socket, ok := strings.CutPrefix(args[len(args)-1], "unix://")
	if !ok {
		return 1
	}
	// A start takes its time.
	time.Sleep(50 * time.Millisecond)
	l, err := net.Listen("unix", socket)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Libpod-Api-Version", "4.3.1")
	}))
	// Whatever becomes of the test, this ends.
	for range 6000 {
		if _, err := os.Stat(filepath.Join(home, "end")); err == nil {
			return 0
		}
		time.Sleep(10 * time.Millisecond)
	}
	return 0
}

// playSystemctl is `systemctl --user start podman.socket`.
func playSystemctl(args []string) int {
	home := filepath.Dir(os.Args[0])
	if strings.Join(args, " ") != "--user start podman.socket" {
		return 2
	}
	if _, err := os.Stat(filepath.Join(home, "no-unit")); err == nil {
		return 5
	}
	dir := filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "podman")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return 1
	}
	socket := filepath.Join(dir, "podman.sock")
	service := filepath.Join(home, "podman")
	_, err := os.StartProcess(service, []string{service, "unix://" + socket}, &os.ProcAttr{Env: []string{"BY=systemd"}})
	if err != nil {
		return 1
	}
	for range 1000 {
		if _, err := os.Stat(socket); err == nil {
			return 0
		}
		time.Sleep(10 * time.Millisecond)
	}
	return 1
}

// machine is a user's surroundings with programs that this binary plays.
type machine struct {
	t            *testing.T
	runtime, bin string
	env          map[string]string
}

func newMachine(t *testing.T, programs ...string) *machine {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{t: t, runtime: shortDir(t), bin: shortDir(t)}
	for _, p := range programs {
		if err := os.Symlink(self, filepath.Join(m.bin, p)); err != nil {
			t.Fatal(err)
		}
	}
	m.env = map[string]string{
		"PATH": "relative:" + m.bin, "HOME": "/home/me", "USER": "me", "LANG": "C.UTF-8", "XDG_CONFIG_HOME": "/home/me/.config",
		"XDG_DATA_HOME": "/home/me/.data", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/x", "XDG_RUNTIME_DIR": m.runtime,
		"ANTHROPIC_API_KEY": "secret", "HTTP_PROXY": "http://u:p@proxy", "LD_PRELOAD": "/evil.so", "CONTAINERS_CONF": "/evil", "TMPDIR": "/evil",
	}
	t.Cleanup(func() { m.put("end") })
	return m
}

// put makes an empty file beside the programs.
func (m *machine) put(name string) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.bin, name), nil, 0o600); err != nil {
		m.t.Error(err)
	}
}

func (m *machine) open() (*podman.Engine, error) {
	return podman.FindAs(m.t.Context(), m.runtime, os.Getuid(), func(k string) string { return m.env[k] })
}

// starts returns what the services noted when they were started.
func (m *machine) starts() []string {
	data, _ := os.ReadFile(filepath.Join(m.bin, "starts"))
	return strings.Split(strings.TrimSuffix(string(data), "--\n"), "--\n")
}

func TestServiceIsStartedOnceWithAScrubbedEnvironment(t *testing.T) {
	m := newMachine(t, "podman")
	e, err := m.open()
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(m.runtime, "ccc", "podman.sock")
	if e.Socket() != socket || e.Version().String() != "4.3.1" {
		t.Errorf("%s, %v", e.Socket(), e.Version())
	}
	if _, err := m.open(); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"DBUS_SESSION_BUS_ADDRESS=unix:path=/x", "HOME=/home/me", "LANG=C.UTF-8", "PATH=relative:" + m.bin, "USER=me",
		"XDG_CONFIG_HOME=/home/me/.config", "XDG_DATA_HOME=/home/me/.data", "XDG_RUNTIME_DIR=" + m.runtime,
		"system", "service", "--time=60", "unix://" + socket, "leader true", "",
	}, "\n")
	if got := m.starts(); len(got) != 1 || got[0] != want {
		t.Errorf("started with\n%s\nwant\n%s", strings.Join(got, "--\n"), want)
	}
	info, err := os.Stat(filepath.Join(m.runtime, "ccc"))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestServiceIsStartedOnceByMany(t *testing.T) {
	m := newMachine(t, "podman")
	errs := make(chan error, 8)
	for range cap(errs) {
		go func() {
			_, err := m.open()
			errs <- err
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if n := len(m.starts()); n != 1 {
		t.Errorf("started %d times", n)
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	m := newMachine(t, "podman")
	for _, dir := range []string{"ccc", "podman"} {
		if err := os.Mkdir(filepath.Join(m.runtime, dir), 0o700); err != nil {
			t.Fatal(err)
		}
		deadSocket(t, filepath.Join(m.runtime, dir, "podman.sock"))
	}
	if _, err := m.open(); err != nil {
		t.Fatal(err)
	}
}

func TestServiceThatDoesNotComeUp(t *testing.T) {
	m := newMachine(t, "podman")
	m.put("broken")
	_, err := m.open()
	if api.KindOf(err) != api.KindUnavailable || !strings.Contains(err.Error(), "the storage is broken") || api.ReportOf(err).Hint == "" {
		t.Errorf("%v", err)
	}
}

func TestNoPodmanAtAll(t *testing.T) {
	_, err := newMachine(t).open()
	if api.KindOf(err) != api.KindUnavailable || !strings.Contains(api.ReportOf(err).Hint, "install podman") {
		t.Errorf("%v", err)
	}
}

func TestServiceDirectoryMustBePrivate(t *testing.T) {
	for name, spoil := range map[string]func(string) error{
		"open to others": func(dir string) error { return os.Mkdir(dir, 0o755) },
		"a link":         func(dir string) error { return os.Symlink(shortDir(t), dir) },
		"a file":         func(dir string) error { return os.WriteFile(dir, nil, 0o600) },
	} {
		m := newMachine(t, "podman")
		if err := spoil(filepath.Join(m.runtime, "ccc")); err != nil {
			t.Fatal(err)
		}
		if _, err := m.open(); api.KindOf(err) != api.KindUnavailable {
			t.Errorf("%s: %v", name, err)
		}
		if got := m.starts(); got[0] != "" {
			t.Errorf("%s: started", name)
		}
	}
}

func TestSystemdIsAskedFirst(t *testing.T) {
	m := newMachine(t, "podman", "systemctl")
	m.manager()
	e, err := m.open()
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(m.runtime, "podman", "podman.sock"); e.Socket() != want {
		t.Errorf("%s, want %s", e.Socket(), want)
	}
	if got := m.starts(); len(got) != 1 || !strings.HasPrefix(got[0], "BY=systemd\n") {
		t.Errorf("%q", got)
	}
	// The second finds it.
	if _, err := m.open(); err != nil {
		t.Fatal(err)
	}
	if n := len(m.starts()); n != 1 {
		t.Errorf("started %d times", n)
	}
}

// manager makes the sign by which systemd's user instance is known.
func (m *machine) manager() {
	m.t.Helper()
	dir := filepath.Join(m.runtime, "systemd")
	if err := os.Mkdir(dir, 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "private"), nil, 0o600); err != nil {
		m.t.Fatal(err)
	}
}

func TestSystemdWithoutTheUnit(t *testing.T) {
	m := newMachine(t, "podman", "systemctl")
	m.manager()
	m.put("no-unit")
	e, err := m.open()
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(m.runtime, "ccc", "podman.sock"); e.Socket() != want {
		t.Errorf("%s, want %s", e.Socket(), want)
	}
}

func TestSystemdIsNotAskedWhereItIsNot(t *testing.T) {
	m := newMachine(t, "podman", "systemctl")
	e, err := m.open()
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(m.runtime, "ccc", "podman.sock"); e.Socket() != want {
		t.Errorf("%s, want %s", e.Socket(), want)
	}
}

func TestRuntimeDirectoryMustBePrivate(t *testing.T) {
	for _, dir := range []string{"/nowhere", "/tmp", "/etc"} {
		_, err := podman.Open(t.Context(), podman.Options{UID: 12345, Env: func(k string) string {
			if k == "XDG_RUNTIME_DIR" {
				return dir
			}
			return ""
		}})
		if api.KindOf(err) != api.KindUnavailable || !strings.Contains(err.Error(), "XDG_RUNTIME_DIR") {
			t.Errorf("%s: %v", dir, err)
		}
	}
	// Without the variable it is where systemd has it.
	_, err := podman.Open(t.Context(), podman.Options{UID: 12345})
	if api.KindOf(err) != api.KindUnavailable || !strings.Contains(err.Error(), "/run/user/12345") {
		t.Errorf("%v", err)
	}
}
