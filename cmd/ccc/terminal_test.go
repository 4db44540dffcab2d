package main_test

import (
	"bytes"
	"errors"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"

	"github.com/ccc-dev/ccc/internal/session/sessiontest"
)

// onTerminal runs the command with a terminal of 33 lines of 99 characters for
// its three streams, types the keys, and returns what was shown and the exit
// code.
func onTerminal(t *testing.T, cmd *exec.Cmd, keys string) (shown string, code int) {
	t.Helper()
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 33, Cols: 99})
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	if _, err := io.WriteString(tty, keys); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	// The end of a terminal reads as an error (EIO) on Linux.
	if _, err := io.Copy(&out, tty); err != nil && !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		exited, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			t.Fatal(err)
		}
		code = exited.ExitCode()
	}
	return strings.ReplaceAll(out.String(), "\r\n", "\n"), code
}

// fakeCommand is the command in a world of the test's own.
func fakeCommand(t *testing.T, w *sessiontest.World, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ccc", args...)
	cmd.Env, cmd.Dir = environ(w), w.Project
	return cmd
}

func furnished(t *testing.T) *sessiontest.World {
	t.Helper()
	w, err := sessiontest.Furnish(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// On a terminal lists are aligned and have a header, and what destroys asks
// first. The steps depend on each other.
func TestTerminal(t *testing.T) {
	w := furnished(t)
	for _, c := range []struct {
		args  string
		keys  string
		code  int
		wants []string
		left  int
	}{
		{args: "session list", wants: []string{"ccc: no sessions; make one with `ccc session create`\n"}},
		{args: "session create --name demo", wants: []string{"\ndemo\n", "hint: ccc session exec demo"}, left: 4},
		{args: "session list", wants: []string{"NAME  ID            STATUS   PROFILE   WORKSPACE  TIME LEFT  PROJECT\ndemo  "}, left: 4},
		{args: "session list --json", wants: []string{`"name": "demo"`}, left: 4},
		{args: "session show demo", wants: []string{"FIELD", "\nname ", "STATE", "no-new-privileges"}, left: 4},
		{args: "session exec -t demo -- stty size", wants: []string{"33 99\n"}, left: 4},
		{args: "session exec -it demo -- stty size", wants: []string{"33 99\n"}, left: 4},
		{args: "session exec demo -- stty size", code: 1, wants: []string{"not a terminal"}, left: 4},
		{args: "session rm demo", keys: "n\n", code: 130, wants: []string{"ccc: remove demo and all changes in it? [y/N] ", "nothing was removed"}, left: 4},
		{args: "session rm demo", keys: "\n", code: 130, wants: []string{"nothing was removed"}, left: 4},
		{args: "session rm demo", keys: "\x04", code: 130, wants: []string{"nothing was removed"}, left: 4},
		{args: "image rm localhost/ccc-session:latest", keys: "n\n", code: 130, wants: []string{"remove the image localhost/ccc-session:latest?"}, left: 4},
		{args: "prune", keys: "maybe\n", code: 130, wants: []string{"remove what `ccc prune --dry-run` lists?"}, left: 4},
		{args: "session rm demo", keys: "y\n", wants: []string{"[y/N] demo\n"}},
		{args: "session rm --all", keys: "YES\n", wants: []string{"remove every session"}},
	} {
		shown, code := onTerminal(t, fakeCommand(t, w, strings.Fields(c.args)...), c.keys)
		if code != c.code {
			t.Errorf("ccc %s: exit code %d, want %d", c.args, code, c.code)
		}
		for _, want := range c.wants {
			if !strings.Contains(shown, want) {
				t.Errorf("ccc %s: %q does not show %q", c.args, shown, want)
			}
		}
		left, err := w.Left()
		if err != nil || len(left) != c.left {
			t.Fatalf("ccc %s: left %q, %v", c.args, left, err)
		}
	}
}
