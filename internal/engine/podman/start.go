package podman

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
)

// startAttempts bounds how often a start that met a transient failure is made.
const startAttempts = 5

// transients are the parts of messages by which the known races between an OCI
// runtime and the kernel's user namespace set-up are recognised: with many
// starts at a time 1 to 2 % fail so, and succeed when made again.
var transients = [][]string{
	{"ping_group_range", "Invalid argument"},
	{"/uid_map", "Operation not permitted"},
	{"/gid_map", "Operation not permitted"},
}

// transient tells whether a start failed in a way that passes.
func transient(err error) bool {
	if err == nil {
		return false
	}
	for _, parts := range transients {
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

// StartContainer implements [engine.Containers].
func (e *Engine) StartContainer(ctx context.Context, id string) error {
	if err := checkRef("container", id); err != nil {
		return err
	}
	start := call{method: http.MethodPost, path: "/containers/%s/start", args: []string{id}}
	for attempt := 1; ; attempt++ {
		err := e.do(ctx, start, nil)
		if !transient(err) {
			return err
		}
		if attempt == startAttempts {
			return &api.Error{Kind: api.KindUnavailable, Msg: "the container did not start in several attempts", Hint: "try again with less at the same time", Err: err}
		}
		// Jittered, so that starts that met once do not meet again.
		wait := time.Duration(20<<attempt) * time.Millisecond
		select {
		case <-ctx.Done():
			return ended(ctx)
		case <-time.After(wait/2 + rand.N(wait)):
		}
	}
}
