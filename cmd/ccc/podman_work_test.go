package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// newWorkshop is newLab with an image that has compilers and package tools.
func newWorkshop(t *testing.T) *lab {
	t.Helper()
	l := newLab(t)
	made := exec.CommandContext(t.Context(), filepath.Join("..", "..", "testdata", "lab", "workshop"))
	made.Env = l.podmanEnv()
	r := l.run(made)
	if r.code != 0 {
		t.Fatalf("the image cannot be made: %v", r)
	}
	l.env = append(l.env, "CCC_IMAGE="+strings.TrimSpace(r.stdout))
	// The first session of an image has the engine keep a copy of its layers.
	l.ok("session", "create", "--name", "warm")
	l.ok("session", "rm", "--yes", "warm")
	l.before = l.present()
	return l
}

// bring copies a directory of the host into the project.
func (l *lab) bring(from, name string) {
	l.Helper()
	real, err := filepath.EvalSymlinks(from)
	l.must(err)
	if r := l.run(exec.CommandContext(l.Context(), "cp", "-r", "--reflink=auto", real, filepath.Join(l.project, name))); r.code != 0 {
		l.Fatalf("copy %s: %v", from, r)
	}
}

// S12: ordinary work under the default profile, in a whole session: filter,
// Landlock, limits, a read-only root and no network but the session's own
// loopback.
func TestPodmanS12OrdinaryWork(t *testing.T) {
	l := newWorkshop(t)
	npm, err := exec.LookPath("npm")
	l.must(err)
	npm, err = filepath.EvalSymlinks(npm)
	l.must(err)
	// The file is bin/npm-cli.js of the package.
	l.bring(filepath.Dir(filepath.Dir(npm)), "npm")
	root := os.Getenv("CCC_TEST_GOROOT")
	if root == "" {
		t.Fatal("CCC_TEST_GOROOT has to say where Go lies (`go env GOROOT`)")
	}
	l.bring(root, "go")
	l.ok("session", "create", "--name", "demo")
	scripts, err := filepath.Glob(filepath.Join("..", "..", "testdata", "work", "*.sh"))
	if err != nil || len(scripts) < 10 {
		t.Fatalf("%d scripts, %v", len(scripts), err)
	}
	for _, file := range scripts {
		name := strings.TrimSuffix(filepath.Base(file), ".sh")
		t.Run(name, func(t *testing.T) {
			script, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			dir := "/workspace/work-" + name
			l.ok("session", "exec", "demo", "--", "mkdir", dir)
			if r := l.ccc("session", "exec", "-w", dir, "demo", "--", "bash", "-euo", "pipefail", "-c", string(script)); r.code != 0 {
				t.Errorf("%v", r)
			}
		})
	}
	l.usable("demo")
}
