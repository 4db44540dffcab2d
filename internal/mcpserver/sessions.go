package mcpserver

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/session"
)

// tools are all that there are.
func tools() []entry {
	all := []entry{createTool(), executeTool(), promptTool(), listTool(), destroyTool(), transferTool(), logsTool()}
	all = append(all, lifeTools()...)
	all = append(all, hostTools()...)
	return append(all, jobTools()...)
}

// nothing are no arguments.
type nothing struct{}

// which names a session.
type which struct {
	SessionID api.Ref `json:"sessionId" jsonschema:"the session's id, the beginning of it, or its name"`
}

// Listed is a session in a list.
type Listed struct {
	api.Session
	Age  api.Duration `json:"age" jsonschema:"how long ago it was made"`
	Left api.Duration `json:"left" jsonschema:"how much of its life is left"`
}

// Sessions are those that the client may know of.
type Sessions struct {
	Sessions []Listed `json:"sessions"`
}

func listTool() entry {
	return define(about{
		name: "list_sessions", title: "List sessions", action: "session.list", hints: hints{readOnly: true, idempotent: true},
		description: "List the sessions with their status, limits, age and the time that is left to them.",
	}, func(ctx context.Context, t *turn, _ nothing) (Sessions, string, error) {
		core, err := t.core(ctx)
		if err != nil {
			return Sessions{}, "", err
		}
		all, err := core.List(ctx)
		if err != nil {
			return Sessions{}, "", err
		}
		out, now := Sessions{Sessions: []Listed{}}, core.Clock()
		var text strings.Builder
		fmt.Fprintf(&text, "%d sessions\n", len(all))
		for _, s := range all {
			l := Listed{Session: shown(s), Left: api.Duration(session.Expires(s, now)), Age: api.Duration(now.Sub(s.Created))}
			out.Sessions = append(out.Sessions, l)
			fmt.Fprintf(&text, "%s (%s): %s, profile %s, on %s\n", s.Name, s.ID, s.Status, s.Level, l.Project)
		}
		return out, text.String(), nil
	})
}

// shown returns a session whose texts are harmless: labels and paths are what
// others wrote.
func shown(s api.Session) api.Session {
	s.Project = api.Printable(s.Project)
	labels := map[string]string{}
	for k, v := range s.Labels {
		labels[api.Printable(k)] = api.Printable(v)
	}
	s.Labels = labels
	if s.Posture == nil {
		s.Posture = api.Posture{}
	}
	return s
}

// Removed says what destroy_session did.
type Removed struct {
	Sessions []api.Brief `json:"sessions" jsonschema:"the sessions that are gone"`
	Missing  []api.Ref   `json:"missing" jsonschema:"those that were not there"`
	With     []string    `json:"with" jsonschema:"what went with each of them"`
}

func destroyTool() entry {
	return define(about{
		name: "destroy_session", title: "Remove a session", action: "session.remove", hints: hints{destructive: true, idempotent: true},
		description: "Remove a session with its processes, its home, and everything it changed in its copy-on-write view of the project. A session that is not there is no error.",
	}, func(ctx context.Context, t *turn, in which) (Removed, string, error) {
		core, err := t.core(ctx)
		if err != nil {
			return Removed{}, "", err
		}
		done, err := core.Remove(ctx, t.caller(), api.RemoveRequest{Refs: []api.Ref{in.SessionID}})
		if err != nil {
			return Removed{}, "", err
		}
		out := Removed{Sessions: done.Sessions, Missing: append([]api.Ref{}, done.Missing...), With: []string{}}
		if len(done.Sessions) == 0 {
			return out, fmt.Sprintf("there is no session %s; nothing was removed", in.SessionID), nil
		}
		out.With = []string{"its container", "its home volume", "its changes to the workspace", "its runtime directory"}
		return out, fmt.Sprintf("session %s is removed with %s", done.Sessions[0].Name, strings.Join(out.With, ", ")), nil
	})
}

// logsIn are the arguments of get_session_logs.
type logsIn struct {
	SessionID api.Ref      `json:"sessionId" jsonschema:"the session's id, the beginning of it, or its name"`
	Tail      *int         `json:"tail,omitempty" jsonschema:"how many of the last lines, 100 if left out"`
	Since     api.Duration `json:"since,omitempty" jsonschema:"only what is not older, for example 10m"`
}

// Logs is what a session's first process printed.
type Logs struct {
	Stdout Output `json:"stdout"`
	Stderr Output `json:"stderr"`
}

func logsTool() entry {
	return define(about{
		name: "get_session_logs", title: "Read a session's log", action: "session.logs", hints: hints{readOnly: true, idempotent: true},
		description: "Return what the session's first process printed. What commands print is in their own results.",
	}, func(ctx context.Context, t *turn, in logsIn) (Logs, string, error) {
		tail := 100
		if in.Tail != nil {
			tail = *in.Tail
		}
		if tail < 1 || tail > 100_000 {
			return Logs{}, "", api.Invalidf("write a number from 1 to 100000", "tail is out of range").By("input.argument")
		}
		core, err := t.core(ctx)
		if err != nil {
			return Logs{}, "", err
		}
		stdout, stderr := newCapture(defaultOutput), newCapture(defaultOutput)
		req := api.LogsRequest{Ref: in.SessionID, Tail: api.Count(tail), Since: in.Since}
		if err := core.Logs(ctx, req, api.Streams{Out: stdout, Err: stderr}); err != nil {
			return Logs{}, "", err
		}
		out := Logs{stdout.output(), stderr.output()}
		return out, streams(out.Stdout, out.Stderr), nil
	})
}

// streams renders the output of a program for people.
func streams(stdout, stderr Output) string {
	var parts []string
	if stdout.Bytes > 0 {
		parts = append(parts, fence("stdout", stdout.Text))
	}
	if stderr.Bytes > 0 {
		parts = append(parts, fence("stderr", stderr.Text))
	}
	if len(parts) == 0 {
		return "nothing was printed"
	}
	return strings.Join(parts, "\n")
}

// absolute refuses a host path that depends on where the server was started.
func absolute(name, p string) error {
	if err := api.CheckPath(name, p); err != nil {
		return err
	}
	if !filepath.IsAbs(p) {
		return api.Invalidf("write an absolute path", "%s must be absolute", name).By("input.path")
	}
	return nil
}
