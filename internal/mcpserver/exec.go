package mcpserver

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/ccc-dev/ccc/internal/api"
)

// execIn are the arguments of execute_command.
type execIn struct {
	SessionID api.Ref      `json:"sessionId" jsonschema:"the session's id, the beginning of it, or its name"`
	Command   string       `json:"command" jsonschema:"the command line, for the shell in the session"`
	Dir       string       `json:"cwd,omitempty" jsonschema:"working directory in the session, /workspace if left out"`
	Env       []api.EnvVar `json:"env,omitempty" jsonschema:"variables for the command, each NAME=VALUE"`
	Stdin     string       `json:"stdin,omitempty" jsonschema:"what the command reads on its standard input"`
	Timeout   api.Duration `json:"timeout,omitempty" jsonschema:"after which the command is killed, for example 5m"`
	MaxOutput int          `json:"maxOutputBytes,omitempty" jsonschema:"how much of each stream is returned, beginning and end; 65536 if left out, at most 16777216"`
}

// Executed is how a command ended.
type Executed struct {
	ExitCode int    `json:"exit_code" jsonschema:"128+N if signal N ended it, 127 if there is no such command"`
	TimedOut bool   `json:"timed_out"`
	Stdout   Output `json:"stdout"`
	Stderr   Output `json:"stderr"`
}

func executeTool() entry {
	return define(about{
		name: "execute_command", title: "Run a command", action: "session.exec", hints: hints{destructive: true},
		description: "Run a command line in a session, as its ordinary user, and return its exit code and what it printed on each stream. An exit code other than zero is a result, not an error. Cancelling the call kills the command.",
	}, func(ctx context.Context, t *turn, in execIn) (Executed, string, error) {
		stdout, stderr, err := in.captures()
		if err != nil {
			return Executed{}, "", t.refused(ctx, err)
		}
		core, err := t.core(ctx)
		if err != nil {
			return Executed{}, "", err
		}
		stop := t.beat(ctx, "the command runs", func() string {
			return fmt.Sprintf(", %d bytes of output", stdout.size()+stderr.size())
		})
		defer stop()
		exited, err := core.Exec(ctx, t.caller(), in.request(), in.streams(stdout, stderr))
		if err != nil {
			return Executed{}, "", err
		}
		out := Executed{exited.Code, exited.TimedOut, stdout.output(), stderr.output()}
		return out, out.text(), nil
	})
}

// captures returns what keeps the command's output.
func (in execIn) captures() (stdout, stderr *capture, err error) {
	most := in.MaxOutput
	if most == 0 {
		most = defaultOutput
	}
	if most < 1 || most > maxOutput {
		return nil, nil, api.Invalidf(fmt.Sprintf("write a number from 1 to %d", maxOutput), "maxOutputBytes is out of range").By("input.argument")
	}
	if in.Command == "" {
		return nil, nil, api.Invalidf("for example ls -l", "the command is empty").By("input.argument")
	}
	return newCapture(most), newCapture(most), nil
}

// request returns what is asked of the core. The shell is the session's own; on
// the host nothing is given to one.
func (in execIn) request() api.ExecRequest {
	return api.ExecRequest{
		Ref: in.SessionID, Argv: []string{"/bin/sh", "-c", in.Command}, Dir: in.Dir, Env: in.Env,
		Timeout: in.Timeout, Interactive: in.Stdin != "",
	}
}

// streams returns the command's streams.
func (in execIn) streams(stdout, stderr io.Writer) api.Streams {
	s := api.Streams{Out: stdout, Err: stderr}
	if in.Stdin != "" {
		s.In = strings.NewReader(in.Stdin)
	}
	return s
}

// text renders the result for people.
func (e Executed) text() string {
	how := fmt.Sprintf("exit code %d", e.ExitCode)
	if e.TimedOut {
		how += ": it was killed, its time was up"
	}
	return how + "\n" + streams(e.Stdout, e.Stderr)
}
