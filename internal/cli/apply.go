package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/session"
)

// applyFlags are what the command line adds to the request.
type applyFlags struct{ yes, ours, theirs bool }

func (r *run) applyCommand() *cobra.Command {
	var req api.ApplyRequest
	var f applyFlags
	cmd := &cobra.Command{
		Use: "apply SESSION [PATH…]", Short: "take changes of a session over into the project",
		Long: `Take changes of a session over into the project: all that are chosen, or none if
one of them fails. The session keeps what it has.

On a terminal each change is shown and asked about, and what is taken is what
was shown. Elsewhere, and with --yes, name the paths or use --all.

Files that a program on the host runs or obeys without being asked (hooks, editor
tasks, .envrc, settings of agents, git's attributes) need a yes of their own,
whatever else is given. Git's own files, links that lead out of the project,
pipes, devices and setuid files are never taken.

A file that the host changed since the session was made is a conflict, and
nothing is taken until you say whose stays.`,
		Example: `  ccc session apply demo
  ccc session apply demo --all --yes
  ccc session apply demo --yes src 'docs/*.md'
  ccc session apply demo --yes .envrc --allow-runs-by-itself .envrc`,
		Annotations: map[string]string{"action": "session.apply"}, ValidArgsFunction: r.completeSessions,
		Args: r.atLeastOne("a session, and paths"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.onPaths(&req.Ref, &req.Paths, func(ctx context.Context, core *session.Core) error {
				return r.apply(ctx, core, cmd, req, f)
			})(cmd, args)
		},
	}
	cmd.Flags().BoolVar(&req.All, "all", false, "take everything that may be taken")
	cmd.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&req.DryRun, "dry-run", false, "only print what would be taken")
	cmd.Flags().StringArrayVar(&req.Runs, "allow-runs-by-itself", nil, "take this `PATH` though it runs by itself on the host; repeat")
	cmd.Flags().BoolVar(&f.ours, "ours", false, "where the host changed a file too, keep the host's")
	cmd.Flags().BoolVar(&f.theirs, "theirs", false, "where the host changed a file too, take the session's; undo brings the host's back")
	cmd.MarkFlagsMutuallyExclusive("ours", "theirs")
	return cmd
}

func (r *run) apply(ctx context.Context, core *session.Core, cmd *cobra.Command, req api.ApplyRequest, f applyFlags) error {
	switch {
	case f.ours:
		req.Conflicts = api.SideOurs
	case f.theirs:
		req.Conflicts = api.SideTheirs
	}
	if !f.yes && !req.DryRun {
		if r.Terminal == nil {
			return r.refused(cmd, api.Invalidf("look at it with ccc session diff, then add --yes", "this changes the project, and there is no terminal to ask on").By("input.confirm"))
		}
		picked, err := r.pick(ctx, core, req)
		if err != nil || len(picked.Paths) == 0 {
			if err == nil {
				r.progress("nothing was taken")
			}
			return err
		}
		req = picked
	}
	if req.DryRun && len(req.Paths) == 0 {
		req.All = true
	}
	done, err := core.Apply(ctx, r.caller(), req)
	if err != nil {
		return err
	}
	return r.applied(done)
}

// applied prints what was taken on stdout and what was not on stderr.
func (r *run) applied(done api.Applied) error {
	if r.global.JSON {
		return r.printJSON(done)
	}
	for _, c := range done.Changes {
		if _, err := fmt.Fprintln(r.Out, api.Printable(slashed(c))); err != nil {
			return err
		}
	}
	for _, h := range done.Held {
		r.say("not taken: %s: %s", api.Printable(h.Path), h.Reason)
		if h.Hint != "" {
			r.say("hint: %s", h.Hint)
		}
	}
	switch {
	case done.DryRun:
		r.progress("nothing was changed: --dry-run")
	case len(done.Changes) > 0:
		r.progress("%d taken; ccc session undo %s puts them back", len(done.Changes), done.Session.Name)
	}
	return nil
}

// errEnough ends the asking.
var errEnough = errors.New("enough")

// asking is one round of questions on a terminal.
type asking struct {
	*run
	in *bufio.Reader
	// rest takes what needs no question of its own.
	rest bool
	// replaces tells that something of the host's is to be replaced.
	replaces bool
	req      api.ApplyRequest
}

// pick shows each change and asks about it, and returns a request for exactly
// what was shown and answered with yes.
func (r *run) pick(ctx context.Context, core *session.Core, req api.ApplyRequest) (api.ApplyRequest, error) {
	a := &asking{run: r, in: bufio.NewReader(r.In), req: req}
	a.req.All, a.req.Paths, a.req.Runs, a.req.Digests = false, nil, nil, map[string]string{}
	_, err := core.Diff(ctx, r.caller(), api.DiffRequest{Ref: req.Ref, Paths: req.Paths}, func(c api.Change, patch []byte) error {
		if err := r.showChange(r.Out, c, patch); err != nil || c.Refused != "" {
			return err
		}
		return a.ask(c)
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	if a.replaces {
		a.req.Conflicts = api.SideTheirs
	}
	return a.req, err
}

// ask asks about one change that was shown.
func (a *asking) ask(c api.Change) error {
	name := api.Printable(slashed(c))
	switch {
	case c.Conflict != "" && a.req.Conflicts == api.SideOurs:
		return nil
	case c.Tier == api.TierRuns:
		answer, err := a.answer("%s will run by itself on this machine. Write yes to take it: ", name)
		if err == nil && answer == "yes" {
			a.req.Runs = append(a.req.Runs, c.Path)
			return a.conflict(c)
		}
		return err
	case a.rest && c.Conflict == "":
		a.take(c)
		return nil
	}
	for {
		answer, err := a.answer("take %s? [y]es, [n]o, [a]ll the rest, [q]uit ", name)
		if err != nil {
			return err
		}
		switch answer {
		case "a", "all":
			a.rest = true
			return a.conflict(c)
		case "y", "yes":
			return a.conflict(c)
		case "n", "no", "":
			return nil
		case "q", "quit":
			return errEnough
		}
	}
}

// conflict asks once more where the host's edit would be replaced.
func (a *asking) conflict(c api.Change) error {
	if c.Conflict != "" && a.req.Conflicts != api.SideTheirs {
		answer, err := a.answer("%s: %s. Replace the host's? [y/N] ", api.Printable(c.Path), c.Conflict)
		if err != nil || answer != "y" && answer != "yes" {
			return err
		}
		a.replaces = true
	}
	a.take(c)
	return nil
}

// take notes a yes.
func (a *asking) take(c api.Change) {
	a.req.Paths = append(a.req.Paths, c.Path)
	a.req.Digests[c.Path] = c.Digest
}

// answer asks a question on stderr and reads a line.
func (a *asking) answer(question string, args ...any) (string, error) {
	if _, err := fmt.Fprintf(a.Err, "ccc: "+question, args...); err != nil {
		return "", err
	}
	line, err := a.in.ReadString('\n')
	if err != nil {
		return "", &api.Error{Kind: api.KindInterrupted, Msg: "nothing was taken", Err: err}
	}
	return strings.ToLower(strings.TrimSpace(line)), nil
}

func (r *run) undoCommand() *cobra.Command {
	var req api.UndoRequest
	var yes bool
	cmd := &cobra.Command{
		Use: "undo SESSION", Short: "put the project back to what it was before the last apply",
		Long: `Put the project back to what it was before the last apply of the session: contents,
permissions, links, what was deleted. Only the last apply can be undone, and as
long as the session is there.

If the host has edited one of the files since, nothing is done; with --force it
is, and a copy of each such file is kept beside it.`,
		Example:     "  ccc session undo demo",
		Annotations: map[string]string{"action": "session.undo"},
		Args:        r.one("one session"), ValidArgsFunction: r.completeSessions,
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.onSession(func(ctx context.Context, core *session.Core, ref api.Ref) error {
				req.Ref = ref
				if !yes && r.Terminal == nil {
					return r.refused(cmd, api.Invalidf("add --yes", "this changes the project, and there is no terminal to ask on").By("input.confirm"))
				}
				if !yes {
					a := &asking{run: r, in: bufio.NewReader(r.In)}
					if answer, err := a.answer("undo the last apply of %s? [y/N] ", ref); err != nil || answer != "y" && answer != "yes" {
						return err
					}
				}
				done, err := core.Undo(ctx, r.caller(), req)
				if err != nil {
					return err
				}
				return r.undone(done)
			})(cmd, args)
		},
	}
	cmd.Flags().BoolVar(&req.Force, "force", false, "undo what the host has edited since, too, and keep copies")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

func (r *run) undone(done api.Undone) error {
	if r.global.JSON {
		return r.printJSON(done)
	}
	for _, p := range done.Paths {
		if _, err := fmt.Fprintln(r.Out, api.Printable(p)); err != nil {
			return err
		}
	}
	for _, k := range done.Kept {
		r.say("kept %s", api.Printable(k))
	}
	return nil
}
