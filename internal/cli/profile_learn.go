package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/seccomp"
)

func (r *run) profileLearnCommand() *cobra.Command {
	var req api.LearnRequest
	var output string
	cmd := &cobra.Command{
		Use:     "learn [flags] [--] CMD [ARG…]",
		Short:   "run a workload and say what it calls that the filter denies",
		Long:    learnLong(),
		Example: "  ccc profile learn -- make test\n  ccc profile learn --output numa.yaml -- numactl --interleave=all ./bench\n  ccc profile learn --json -- npm test | jq '.denied[] | select(.advice == \"add\")'",
		Annotations: map[string]string{
			"action": "profile.learn",
		},
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return r.refused(cmd, api.Invalidf("ccc profile learn -- make test", "give a command to learn from").By("input.usage"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Argv = args
			return r.learn(cmd, req, output)
		},
	}
	f := cmd.Flags()
	f.SetInterspersed(false)
	f.StringVar(&req.Create.Project, "project", ".", "project `DIR` that the workload sees a copy-on-write view of")
	text(f, &req.Create.Level, "profile", "LEVEL", "strict, standard, trusted or one of your own")
	text(f, &req.Create.Image, "image", "IMAGE", "session image")
	list(f, &req.Create.Env, "env,e", "NAME=VALUE", "a variable for the workload (repeatable); not for secrets")
	text(f, &req.Timeout, "timeout", "DURATION", "end the workload after this time")
	f.StringVar(&output, "output", "", "write the proposed filter to this `FILE`, which must not exist")
	r.completeWords(cmd, "profile", "strict", "standard", "trusted")
	return cmd
}

// learnLong is the command's description, with the list of what may be added.
func learnLong() string {
	names := make([]string, 0, len(seccomp.Additions()))
	for _, a := range seccomp.Additions() {
		names = append(names, a.Call)
	}
	return `Run a workload in a session of its own, under the filter of its level, and list
the system calls that the filter denied: how often, by which program, why, and
what to do about it. The workload gets exactly the answers that it gets in any
session; nothing is let through to find out. The session is removed at the end.

"add" is for calls that cost no wall. They make up the proposed filter: put it
into ~/.config/ccc/seccomp/NAME.yaml, and name it in a level of your own,
~/.config/ccc/profiles/LEVEL.yaml, with "seccomp: NAME". Run learn again with
--profile LEVEL to see that it is enough. "never" is for all others: no file can
allow them. Where a shipped filter does, it is named. A call that was answered
ENOSYS or EINVAL is often tried only to fall back on another one: it need not be
allowed for the workload to succeed.

What the workload prints goes to stderr, the result to stdout. The exit code is 0
whatever the workload's own was; the result has that.

These may be added: ` + wrap(strings.Join(names, ", ")) + "."
}

// wrap breaks a list into lines.
func wrap(list string) string {
	const width = 78
	var b strings.Builder
	column := len("These may be added: ")
	for i, word := range strings.Split(list, " ") {
		if i > 0 && column+1+len(word) > width {
			b.WriteByte('\n')
			column = 0
		} else if i > 0 {
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}

func (r *run) learn(cmd *cobra.Command, req api.LearnRequest, output string) error {
	if err := req.Validate(); err != nil {
		return r.refused(cmd, err)
	}
	if _, err := os.Lstat(output); output != "" && err == nil {
		return r.refused(cmd, taken(output))
	}
	r.global.Project = req.Create.Project
	if _, err := r.Config(r.global); err != nil {
		r.global.Project = ""
		return r.refused(cmd, err)
	}
	core, err := r.Core(cmd.Context(), r.global)
	if err != nil {
		return err
	}
	learned, err := core.Learn(cmd.Context(), r.caller(), req, api.Streams{Out: r.Err, Err: r.Err})
	if learned.Filter == "" {
		return err
	}
	return errors.Join(err, r.learned(learned, output))
}

// taken is the refusal to overwrite a file.
func taken(file string) error {
	return &api.Error{Kind: api.KindConflict, Rule: "learn.output", Msg: "the file " + api.Printable(file) + " is there already", Hint: "name another --output, or remove it"}
}

// learned prints the result and writes the proposal.
func (r *run) learned(l api.Learned, output string) error {
	if output != "" && l.Proposal != "" {
		if err := writeNew(output, l.Proposal); err != nil {
			return err
		}
	}
	if r.global.JSON {
		return r.printJSON(l)
	}
	rows := make([][]string, len(l.Denied))
	add := 0
	for i, d := range l.Denied {
		rows[i] = []string{string(d.Advice), strings.TrimSpace(d.Call + " " + d.Args), d.Answer, fmt.Sprint(d.Count), d.Program, because(d)}
		if d.Advice == api.AdviceAdd {
			add++
		}
	}
	if len(rows) > 0 {
		if err := r.table([]string{"ADVICE", "CALL", "ANSWER", "COUNT", "PROGRAM", "WHY"}, rows); err != nil {
			return err
		}
	}
	r.told(l, add)
	switch {
	case l.Proposal == "":
		return nil
	case output != "":
		r.progress("the proposed filter is in %s", api.Printable(output))
		return nil
	}
	_, err := fmt.Fprintf(r.Out, "\n%s", l.Proposal)
	return err
}

// told sums up.
func (r *run) told(l api.Learned, add int) {
	end := fmt.Sprintf("the workload ended with %d", l.Exited.Code)
	if l.Exited.TimedOut {
		end = "the workload was ended when its time was up"
	}
	if l.Interrupted {
		end = "the workload was interrupted"
	}
	r.progress("%s; different calls that the filter %s denied: %d, of which may be added: %d", end, l.Filter, len(l.Denied), add)
	if l.More > 0 {
		r.say("%d calls more were denied: they are too many different ones to list", l.More)
	}
	if l.Exited.Code == 128+int(unix.SIGSYS) {
		r.say("a call through the table of another architecture ended it, such as a 32-bit program makes: no filter allows that")
	}
}

// because says why a call is denied and what there is instead.
func because(d api.DeniedCall) string {
	const most = 3
	why := d.Reason
	if n := len(d.CVEs); n > most {
		why += fmt.Sprintf(" (%s and %d more)", strings.Join(d.CVEs[:most], ", "), n-most)
	} else if n > 0 {
		why += " (" + strings.Join(d.CVEs, ", ") + ")"
	}
	if d.Why != "" {
		why += "; may be added: " + d.Why
	}
	if d.Instead != "" {
		why += "; the shipped filter " + d.Instead + " allows it"
	}
	return why
}

// writeNew writes a file that must not be there.
func writeNew(file, text string) (err error) {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return taken(file)
	}
	if err != nil {
		return fmt.Errorf("write the proposed filter: %w", err)
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(fmt.Errorf("write the proposed filter: %w", err), os.Remove(file))
	}
	return nil
}
