package session

import (
	"context"

	"github.com/ccc-dev/ccc/internal/api"
)

// Undo puts a session's project back to what it was before the last apply.
func (c *Core) Undo(ctx context.Context, caller api.Caller, req api.UndoRequest) (api.Undone, error) {
	var done api.Undone
	if err := req.Validate(); err != nil {
		return done, c.Refused(ctx, caller, "session.undo", err)
	}
	a, in, err := c.changing(ctx, caller, "session.undo", req.Ref)
	if err != nil {
		return done, err
	}
	l, err := c.layer(in)
	if err != nil {
		return done, a.refused(ctx, err)
	}
	done.Session = briefOf(in)
	if err := a.allowed(ctx, nil); err != nil {
		return done, err
	}
	done.Paths, done.Kept, err = c.Dirs.Changes().Undo(ctx, idOf(in), l.Project, req.Force)
	a.out.Detail = encode(map[string]int{"paths": len(done.Paths), "kept": len(done.Kept)})
	return done, a.ended(ctx, interrupted(ctx, err))
}
