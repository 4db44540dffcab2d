package audit_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/audit"
)

// Each trap is a place that others prepared for the log; victim is a file that
// they would like written.
func TestTrapsAreRefused(t *testing.T) {
	file := func(dir string) string { return filepath.Join(dir, audit.DefaultFile) }
	mkdir := func(dir string, mode os.FileMode) error {
		return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, mode))
	}
	for name, trap := range map[string]func(dir, victim string) error{
		"directory is a link": func(dir, victim string) error {
			return errors.Join(mkdir(dir+".real", 0o700), os.Symlink(dir+".real", dir))
		},
		"directory is a file":         func(dir, victim string) error { return os.WriteFile(dir, nil, 0o600) },
		"directory open to the group": func(dir, victim string) error { return mkdir(dir, 0o710) },
		"directory open to all":       func(dir, victim string) error { return mkdir(dir, 0o707) },
		"file is a link":              func(dir, victim string) error { return errors.Join(mkdir(dir, 0o700), os.Symlink(victim, file(dir))) },
		"file is a dangling link": func(dir, victim string) error {
			return errors.Join(mkdir(dir, 0o700), os.Symlink(victim+".new", file(dir)))
		},
		"file is another name": func(dir, victim string) error { return errors.Join(mkdir(dir, 0o700), os.Link(victim, file(dir))) },
		"file is a fifo":       func(dir, victim string) error { return errors.Join(mkdir(dir, 0o700), unix.Mkfifo(file(dir), 0o600)) },
		"file is a directory":  func(dir, victim string) error { return errors.Join(mkdir(dir, 0o700), os.Mkdir(file(dir), 0o700)) },
		"file open to all": func(dir, victim string) error {
			return errors.Join(mkdir(dir, 0o700), os.WriteFile(file(dir), nil, 0o600), os.Chmod(file(dir), 0o606))
		},
		"torn is a link": func(dir, victim string) error {
			return errors.Join(mkdir(dir, 0o700), os.WriteFile(file(dir), []byte(`{"v":1,`), 0o600), os.Symlink(victim, file(dir)+".torn"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			tmp := t.TempDir()
			dir, victim := filepath.Join(tmp, "audit"), filepath.Join(tmp, "victim")
			if err := errors.Join(os.WriteFile(victim, []byte("precious"), 0o600), trap(dir, victim)); err != nil {
				t.Fatal(err)
			}
			_, err := audit.Open(t.Context(), dir, options())
			e, ok := errors.AsType[*api.Error](err)
			if !ok || e.Hint == "" || e.Kind != api.KindDenied && e.Kind != api.KindUnavailable {
				t.Errorf("got %v", err)
			}
			if b, err := os.ReadFile(victim); err != nil || string(b) != "precious" {
				t.Errorf("the victim has %q (%v)", b, err)
			}
			if _, err := os.Lstat(victim + ".new"); err == nil {
				t.Error("a file was made through the link")
			}
		})
	}
}

// The attack without the control: an ordinary open for appending follows the
// link and writes into the victim.
func TestALinkWouldBeFollowed(t *testing.T) {
	victim, link := filepath.Join(t.TempDir(), "victim"), filepath.Join(t.TempDir(), audit.DefaultFile)
	if err := errors.Join(os.WriteFile(victim, []byte("precious"), 0o600), os.Symlink(victim, link)); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(link, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("!"); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(victim); err != nil || string(b) != "precious!" {
		t.Errorf("the victim has %q (%v)", b, err)
	}
}

// Another user's directory needs no privilege to be tried: an ordinary user
// tries root's, and root makes one.
func TestAnotherUsersLogIsRefused(t *testing.T) {
	dir := "/"
	if os.Geteuid() == 0 {
		dir = filepath.Join(t.TempDir(), "audit")
		if err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, 12345, 12345)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := audit.Open(t.Context(), dir, options()); api.KindOf(err) != api.KindDenied {
		t.Errorf("directory: %v", err)
	}
	if os.Geteuid() != 0 {
		return
	}
	dir = fill(t, 1)
	if err := os.Chown(filepath.Join(dir, audit.DefaultFile), 12345, 12345); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.Open(t.Context(), dir, options()); api.KindOf(err) != api.KindDenied {
		t.Errorf("file: %v", err)
	}
}

func TestOpenNeedsAnAbsoluteDirectoryAndAPlainName(t *testing.T) {
	if _, err := audit.Open(t.Context(), "audit", options()); api.KindOf(err) != api.KindInvalid {
		t.Errorf("relative directory: %v", err)
	}
	for _, name := range []string{"../audit.jsonl", "a/b", "/etc/passwd"} {
		o := options()
		o.File = name
		if _, err := audit.Open(t.Context(), t.TempDir(), o); err == nil {
			t.Errorf("name %s was taken", name)
		}
	}
	if _, err := audit.Open(t.Context(), t.TempDir(), audit.Options{}); err == nil {
		t.Error("a log without a clock was opened")
	}
}
