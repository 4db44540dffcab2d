package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/ccc-dev/ccc/internal/cli"
)

// TestManPages renders the manual, which must work for every command; with
// CCC_MAN_DIR set the pages are written there.
func TestManPages(t *testing.T) {
	dir := os.Getenv("CCC_MAN_DIR")
	if dir == "" {
		dir = t.TempDir()
	}
	// A fixed date: the pages are the same wherever they are made.
	date := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	root := cli.Commands()
	if err := doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "ccc", Manual: "ccc manual", Date: &date}, dir); err != nil {
		t.Fatal(err)
	}
	for _, page := range []string{"ccc.1", "ccc-session-create.1", "ccc-audit-verify.1"} {
		if _, err := os.Stat(filepath.Join(dir, page)); err != nil {
			t.Error(err)
		}
	}
}

// TestCompletionsAreCurrent compares the committed completion scripts with what
// the commands generate; `make completions` writes them again.
func TestCompletionsAreCurrent(t *testing.T) {
	for file, generate := range map[string]func(*cobra.Command, *bytes.Buffer) error{
		"ccc.bash": func(c *cobra.Command, b *bytes.Buffer) error { return c.GenBashCompletionV2(b, true) },
		"_ccc":     func(c *cobra.Command, b *bytes.Buffer) error { return c.GenZshCompletion(b) },
		"ccc.fish": func(c *cobra.Command, b *bytes.Buffer) error { return c.GenFishCompletion(b, true) },
	} {
		var b bytes.Buffer
		if err := generate(cli.Commands(), &b); err != nil {
			t.Fatal(err)
		}
		committed, err := os.ReadFile(filepath.Join("../../completions", file))
		if err != nil || !bytes.Equal(committed, b.Bytes()) {
			t.Errorf("completions/%s is not current (%v): run `make completions`", file, err)
		}
	}
}

// TestEveryCommandExplainsItself holds help to the house rule: a summary, and an
// example wherever there is something to run.
func TestEveryCommandExplainsItself(t *testing.T) {
	seen := 0
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			visit(sub)
		}
		if c.Name() == "help" || c.Name() == "completion" || (c.HasParent() && c.Parent().Name() == "completion") {
			return
		}
		seen++
		if c.Short == "" {
			t.Errorf("%s has no summary", c.CommandPath())
		}
		if c.Runnable() && !c.HasSubCommands() && c.Example == "" {
			t.Errorf("%s has no example", c.CommandPath())
		}
	}
	visit(cli.Commands())
	if seen < 20 {
		t.Errorf("only %d commands were seen", seen)
	}
}
