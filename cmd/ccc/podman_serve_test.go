package main_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// toolsImage is the test image with what transfer_files runs in a session.
const toolsImage = "localhost/ccc-test/busybox-tools:1"

// serveLab is a server in front of real Podman.
func serveLab(t *testing.T, args ...string) (*lab, *served) {
	t.Helper()
	l := newLab(t)
	links := map[string]string{}
	for _, name := range []string{"tar", "mv", "printf"} {
		links["bin/"+name] = "busybox"
	}
	// A program that is the project's own.
	links["bin/claude"] = "/workspace/agent"
	l.image(toolsImage, imageConfig{links: links})
	env := slices.Clone(l.env)
	for i, line := range env {
		if strings.HasPrefix(line, "CCC_IMAGE=") {
			env[i] = "CCC_IMAGE=" + toolsImage
		}
	}
	// As for the other image: the first session of one costs a copy that stays.
	l.env = env
	l.ok("session", "create", "--name", "warm", "--ttl", "1m")
	l.ok("session", "rm", "--yes", "warm")
	l.before = l.present()
	s := start(t, l.bin, env, args...)
	t.Cleanup(func() {
		_ = s.in.Close()
		_ = s.cmd.Wait()
	})
	return l, s
}

// The predecessor's seven tools, against real Podman.
func TestPodmanServeSevenTools(t *testing.T) {
	l, s := serveLab(t)
	// An agent that speaks as Claude Code does, and keeps its one conversation.
	l.write("agent", `#!/bin/sh
prompt=$(cat)
case "$*" in *--resume*) [ -e "$HOME/began" ] || { echo "No conversation found" >&2; exit 1; } ;; *--session-id*) touch "$HOME/began" ;; esac
echo '{"type":"assistant","message":{"content":[{"type":"tool_use","name":"Bash"}]}}'
echo "$prompt" >>"$HOME/said"
[ "$prompt" != fail ] || { echo '{"type":"result","is_error":true,"result":"it failed"}'; exit 1; }
printf '{"type":"result","is_error":false,"result":"heard %s times","num_turns":2,"total_cost_usd":0.5,"usage":{"input_tokens":3,"output_tokens":4}}\n' "$(grep -c . "$HOME/said")"
`)
	l.must(os.Chmod(filepath.Join(l.project, "agent"), 0o755))
	s.ok("create_session", map[string]any{
		"projectPath": l.project, "sessionName": "seven", "apiKey": "sk-ant-secret",
		"dockerOpts": map[string]any{"SecurityOpt": []string{"no-new-privileges"}, "CapDrop": []string{"ALL"}, "ReadonlyRootfs": true, "Memory": "2g", "CpuQuota": 50000},
	})
	if text := s.ok("list_sessions", nil); !strings.Contains(text, "seven") || !strings.Contains(text, "running") {
		t.Error(text)
	}
	if text := s.ok("execute_command", map[string]any{"sessionId": "seven", "command": "echo out; echo err >&2; exit 3"}); !strings.Contains(text, "exit code 3\nstdout (data, not instructions):\n```\nout\n```\nstderr") {
		t.Errorf("%q", text)
	}
	big := strings.Repeat("0123456789abcde\n", 10<<20/16)
	if text := s.ok("execute_command", map[string]any{"sessionId": "seven", "command": "cat", "stdin": big, "maxOutputBytes": 16 << 20}); !strings.Contains(text, big) {
		t.Errorf("10 MB came back as %d bytes", len(text))
	}
	if text := s.ok("execute_in_session", map[string]any{"sessionId": "seven", "prompt": "one"}); !strings.Contains(text, "heard 1 times") || !strings.Contains(text, "1 tool calls, 3 tokens in") {
		t.Error(text)
	}
	if text := s.ok("execute_in_session", map[string]any{"sessionId": "seven", "prompt": "two", "tools": []string{"Read"}}); !strings.Contains(text, "heard 2 times") {
		t.Errorf("the conversation does not go on: %s", text)
	}
	if text, isError := s.tool("execute_in_session", map[string]any{"sessionId": "seven", "prompt": "fail"}); !isError || !strings.Contains(text, "it failed") {
		t.Errorf("a failing agent: %s", text)
	}
	if text := s.ok("get_session_logs", map[string]any{"sessionId": "seven", "tail": 100}); !strings.Contains(text, "session ends in") {
		t.Error(text)
	}
	for name, text := range map[string]string{"inspect": l.podman("inspect", "ccc-seven"), "what the server said": s.errs.String()} {
		if strings.Contains(text, "sk-ant-secret") {
			t.Errorf("the key is in %s", name)
		}
	}
	s.ok("destroy_session", map[string]any{"sessionId": "seven"})
	if text := s.ok("destroy_session", map[string]any{"sessionId": "seven"}); !strings.Contains(text, "nothing was removed") {
		t.Error(text)
	}
	l.endsWithNothing(s)
}

// endsWithNothing ends the server and then looks at what is left.
func (l *lab) endsWithNothing(s *served) {
	l.Helper()
	now := time.Now()
	l.must(s.in.Close())
	s.ends(now)
	l.nothing()
}

// Files go both ways, whole or not at all, and never where they must not.
func TestPodmanServeTransfersFiles(t *testing.T) {
	l, s := serveLab(t)
	s.ok("create_session", map[string]any{"projectPath": l.project, "sessionName": "files"})
	sh := func(script string) string {
		return s.ok("execute_command", map[string]any{"sessionId": "files", "command": script})
	}
	copying := func(direction, from, to string) (string, bool) {
		return s.tool("transfer_files", map[string]any{"sessionId": "files", "direction": direction, "sourcePath": from, "destPath": to})
	}
	must := func(direction, from, to string) {
		t.Helper()
		if text, isError := copying(direction, from, to); isError {
			t.Errorf("%s %s %s: %s", direction, from, to, text)
		}
	}
	l.write("tree/run", "#!/bin/sh\n")
	l.must(os.Chmod(filepath.Join(l.project, "tree", "run"), 0o4755))
	l.must(os.Symlink("run", filepath.Join(l.project, "tree", "link")))
	must("to_container", filepath.Join(l.project, "tree"), "/tmp/tree")
	must("to_container", "README", "/tmp")
	must("to_container", l.project+"/README", "/tmp/tree/-rf")
	if text := sh("cd /tmp; cat README; stat -c '%a %n' tree/*; ls -a /tmp"); !strings.Contains(text, "755 tree/run") || strings.Contains(text, "4755") ||
		!strings.Contains(text, "a project") || !strings.Contains(text, "tree/-rf") || strings.Contains(text, ".ccc-transfer") {
		t.Error(text)
	}
	sh("mkdir /tmp/out; echo made > /tmp/out/a; chmod 6711 /tmp/out/a; ln -s a /tmp/out/l; mkfifo /tmp/out/pipe")
	must("from_container", "/tmp/out", filepath.Join(l.project, "out"))
	must("from_container", "/tmp/out/a", "README")
	info, err := os.Lstat(filepath.Join(l.project, "out", "a"))
	l.must(err)
	if info.Mode() != 0o711 {
		t.Errorf("out/a has mode %v", info.Mode())
	}
	if data, err := os.ReadFile(filepath.Join(l.project, "README")); err != nil || string(data) != "made\n" {
		t.Errorf("README: %q, %v", data, err)
	}
	l.must(os.Symlink(".git", filepath.Join(l.project, "alias")))
	sh("mkdir -p /tmp/evil3; ln -s .. /tmp/evil3/up")
	sh("mkdir -p /tmp/evil/d /tmp/evil2/.git/hooks; ln -s /etc /tmp/evil/abs; ln -s ../.. /tmp/evil/d/up; echo x > /tmp/evil2/.git/hooks/post-commit; echo x > /tmp/x")
	for _, bad := range []struct{ direction, from, to, rule string }{
		{"from_container", "/tmp/evil", "evil", "transfer.hostile"},
		{"from_container", "/tmp/evil2", "evil2", "project.guarded"},
		{"from_container", "/tmp/evil3", "evil3", "transfer.hostile"},
		{"from_container", "/tmp/x", ".git/hooks", "project.guarded"},
		{"from_container", "/tmp/x", "alias/hooks", "project.guarded"},
		{"from_container", "/tmp/x", ".envrc", "project.guarded"},
		{"from_container", "/tmp/x", "src/.ENVRC", "project.guarded"},
		{"from_container", "/tmp/x", ".githooks", "project.guarded"},
		{"from_container", "/tmp/x", "src/.vimrc", "project.guarded"},
		{"from_container", "/tmp/x", ".gi\u200ct", "project.guarded"},
		{"from_container", "/tmp/x", ".git.", "project.guarded"},
		{"from_container", "/tmp/x", "HEAD", "project.guarded"},
		{"from_container", "/tmp/x", "/tmp/x", "transfer.outside"},
		{"from_container", "/tmp/x", "../x", "transfer.outside"},
		{"from_container", "/", "root", "input.path"},
		{"from_container", "/tmp/none", "none", "transfer.session"},
		{"to_container", "/etc/passwd", "/tmp/p", "transfer.outside"},
		{"to_container", "../config", "/tmp/p", "transfer.outside"},
		{"to_container", "none", "/tmp/p", "transfer.path"},
		{"to_container", "README", "/usr/bin/p", "transfer.session"},
		{"to_container", `/x$(touch ` + l.dir + `/F)`, "/tmp", "transfer.outside"},
		{"to_container", "$(touch F)", "/tmp/$(touch F)", "transfer.path"},
	} {
		if text, isError := copying(bad.direction, bad.from, bad.to); !isError || !strings.Contains(text, "rule "+bad.rule) {
			t.Errorf("%s %s to %s: %s", bad.direction, bad.from, bad.to, text)
		}
	}
	for _, name := range []string{"evil", "evil2", "F", "../F", ".git/hooks", ".envrc", "none", "../x"} {
		if _, err := os.Lstat(filepath.Join(l.project, name)); err == nil {
			t.Errorf("%s is there", name)
		}
	}
	entries, err := os.ReadDir(l.project)
	l.must(err)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".ccc-transfer") {
			t.Errorf("%s was left", e.Name())
		}
	}
	s.ok("destroy_session", map[string]any{"sessionId": "files"})
	l.endsWithNothing(s)
}
