package kernel_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ccc-dev/ccc/internal/kernel"
)

func TestInside(t *testing.T) {
	dir := t.TempDir()
	for pid, p := range map[string]struct{ status, space string }{
		"10":   {"Name:\tinit\nNSpid:\t10\t1\n", "pid:[7]"},
		"11":   {"Name:\tother\nNSpid:\t11\t5\n", "pid:[8]"},
		"12":   {"Name:\tprobe\nNSpid:\t12\t3\t5\n", "pid:[7]"},
		"13":   {"Name:\tdeeper\nNSpid:\t13\t5\t6\n", "pid:[7]"},
		"14":   {"NSpid:\n", "pid:[7]"},
		"self": {"NSpid:\t5\n", "pid:[7]"},
	} {
		must(t, os.MkdirAll(filepath.Join(dir, pid, "ns"), 0o700))
		must(t, os.WriteFile(filepath.Join(dir, pid, "status"), []byte(p.status), 0o600))
		must(t, os.Symlink(p.space, filepath.Join(dir, pid, "ns", "pid")))
	}
	r := kernel.Reader{Proc: dir}
	for inside, want := range map[int]int{1: 10, 5: 12, 6: 13} {
		if got, err := r.Inside(10, inside); err != nil || got != want {
			t.Errorf("%d inside is %d, %v; want %d", inside, got, err, want)
		}
	}
	if got, err := r.Inside(10, 3); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is no 3: %d, %v", got, err)
	}
	if _, err := r.Inside(99, 1); err == nil {
		t.Error("a session that is gone has processes")
	}
}

// A child of this process is in the same namespaces, and is found.
func TestRealNamespaces(t *testing.T) {
	child := exec.Command("sleep", "60")
	must(t, child.Start())
	t.Cleanup(func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	})
	r := kernel.Reader{}
	own, err := r.Namespaces(0)
	must(t, err)
	its, err := r.Namespaces(child.Process.Pid)
	must(t, err)
	if len(own) < 6 || own["user"] == "" {
		t.Errorf("namespaces %v", own)
	}
	for name, link := range own {
		if its[name] != link {
			t.Errorf("the %s namespace is %s, a child's is %s", name, link, its[name])
		}
	}
	if got, err := r.Inside(os.Getpid(), child.Process.Pid); err != nil || got != child.Process.Pid {
		t.Errorf("the child %d is %d, %v", child.Process.Pid, got, err)
	}
	if _, err := r.Namespaces(1 << 30); err == nil {
		t.Error("a process that is not there has namespaces")
	}
}
