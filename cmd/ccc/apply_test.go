package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ccc-dev/ccc/internal/session/sessiontest"
)

// changed is a world with a session that changed a few files.
func changed(t *testing.T) (w *sessiontest.World, upper string) {
	t.Helper()
	w = furnished(t)
	if out, err := fakeCommand(t, w, "session", "create", "--name", "demo").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	uppers, err := filepath.Glob(filepath.Join(w.State, "sessions", "*", "upper"))
	if err != nil || len(uppers) != 1 {
		t.Fatalf("%q, %v", uppers, err)
	}
	for name, text := range map[string]string{".envrc": "evil\n", "README": "a project\nand\x1b[2J more\n", "a": "a\n", "b": "b\n", "c": "c\n"} {
		if err := os.WriteFile(filepath.Join(uppers[0], name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return w, uppers[0]
}

// On a terminal each change is shown, harmless and in colour, and asked about;
// what runs by itself takes more than a y.
func TestApplyOnATerminal(t *testing.T) {
	for name, c := range map[string]struct {
		keys  string
		code  int
		wants []string
		taken string
	}{
		"each":             {keys: "y\ny\nn\ny\nn\n", wants: []string{"take README?", "\x1b[32m+and\\u001b[2J more\x1b[0m", ".envrc will run by itself", "2 taken"}, taken: "README b"},
		"all the rest":     {keys: "no\nn\na\n", wants: []string{"3 taken"}, taken: "a b c"},
		"enough":           {keys: "n\ny\nq\n", wants: []string{"1 taken"}, taken: "README"},
		"a word for yes":   {keys: "yes\nq\n", wants: []string{"1 taken"}, taken: ".envrc"},
		"none":             {keys: "n\nn\nn\nn\nn\n", wants: []string{"nothing was taken"}},
		"something else":   {keys: "n\nwhat\ny\nq\n", wants: []string{"1 taken"}, taken: "README"},
		"end of the input": {keys: "n\n\x04", code: 130, wants: []string{"nothing was taken"}},
	} {
		w, upper := changed(t)
		shown, code := onTerminal(t, fakeCommand(t, w, "session", "apply", "demo"), c.keys)
		for _, want := range c.wants {
			if !strings.Contains(shown, want) {
				t.Errorf("%s: %q is not in %s", name, want, shown)
			}
		}
		if code != c.code || strings.Contains(shown, "\x1b[2J") {
			t.Errorf("%s: code %d, shown %q", name, code, shown)
		}
		var taken []string
		for _, file := range []string{".envrc", "README", "a", "b", "c"} {
			got, _ := os.ReadFile(filepath.Join(w.Project, file))
			if want, err := os.ReadFile(filepath.Join(upper, file)); err == nil && string(got) == string(want) {
				taken = append(taken, file)
			}
		}
		if strings.Join(taken, " ") != c.taken {
			t.Errorf("%s: taken %q, want %q; shown %s", name, taken, c.taken, shown)
		}
	}
}

// The pager gets the diff in colour; NO_COLOR and --no-color take the colour away.
func TestDiffOnATerminal(t *testing.T) {
	w, _ := changed(t)
	cmd := fakeCommand(t, w, "session", "diff", "demo", "a")
	cmd.Env = append(cmd.Env, "PAGER=sed s/^/paged:/")
	if shown, code := onTerminal(t, cmd, ""); code != 0 || !strings.Contains(shown, "paged:\x1b[32m+a\x1b[0m") {
		t.Errorf("%d, %s", code, shown)
	}
	cmd = fakeCommand(t, w, "session", "diff", "demo", "a", "--no-color")
	cmd.Env = append(cmd.Env, "PAGER=nosuch")
	if shown, code := onTerminal(t, cmd, ""); code != 0 || !strings.Contains(shown, "\n+a\n") || strings.Contains(shown, "\x1b") {
		t.Errorf("%d, %s", code, shown)
	}
	// A patch on a terminal is harmless, too.
	cmd = fakeCommand(t, w, "session", "diff", "demo", "--patch")
	if shown, code := onTerminal(t, cmd, ""); code != 0 || !strings.Contains(shown, `+and\u001b[2J more`) || strings.Contains(shown, "\x1b") {
		t.Errorf("%d, %q", code, shown)
	}
}

// An undo asks on a terminal.
func TestUndoOnATerminal(t *testing.T) {
	w, _ := changed(t)
	if out, err := fakeCommand(t, w, "session", "apply", "demo", "--yes", "README").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, c := range []struct{ keys, readme string }{{"n\n", "a project\nand\x1b[2J more\n"}, {"y\n", "a project\n"}} {
		shown, code := onTerminal(t, fakeCommand(t, w, "session", "undo", "demo"), c.keys)
		if data, err := os.ReadFile(filepath.Join(w.Project, "README")); err != nil || string(data) != c.readme || code != 0 || !strings.Contains(shown, "undo the last apply of demo?") {
			t.Errorf("%q: %q, %v, code %d, %s", c.keys, data, err, code, shown)
		}
	}
}
