package fake

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/guest"
)

// container is a container as it is stored.
type container struct {
	ID      string
	Created time.Time
	Wanted  engine.Container
	// Runs are its runs, the last one last.
	Runs []run
}

// run is one run of a container's first process. What it will do is worked out
// when it starts; time alone makes it happen.
type run struct {
	Started time.Time
	Events  []event
	// After is how long the process runs by itself; negative means forever.
	After time.Duration
	Code  int
	// Stubborn tells that it ignores SIGTERM, Graceful that it ends by itself
	// when it gets one.
	Stubborn, Graceful bool
	// Stopped is when somebody ended it; zero if nobody did.
	Stopped time.Time
}

// timedOut is the exit code of a container whose time was up, as conmon
// reports it.
const timedOut = -1

// end tells when the run ended and with which code, if it has by now.
func (r run) end(now time.Time, timeout time.Duration) (at time.Time, code int, over bool) {
	limit := r.Started.Add(timeout)
	at, code = limit, timedOut
	if natural := r.Started.Add(r.After); r.After >= 0 && natural.Before(at) {
		at, code = natural, r.Code
	}
	if !r.Stopped.IsZero() && !r.Stopped.After(at) {
		at, code = r.Stopped, 128+15
		switch {
		case r.Stubborn:
			code = 128 + 9
		case r.Graceful:
			code = guest.ExitStopped
		}
	}
	return at, code, !now.Before(at)
}

// running tells whether the container runs now.
func (c container) running(now time.Time) bool {
	if len(c.Runs) == 0 {
		return false
	}
	_, _, over := c.Runs[len(c.Runs)-1].end(now, c.Wanted.Timeout)
	return !over
}

// instance returns what callers see of the container.
func (c container) instance(now time.Time) engine.Instance {
	i := engine.Instance{
		ID: c.ID, Name: c.Wanted.Name, Image: c.Wanted.Image, Labels: maps.Clone(c.Wanted.Labels),
		State: engine.InstanceCreated, Created: c.Created,
	}
	if len(c.Runs) == 0 {
		return i
	}
	last := c.Runs[len(c.Runs)-1]
	i.State, i.Started = engine.InstanceRunning, last.Started
	if _, code, over := last.end(now, c.Wanted.Timeout); over {
		i.State, i.ExitCode = engine.InstanceExited, code
	}
	return i
}

// find returns a container by identity or name. The directory must be locked.
func (e *Engine) find(id string) (container, error) {
	list, err := all[container](e, containers)
	if err != nil {
		return container{}, err
	}
	for _, c := range list {
		if c.ID == id || c.Wanted.Name == id {
			return c, nil
		}
	}
	return container{}, notFound("container", id)
}

// CreateContainer implements [engine.Containers].
func (e *Engine) CreateContainer(ctx context.Context, c engine.Container) (id string, err error) {
	if err := c.Check(); err != nil {
		return "", err
	}
	err = e.change(ctx, "CreateContainer", func() error {
		if _, err := e.find(c.Name); err == nil {
			return conflict("the container name %q is in use", c.Name)
		}
		i, err := e.findImage(c.Image)
		if err != nil {
			return err
		}
		// As in Podman, the image's labels are the container's too.
		labels := maps.Clone(i.Labels)
		if labels == nil {
			labels = map[string]string{}
		}
		maps.Copy(labels, c.Labels)
		c.Labels = labels
		for _, h := range c.Homes {
			if _, err := get[engine.Volume](e, volumes, h.Volume); err != nil {
				return notFound("volume", h.Volume)
			}
		}
		if err := checkSources(c); err != nil {
			return err
		}
		id = newID()
		return put(e, containers, id, container{ID: id, Created: e.now(), Wanted: c})
	})
	return id, err
}

// StartContainer implements [engine.Containers].
func (e *Engine) StartContainer(ctx context.Context, id string) error {
	return e.change(ctx, "StartContainer", func() error {
		c, err := e.find(id)
		if err != nil || c.running(e.now()) {
			return err
		}
		if err := checkSources(c.Wanted); err != nil {
			return err
		}
		files, err := e.files(c.Wanted.Image)
		if err != nil {
			return err
		}
		if !enterable(c.Wanted, files, c.Wanted.Dir) {
			return &api.Error{Kind: api.KindInternal, Msg: fmt.Sprintf("the working directory %q does not exist in the container", c.Wanted.Dir)}
		}
		r, err := plan(c.Wanted, files)
		if err != nil {
			return err
		}
		r.Started = e.now()
		c.Runs = append(c.Runs, r)
		return put(e, containers, c.ID, c)
	})
}

// StopContainer implements [engine.Containers]. A process that ignores SIGTERM
// ends at once, not after grace.
func (e *Engine) StopContainer(ctx context.Context, id string, grace time.Duration) error {
	if grace < 0 {
		return invalid("the stop grace is negative")
	}
	return e.change(ctx, "StopContainer", func() error {
		c, err := e.find(id)
		if err != nil || !c.running(e.now()) {
			return err
		}
		c.Runs[len(c.Runs)-1].Stopped = e.now()
		return put(e, containers, c.ID, c)
	})
}

// RemoveContainer implements [engine.Containers].
func (e *Engine) RemoveContainer(ctx context.Context, id string) error {
	return e.change(ctx, "RemoveContainer", func() error {
		c, err := e.find(id)
		if api.KindOf(err) == api.KindNotFound {
			return nil
		}
		if err != nil {
			return err
		}
		return e.drop(containers, c.ID)
	})
}

// Container implements [engine.Containers].
func (e *Engine) Container(ctx context.Context, id string) (engine.Instance, error) {
	c, err := e.lookup(ctx, id)
	if err != nil {
		return engine.Instance{}, err
	}
	i := c.instance(e.now())
	if len(c.Runs) > 0 {
		i.Spec = Spec(c.Wanted)
	}
	return i, nil
}

// lookup is find for callers that do not hold the lock.
func (e *Engine) lookup(ctx context.Context, id string) (c container, err error) {
	err = e.locked(ctx, func() error {
		c, err = e.find(id)
		return err
	})
	return c, err
}

// ListContainers implements [engine.Containers].
func (e *Engine) ListContainers(ctx context.Context) ([]engine.Instance, error) {
	var list []container
	err := e.locked(ctx, func() (err error) {
		list, err = all[container](e, containers)
		return err
	})
	if err != nil {
		return nil, err
	}
	var found []engine.Instance
	for _, c := range list {
		if _, ours := c.Wanted.Labels[engine.LabelSchema]; ours {
			found = append(found, c.instance(e.now()))
		}
	}
	return found, nil
}

// WaitContainer implements [engine.Containers].
func (e *Engine) WaitContainer(ctx context.Context, id string) (int, error) {
	for {
		c, err := e.lookup(ctx, id)
		if err != nil {
			return 0, err
		}
		if i := c.instance(e.now()); i.State == engine.InstanceExited {
			return i.ExitCode, nil
		}
		if err := pause(ctx); err != nil {
			return 0, err
		}
	}
}

// poll is how often the fake looks whether something has changed: it cannot be
// told, since the change may be made by another process.
const poll = 5 * time.Millisecond

// pause waits for the next look.
func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ended(ctx)
	case <-time.After(poll):
		return nil
	}
}
