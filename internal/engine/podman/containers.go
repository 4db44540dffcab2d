package podman

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/containers/podman/v5/pkg/specgen"
	"github.com/gofrs/flock"
)

// labelCreation marks a container with the call that made it, and
// labelInspection one that is never run (see StatImage). Neither is told to
// callers.
const (
	labelCreation   = "io.ccc-engine.creation"
	labelInspection = "io.ccc-engine.inspection"
)

// reference is the syntax of a container's or volume's name or identity.
var reference = api.Syntax(128, `[a-zA-Z0-9][a-zA-Z0-9_.-]*`)

// checkRef refuses what could be read as another endpoint when it becomes part
// of a request's path.
func checkRef(what, ref string) error {
	if !reference(ref) {
		return &api.Error{Kind: api.KindInvalid, Msg: fmt.Sprintf("%.80q is not the name of a %s", ref, what)}
	}
	return nil
}

// CreateContainer implements [engine.Containers].
func (e *Engine) CreateContainer(ctx context.Context, c engine.Container) (string, error) {
	spec, err := Spec(c, e.uid, e.version)
	if err != nil {
		return "", err
	}
	for _, h := range c.Homes {
		// Podman would make a volume that is not there, without labels.
		if err := e.do(ctx, call{method: http.MethodGet, path: "/volumes/%s/json", args: []string{h.Volume}}, nil); err != nil {
			return "", err
		}
	}
	creation := rand.Text()
	if spec.Labels == nil {
		spec.Labels = map[string]string{}
	}
	spec.Labels[labelCreation] = creation
	var made struct{ Id string }
	for attempt := 1; ; attempt++ {
		err = insist(ctx, func() error { return e.createOne(ctx, spec, &made) })
		if err == nil {
			return made.Id, nil
		}
		nothing := e.undoCreate(ctx, c.Name, creation, err)
		if !nothing || !dropped(err) || attempt == dropAttempts {
			return "", err
		}
	}
}

// createOne sends a creation while no other ccc of the user does. Podman reads
// the user's subordinate ids for each through a library that must not be called
// twice at the same time (libsubid; seen in 4.3.1 and 5.4.2): it crashes, finds
// no ids, or finds some, and the container can then never start. Others than ccc
// may still be in the way: hence insist, and attempts after a crash.
func (e *Engine) createOne(ctx context.Context, spec *specgen.SpecGenerator, out any) error {
	unlock, err := e.lockCreation(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return e.do(ctx, call{method: http.MethodPost, path: "/containers/create", json: spec}, out)
}

// lockCreation waits for its turn. Without a directory to have the lock in,
// everybody's turn is now.
func (e *Engine) lockCreation(ctx context.Context) (unlock func(), err error) {
	dir, err := e.ownDir()
	if err != nil {
		return func() {}, nil
	}
	lock := flock.New(filepath.Join(dir, "create.lock"), flock.SetPermissions(0o600))
	if _, err := lock.TryLockContext(ctx, 2*time.Millisecond); err != nil {
		if ctx.Err() != nil {
			return nil, ended(ctx)
		}
		return func() {}, nil
	}
	// Closing the file is what counts, and that does not fail.
	return func() { _ = lock.Unlock() }, nil
}

// undoCreate removes what a creation made whose answer was lost, and tells
// whether it is sure that nothing is there now. It must not touch a container
// that somebody else made under the same name, which the label tells.
func (e *Engine) undoCreate(ctx context.Context, name, creation string, cause error) (nothing bool) {
	if k := api.KindOf(cause); k != api.KindUnavailable && k != api.KindInterrupted {
		return false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	found, err := e.inspect(ctx, name)
	if err == nil && found.Config.Labels[labelCreation] == creation {
		// On an error what is left has labels, and is found later.
		return e.RemoveContainer(ctx, found.Id) == nil
	}
	return err != nil && api.KindOf(err) == api.KindNotFound
}

// undoTimeout bounds cleaning up after a failed call.
const undoTimeout = 10 * time.Second

// StopContainer implements [engine.Containers].
func (e *Engine) StopContainer(ctx context.Context, id string, grace time.Duration) error {
	if err := checkRef("container", id); err != nil {
		return err
	}
	if grace < 0 {
		return &api.Error{Kind: api.KindInvalid, Msg: "the stop grace is negative"}
	}
	query := url.Values{"timeout": {strconv.FormatUint(uint64(roundUp(grace)), 10)}}
	// Podman answers 304 for a container that is stopped, and refuses one that
	// never ran, which for us is the same.
	err := e.doWithin(ctx, e.timeout+grace, call{method: http.MethodPost, path: "/containers/%s/stop", args: []string{id}, query: query, again: true}, nil)
	if api.KindOf(err) != api.KindConflict {
		return err
	}
	if i, inspectErr := e.inspect(ctx, id); inspectErr == nil && (i.state() == engine.InstanceCreated || i.state() == engine.InstanceExited) {
		return nil
	}
	return err
}

// RemoveContainer implements [engine.Containers].
func (e *Engine) RemoveContainer(ctx context.Context, id string) error {
	if err := checkRef("container", id); err != nil {
		return err
	}
	// At once: what has a grace period is stopping.
	query := url.Values{"force": {"true"}, "timeout": {"0"}, "ignore": {"true"}}
	var removed []struct{ Id string }
	err := e.do(ctx, call{method: http.MethodDelete, path: "/containers/%s", args: []string{id}, query: query}, &removed)
	if api.KindOf(err) == api.KindNotFound {
		return nil
	}
	for _, r := range removed {
		endMonitors(r.Id)
	}
	return err
}

// WaitContainer implements [engine.Containers].
func (e *Engine) WaitContainer(ctx context.Context, id string) (int, error) {
	if err := checkRef("container", id); err != nil {
		return 0, err
	}
	var code int
	query := url.Values{"condition": {"stopped", "exited"}}
	err := e.doWithin(ctx, forever, call{method: http.MethodPost, path: "/containers/%s/wait", args: []string{id}, query: query, again: true}, &code)
	return code, err
}

// forever is the timeout of a call whose length is the caller's business.
const forever = 10 * 365 * 24 * time.Hour
