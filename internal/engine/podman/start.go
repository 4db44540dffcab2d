package podman

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
)

// attempts bounds how often a call that met a transient failure is made.
const attempts = 6

// transients returns the parts of messages by which the known races are
// recognised. With several calls at a time one to four in a hundred fail so, and
// succeed when made again.
func transients() [][]string {
	return [][]string{
		// Of OCI runtimes with the kernel's set-up of a user namespace.
		{"ping_group_range", "Invalid argument"},
		{"/uid_map", "Operation not permitted"},
		{"/gid_map", "Operation not permitted"},
		// Of Podman with itself: libsubid, which it asks for the user's ranges
		// from several threads, now and then says that there are none.
		{"keep-id requires additional UIDs or GIDs"},
	}
}

// transient tells whether a call failed in a way that passes.
func transient(err error) bool {
	if err == nil {
		return false
	}
	for _, parts := range transients() {
		all := true
		for _, part := range parts {
			all = all && strings.Contains(err.Error(), part)
		}
		if all {
			return true
		}
	}
	return false
}

// insist makes a call again while its failure is transient. Podman has undone
// what it did when it answers with one of these, so that the call meets the same
// state each time.
func insist(ctx context.Context, try func() error) error {
	for attempt := 1; ; attempt++ {
		err := try()
		if !transient(err) {
			return err
		}
		if attempt == attempts {
			return &api.Error{Kind: api.KindUnavailable, Msg: "podman failed in several attempts", Hint: "run `ccc doctor`, or try again with less at the same time", Err: err}
		}
		// Jittered, so that calls that met once do not meet again.
		wait := time.Duration(10<<attempt) * time.Millisecond
		if !sleep(ctx, wait/2+rand.N(wait)) { //nolint:gosec // nothing depends on who can guess it
			return ended(ctx)
		}
	}
}

// StartContainer implements [engine.Containers]. When the engine goes away
// instead of answering, the container is started again only if it is sure that
// it has not run meanwhile: its process could do something twice.
func (e *Engine) StartContainer(ctx context.Context, id string) error {
	if err := checkRef("container", id); err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		err := insist(ctx, func() error {
			return e.do(ctx, call{method: http.MethodPost, path: "/containers/%s/start", args: []string{id}}, nil)
		})
		if !dropped(err) {
			return err
		}
		i, inspectErr := e.inspect(ctx, id)
		if inspectErr == nil && i.state() == engine.InstanceRunning {
			return nil
		}
		never := inspectErr == nil && i.state() == engine.InstanceCreated
		if !never || attempt == dropAttempts {
			return err
		}
	}
}
