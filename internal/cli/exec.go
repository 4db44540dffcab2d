package cli

import (
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/session"
)

func (r *run) execCommand() *cobra.Command {
	var req api.ExecRequest
	cmd := &cobra.Command{
		Use:   "exec [flags] SESSION [--] CMD [ARG…]",
		Short: "run a command in a session",
		Long: `Run a command in a session. Its streams and its exit code are the command's
own; 125 means that ccc itself failed. Nothing is passed to a shell.

Flags of ccc come before SESSION; everything after it belongs to the command.`,
		Example: `  ccc session exec demo -- go test ./...
  ccc session exec -i demo -- tar -xf - < files.tar
  ccc session exec -it demo -- python3`,
		Annotations: map[string]string{"action": "session.exec", "codes": "child"},
		Args: func(cmd *cobra.Command, args []string) error {
			if len(command(args)) == 0 {
				return r.refused(cmd, api.Invalidf("ccc session exec NAME -- ls -l", "give a session and a command").By("input.usage"))
			}
			return nil
		},
		ValidArgsFunction: r.completeSessions,
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Argv = command(args)
			return r.onSession(func(ctx context.Context, core *session.Core, ref api.Ref) error {
				req.Ref = ref
				return r.exec(ctx, core, req)
			})(cmd, args)
		},
	}
	f := cmd.Flags()
	f.SetInterspersed(false)
	f.BoolVarP(&req.Interactive, "interactive", "i", false, "pass standard input on")
	f.BoolVarP(&req.TTY, "tty", "t", false, "allocate a terminal")
	f.StringVarP(&req.Dir, "workdir", "w", "", "working `DIR` inside (default /workspace)")
	list(f, &req.Env, "env,e", "NAME=VALUE", "a variable for the command (repeatable)")
	text(f, &req.Timeout, "timeout", "DURATION", "kill the command after this time")
	return cmd
}

// command returns what follows the session and, if it is there, the "--" that
// may stand between them.
func command(args []string) []string {
	switch {
	case len(args) > 1 && args[1] == "--":
		return args[2:]
	case len(args) > 1:
		return args[1:]
	}
	return nil
}

func (r *run) shellCommand() *cobra.Command {
	req := api.ExecRequest{Argv: []string{"/bin/bash", "-l"}, Interactive: true}
	cmd := &cobra.Command{
		Use: "shell SESSION", Short: "open a shell in a session", Example: "  ccc session shell demo",
		Annotations: map[string]string{"action": "session.exec", "codes": "child"},
		Args:        r.one("one session"), ValidArgsFunction: r.completeSessions,
		RunE: r.onSession(func(ctx context.Context, core *session.Core, ref api.Ref) error {
			req.Ref, req.TTY = ref, r.Terminal != nil
			return r.exec(ctx, core, req)
		}),
	}
	cmd.Flags().StringVarP(&req.Dir, "workdir", "w", "", "working `DIR` inside (default /workspace)")
	return cmd
}

// exec runs a command with the caller's streams.
func (r *run) exec(ctx context.Context, core *session.Core, req api.ExecRequest) error {
	s := api.Streams{Out: r.Out, Err: r.Err}
	if req.Interactive {
		s.In = r.In
	}
	if req.TTY {
		if r.Terminal == nil {
			return core.Refused(ctx, r.caller(), "session.exec", api.Invalidf("leave out -t", "there is no terminal to pass on").By("input.tty"))
		}
		sizes, cancel := context.WithCancel(ctx)
		defer cancel()
		s.Resize = r.Terminal.Sizes(sizes)
		req.Env = append(r.term(), req.Env...)
		restore, err := r.Terminal.Raw()
		if err != nil {
			return err
		}
		defer restore()
	}
	exited, err := core.Exec(ctx, r.caller(), req, s)
	if err != nil {
		return err
	}
	if exited.TimedOut {
		r.say("error: the command was killed after %s", req.Timeout)
	}
	if exited.OOMKilled {
		r.say("error: the session's memory was used up, and the kernel ended a process of it")
	}
	return exitWith(exited)
}

// term returns the variable that tells the command what terminal it has. One
// that the command was given otherwise comes later and wins.
func (r *run) term() []api.EnvVar {
	var v api.EnvVar
	if r.Term == "" || v.UnmarshalText([]byte("TERM="+r.Term)) != nil {
		return nil
	}
	return []api.EnvVar{v}
}

func (r *run) logsCommand() *cobra.Command {
	var req api.LogsRequest
	cmd := &cobra.Command{
		Use: "logs SESSION", Short: "print what a session's first process printed",
		Example: "  ccc session logs demo --tail 20\n  ccc session logs -f demo",
		Args:    r.one("one session"), ValidArgsFunction: r.completeSessions,
		RunE: r.onSession(func(ctx context.Context, core *session.Core, ref api.Ref) error {
			req.Ref = ref
			err := core.Logs(ctx, req, api.Streams{Out: r.Out, Err: r.Err})
			if req.Follow && (errors.Is(err, context.Canceled) || errors.Is(err, io.EOF)) {
				return nil
			}
			return err
		}),
	}
	f := cmd.Flags()
	f.BoolVarP(&req.Follow, "follow", "f", false, "keep going until the session ends")
	text(f, &req.Tail, "tail", "N", "only the last lines")
	text(f, &req.Since, "since", "DURATION", "only what is not older than this")
	return cmd
}
