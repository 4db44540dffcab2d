package session

import (
	"context"
	"fmt"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/workspace"
)

// Diff returns what a session changed of its project, and changes nothing. The
// session may go on writing: each change is as it was when it was read.
//
// If show is not nil it is called for each change in turn with its patch in the
// form of git, exact and therefore not harmless on a terminal; the lines are
// counted then. A refused change has no patch.
func (c *Core) Diff(ctx context.Context, caller api.Caller, req api.DiffRequest, show func(api.Change, []byte) error) (api.Diff, error) {
	var d api.Diff
	if err := req.Validate(); err != nil {
		return d, c.Refused(ctx, caller, "session.diff", err)
	}
	err := c.on(ctx, caller, "session.diff", req.Ref, func(in engine.Instance) error {
		l, err := c.layer(in)
		if err != nil {
			return err
		}
		d.Session, d.Project = briefOf(in), l.Project.Path
		all, err := l.Scan(ctx)
		if err != nil {
			return interrupted(ctx, err)
		}
		if d.Changes, err = workspace.Select(all, req.Paths); err != nil || show == nil {
			return err
		}
		for i := range d.Changes {
			if err := showOne(ctx, l, &d.Changes[i], show); err != nil {
				return interrupted(ctx, err)
			}
		}
		return nil
	})
	return d, err
}

// showOne renders one change. One that moved under the reader is shown as that.
func showOne(ctx context.Context, l workspace.Layer, change *api.Change, show func(api.Change, []byte) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if change.Refused != "" {
		return show(*change, nil)
	}
	from, err := l.Check(l.Project.Path, change.Path, change.Old)
	if err != nil {
		return err
	}
	to, err := l.Check(l.Upper, change.Path, change.New)
	if err != nil {
		return err
	}
	patch := workspace.Patch(change, from, to)
	return show(*change, patch)
}

// layer returns what a session changed, to be read, held to the ceilings of
// today.
func (c *Core) layer(in engine.Instance) (workspace.Layer, error) {
	_, t, err := c.granted(in)
	if err != nil {
		return workspace.Layer{}, err
	}
	if t.Workspace != api.WorkspaceOverlay {
		return workspace.Layer{}, &api.Error{
			Kind: api.KindConflict, Rule: "workspace.live", Msg: fmt.Sprintf("session %q works on the project itself: there is nothing to take over", t.Name),
			Hint: "git diff shows what changed; create sessions with --workspace overlay",
		}
	}
	created, err := time.Parse(time.RFC3339, in.Labels[engine.LabelCreated])
	if err != nil {
		return workspace.Layer{}, fmt.Errorf("read when the session was made: %w", err)
	}
	known, err := c.Dirs.Changes().Known(t.ID)
	if err != nil {
		return workspace.Layer{}, err
	}
	return workspace.Layer{
		Project: t.Project, Upper: c.Dirs.Upper(t.ID), Since: c.Dirs.Since(t.ID, created),
		Known: known, Bounds: workspace.DefaultBounds(),
	}, nil
}

// finishChanges puts back what an apply or an undo that was cut short has done.
// It costs one directory read when there is nothing to do. What cannot be put
// back is returned in left: it is no reason to refuse an operation on another
// session.
func (c *Core) finishChanges(ctx context.Context) (left []error, err error) {
	ledger := c.Dirs.Changes()
	cut, err := ledger.CutShort()
	if err != nil {
		return nil, err
	}
	for _, id := range cut {
		failed, err := c.finishChange(ctx, ledger, id)
		if err != nil {
			return left, err
		}
		if failed != nil {
			left = append(left, failed)
		}
	}
	return left, nil
}

// finishChange does that for one session. The first error says what could not be
// put back, the second what not recorded.
func (c *Core) finishChange(ctx context.Context, ledger workspace.Ledger, id api.ID) (failed, err error) {
	if ledger.Busy(id) {
		return nil, nil
	}
	a := c.newAct(api.Caller{Client: "reclaim"}, "session.apply.revert")
	a.about(id, "")
	if err := a.allowed(ctx, nil); err != nil {
		return nil, err
	}
	strange, failed := ledger.Recover(ctx, id)
	if failed == nil && len(strange) > 0 {
		a.out.Detail = encode(map[string][]string{"left": strange})
	}
	return failed, a.end(ctx, failed)
}

// unfinished refuses an operation on the changes of a session whose last one was
// cut short and could not be put back.
func (c *Core) unfinished(id api.ID) error {
	cut, err := c.Dirs.Changes().CutShort()
	if err != nil {
		return err
	}
	for _, other := range cut {
		if other == id {
			return &api.Error{
				Kind: api.KindConflict, Rule: "change.cut", Msg: "an apply or undo of this session is under way, or was cut short and could not be put back",
				Hint: "try again; ccc audit log --tail 5 says why it could not",
			}
		}
	}
	return nil
}

// forgetChanges removes what is kept for undoing a session's applies.
func (c *Core) forgetChanges(id api.ID) error {
	return c.Dirs.Changes().Remove(id)
}
