package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/session"
)

func (r *run) sessionCommand() *cobra.Command {
	cmd := group("session", "make, use and remove sessions",
		r.createCommand(), r.listCommand(), r.showCommand(), r.execCommand(), r.shellCommand(), r.logsCommand(),
		r.stopCommand(), r.startCommand(), r.restartCommand(), r.removeCommand(), r.waitCommand(), r.verifyCommand(),
		r.diffCommand(), r.applyCommand(), r.undoCommand())
	cmd.Aliases = []string{"s"}
	return cmd
}

// ref parses the session argument.
func (r *run) ref(cmd *cobra.Command, arg string) (api.Ref, error) {
	var ref api.Ref
	if err := ref.UnmarshalText([]byte(arg)); err != nil {
		return "", r.refused(cmd, err)
	}
	return ref, nil
}

// onSession returns the RunE of a command whose first argument is a session.
func (r *run) onSession(do func(context.Context, *session.Core, api.Ref) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		ref, err := r.ref(cmd, args[0])
		if err != nil {
			return err
		}
		core, err := r.Core(cmd.Context(), r.global)
		if err != nil {
			return err
		}
		return do(cmd.Context(), core, ref)
	}
}

func (r *run) listCommand() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "list the sessions", Args: noArgs,
		Example: "  ccc session list\n  ccc session list --format '{{.Name}} {{.Project}}'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			core, err := r.Core(cmd.Context(), r.global)
			if err != nil {
				return err
			}
			all, err := core.List(cmd.Context())
			if err != nil {
				return err
			}
			switch {
			case r.global.JSON:
				return r.printJSON(all)
			case format != "":
				return printFormat(r, format, all)
			}
			return r.listSessions(all, core.Clock())
		},
	}
	cmd.Flags().StringVar(&format, "format", "", "Go `TEMPLATE` for each session")
	return cmd
}

func (r *run) listSessions(all []api.Session, now time.Time) error {
	rows := make([][]string, len(all))
	for i, s := range all {
		rows[i] = []string{string(s.Name), string(s.ID), string(s.Status), string(s.Level), string(s.Workspace), left(s, now), s.Project}
	}
	if len(all) == 0 && r.Terminal != nil {
		r.progress("no sessions; make one with `ccc session create`")
		return nil
	}
	return r.table([]string{"NAME", "ID", "STATUS", "PROFILE", "WORKSPACE", "TIME LEFT", "PROJECT"}, rows)
}

func (r *run) showCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show SESSION", Short: "show everything about a session", Example: "  ccc session show demo --json",
		Args: r.one("one session"), ValidArgsFunction: r.completeSessions,
		RunE: r.onSession(func(ctx context.Context, core *session.Core, ref api.Ref) error {
			s, err := core.Show(ctx, api.RefRequest{Ref: ref})
			if s.ID == "" && err != nil {
				return err
			}
			if r.global.JSON {
				return errors.Join(r.printJSON(s), err)
			}
			return errors.Join(r.showSession(s, core.Clock()), err)
		}),
	}
}

func (r *run) showSession(s api.Session, now time.Time) error {
	rows := [][]string{
		{"name", string(s.Name)}, {"id", string(s.ID)}, {"status", string(s.Status)}, {"project", s.Project},
		{"workspace", string(s.Workspace)}, {"profile", string(s.Level)}, {"image", string(s.Image)}, {"image id", s.ImageID},
		{"network", s.Network}, {"limits", s.Limits.String()},
		{"created", s.Created.Format(time.RFC3339)}, {"expires", s.Expires.Format(time.RFC3339)}, {"time left", left(s, now)},
	}
	if s.ExitCode != nil {
		rows = append(rows, []string{"ended", string(s.Ended)}, []string{"exit code", fmt.Sprint(*s.ExitCode)})
	}
	for k, v := range s.Labels {
		rows = append(rows, []string{"label", k + "=" + v})
	}
	if err := r.table([]string{"FIELD", "VALUE"}, rows); err != nil || len(s.Posture) == 0 {
		return err
	}
	if _, err := fmt.Fprintln(r.Out); err != nil {
		return err
	}
	return r.posture(s.Posture)
}

func (r *run) stopCommand() *cobra.Command {
	var req api.StopRequest
	cmd := &cobra.Command{
		Use: "stop SESSION", Short: "end a session's processes; its files stay", Example: "  ccc session stop demo",
		Annotations: map[string]string{"action": "session.stop"},
		Args:        r.one("one session"), ValidArgsFunction: r.completeSessions,
		RunE: r.onSession(func(ctx context.Context, core *session.Core, ref api.Ref) error {
			req.Ref = ref
			return core.Stop(ctx, r.caller(), req)
		}),
	}
	text(cmd.Flags(), &req.Grace, "grace", "DURATION", "time between SIGTERM and SIGKILL (default 5s)")
	return cmd
}

func (r *run) startCommand() *cobra.Command {
	return &cobra.Command{
		Use: "start SESSION", Short: "start a stopped session again", Example: "  ccc session start demo",
		Annotations: map[string]string{"action": "session.start"},
		Args:        r.one("one session"), ValidArgsFunction: r.completeSessions,
		RunE: r.onSession(func(ctx context.Context, core *session.Core, ref api.Ref) error {
			s, err := core.Start(ctx, r.caller(), api.RefRequest{Ref: ref})
			if err != nil {
				return err
			}
			return r.created(s)
		}),
	}
}

func (r *run) restartCommand() *cobra.Command {
	var req api.StopRequest
	cmd := &cobra.Command{
		Use: "restart SESSION", Short: "stop a session and start it again", Example: "  ccc session restart demo",
		Annotations: map[string]string{"action": "session.restart"},
		Args:        r.one("one session"), ValidArgsFunction: r.completeSessions,
		RunE: r.onSession(func(ctx context.Context, core *session.Core, ref api.Ref) error {
			req.Ref = ref
			s, err := core.Restart(ctx, r.caller(), req)
			if err != nil {
				return err
			}
			return r.created(s)
		}),
	}
	text(cmd.Flags(), &req.Grace, "grace", "DURATION", "time between SIGTERM and SIGKILL (default 5s)")
	return cmd
}

func (r *run) waitCommand() *cobra.Command {
	return &cobra.Command{
		Use: "wait SESSION", Short: "wait until a session ends, and exit with its code", Example: "  ccc session wait demo",
		Annotations: map[string]string{"codes": "child"},
		Args:        r.one("one session"), ValidArgsFunction: r.completeSessions,
		RunE: r.onSession(func(ctx context.Context, core *session.Core, ref api.Ref) error {
			e, err := core.Wait(ctx, api.RefRequest{Ref: ref})
			if err != nil {
				return err
			}
			if r.global.JSON {
				return r.printJSON(e)
			}
			return exitWith(e)
		}),
	}
}

// exitWith turns an exit code into what the command returns.
func exitWith(e api.Exited) error {
	if e.Code == 0 {
		return nil
	}
	return exit{e.Code}
}
