package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/cli"
	"github.com/ccc-dev/ccc/internal/config"
	"github.com/ccc-dev/ccc/internal/session"
)

// failing runs a command whose core cannot be had, and returns what was printed
// and the exit code.
func failing(ctx context.Context, err error, args ...string) (stdout, stderr string, code int) {
	var out, errs bytes.Buffer
	p := &cli.Program{
		In: strings.NewReader(""), Out: &out, Err: &errs,
		Config:   func(cli.Global) (*config.Config, error) { return config.Load(config.Sources{}) },
		Core:     func(context.Context, cli.Global) (*session.Core, error) { return nil, err },
		Recorder: func(context.Context, cli.Global) (*session.Core, error) { return nil, err },
	}
	code = cli.Main(ctx, p, args)
	return out.String(), errs.String(), code
}

// Every kind of failure has its exit code; commands that pass on the code of
// what they run have one of their own for all, but for an interruption.
func TestExitCodes(t *testing.T) {
	for _, kind := range api.Kinds() {
		err := fmt.Errorf("somewhere: %w", &api.Error{Kind: kind, Rule: "a.rule", Msg: "it went wrong", Hint: "do this"})
		for _, command := range []string{"session list", "session show demo", "session create", "prune --yes", "session stop demo"} {
			_, stderr, code := failing(t.Context(), err, strings.Fields(command)...)
			if code != kind.ExitCode() || stderr != "ccc: error: somewhere: it went wrong\nccc: hint: do this\n" {
				t.Errorf("%s, %s: exit code %d, %q", command, kind, code, stderr)
			}
		}
		want := 125
		if kind == api.KindInterrupted {
			want = 130
		}
		for _, command := range []string{"session exec demo true", "session shell demo", "session wait demo"} {
			if _, stderr, code := failing(t.Context(), err, strings.Fields(command)...); code != want || !strings.Contains(stderr, "it went wrong") {
				t.Errorf("%s, %s: exit code %d, %q", command, kind, code, stderr)
			}
		}
	}
	if _, _, code := failing(t.Context(), errors.New("nobody classified this"), "session", "list"); code != 1 {
		t.Errorf("exit code %d", code)
	}
}

func TestErrors(t *testing.T) {
	first := &api.Error{Kind: api.KindDenied, Rule: "r", Msg: "refused", Hint: "do this"}
	second := errors.New("and not recorded\x1b[2J")
	joined := errors.Join(first, errors.Join(second))
	_, stderr, code := failing(t.Context(), joined, "session", "list")
	if want := "ccc: error: refused\nccc: hint: do this\nccc: error: and not recorded\\u001b[2J\n"; stderr != want || code != 3 {
		t.Errorf("exit code %d, %q", code, stderr)
	}
	_, stderr, _ = failing(t.Context(), joined, "session", "list", "--json")
	var reports []api.Report
	for line := range strings.Lines(stderr) {
		var v struct{ Error *api.Report }
		if err := json.Unmarshal([]byte(line), &v); err != nil && !strings.Contains(err.Error(), "Kind") {
			t.Fatalf("%q: %v", line, err)
		}
		if v.Error != nil {
			reports = append(reports, *v.Error)
		}
	}
	if len(reports) != 2 || !strings.Contains(stderr, `"kind":"denied","rule":"r","message":"refused","hint":"do this"`) {
		t.Errorf("%q", stderr)
	}
	long := &api.Error{Msg: strings.Repeat("ü", 5000), Hint: strings.Repeat("x", 5000)}
	if _, stderr, _ = failing(t.Context(), long, "session", "list"); len(stderr) > 1500 || strings.Contains(stderr, "\ufffd") {
		t.Errorf("%d bytes", len(stderr))
	}
	// A reader that has gone away is no news.
	if _, stderr, code := failing(t.Context(), fmt.Errorf("write: %w", syscall.EPIPE), "session", "list"); stderr != "" || code != 141 {
		t.Errorf("exit code %d, %q", code, stderr)
	}
	// Whatever fails after Ctrl-C was interrupted.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, stderr, code := failing(ctx, context.Canceled, "session", "list"); code != 130 || !strings.HasPrefix(stderr, "ccc: error: interrupted") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}

// An engine that was not waited for is not one that is missing.
func TestCtrlCIsNoMissingEngine(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	given := &api.Error{Kind: api.KindUnavailable, Msg: "cannot reach podman", Hint: "install podman", Err: context.Canceled}
	if _, stderr, code := failing(ctx, given, "session", "list"); code != 130 || strings.Contains(stderr, "install podman") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
	given.Err = errors.New("connection refused")
	if _, stderr, code := failing(ctx, given, "session", "list"); code != 6 || !strings.Contains(stderr, "install podman") {
		t.Errorf("one that is missing: exit code %d, %q", code, stderr)
	}
}

// What needs no engine asks for none.
func TestHelpNeedsNothing(t *testing.T) {
	for _, args := range [][]string{nil, {"--help"}, {"help"}, {"session"}, {"help", "session", "create"}, {"version"}, {"help", "exit-codes"}, {"completion", "zsh"}} {
		if stdout, stderr, code := failing(t.Context(), errors.New("asked for"), args...); code != 0 || stdout == "" || stderr != "" {
			t.Errorf("%q: exit code %d, %.100q, %q", args, code, stdout, stderr)
		}
	}
}
