package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/session"
)

// diffForm is how a diff is printed.
type diffForm struct{ stat, names, patch bool }

func (r *run) diffCommand() *cobra.Command {
	var req api.DiffRequest
	var form diffForm
	cmd := &cobra.Command{
		Use: "diff SESSION [PATH…]", Short: "show what a session changed of its project",
		Long: `Show what a session changed of its project. Nothing is changed by that.

A PATH is relative to the project: a file, a directory, or a pattern in which *
stands for anything but a slash. Lines that begin with # say what apply will ask
or refuse: a file that runs by itself on the host, one that the host changed
too, one that is never taken.

--patch prints what 'git apply' reads, without what apply would ask about or
refuse; such a file is in it if its path is named exactly.`,
		Example:     "  ccc session diff demo\n  ccc session diff demo --stat src\n  ccc session diff demo --patch | git apply --check",
		Annotations: map[string]string{"action": "session.diff"}, ValidArgsFunction: r.completeSessions,
		Args: r.atLeastOne("a session, and paths"),
		RunE: r.onPaths(&req.Ref, &req.Paths, func(ctx context.Context, core *session.Core) error { return r.diff(ctx, core, req, form) }),
	}
	cmd.Flags().BoolVar(&form.stat, "stat", false, "print a table of the files, with lines counted")
	cmd.Flags().BoolVar(&form.names, "name-only", false, "print only the paths")
	cmd.Flags().BoolVar(&form.patch, "patch", false, "print a patch for git apply")
	cmd.MarkFlagsMutuallyExclusive("stat", "name-only", "patch")
	return cmd
}

// atLeastOne refuses a command without arguments.
func (r *run) atLeastOne(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return nil
		}
		return r.refused(cmd, api.Invalidf(cmd.UseLine(), "%s takes %s", cmd.CommandPath(), what).By("input.usage"))
	}
}

// onPaths returns the RunE of a command whose first argument is a session and
// whose others are paths of its project.
func (r *run) onPaths(ref *api.Ref, paths *[]string, do func(context.Context, *session.Core) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		*paths = args[1:]
		return r.onSession(func(ctx context.Context, core *session.Core, given api.Ref) error {
			*ref = given
			return do(ctx, core)
		})(cmd, args)
	}
}

func (r *run) diff(ctx context.Context, core *session.Core, req api.DiffRequest, form diffForm) error {
	count := func(api.Change, []byte) error { return nil }
	switch {
	case form.stat || r.global.JSON:
		d, err := core.Diff(ctx, r.caller(), req, count)
		if err != nil {
			return err
		}
		if r.global.JSON {
			return r.printJSON(d)
		}
		return r.stat(d.Changes)
	case form.names:
		d, err := core.Diff(ctx, r.caller(), req, nil)
		if err != nil {
			return err
		}
		for _, c := range d.Changes {
			if _, err := fmt.Fprintln(r.Out, api.Printable(c.Path)); err != nil {
				return err
			}
		}
		return nil
	case form.patch:
		return r.patch(ctx, core, req)
	}
	return r.paged(ctx, func(w io.Writer) error {
		n := 0
		_, err := core.Diff(ctx, r.caller(), req, func(c api.Change, patch []byte) error {
			n++
			return r.showChange(w, c, patch)
		})
		if n == 0 && err == nil && r.Terminal != nil {
			r.progress("the session changed nothing")
		}
		return err
	})
}

// stat prints a table of changes.
func (r *run) stat(changes []api.Change) error {
	rows := make([][]string, len(changes))
	for i, c := range changes {
		lines := fmt.Sprintf("+%d -%d", c.Plus, c.Minus)
		switch {
		case c.Binary:
			lines = "binary"
		case c.Refused != "" || c.Plus+c.Minus == 0:
			lines = "-"
		}
		rows[i] = []string{string(c.Op), slashed(c), lines, string(c.Tier), note(c)}
	}
	return r.table([]string{"CHANGE", "PATH", "LINES", "TIER", "NOTE"}, rows)
}

// slashed is the path of a change, with a slash after a directory's.
func slashed(c api.Change) string {
	if c.New.Kind == api.FileDir || c.New.Kind == api.FileAbsent && c.Old.Kind == api.FileDir {
		return c.Path + "/"
	}
	return c.Path
}

// note says what apply will ask about or refuse.
func note(c api.Change) string {
	switch {
	case c.Refused != "":
		return "never taken: " + c.Refused
	case c.Conflict != "":
		return "conflict: " + c.Conflict
	case c.Tier == api.TierRuns:
		return "runs by itself on the host: needs --allow-runs-by-itself"
	case c.Tier == api.TierBuild:
		return "runs when somebody builds or tests"
	}
	return ""
}

// patch prints what git apply reads, exactly, but to a terminal.
func (r *run) patch(ctx context.Context, core *session.Core, req api.DiffRequest) error {
	var out []string
	_, err := core.Diff(ctx, r.caller(), req, func(c api.Change, patch []byte) error {
		exact := slices.ContainsFunc(req.Paths, func(p string) bool { _, e := api.MatchPath(p, c.Path); return e })
		if c.Refused != "" || !exact && (c.Conflict != "" || c.Tier == api.TierRuns) {
			out = append(out, api.Printable(c.Path)+": "+note(c))
			return nil
		}
		if len(patch) == 0 {
			out = append(out, api.Printable(slashed(c))+": git keeps no directories, and of a permission only whether it may be run")
			return nil
		}
		if r.toTerminal() {
			patch = []byte(harmless(string(patch)))
		}
		_, err := r.Out.Write(patch)
		return err
	})
	for _, o := range out {
		r.progress("left out of the patch: %s", o)
	}
	return err
}

// toTerminal tells whether stdout is a terminal, whatever stdin is.
func (r *run) toTerminal() bool {
	f, ok := r.Out.(*os.File)
	return r.Terminal != nil || ok && term.IsTerminal(int(f.Fd()))
}

// showChange prints one change for a person: harmless, with colour on a terminal.
func (r *run) showChange(w io.Writer, c api.Change, patch []byte) error {
	var b strings.Builder
	if n := note(c); n != "" {
		fmt.Fprintf(&b, "# %s: %s\n", slashed(c), n)
	}
	text := string(patch)
	if c.Binary {
		head, _, _ := strings.Cut(text, "GIT binary patch\n")
		text = fmt.Sprintf("%sbinary, %d bytes before and %d after\n", head, c.Old.Size, c.New.Size)
	}
	if text == "" && c.Refused == "" {
		text = fmt.Sprintf("# %s: %s%s\n", slashed(c), c.Op, modes(c))
	}
	b.WriteString(text)
	out := harmless(b.String())
	if r.Terminal != nil && !r.global.NoColor && !r.NoColor {
		out = coloured(out)
	}
	_, err := io.WriteString(w, out)
	return err
}

// modes tells of two permissions that differ.
func modes(c api.Change) string {
	if c.Old.Mode == c.New.Mode || c.Old.Kind == api.FileAbsent || c.New.Kind == api.FileAbsent {
		return ""
	}
	return fmt.Sprintf(", permission %04o to %04o", uint32(c.Old.Mode), uint32(c.New.Mode))
}

// harmless makes every line printable; tabs and line ends stay.
func harmless(text string) string {
	var b strings.Builder
	b.Grow(len(text))
	for line := range strings.Lines(text) {
		body, ended := strings.CutSuffix(line, "\n")
		for i, cell := range strings.Split(body, "\t") {
			if i > 0 {
				b.WriteByte('\t')
			}
			b.WriteString(api.Printable(cell))
		}
		if ended {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// coloured colours the lines of a diff as git does.
func coloured(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		body, _ := strings.CutSuffix(line, "\n")
		colour := ""
		switch {
		case strings.HasPrefix(body, "# "):
			colour = "33"
		case strings.HasPrefix(body, "diff "), strings.HasPrefix(body, "index "), strings.HasPrefix(body, "--- "), strings.HasPrefix(body, "+++ "):
			colour = "1"
		case strings.HasPrefix(body, "@@"):
			colour = "36"
		case strings.HasPrefix(body, "+"):
			colour = "32"
		case strings.HasPrefix(body, "-"):
			colour = "31"
		}
		if colour != "" {
			body = "\x1b[" + colour + "m" + body + "\x1b[0m"
		}
		b.WriteString(body + "\n")
	}
	return b.String()
}

// pagerOf returns the pager that the environment asks for.
func pagerOf(env func(string) string) string {
	for _, name := range []string{"CCC_PAGER", "PAGER"} {
		if p := env(name); p != "" {
			return p
		}
	}
	return "less"
}

// paged calls print with a pager's input where there is a terminal and a pager,
// else with stdout.
func (r *run) paged(ctx context.Context, show func(io.Writer) error) error {
	pager := strings.Fields(pagerOf(os.Getenv))
	if r.Terminal == nil || len(pager) == 0 || pager[0] == "cat" {
		return show(r.Out)
	}
	file, err := exec.LookPath(pager[0])
	if err != nil {
		return show(r.Out)
	}
	// Never through a shell. LESSSECURE keeps less from starting anything.
	cmd := exec.CommandContext(ctx, file, pager[1:]...) //nolint:gosec // the user's own pager
	cmd.Env = append(os.Environ(), "LESSSECURE=1")
	if os.Getenv("LESS") == "" {
		cmd.Env = append(cmd.Env, "LESS=FRX")
	}
	cmd.Stdout, cmd.Stderr = r.Out, r.Err
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return show(r.Out)
	}
	err = show(in)
	if errors.Is(err, syscall.EPIPE) {
		// The reader has seen enough.
		err = nil
	}
	return errors.Join(err, in.Close(), cmd.Wait())
}
