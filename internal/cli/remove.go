package cli

import (
	"bufio"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ccc-dev/ccc/internal/api"
)

func (r *run) removeCommand() *cobra.Command {
	var req api.RemoveRequest
	var yes bool
	cmd := &cobra.Command{
		Use: "rm SESSION…", Aliases: []string{"remove"}, Short: "remove sessions with all that belongs to them",
		Long: `Remove sessions: their processes, their home, and what they changed in a
copy-on-write workspace. A session that is not there is no error.

On a terminal ccc asks first; elsewhere --yes is needed.`,
		Example:           "  ccc session rm demo\n  ccc session rm --all --yes",
		Annotations:       map[string]string{"action": "session.remove"},
		ValidArgsFunction: r.completeSessions,
		Args: func(cmd *cobra.Command, args []string) error {
			for _, a := range args {
				ref, err := r.ref(cmd, a)
				if err != nil {
					return err
				}
				req.Refs = append(req.Refs, ref)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := req.Validate(); err != nil {
				return r.refused(cmd, err)
			}
			if err := r.confirm(yes, removeQuestion(req)); err != nil {
				return err
			}
			core, err := r.Core(cmd.Context(), r.global)
			if err != nil {
				return err
			}
			done, err := core.Remove(cmd.Context(), r.caller(), req)
			return r.removed(done, err)
		},
	}
	cmd.Flags().BoolVar(&req.All, "all", false, "remove every session")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

func removeQuestion(req api.RemoveRequest) string {
	if req.All {
		return "remove every session and all changes in them?"
	}
	names := make([]string, len(req.Refs))
	for i, ref := range req.Refs {
		names[i] = string(ref)
	}
	return "remove " + strings.Join(names, ", ") + " and all changes in it?"
}

func (r *run) removed(done api.Removed, err error) error {
	if r.global.JSON {
		if jsonErr := r.printJSON(done); jsonErr != nil {
			return jsonErr
		}
		return err
	}
	for _, s := range done.Sessions {
		if _, printErr := fmt.Fprintln(r.Out, s.Name); printErr != nil {
			return printErr
		}
	}
	for _, ref := range done.Missing {
		r.progress("no session %s; nothing to remove", ref)
	}
	return err
}

// confirm asks on a terminal before something is destroyed. Elsewhere only
// --yes will do: a script that did not expect a question must not be taken for
// one that answered it.
func (r *run) confirm(yes bool, question string) error {
	if yes {
		return nil
	}
	if r.Terminal == nil {
		return api.Invalidf("add --yes", "this removes things, and there is no terminal to ask on").By("input.confirm")
	}
	if _, err := fmt.Fprintf(r.Err, "ccc: %s [y/N] ", question); err != nil {
		return err
	}
	answer, err := bufio.NewReader(r.In).ReadString('\n')
	if a := strings.ToLower(strings.TrimSpace(answer)); err == nil && (a == "y" || a == "yes") {
		return nil
	}
	return &api.Error{Kind: api.KindInterrupted, Msg: "nothing was removed"}
}

func (r *run) pruneCommand() *cobra.Command {
	var req api.PruneRequest
	var yes bool
	cmd := &cobra.Command{
		Use: "prune", Short: "remove sessions past their life, and what crashes left", Args: noArgs,
		Example:     "  ccc prune --dry-run\n  ccc prune --older-than 7d --yes",
		Annotations: map[string]string{"action": "prune"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !req.DryRun {
				if err := r.confirm(yes, "remove what `ccc prune --dry-run` lists?"); err != nil {
					return err
				}
			}
			core, err := r.Core(cmd.Context(), r.global)
			if err != nil {
				return err
			}
			done, err := core.Prune(cmd.Context(), r.caller(), req)
			if r.global.JSON {
				if jsonErr := r.printJSON(done); jsonErr != nil {
					return jsonErr
				}
				return err
			}
			for _, s := range done.Sessions {
				done.Leftovers = append(done.Leftovers, "session "+string(s.Name))
			}
			for _, l := range done.Leftovers {
				if _, printErr := fmt.Fprintln(r.Out, api.Printable(l)); printErr != nil {
					return printErr
				}
			}
			return err
		},
	}
	text(cmd.Flags(), &req.OlderThan, "older-than", "DURATION", "also stopped sessions made at least so long ago")
	cmd.Flags().BoolVar(&req.DryRun, "dry-run", false, "only print what would be removed")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}
