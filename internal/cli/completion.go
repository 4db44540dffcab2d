package cli

import (
	"github.com/spf13/cobra"
)

// completeSessions completes names, and ids once one has been begun.
func (r *run) completeSessions(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 && cmd.Name() != "rm" {
		return nil, cobra.ShellCompDirectiveDefault
	}
	core, err := r.Core(cmd.Context(), r.global)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return core.Names(cmd.Context(), prefix), cobra.ShellCompDirectiveNoFileComp
}

// completeWords completes a flag from a fixed list.
func (r *run) completeWords(cmd *cobra.Command, flag string, words ...string) {
	// It fails only for a flag that does not exist, and then a test does too.
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}
