package workspace_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/ccc-dev/ccc/internal/workspace"
)

// BenchmarkScan reads ten changes of projects of 1 000 and of 100 000 files, and
// beside it times `git status` of the same project: `make bench-workspace`.
func BenchmarkScan(b *testing.B) {
	for _, files := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(files), func(b *testing.B) { benchScan(b, files) })
	}
}

func benchScan(b *testing.B, files int) {
	dir, err := filepath.EvalSymlinks(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	project, upper := filepath.Join(dir, "project"), filepath.Join(dir, "upper")
	put := func(root string, i int, text string) {
		file := filepath.Join(root, fmt.Sprintf("d%03d/f%d.txt", i/100, i))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	for i := range files {
		put(project, i, "what was\n")
	}
	for i := range 10 {
		put(upper, i*files/10, "what is\n")
	}
	place, err := workspace.Resolve("project", project, "/")
	if err != nil {
		b.Fatal(err)
	}
	l := workspace.Layer{Project: place, Upper: upper, Since: time.Now(), Bounds: workspace.DefaultBounds()}
	status := gitStatus(b, project)
	for b.Loop() {
		if changes, err := l.Scan(b.Context()); err != nil || len(changes) != 10 {
			b.Fatalf("%d changes, %v", len(changes), err)
		}
	}
	b.ReportMetric(status.Seconds()*1e9, "ns/git-status")
}

// gitStatus returns how long `git status` takes in a project that git knows.
func gitStatus(b *testing.B, project string) time.Duration {
	var took time.Duration
	for _, args := range [][]string{
		{"init", "-q"}, {"add", "-A"}, {"-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "all"}, {"status"}, {"status"},
	} {
		cmd := exec.CommandContext(b.Context(), "git", args...)
		cmd.Dir, cmd.Env = project, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + b.TempDir(), "GIT_CONFIG_NOSYSTEM=1"}
		start := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("git %q: %v: %s", args, err, out)
		}
		took = time.Since(start)
	}
	return took
}
