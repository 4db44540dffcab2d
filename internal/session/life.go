package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/guest"
	"github.com/ccc-dev/ccc/internal/spec"
)

// defaultGrace is the time between SIGTERM and SIGKILL if none is asked for.
const defaultGrace = 5 * time.Second

// Stop ends a session's processes. Its workspace and home stay.
func (c *Core) Stop(ctx context.Context, caller api.Caller, req api.StopRequest) error {
	return c.on(ctx, caller, "session.stop", req.Ref, func(in engine.Instance) error {
		return c.Engine.StopContainer(ctx, in.ID, cmp.Or(req.Grace.Std(), defaultGrace))
	})
}

// Start starts a stopped session again, held to what was granted when it was
// made and to the ceilings of today, and returns it with its posture.
func (c *Core) Start(ctx context.Context, caller api.Caller, req api.RefRequest) (api.Session, error) {
	var s api.Session
	err := c.on(ctx, caller, "session.start", req.Ref, func(in engine.Instance) (err error) {
		s, err = c.startAgain(ctx, in)
		return err
	})
	return s, err
}

// Restart stops a session and starts it again.
func (c *Core) Restart(ctx context.Context, caller api.Caller, req api.StopRequest) (api.Session, error) {
	var s api.Session
	err := c.on(ctx, caller, "session.restart", req.Ref, func(in engine.Instance) (err error) {
		if err = c.Engine.StopContainer(ctx, in.ID, cmp.Or(req.Grace.Std(), defaultGrace)); err != nil {
			return err
		}
		s, err = c.startAgain(ctx, in)
		return err
	})
	return s, err
}

// startAgain starts a container that has run before. One that turns out not to
// be what was granted is stopped: its files may be the user's work.
func (c *Core) startAgain(ctx context.Context, in engine.Instance) (api.Session, error) {
	s := describe(in, c.Clock())
	if s.Status == api.StatusExpired {
		return s, api.Deniedf("session.expired", "ccc session rm "+string(s.Name), "session %q is past its life since %s", s.Name, s.Expires.Format(time.RFC3339))
	}
	want, t, err := c.granted(in)
	if err != nil {
		return s, err
	}
	if !samePlaces(t) {
		return s, moved(t)
	}
	if err := c.Guest.Keep(t.Init, markOf(t)); err != nil {
		return s, err
	}
	now, posture, err := c.start(ctx, in.ID, want, t, s.Expires.Sub(c.Clock()))
	if err != nil {
		stop := func(ctx context.Context) error { return c.Engine.StopContainer(ctx, in.ID, 0) }
		return s, errors.Join(interrupted(ctx, err), undo(ctx, []func(context.Context) error{stop}))
	}
	s = describe(now, c.Clock())
	s.Posture = posture
	return s, nil
}

// Wait returns when the session's first process has ended, with its exit code.
// It changes nothing and leaves no record.
func (c *Core) Wait(ctx context.Context, req api.RefRequest) (api.Exited, error) {
	in, err := c.reach(ctx, req.Ref)
	if err != nil {
		return api.Exited{}, err
	}
	code, err := c.Engine.WaitContainer(ctx, in.ID)
	if err != nil {
		return api.Exited{}, interrupted(ctx, err)
	}
	if code < 0 {
		// The engine's monitor ended it: there is no code of the process's own.
		code = guest.ExitLifetime
	}
	return api.Exited{Code: code, TimedOut: code == guest.ExitLifetime || code == guest.ExitIdle}, nil
}

// Remove removes sessions with all that belongs to them. A session that is not
// there is reported, not an error: removal can be repeated.
func (c *Core) Remove(ctx context.Context, caller api.Caller, req api.RemoveRequest) (api.Removed, error) {
	done := api.Removed{Sessions: []api.Brief{}}
	if err := req.Validate(); err != nil {
		return done, c.Refused(ctx, caller, "session.remove", err)
	}
	remove := func(in engine.Instance) error {
		if err := c.removeInstance(ctx, in); err != nil {
			return err
		}
		done.Sessions = append(done.Sessions, briefOf(in))
		return nil
	}
	var errs []error
	if req.All {
		all, err := c.Engine.ListContainers(ctx)
		if err != nil {
			return done, c.Refused(ctx, caller, "session.remove", err)
		}
		slices.SortFunc(all, func(a, b engine.Instance) int { return strings.Compare(a.Name, b.Name) })
		// Not by reference: labels that were changed may point nowhere, or at
		// another session, and what carries them must go all the same.
		for _, in := range all {
			if c.sees(in) {
				errs = append(errs, c.newAct(caller, "session.remove").on(ctx, in, remove))
			}
		}
	}
	for _, ref := range req.Refs {
		err := c.on(ctx, caller, "session.remove", ref, remove)
		if api.KindOf(err) == api.KindNotFound {
			done.Missing = append(done.Missing, ref)
			continue
		}
		errs = append(errs, err)
	}
	return done, errors.Join(errs...)
}

// removeInstance removes a session's container, then what only it used. Once
// the container is gone nothing names the session but the intent, which stays if
// this is cut short or fails.
func (c *Core) removeInstance(ctx context.Context, in engine.Instance) error {
	id := idOf(in)
	if _, err := termsOf(in); err != nil || !id.Valid() {
		// Its id may be that of another session, whose files are not its own. If
		// they are nobody's, prune finds them.
		return c.Engine.RemoveContainer(ctx, in.ID)
	}
	intent, err := c.Intents.Begin(id, nameOf(in))
	if err != nil {
		return err
	}
	err = errors.Join(
		c.Engine.RemoveContainer(ctx, in.ID),
		c.removeParts(ctx, id),
	)
	if err != nil {
		return errors.Join(fmt.Errorf("remove session: %w", err), intent.Abandon())
	}
	return intent.Done()
}

// removeParts removes what a session has beside its container.
func (c *Core) removeParts(ctx context.Context, id api.ID) error {
	return errors.Join(
		c.Engine.RemoveVolume(ctx, spec.VolumeName(id)),
		c.removeDirs(ctx, id),
		c.forgetChanges(id),
		c.Guest.Remove(id),
	)
}

// removeDirs removes what a session wrote on the host, through the engine where
// the user's own rights do not suffice.
func (c *Core) removeDirs(ctx context.Context, id api.ID) error {
	if err := c.Dirs.Remove(id); err == nil || !id.Valid() {
		return err
	}
	return c.Engine.RemoveTree(ctx, c.Dirs.Of(id))
}
