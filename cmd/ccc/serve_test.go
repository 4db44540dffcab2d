package main_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ccc-dev/ccc/internal/app"
	"github.com/ccc-dev/ccc/internal/session/sessiontest"
)

// served is `ccc serve` as a process, and its client's end.
type served struct {
	*testing.T
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	errs bytes.Buffer
	next int
}

// start starts the server in an environment.
func start(t *testing.T, program string, env []string, args ...string) *served {
	t.Helper()
	s := &served{T: t, cmd: exec.CommandContext(t.Context(), program, append([]string{"serve"}, args...)...)}
	s.cmd.Env, s.cmd.Stderr = env, &s.errs
	in, err := s.cmd.StdinPipe()
	s.must(err)
	out, err := s.cmd.StdoutPipe()
	s.must(err)
	s.in, s.out = in, bufio.NewReader(out)
	s.must(s.cmd.Start())
	s.rpc("initialize", map[string]any{"protocolVersion": "2025-11-25", "capabilities": map[string]any{}, "clientInfo": map[string]any{"name": "t", "version": "1"}})
	return s
}

func (s *served) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err, s.errs.String())
	}
}

// ask sends a request.
func (s *served) ask(method string, params any) {
	s.Helper()
	s.next++
	line, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": s.next, "method": method, "params": params})
	s.must(err)
	_, err = s.in.Write(append(line, '\n'))
	s.must(err)
}

// rpc sends a request and returns its result. Every line has to be a message.
func (s *served) rpc(method string, params any) json.RawMessage {
	s.Helper()
	s.ask(method, params)
	for {
		line, err := s.out.ReadBytes('\n')
		s.must(err)
		var m struct {
			JSONRPC string
			ID      int
			Result  json.RawMessage
		}
		if err := json.Unmarshal(line, &m); err != nil || m.JSONRPC != "2.0" {
			s.Fatalf("not a message: %.200q", line)
		}
		if m.ID == s.next {
			return m.Result
		}
	}
}

// tool calls a tool and returns its text.
func (s *served) tool(name string, args map[string]any) (text string, isError bool) {
	s.Helper()
	var r struct {
		Content []struct{ Text string }
		IsError bool
	}
	s.must(json.Unmarshal(s.rpc("tools/call", map[string]any{"name": name, "arguments": args}), &r))
	return r.Content[0].Text, r.IsError
}

// ok calls a tool that must not fail.
func (s *served) ok(name string, args map[string]any) string {
	s.Helper()
	text, isError := s.tool(name, args)
	if isError {
		s.Fatalf("%s: %s", name, text)
	}
	return text
}

// ends waits for the server's end and checks that it said nothing more than
// messages, and that it took less than a second.
func (s *served) ends(since time.Time) {
	s.Helper()
	for {
		line, err := s.out.ReadBytes('\n')
		if err != nil {
			break
		}
		if !json.Valid(line) {
			s.Errorf("not a message: %.200q", line)
		}
	}
	if err := s.cmd.Wait(); err != nil {
		s.Errorf("%v: %s", err, s.errs.String())
	}
	if took := time.Since(since); took > 2*time.Second {
		s.Errorf("the server took %s to end", took)
	}
}

func serveWorld(t *testing.T) *sessiontest.World {
	t.Helper()
	w, err := sessiontest.Furnish(t.Context(), filepath.Join(t.TempDir(), "world"))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// Case M02: whatever a library prints, standard output carries protocol only.
func TestServeKeepsStandardOutputToTheProtocol(t *testing.T) {
	w := serveWorld(t)
	s := start(t, "ccc", append(environ(w), noiseVar+"=1"))
	s.ok("create_session", map[string]any{"projectPath": w.Project, "sessionName": "s"})
	s.ok("destroy_session", map[string]any{"sessionId": "s"})
	s.must(s.in.Close())
	s.ends(time.Now())
	for _, noise := range []string{"noise of a library\n", "noise of C\n"} {
		if !strings.Contains(s.errs.String(), noise) {
			t.Errorf("%q was not printed: nothing was shown", noise)
		}
	}
}

// A client that ends its server with a signal has it end at once, with a call in
// flight, which ends in the session too.
func TestServeEndsBySignal(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			w := serveWorld(t)
			s := start(t, "ccc", environ(w))
			s.ok("create_session", map[string]any{"projectPath": w.Project, "sessionName": "s"})
			s.ask("tools/call", map[string]any{"name": "execute_command", "arguments": map[string]any{"sessionId": "s", "command": "sleep 1000"}})
			running := func() bool {
				entries, err := os.ReadDir(filepath.Join(w.Engine, "execs"))
				return err == nil && len(entries) > 0
			}
			for !running() {
				time.Sleep(5 * time.Millisecond)
			}
			now := time.Now()
			s.must(s.cmd.Process.Signal(signal))
			s.ends(now)
			if running() {
				t.Error("the command goes on")
			}
		})
	}
}

// Clients hand over all their variables. What the server does not need is
// nowhere in it, nor in what it starts.
func TestServeShedsItsEnvironment(t *testing.T) {
	w := serveWorld(t)
	secrets := []string{"ANTHROPIC_API_KEY=sk-ant-1", "AWS_SECRET_ACCESS_KEY=aws-2", "GITHUB_TOKEN=ghp-3", "LD_PRELOAD=", "NODE_OPTIONS=--x"}
	s := start(t, "ccc", append(environ(w), secrets...))
	now, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", s.cmd.Process.Pid))
	s.must(err)
	for _, secret := range secrets {
		if bytes.Contains(now, []byte(secret)) {
			t.Errorf("the server has %s", secret)
		}
	}
	if !bytes.Contains(now, []byte("HOME=")) || !bytes.Contains(now, []byte(worldVar)) {
		t.Errorf("the server lacks what it needs: %q", now)
	}
	s.must(s.in.Close())
	s.ends(time.Now())
}

// The predecessor did nothing at all when it was started through a link.
func TestServeRunsThroughALink(t *testing.T) {
	w := serveWorld(t)
	real, err := exec.LookPath("ccc")
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "ccc")
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	s := start(t, link, environ(w), "--read-only")
	if text := s.ok("list_sessions", nil); text != "0 sessions\n" {
		t.Errorf("%q", text)
	}
	s.must(s.in.Close())
	s.ends(time.Now())
}

// Without the program that serves there is an error that says what to do, and
// nothing else on standard output.
func TestServeWithoutItsProgram(t *testing.T) {
	w := furnished(t)
	var out, errs bytes.Buffer
	a := app.App{Args: []string{"serve"}, Environ: environ(w), In: strings.NewReader(""), Out: &out, Err: &errs}
	if err := inWorld(&a, w); err != nil {
		t.Fatal(err)
	}
	a.Serve = nil
	if code := a.Main(t.Context()); code != 6 || out.Len() > 0 || !strings.Contains(errs.String(), "ccc: hint: install it beside ccc") {
		t.Errorf("exit code %d, %q, %q", code, &out, &errs)
	}
}
