package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ccc-dev/ccc/internal/api"
)

func (r *run) createCommand() *cobra.Command {
	var req api.CreateRequest
	cmd := &cobra.Command{
		Use:   "create [flags] [PROJECT]",
		Short: "make and start a session on a project directory",
		Long: `Make and start a session. PROJECT is the directory it works on, the current one
if left out. Prints the session's name, and its posture on stderr: for each
control whether it is enforced, whether something weaker stands in, or whether
this host cannot give it.`,
		Example: `  ccc session create
  ccc session create --name fix-42 --profile strict ~/src/app
  ccc session create --memory 2g --cpus 1 --ttl 1h --require fallback .`,
		Annotations: map[string]string{"action": "session.create"},
		Args:        r.atMostOneProject(&req),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := req.Validate(); err != nil {
				return r.refused(cmd, err)
			}
			r.global.Project = req.Project
			if _, err := r.Config(r.global); err != nil {
				// What is wrong with the project's own file is recorded all the same.
				r.global.Project = ""
				return r.refused(cmd, err)
			}
			core, err := r.Core(cmd.Context(), r.global)
			if err != nil {
				return err
			}
			s, err := core.Create(cmd.Context(), r.caller(), req)
			if err != nil {
				return err
			}
			return r.created(s)
		},
	}
	f := cmd.Flags()
	f.StringVar(&req.Project, "project", "", "project `DIR`, instead of the argument")
	text(f, &req.Name, "name", "NAME", "name of the session (default: made from the project's)")
	text(f, &req.Workspace, "workspace", "MODE", "overlay (a copy-on-write view) or bind (live)")
	text(f, &req.Level, "profile", "LEVEL", "strict, standard, trusted or one of your own")
	text(f, &req.Image, "image", "IMAGE", "session image")
	text(f, &req.Limits.Memory, "memory", "SIZE", "memory, swap excluded, for example 4g")
	text(f, &req.Limits.CPUs, "cpus", "N", "processors, for example 1.5")
	text(f, &req.Limits.PIDs, "pids", "N", "processes and threads")
	text(f, &req.Limits.NoFile, "nofile", "N", "open files per process")
	text(f, &req.Limits.Tmp, "tmp-size", "SIZE", "size of /tmp")
	text(f, &req.Limits.TTL, "ttl", "DURATION", "how long the session lives, for example 8h or 2d")
	text(f, &req.Limits.Idle, "idle", "DURATION", "how long it lives without work, its own in the background counts")
	list(f, &req.Mounts, "mount", "SRC:DST[:rw]", "one more host path that mounts.allow lists, read-only unless :rw (repeatable)")
	list(f, &req.Env, "env,e", "NAME=VALUE", "a variable for every process inside (repeatable); not for secrets")
	list(f, &req.Labels, "label", "KEY=VALUE", "a label of your own (repeatable)")
	text(f, &req.Require, "require", "POSTURE", "fail unless every control is enforced, or at least a fallback")
	r.completeWords(cmd, "workspace", "overlay", "bind")
	r.completeWords(cmd, "profile", "strict", "standard", "trusted")
	r.completeWords(cmd, "require", "enforced", "fallback")
	return cmd
}

// atMostOneProject takes the project from the argument or the flag.
func (r *run) atMostOneProject(req *api.CreateRequest) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) > 1 || len(args) == 1 && cmd.Flags().Changed("project"):
			return r.refused(cmd, api.Invalidf(cmd.UseLine(), "one project directory is enough").By("input.usage"))
		case len(args) == 1:
			req.Project = args[0]
		case !cmd.Flags().Changed("project"):
			req.Project = "."
		}
		return nil
	}
}

// created prints a new session: its name to stdout, so that a script can keep
// it, and how it is protected to stderr.
func (r *run) created(s api.Session) error {
	if r.global.JSON {
		return r.printJSON(s)
	}
	if !r.global.Quiet {
		count := map[api.State]int{}
		for _, c := range s.Posture {
			count[c.State]++
			if c.State != api.StateEnforced && (r.global.Verbose || c.State == api.StateMissing) {
				r.say("%s: %s: %s", c.State, c.Name, api.Printable(c.Detail))
			}
		}
		r.say("session %s (%s) on %s: %d controls enforced, %d by fallback, %d missing", s.Name, s.ID, api.Printable(s.Project),
			count[api.StateEnforced], count[api.StateFallback], count[api.StateMissing])
		r.say("hint: ccc session exec %s -- CMD, ccc session shell %s", s.Name, s.Name)
	}
	_, err := fmt.Fprintln(r.Out, s.Name)
	return err
}
