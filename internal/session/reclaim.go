package session

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/spec"
)

// Reclaim removes what creations and removals that were cut short have left. It
// is called at the beginning of every operation and costs one directory read
// when there is nothing to do.
//
// It fails if it cannot look or cannot record. What cannot be removed is no
// reason to refuse an operation on another session: that is in the audit log,
// is tried again each time, and prune tells of it.
func (c *Core) Reclaim(ctx context.Context) error {
	_, err := c.reclaim(ctx)
	return err
}

// reclaim is Reclaim, and returns what could not be removed.
func (c *Core) reclaim(ctx context.Context) (left []error, err error) {
	cut, err := c.Intents.CutShort()
	if err != nil {
		return nil, err
	}
	for _, id := range slices.Sorted(maps.Keys(cut)) {
		if err != nil {
			// The log is broken: the others are left to whoever comes next.
			err = errors.Join(err, cut[id].Abandon())
			continue
		}
		var failed error
		if failed, err = c.finish(ctx, id, cut[id]); failed != nil {
			left = append(left, failed)
		}
	}
	if err != nil {
		return left, err
	}
	more, err := c.finishChanges(ctx)
	return append(left, more...), err
}

// finish removes what one creation or removal that was cut short has left. The
// first error says what could not be removed, the second what not recorded.
func (c *Core) finish(ctx context.Context, id api.ID, held Held) (failed, err error) {
	a := c.newAct(api.Caller{Client: "reclaim"}, "session.reclaim")
	a.about(id, held.Name)
	if err := a.allowed(ctx, nil); err != nil {
		return nil, errors.Join(err, held.Abandon())
	}
	c.settle(ctx, held)
	failed = errors.Join(c.removeOwn(ctx, spec.ContainerName(held.Name), id), c.removeParts(ctx, id))
	if failed == nil {
		failed = held.Done()
	} else {
		failed = errors.Join(fmt.Errorf("remove what a cut short command left of session %s: %w", id, failed), held.Abandon())
	}
	return failed, a.end(ctx, failed)
}

// settle waits until the engine is done with a creation whose client has died.
// It has made the container then, or has had the time for it; the container is
// the last thing that it is asked for.
func (c *Core) settle(ctx context.Context, held Held) {
	const poll = 20 * time.Millisecond
	for held.Asked.Add(c.Settle).After(c.Clock()) {
		if _, err := c.Engine.Container(ctx, spec.ContainerName(held.Name)); api.KindOf(err) != api.KindNotFound {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(poll):
		}
	}
}

// Prune removes sessions that are past their life, stopped ones that are older
// than asked, and volumes and directories that no session has.
func (c *Core) Prune(ctx context.Context, caller api.Caller, req api.PruneRequest) (api.Pruned, error) {
	done := api.Pruned{Sessions: []api.Brief{}, Leftovers: []string{}, DryRun: req.DryRun}
	a := c.newAct(caller, "prune")
	if err := a.allowed(ctx, nil); err != nil {
		return done, err
	}
	left, err := c.reclaim(ctx)
	return done, a.ended(ctx, errors.Join(append(left, err, c.prune(ctx, req, &done))...))
}

func (c *Core) prune(ctx context.Context, req api.PruneRequest, done *api.Pruned) error {
	all, err := c.Engine.ListContainers(ctx)
	if err != nil {
		return err
	}
	kept, programs := map[api.ID]bool{}, map[string]bool{}
	var errs []error
	keep := func(in engine.Instance) {
		kept[idOf(in)] = true
		if t, err := termsOf(in); err == nil {
			programs[t.Init] = true
		}
	}
	for _, in := range all {
		if !c.due(in, req.OlderThan) || !c.sees(in) {
			keep(in)
			continue
		}
		if !req.DryRun {
			if err := c.removeInstance(ctx, in); err != nil {
				errs = append(errs, err)
				keep(in)
				continue
			}
		}
		done.Sessions = append(done.Sessions, briefOf(in))
	}
	return errors.Join(append(errs, c.pruneLeftovers(ctx, kept, done), c.prunePrograms(programs, done))...)
}

// due tells whether a session is to be pruned. A container that was made and
// never started is what a reboot in the middle of a creation leaves.
func (c *Core) due(in engine.Instance, olderThan api.Duration) bool {
	s := describe(in, c.Clock())
	switch {
	case in.State == engine.InstanceCreated && s.ID == "":
		// An image build that was cut short; one under way takes minutes.
		return c.Clock().Sub(in.Created) > time.Hour
	case in.State == engine.InstanceCreated:
		return !c.Intents.Underway(s.ID)
	case s.Status == api.StatusExpired:
		return true
	case s.Status == api.StatusStopped && olderThan > 0:
		return c.Clock().Sub(s.Created) >= olderThan.Std()
	}
	return false
}

// pruneLeftovers removes volumes and directories without a session.
func (c *Core) pruneLeftovers(ctx context.Context, kept map[api.ID]bool, done *api.Pruned) error {
	volumes, err := c.Engine.ListVolumes(ctx)
	if err != nil {
		return err
	}
	var errs []error
	remove := func(id api.ID, what string, how func() error) {
		if kept[id] || c.Intents.Underway(id) || slices.ContainsFunc(done.Sessions, func(b api.Brief) bool { return b.ID == id }) {
			return
		}
		done.Leftovers = append(done.Leftovers, what)
		if !done.DryRun {
			errs = append(errs, how())
		}
	}
	for _, v := range volumes {
		remove(api.ID(v.Labels[engine.LabelID]), "volume "+v.Name, func() error { return c.Engine.RemoveVolume(ctx, v.Name) })
	}
	dirs, err := c.Dirs.List()
	if err != nil {
		return err
	}
	for _, id := range dirs {
		remove(id, "directory "+string(id), func() error { return c.removeDirs(ctx, id) })
	}
	changed, err := c.Dirs.Changes().List()
	if err != nil {
		return err
	}
	for _, id := range changed {
		remove(id, "undo of "+string(id), func() error { return c.forgetChanges(id) })
	}
	told, err := c.Guest.List()
	for _, id := range told {
		remove(id, "runtime directory "+string(id), func() error { return c.Guest.Remove(id) })
	}
	return errors.Join(append(errs, err)...)
}

// prunePrograms removes the copies of ccc-init that no session was made with.
func (c *Core) prunePrograms(used map[string]bool, done *api.Pruned) error {
	unused, err := c.Guest.Unused(used, c.Clock())
	errs := []error{err}
	for _, digest := range unused {
		done.Leftovers = append(done.Leftovers, "ccc-init "+digest)
		if !done.DryRun {
			errs = append(errs, c.Guest.Drop(digest))
		}
	}
	return errors.Join(errs...)
}

// Expires returns how much of a session's life is left at a time; never
// negative.
func Expires(s api.Session, now time.Time) time.Duration {
	return max(0, s.Expires.Sub(now))
}
