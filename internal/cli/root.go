package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ccc-dev/ccc/internal/api"
)

// root returns the whole tree of commands.
func (r *run) root() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ccc",
		Short: "give an AI coding agent a locked-down container of its own",
		Long: `ccc gives an AI coding agent a container of its own on your machine, through
your own rootless Podman: no root daemon, no socket that equals root.

A session sees a copy-on-write view of your project, has no capabilities, no
network interface and a read-only root file system, and ends by itself.`,
		Example: `  ccc image build
  ccc session create --name demo .
  ccc session exec demo -- git status
  ccc session rm demo`,
		SilenceErrors: true, SilenceUsage: true,
		DisableAutoGenTag: true,
		Args:              noArgs,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
	}
	cmd.SetFlagErrorFunc(r.flagError)
	f := cmd.PersistentFlags()
	f.StringVar(&r.global.ConfigFile, "config", "", "configuration `FILE` instead of ~/.config/ccc/config.yaml")
	f.StringVar(&r.global.Connection, "connection", "", "Podman socket `PATH`, rootless only")
	f.BoolVar(&r.global.JSON, "json", false, "print results, and errors on stderr, as JSON")
	f.BoolVarP(&r.global.Quiet, "quiet", "q", false, "print only what was asked for, no progress")
	f.BoolVarP(&r.global.Verbose, "verbose", "v", false, "say more about what is done")
	f.BoolVar(&r.global.NoColor, "no-color", false, "never use colour")
	cmd.AddCommand(
		r.sessionCommand(), r.serveCommand(), r.pruneCommand(), r.imageCommand(), r.profileCommand(), r.doctorCommand(),
		r.configCommand(), r.auditCommand(), r.versionCommand(), exitCodesTopic(),
	)
	return cmd
}

// Commands returns the tree of commands without anything behind them, for what
// is generated from it: completions and manual pages.
func Commands() *cobra.Command {
	return (&run{Program: &Program{}}).root()
}

// group returns a command that only holds others.
func group(use, short string, children ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(children...)
	return cmd
}

// noArgs refuses arguments and, where the command has subcommands, suggests one.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := cmd.CommandPath() + " --help"
	// Cobra's own default, which it sets only on its own way to an error.
	cmd.SuggestionsMinimumDistance = 2
	if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
		hint = cmd.CommandPath() + " " + s[0]
	}
	what := "argument"
	if cmd.HasSubCommands() {
		what = "command"
	}
	return api.Invalidf(hint, "unknown %s %s for %q", what, api.Printable(shorten(fmt.Sprintf("%q", args[0]), maxTold/4)), cmd.CommandPath()).By("input.usage")
}

// one refuses any other number of arguments than one.
func (r *run) one(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			return nil
		}
		return r.refused(cmd, api.Invalidf(cmd.UseLine(), "%s takes %s, got %d arguments", cmd.CommandPath(), what, len(args)).By("input.usage"))
	}
}

func (r *run) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "print the version", Args: noArgs,
		Example: "  ccc version --json",
		RunE: func(*cobra.Command, []string) error {
			if r.global.JSON {
				return r.printJSON(r.Version)
			}
			_, err := fmt.Fprintf(r.Out, "ccc %s (%s)\n", r.Version.Version, r.Version.Go)
			return err
		},
	}
}

// exitCodesTopic is a page of help: the exit codes are an interface.
func exitCodesTopic() *cobra.Command {
	text := "The exit code says what sort of failure it was:\n\n    0  success\n"
	for _, k := range api.Kinds() {
		text += fmt.Sprintf("  %3d  %s\n", k.ExitCode(), k)
	}
	text += `
'ccc session exec', 'shell' and 'wait' pass on the exit code of what they ran:
124 if its time was up, 125 for a failure of ccc itself, 126 if the command
could not be executed, 127 if there is none, 128+N if signal N ended it.

'ccc session verify' exits with 3 if a control failed or could not be told, 'ccc
doctor' with 7 if a check failed, with --checklist unless every answer is yes.
`
	return &cobra.Command{Use: "exit-codes", Short: "what the exit codes mean", Long: text}
}
