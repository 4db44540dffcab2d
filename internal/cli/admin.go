package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/audit"
	"github.com/ccc-dev/ccc/internal/probe"
)

func (r *run) doctorCommand() *cobra.Command {
	var checklist bool
	cmd := &cobra.Command{
		Use: "doctor", Short: "check whether this host is fit, and what mends each fault", Args: noArgs,
		Long: `Check this host. Each line is ok, warn (sessions work, with a weaker posture) or
fail (they do not), and what is not ok comes with the command that mends it.
The exit code is 7 if a check failed.

With --checklist, answer instead whether this host is ready for production: eight
questions, each with its evidence, and for every known vulnerability of the
installed Podman, OCI runtime, monitor and kernel whether it is there and what ccc
does about it. A distribution may have taken over a fix without changing the
version: where its list of changes does not say so, the verdict is unknown. The
exit code is 7 unless every answer is yes.`,
		Example: "  ccc doctor\n  ccc doctor --json\n  ccc doctor --checklist",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if checklist {
				c := r.Doctor(r.global).Checklist(cmd.Context())
				if err := r.checklist(c); err != nil || c.Ready {
					return err
				}
				return exit{api.KindDegraded.ExitCode()}
			}
			all := r.Doctor(r.global).Check(cmd.Context())
			if r.global.JSON {
				if err := r.printJSON(all); err != nil {
					return err
				}
			} else if err := r.findings(all); err != nil {
				return err
			}
			if probe.Worst(all) == probe.Fail {
				return exit{api.KindDegraded.ExitCode()}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&checklist, "checklist", false, "answer whether this host is ready for production, from evidence")
	return cmd
}

func (r *run) findings(all []probe.Finding) error {
	rows := make([][]string, len(all))
	for i, f := range all {
		rows[i] = []string{string(f.Verdict), f.Check, f.Detail}
	}
	if err := r.states([]string{"", "CHECK", "FOUND"}, rows); err != nil {
		return err
	}
	for _, f := range all {
		if f.Mend != "" {
			r.say("hint: %s: %s", f.Check, api.Printable(f.Mend))
		}
	}
	return nil
}

func (r *run) configCommand() *cobra.Command {
	show := &cobra.Command{
		Use: "show", Short: "print every setting and where it comes from", Args: noArgs,
		Example: "  ccc config show\n  ccc config show --json",
		RunE: func(*cobra.Command, []string) error {
			c, err := r.Config(r.global)
			if err != nil {
				return err
			}
			if r.global.JSON {
				return r.printJSON(c.List())
			}
			var rows [][]string
			for _, s := range c.List() {
				rows = append(rows, []string{s.Key, s.Value, s.Origin.String()})
			}
			return r.table([]string{"KEY", "VALUE", "FROM"}, rows)
		},
	}
	return group("config", "read the configuration", show)
}

func (r *run) auditCommand() *cobra.Command {
	verify := &cobra.Command{
		Use: "verify", Short: "prove that the audit log is whole", Args: noArgs,
		Long: `Check every record of the audit log against its hash and the record before it,
and name the first bad one. The exit code is 0 if every record is good.`,
		Example: "  ccc audit verify --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := r.Config(r.global)
			if err != nil {
				return err
			}
			report, err := audit.VerifyDir(cmd.Context(), string(c.Effective.Audit.Dir), string(c.Effective.Audit.File))
			if r.global.JSON && (err == nil || report.Bad != nil) {
				if jsonErr := r.printJSON(report); jsonErr != nil {
					return jsonErr
				}
				return err
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(r.Out, "%d records are whole, the last hash is %s\n", report.Records, report.Hash)
			r.progress("the chain does not prove %s", strings.Join(report.Unproven, ", nor "))
			return err
		},
	}
	var tail api.Count
	show := &cobra.Command{
		Use: "log", Short: "print the audit log", Args: noArgs,
		Example: "  ccc audit log --tail 20\n  ccc audit log --json | jq 'select(.decision == \"deny\")'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return r.auditLog(cmd.Context(), int(tail))
		},
	}
	text(show.Flags(), &tail, "tail", "N", "only the last records")
	return group("audit", "read the audit log and prove that it is whole", show, verify)
}
