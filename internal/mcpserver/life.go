package mcpserver

import (
	"context"
	"fmt"
	"strings"

	"github.com/ccc-dev/ccc/internal/api"
)

// lifeTools are the tools about one session's life.
func lifeTools() []entry {
	return []entry{getTool(), startTool(), stopTool(), pruneTool(), verifyTool()}
}

// Got is one session.
type Got struct {
	Session api.Session `json:"session"`
}

func (g Got) text() string {
	var b strings.Builder
	s := g.Session
	fmt.Fprintf(&b, "session %s (%s): %s, profile %s, on %s, limits %s, network %s", s.Name, s.ID, s.Status, s.Level, s.Project, s.Limits, s.Network)
	for _, c := range s.Posture {
		if c.State != api.StateEnforced {
			fmt.Fprintf(&b, "\n%s: %s: %s", c.State, c.Name, api.Printable(c.Detail))
		}
	}
	return b.String()
}

func getTool() entry {
	return define(about{
		name: "get_session", title: "Show a session", action: "session.show", hints: hints{readOnly: true, idempotent: true},
		description: "Return everything about a session, and for a running one its posture, read anew from the kernel.",
	}, func(ctx context.Context, t *turn, in which) (Got, string, error) {
		core, err := t.core(ctx)
		if err != nil {
			return Got{}, "", err
		}
		s, err := core.Show(ctx, api.RefRequest{Ref: in.SessionID})
		if err != nil {
			return Got{}, "", err
		}
		out := Got{shown(s)}
		return out, out.text(), nil
	})
}

func startTool() entry {
	return define(about{
		name: "start_session", title: "Start a session again", action: "session.start", hints: hints{idempotent: true},
		description: "Start a stopped session again, held to what was granted when it was made.",
	}, func(ctx context.Context, t *turn, in which) (Got, string, error) {
		core, err := t.core(ctx)
		if err != nil {
			return Got{}, "", err
		}
		s, err := core.Start(ctx, t.caller(), api.RefRequest{Ref: in.SessionID})
		if err != nil {
			return Got{}, "", err
		}
		out := Got{shown(s)}
		return out, out.text(), nil
	})
}

// stopIn are the arguments of stop_session.
type stopIn struct {
	SessionID api.Ref      `json:"sessionId" jsonschema:"the session's id, the beginning of it, or its name"`
	Grace     api.Duration `json:"grace,omitempty" jsonschema:"time between SIGTERM and SIGKILL, 5s if left out"`
}

// Stopped says that a session has stopped.
type Stopped struct {
	SessionID api.Ref `json:"session_id"`
	Stopped   bool    `json:"stopped"`
}

func stopTool() entry {
	return define(about{
		name: "stop_session", title: "Stop a session", action: "session.stop", hints: hints{destructive: true, idempotent: true},
		description: "End a session's processes. Its files stay, and start_session starts it again.",
	}, func(ctx context.Context, t *turn, in stopIn) (Stopped, string, error) {
		core, err := t.core(ctx)
		if err != nil {
			return Stopped{}, "", err
		}
		if err := core.Stop(ctx, t.caller(), api.StopRequest{Ref: in.SessionID, Grace: in.Grace}); err != nil {
			return Stopped{}, "", err
		}
		return Stopped{in.SessionID, true}, fmt.Sprintf("session %s has stopped", in.SessionID), nil
	})
}

// pruneIn are the arguments of prune_sessions.
type pruneIn struct {
	OlderThan api.Duration `json:"olderThan,omitempty" jsonschema:"also stopped sessions made at least so long ago, for example 48h"`
	Confirm   bool         `json:"confirm,omitempty" jsonschema:"remove them; without it they are only listed"`
}

func pruneTool() entry {
	return define(about{
		name: "prune_sessions", title: "Remove what is past its life", action: "prune", hints: hints{destructive: true, idempotent: true},
		description: "List the sessions that are past their life and what crashed creations left, and remove it if confirm is true.",
	}, func(ctx context.Context, t *turn, in pruneIn) (api.Pruned, string, error) {
		core, err := t.core(ctx)
		if err != nil {
			return api.Pruned{}, "", err
		}
		done, err := core.Prune(ctx, t.caller(), api.PruneRequest{OlderThan: in.OlderThan, DryRun: !in.Confirm})
		if err != nil {
			return api.Pruned{}, "", err
		}
		did := "removed"
		if done.DryRun {
			did = "would be removed"
		}
		return done, fmt.Sprintf("%d sessions and %d leftovers %s", len(done.Sessions), len(done.Leftovers), did), nil
	})
}

func verifyTool() entry {
	return define(about{
		name: "verify_session", title: "Try a session's walls", action: "session.verify", hints: hints{idempotent: true},
		description: "Try every wall of a running session, from inside and from the host, and return what was seen of each control.",
	}, func(ctx context.Context, t *turn, in which) (api.Verification, string, error) {
		core, err := t.core(ctx)
		if err != nil {
			return api.Verification{}, "", err
		}
		stop := t.beat(ctx, "trying the walls", quiet)
		defer stop()
		v, err := core.Verify(ctx, t.caller(), api.VerifyRequest{Ref: in.SessionID})
		if err != nil {
			return api.Verification{}, "", err
		}
		for i := range v.Controls {
			v.Controls[i].Seen = api.Printable(v.Controls[i].Seen)
		}
		text := fmt.Sprintf("%d controls hold, %d are missing on this host, %d do not hold, %d are unknown",
			v.Count(api.VerdictPass), v.Count(api.VerdictMissing), v.Count(api.VerdictFail), v.Count(api.VerdictUnknown))
		return v, text, nil
	})
}
