package podman_test

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine/podman"
)

func TestOpenRefusesRoot(t *testing.T) {
	s := serve(t, "5.4.2", nil)
	// The zero value of the options is root.
	_, err := podman.Open(t.Context(), podman.Options{Socket: s.socket})
	if api.KindOf(err) != api.KindDenied {
		t.Errorf("%v", err)
	}
}

func TestOpenRefusesOtherMachines(t *testing.T) {
	for socket, want := range map[string]api.Kind{
		"ssh://me@host/run/podman.sock": api.KindDenied,
		"tcp://127.0.0.1:8080":          api.KindDenied,
		"http://localhost":              api.KindDenied,
		"podman.sock":                   api.KindInvalid,
		"/run/../podman.sock":           api.KindInvalid,
		"unix://podman.sock":            api.KindInvalid,
		"/nowhere/podman.sock":          api.KindUnavailable,
		"unix:///nowhere/podman.sock":   api.KindUnavailable,
		"/etc/passwd":                   api.KindUnavailable,
	} {
		_, err := podman.Open(t.Context(), podman.Options{Socket: socket, UID: 12345})
		if api.KindOf(err) != want {
			t.Errorf("%s: %v, want kind %v", socket, err, want)
		}
		if r := api.ReportOf(err); r.Hint == "" {
			t.Errorf("%s: no hint", socket)
		}
	}
}

func TestVersionIsKnownFromTheFirstAnswer(t *testing.T) {
	for version, want := range map[string]api.Kind{"4.0.0": 0, "4.3.1": 0, "5.8.3-dev": 0, "3.4.4": api.KindUnavailable, "": api.KindUnavailable, "x": api.KindUnavailable} {
		s := serve(t, version, nil)
		e, err := podman.OpenAs(t.Context(), s.socket, os.Getuid(), time.Minute)
		if want == 0 {
			if err != nil || !strings.HasPrefix(version, e.Version().String()) {
				t.Errorf("%q: %v, %v", version, e.Version(), err)
			}
			continue
		}
		if api.KindOf(err) != want {
			t.Errorf("%q: %v", version, err)
		}
	}
}

func TestSocketOpenToOthersIsRefused(t *testing.T) {
	s := serve(t, "5.4.2", nil)
	dir := filepath.Dir(s.socket)
	for _, c := range []struct {
		dir, socket os.FileMode
		want        bool
	}{
		{0o700, 0o600, true},
		{0o700, 0o777, true},
		{0o755, 0o600, true},
		{0o755, 0o755, true},
		{0o755, 0o620, false},
		{0o755, 0o602, false},
		{0o710, 0o660, false},
	} {
		if err := os.Chmod(dir, c.dir); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(s.socket, c.socket); err != nil {
			t.Fatal(err)
		}
		_, err := podman.OpenAs(t.Context(), s.socket, os.Getuid(), time.Minute)
		if c.want && err != nil || !c.want && api.KindOf(err) != api.KindDenied {
			t.Errorf("directory %o, socket %o: %v", c.dir, c.socket, err)
		}
	}
}

func TestSocketOfAnotherIsRefused(t *testing.T) {
	s := serve(t, "5.4.2", nil)
	_, err := podman.OpenAs(t.Context(), s.socket, os.Getuid()+1, time.Minute)
	if api.KindOf(err) != api.KindDenied {
		t.Errorf("%v", err)
	}
	if os.Getuid() != 0 {
		t.Log("not root: a socket whose server is another's cannot be made")
		return
	}
	// The socket is the user's, but who listens is root: a rootful engine.
	const user = 12345
	for _, file := range []string{s.socket, filepath.Dir(s.socket)} {
		if err := os.Chown(file, user, user); err != nil {
			t.Fatal(err)
		}
	}
	_, err = podman.OpenAs(t.Context(), s.socket, user, time.Minute)
	if api.KindOf(err) != api.KindDenied || !strings.Contains(err.Error(), "root") {
		t.Errorf("%v", err)
	}
}

// A path can lead elsewhere a moment after it was checked.
func TestEveryConnectionIsChecked(t *testing.T) {
	if os.Getuid() != 0 {
		t.Log("not root: this is shown by TestSocketOfAnotherIsRefused for the first connection")
		return
	}
	s := serve(t, "5.4.2", map[string]http.HandlerFunc{aContainer: answer(200, "{}")})
	e := s.open()
	if _, err := e.Container(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	podman.SetUID(e, 12345)
	podman.CloseIdle(e)
	_, err := e.Container(t.Context(), "x")
	if api.KindOf(err) != api.KindDenied {
		t.Errorf("%v", err)
	}
}

func TestSocketBehindALink(t *testing.T) {
	s := serve(t, "5.4.2", nil)
	link := filepath.Join(shortDir(t), "link")
	if err := os.Symlink(s.socket, link); err != nil {
		t.Fatal(err)
	}
	e, err := podman.OpenAs(t.Context(), link, os.Getuid(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if e.Socket() != s.socket {
		t.Errorf("%s", e.Socket())
	}
}

// deadSocket leaves a socket that nobody listens at.
func deadSocket(t *testing.T, file string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: file, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestDeadSocketIsUnavailable(t *testing.T) {
	file := filepath.Join(shortDir(t), "s")
	deadSocket(t, file)
	_, err := podman.OpenAs(t.Context(), file, os.Getuid(), time.Minute)
	if api.KindOf(err) != api.KindUnavailable || api.ReportOf(err).Hint == "" {
		t.Errorf("%v", err)
	}
}
