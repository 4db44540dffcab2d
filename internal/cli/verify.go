package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/session"
)

func (r *run) verifyCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "verify SESSION", Short: "prove a session's walls, by trying them from inside",
		Long: `Try every wall of a running session: from inside, as any command of the session
runs, some 340 system calls, writes in every directory, devices, masked files,
routes, resolvers and the host's sockets; from outside, what the kernel says of
the session and of the very process that tries. Each control is

  pass     it was seen to hold
  missing  this host cannot enforce it, as the session's posture says
  fail     it does not hold
  unknown  it could not be told

What is tried is undone at once and does not disturb the session. Who saw it is
said for each control: what only the session itself reported is as true as the
session is honest. The exit code is 3 if a control failed or is unknown.`,
		Example:     "  ccc session verify demo\n  ccc session verify demo --json | jq '.controls[] | select(.verdict != \"pass\")'",
		Annotations: map[string]string{"action": "session.verify"},
		Args:        r.one("one session"), ValidArgsFunction: r.completeSessions,
		RunE: r.onSession(func(ctx context.Context, core *session.Core, ref api.Ref) error {
			r.progress("trying the walls of %s", ref)
			v, err := core.Verify(ctx, r.caller(), api.VerifyRequest{Ref: ref})
			if err != nil {
				return err
			}
			if err := r.verification(v, all); err != nil {
				return err
			}
			if !v.Holds() {
				return exit{api.KindDenied.ExitCode()}
			}
			return nil
		}),
	}
	cmd.Flags().BoolVar(&all, "expected", false, "print what is expected of each control, too")
	return cmd
}

// verification prints what was seen of each control.
func (r *run) verification(v api.Verification, expected bool) error {
	if r.global.JSON {
		return r.printJSON(v)
	}
	header := []string{"VERDICT", "CONTROL", "WITNESS", "CASES", "SEEN"}
	if expected {
		header = append(header, "EXPECTED")
	}
	rows := make([][]string, len(v.Controls))
	for i, c := range v.Controls {
		rows[i] = []string{c.Verdict.String(), c.ID, c.Witness, strings.Join(c.Cases, ","), c.Seen}
		if expected {
			rows[i] = append(rows[i], c.Expected)
		}
	}
	if err := r.states(header, rows); err != nil {
		return err
	}
	r.progress("%d pass, %d missing, %d fail, %d unknown", v.Count(api.VerdictPass), v.Count(api.VerdictMissing), v.Count(api.VerdictFail), v.Count(api.VerdictUnknown))
	for _, c := range v.Controls {
		if c.Verdict == api.VerdictPass {
			continue
		}
		if c.Verdict != api.VerdictMissing {
			r.say("expected of %s: %s", c.ID, c.Expected)
		}
		if c.Hint != "" {
			r.say("hint: %s: %s", c.ID, api.Printable(c.Hint))
		}
	}
	return nil
}
