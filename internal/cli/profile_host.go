package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/apparmor"
	"github.com/ccc-dev/ccc/internal/probe"
)

// confinement is what `ccc profile status` found.
type confinement struct {
	AppArmor apparmor.Status `json:"apparmor"`
	// Sessions are the running ones, each with what the kernel says of it.
	Sessions []confined `json:"sessions"`
	// Problem says why nothing is known of sessions.
	Problem string `json:"problem,omitempty"`
}

// confined is what the label of a running session's first process says.
type confined struct {
	ID     api.ID    `json:"id"`
	Name   api.Name  `json:"name"`
	State  api.State `json:"state"`
	Detail string    `json:"detail"`
}

func (r *run) profileStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "say what confines sessions on this host, and which are confined", Args: noArgs,
		Long: `Say whether the kernel has AppArmor, whether ccc's profile is installed, loaded,
enforcing and of this version of ccc, and which running sessions it confines, by
the label that the kernel shows for them. What cannot be seen is unknown, never
guessed. The exit code is 0 if all of it holds, otherwise 7.`,
		Example: "  ccc profile status\n  ccc profile status --json | jq .apparmor.current",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := confinement{AppArmor: r.AppArmor.Status(), Sessions: []confined{}}
			if err := r.confinedSessions(cmd.Context(), &c); err != nil {
				c.Problem = api.ReportOf(err).Message
			}
			all := append(probe.AppArmor(c.AppArmor), c.findings()...)
			var err error
			if r.global.JSON {
				err = r.printJSON(c)
			} else {
				err = r.findings(all)
			}
			if err == nil && probe.Worst(all) != probe.OK {
				err = exit{api.KindDegraded.ExitCode()}
			}
			return err
		},
	}
}

// confinedSessions reads the label of every running session.
func (r *run) confinedSessions(ctx context.Context, c *confinement) error {
	core, err := r.Core(ctx, r.global)
	if err != nil {
		return err
	}
	all, err := core.List(ctx)
	if err != nil {
		return err
	}
	for _, s := range all {
		if s.Status != api.StatusRunning {
			continue
		}
		found := confined{ID: s.ID, Name: s.Name, State: api.StateMissing}
		now, err := core.Show(ctx, api.RefRequest{Ref: api.Ref(s.ID)})
		if err != nil {
			found.Detail = "unknown: " + api.ReportOf(err).Message
		}
		for _, control := range now.Posture {
			if control.Name == "lsm" {
				found.State, found.Detail = control.State, control.Detail
			}
		}
		c.Sessions = append(c.Sessions, found)
	}
	return nil
}

// findings says what was found of sessions.
func (c confinement) findings() []probe.Finding {
	if c.Problem != "" {
		return []probe.Finding{{Check: "sessions", Verdict: probe.Warn, Detail: "unknown: " + c.Problem}}
	}
	all := make([]probe.Finding, 0, len(c.Sessions))
	for _, s := range c.Sessions {
		f := probe.Finding{Check: "session " + string(s.Name), Verdict: probe.OK, Detail: s.Detail}
		if s.State != api.StateEnforced {
			f.Verdict, f.Mend = probe.Warn, "ccc session restart "+string(s.Name)+", once the profile is loaded"
		}
		all = append(all, f)
	}
	return all
}

func (r *run) profileInstallCommand() *cobra.Command {
	var print, uninstall bool
	cmd := &cobra.Command{
		Use: "install", Short: "print, or run as root, what loads the AppArmor profile", Args: noArgs,
		Long: `Without root, print the one command that root has to run, once; with root, do it:
write ` + apparmor.File + `, which the system loads at every start,
and load it now. If it cannot be loaded the file is what it was before.

--uninstall removes both, and refuses (exit code 5) while a session is confined,
which would be free without the profile. A session gets the profile when it is
started; one that runs already does not.`,
		Example: "  ccc profile install\n  sudo ccc profile install\n  ccc profile install --print | sh",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if print || r.UID != 0 {
				return r.printInstall(uninstall)
			}
			if uninstall {
				if err := r.AppArmor.Uninstall(cmd.Context()); err != nil {
					return err
				}
				r.progress("%s and its profiles are gone", apparmor.File)
				return nil
			}
			if err := r.AppArmor.Install(cmd.Context()); err != nil {
				return err
			}
			r.progress("the profile is loaded, and will be at every start; sessions that start from now on have it")
			return nil
		},
	}
	cmd.Flags().BoolVar(&print, "print", false, "only print the command, as root too")
	cmd.Flags().BoolVar(&uninstall, "uninstall", false, "remove the profile instead")
	return cmd
}

// printInstall prints the command for root.
func (r *run) printInstall(uninstall bool) error {
	command := apparmor.Command(r.Self, uninstall)
	if r.global.JSON {
		return r.printJSON(map[string]string{"command": command, "file": apparmor.File})
	}
	if s := r.AppArmor.Status(); s.Kernel == apparmor.No {
		r.progress("this kernel has no AppArmor, or it is switched off: the command will fail here")
	}
	_, err := fmt.Fprintln(r.Out, command)
	return err
}
