package session

import (
	"context"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/workspace"
)

// Apply takes changes of a session over into its project: all that are chosen or
// none. It returns what was taken and what was held back.
func (c *Core) Apply(ctx context.Context, caller api.Caller, req api.ApplyRequest) (api.Applied, error) {
	done := api.Applied{DryRun: req.DryRun}
	if err := req.Validate(); err != nil {
		return done, c.Refused(ctx, caller, "session.apply", err)
	}
	a, in, err := c.changing(ctx, caller, "session.apply", req.Ref)
	if err != nil {
		return done, err
	}
	l, err := c.layer(in)
	if err != nil {
		return done, a.refused(ctx, err)
	}
	done.Session = briefOf(in)
	all, err := l.Scan(ctx)
	if err != nil {
		return done, a.refused(ctx, interrupted(ctx, err))
	}
	taken, held, err := workspace.Choose(all, req)
	if err != nil {
		return done, a.refused(ctx, err)
	}
	done.Changes, done.Held = taken, held
	a.rec.Detail = encode(appliedOf(taken, held, req))
	if err := a.allowed(ctx, nil); err != nil {
		return done, err
	}
	if !req.DryRun && len(taken) > 0 {
		err = c.Dirs.Changes().Apply(ctx, idOf(in), l, taken)
	}
	if err = a.ended(ctx, interrupted(ctx, err)); err != nil {
		done.Changes = nil
	}
	return done, err
}

// applied is what the audit log has of an apply: how much, and each path that
// was taken by a yes of its own or over the host's.
type applied struct {
	Taken  int      `json:"taken"`
	Held   int      `json:"held"`
	Runs   []string `json:"runs_by_itself,omitempty"`
	Over   []string `json:"over_host,omitempty"`
	DryRun bool     `json:"dry_run,omitempty"`
}

func appliedOf(taken []api.Change, held []api.Held, req api.ApplyRequest) applied {
	d := applied{Taken: len(taken), Held: len(held), DryRun: req.DryRun}
	for _, c := range taken {
		if c.Tier == api.TierRuns {
			d.Runs = append(d.Runs, c.Path)
		}
		if c.Conflict != "" {
			d.Over = append(d.Over, c.Path)
		}
	}
	return d
}

// changing finds the session whose project is about to be changed. The act has
// recorded nothing yet, unless it was refused.
func (c *Core) changing(ctx context.Context, caller api.Caller, action string, ref api.Ref) (*act, engine.Instance, error) {
	a := c.newAct(caller, action)
	a.rec.Session.Name = string(ref)
	in, err := c.reach(ctx, ref)
	if err != nil {
		return a, in, a.refused(ctx, err)
	}
	a.about(idOf(in), nameOf(in))
	if err := c.unfinished(idOf(in)); err != nil {
		return a, in, a.refused(ctx, err)
	}
	return a, in, nil
}
