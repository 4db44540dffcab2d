package seccomp_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/seccomp"
)

// text is what is delivered here; Deliver does not look into it.
var text = []byte(`{"defaultAction":"SCMP_ACT_ERRNO"}`)

// lax is what an attacker would like in its place.
var lax = []byte(`{"defaultAction":"SCMP_ACT_ALLOW"}`)

// delivered checks the file that Deliver left, and that it is all that is there.
func delivered(t *testing.T, dir, path string) {
	t.Helper()
	sum := sha256.Sum256(text)
	if want := filepath.Join(dir, "seccomp-"+hex.EncodeToString(sum[:])+".json"); path != want {
		t.Errorf("path %s, want %s", path, want)
	}
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, text) {
		t.Errorf("content %q, %v", got, err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v", info.Mode(), err)
	}
	if files, err := filepath.Glob(filepath.Join(dir, "seccomp-*.json.*")); err != nil || len(files) > 0 {
		t.Errorf("left behind: %v, %v", files, err)
	}
}

func TestDeliver(t *testing.T) {
	old := unix.Umask(0o022)
	defer unix.Umask(old)
	dir := filepath.Join(t.TempDir(), "a", "ccc")
	path, err := seccomp.Deliver(dir, text)
	if err != nil {
		t.Fatal(err)
	}
	delivered(t, dir, path)
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	// A good file stays.
	if again, err := seccomp.Deliver(dir, text); err != nil || again != path {
		t.Errorf("again: %s, %v", again, err)
	}
	after, err := os.Stat(path)
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("a good file was replaced: %v", err)
	}
	// Whatever the umask.
	unix.Umask(0o277)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if path, err = seccomp.Deliver(dir, text); err != nil {
		t.Fatal(err)
	}
	unix.Umask(0o022)
	delivered(t, dir, path)
}

// S13, the half before the engine opens the file: whatever was done to it, the
// next delivery does not use it.
func TestDeliverMendsWhatIsNotItsFile(t *testing.T) {
	for name, tamper := range map[string]func(path string) error{
		"deleted":   os.Remove,
		"edited":    func(p string) error { return os.WriteFile(p, lax, 0o600) },
		"longer":    func(p string) error { return os.WriteFile(p, append(bytes.Clone(text), ' '), 0o600) },
		"shorter":   func(p string) error { return os.Truncate(p, 10) },
		"empty":     func(p string) error { return os.Truncate(p, 0) },
		"readable":  func(p string) error { return os.Chmod(p, 0o644) },
		"writable":  func(p string) error { return os.Chmod(p, 0o660) },
		"closed":    func(p string) error { return os.Chmod(p, 0) },
		"setuid":    func(p string) error { return unix.Chmod(p, 0o4600) },
		"hard link": func(p string) error { return os.Link(p, p+"-other") },
		"pipe": func(p string) error {
			if err := os.Remove(p); err != nil {
				return err
			}
			return unix.Mkfifo(p, 0o600)
		},
		"link away": func(p string) error {
			away := filepath.Join(filepath.Dir(filepath.Dir(p)), "away")
			if err := os.WriteFile(away, lax, 0o600); err != nil {
				return err
			}
			if err := os.Remove(p); err != nil {
				return err
			}
			return os.Symlink(away, p)
		},
		"link to the right content": func(p string) error {
			if err := os.Rename(p, p+"-other"); err != nil {
				return err
			}
			return os.Symlink(filepath.Base(p)+"-other", p)
		},
		"dangling link": func(p string) error {
			if err := os.Remove(p); err != nil {
				return err
			}
			return os.Symlink("/nowhere/at/all", p)
		},
	} {
		t.Run(name, func(t *testing.T) {
			top := t.TempDir()
			dir := filepath.Join(top, "ccc")
			path, err := seccomp.Deliver(dir, text)
			if err != nil {
				t.Fatal(err)
			}
			if err := tamper(path); err != nil {
				t.Fatal(err)
			}
			if path, err = seccomp.Deliver(dir, text); err != nil {
				t.Fatal(err)
			}
			delivered(t, dir, path)
			if away, err := os.ReadFile(filepath.Join(top, "away")); err == nil && !bytes.Equal(away, lax) {
				t.Error("the link was followed and its target written to")
			}
		})
	}
}

func TestDeliverRefuses(t *testing.T) {
	top := t.TempDir()
	open := filepath.Join(top, "open")
	link := filepath.Join(top, "link")
	private := filepath.Join(top, "private")
	file := filepath.Join(top, "file")
	for _, err := range []error{
		os.Mkdir(open, 0o700), os.Chmod(open, 0o710), os.Mkdir(private, 0o700), os.Symlink("private", link), os.WriteFile(file, nil, 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{open, link} {
		path, err := seccomp.Deliver(dir, text)
		if api.KindOf(err) != api.KindDenied || path != "" {
			t.Errorf("Deliver(%s) = %q, %v", dir, path, err)
		}
	}
	if _, err := seccomp.Deliver(file, text); err == nil {
		t.Error("a file passed for a directory")
	}
	if entries, err := os.ReadDir(private); err != nil || len(entries) > 0 {
		t.Errorf("written through a link: %v, %v", entries, err)
	}
	for _, content := range [][]byte{nil, {}, make([]byte, 2<<20)} {
		if _, err := seccomp.Deliver(private, content); err == nil {
			t.Errorf("%d bytes passed for a profile", len(content))
		}
	}
	// A directory in the file's place cannot be replaced by it.
	path, err := seccomp.Deliver(private, text)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(path, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := seccomp.Deliver(private, text); err == nil {
		t.Error("a directory passed for the file")
	}
	entries, err := os.ReadDir(private)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// Deliveries at one time, with somebody who keeps spoiling the file, all give a
// path; and at the end the file is right.
func TestDeliverAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ccc")
	first, err := seccomp.Deliver(dir, text)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if path, err := seccomp.Deliver(dir, text); err != nil || path != first {
					t.Errorf("%s, %v", path, err)
				}
			}
		})
	}
	wg.Go(func() {
		for range 50 {
			if err := os.WriteFile(first, lax, 0o600); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	path, err := seccomp.Deliver(dir, text)
	if err != nil {
		t.Fatal(err)
	}
	delivered(t, dir, path)
}

// A directory of somebody else's is refused even to root, who could use it.
func TestDeliverRefusesAnothersDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "theirs")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		// Whoever is not root cannot give a directory away, and cannot enter
		// what another keeps private.
		dir = "/root"
	} else if err := os.Chown(dir, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	if path, err := seccomp.Deliver(dir, text); err == nil {
		t.Errorf("delivered to %s", path)
	}
}
