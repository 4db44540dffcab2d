package main_test

import (
	"bufio"
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

// S12: the real Claude Code does a whole turn with a tool call in a session, its
// permissions off, against a scripted Messages API on the session's own loopback.
func TestPodmanS12ClaudeCode(t *testing.T) {
	l := newRealLab(t)
	claude := filepath.Join("..", "..", "build", "mcp", "node_modules", "@anthropic-ai", "claude-code-linux-x64", "claude")
	if _, err := os.Stat(claude); err != nil {
		t.Fatal("Claude Code is not there: run testdata/mcp/setup build/mcp")
	}
	l.bring(claude, "claude")
	l.bring(filepath.Join("..", "..", "testdata", "claude", "messages.mjs"), "messages.mjs")
	l.ok("session", "create", "--name", "demo")
	if out := l.ok("session", "exec", "demo", "--", "./claude", "--version"); !strings.HasPrefix(out, "2.1.330 ") {
		t.Errorf("version %q", out)
	}
	serve := l.command("session", "exec", "demo", "--", "node", "messages.mjs", "8080", "/tmp/asked")
	listening, err := serve.StdoutPipe()
	l.must(err)
	l.must(serve.Start())
	if line, err := bufio.NewReader(listening).ReadString('\n'); err != nil || line != "listening\n" {
		t.Fatalf("the server said %q, %v", line, err)
	}
	r := l.ccc("session", "exec", "--timeout", "90s",
		"-e", "ANTHROPIC_BASE_URL=http://127.0.0.1:8080", "-e", "ANTHROPIC_API_KEY=scripted", "-e", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1",
		"demo", "--", "./claude", "-p", "--dangerously-skip-permissions", "write the file")
	if r.code != 0 || !strings.Contains(r.stdout, "the command said: 1000\na project") {
		t.Errorf("the turn: %v; asked: %v", r, l.sh("demo", "cat /tmp/asked"))
	}
	if r := l.sh("demo", "cat /workspace/agent.txt"); r.stdout != "written by the agent\n" {
		t.Errorf("the agent's file: %v", r)
	}
	if _, err := os.Lstat(filepath.Join(l.project, "agent.txt")); err == nil {
		t.Error("the agent's file is in the project")
	}
	l.sh("demo", "pkill node")
	_ = serve.Wait()
	l.usable("demo")
}
