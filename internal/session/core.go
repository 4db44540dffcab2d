// Package session is the core of ccc: every operation on sessions, whoever
// asks for it. Each method validates its request, decides, records, acts, and
// records again; a refusal is recorded like an act. If the first record cannot
// be written nothing happens; if the last cannot, what was made is unmade.
//
// The state of a session is the labels on its container. The only thing kept
// beside them is the intent of a creation under way (see [Intents]), so that
// what a killed process left half made is found and removed by the next.
//
// The core knows no front end, no wire format and no policy of its own. It
// reads neither clock nor environment.
package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/apparmor"
	"github.com/ccc-dev/ccc/internal/audit"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/kernel"
	"github.com/ccc-dev/ccc/internal/policy"
	"github.com/ccc-dev/ccc/internal/profile"
	"github.com/ccc-dev/ccc/internal/spec"
	"github.com/ccc-dev/ccc/internal/workspace"
)

// Core performs the operations. All fields are required. Its methods may be
// called concurrently.
type Core struct {
	Engine engine.Engine
	Audit  *audit.Log
	// Dirs are where sessions write on the host.
	Dirs workspace.Dirs
	// Intents are the creations under way.
	Intents Intents
	// Levels are where policy levels are looked for, in order.
	Levels []profile.Source
	// Ceilings bound every session; Ground is the host's own paths.
	Ceilings []policy.Ceiling
	Ground   policy.Ground
	// Defaults fill what a request leaves open.
	Defaults Defaults
	// Clock returns the time.
	Clock func() time.Time
	// Settle is how long an engine may go on with a request whose client has
	// died.
	Settle time.Duration
	// Random returns so many random bytes in hexadecimal.
	Random func(bytes int) string
	// Kernel reads the facts of processes.
	Kernel Kernel
	// AppArmor says why no profile confines a session where none does.
	AppArmor apparmor.Host
	// Filters is where the user's own system call filters lie.
	Filters profile.Source
	// Seccomp puts a system call filter into a file for the engine and returns its
	// path.
	Seccomp func(filter []byte) (string, error)
	// Sockets is a directory for the sockets of listeners, `$XDG_RUNTIME_DIR/ccc/learn`.
	Sockets string
	// Guest is the host's side of what runs inside.
	Guest Guest
	// Dir is the directory that relative paths of requests start from.
	Dir string
	// Sees tells, by a session's own labels, whether the callers of this core may
	// know of it; for them there is no other. Nil means that they may know of all.
	Sees func(labels map[string]string) bool

	// watch puts a listener in front of what the filter of a session denies; nil
	// for all sessions but one that [Core.Learn] makes.
	watch func(t policy.Terms, filter []byte) ([]byte, error)
}

// Kernel is what the core asks of the kernel; [kernel.Reader] is the real one.
type Kernel interface {
	// Process returns the facts of a process, with the identity of the mount
	// points named.
	Process(pid int, points []string) (kernel.Facts, error)
	// Entries returns the first entries of a directory as the process sees it.
	Entries(pid int, dir string, most int) ([]kernel.Entry, error)
	// Identity returns the identity of the file that a path leads to as the
	// process sees it.
	Identity(pid int, file string) (dev, ino uint64, err error)
	// OOMKills returns how many processes of the process's session the kernel has
	// ended because the session's memory was used up.
	OOMKills(pid int) int64
	// Landlock returns the kernel's Landlock ABI; zero if it has none.
	Landlock() int
	// Inside returns the process that has the number inside in the PID namespace
	// of the process first.
	Inside(first, inside int) (pid int, err error)
	// Namespaces returns the namespaces of a process by name; those of the caller
	// for 0.
	Namespaces(pid int) (map[string]string, error)
}

// Defaults are the configuration's answers to what a request leaves open.
type Defaults struct {
	Image       api.Image
	Level       api.Level
	Workspace   api.Workspace
	Limits      api.Limits
	Require     api.Require
	MaxSessions api.Count
	// Lower is how far the project's file lowers the limits.
	Lower api.Limits
}

// find returns the container of the session that ref points at: by its exact
// name, by its id, or by the beginning of its id.
func (c *Core) find(ctx context.Context, ref api.Ref) (engine.Instance, error) {
	in, err := c.Engine.Container(ctx, spec.ContainerName(api.Name(ref)))
	if err == nil && in.Labels[engine.LabelSchema] != "" && in.Labels[engine.LabelName] == string(ref) && c.sees(in) {
		return in, nil
	}
	if err != nil && api.KindOf(err) != api.KindNotFound {
		return engine.Instance{}, err
	}
	all, err := c.Engine.ListContainers(ctx)
	if err != nil {
		return engine.Instance{}, err
	}
	match := slices.DeleteFunc(all, func(i engine.Instance) bool {
		return !strings.HasPrefix(i.Labels[engine.LabelID], string(ref)) || !c.sees(i)
	})
	switch len(match) {
	case 0:
		return engine.Instance{}, &api.Error{
			Kind: api.KindNotFound, Rule: "session.unknown",
			Msg: fmt.Sprintf("there is no session %q", ref), Hint: "run `ccc session list` for the names and ids",
		}
	case 1:
		return c.Engine.Container(ctx, match[0].ID)
	}
	return engine.Instance{}, &api.Error{
		Kind: api.KindConflict, Rule: "session.ambiguous",
		Msg: fmt.Sprintf("%d sessions have an id that begins with %q", len(match), ref), Hint: "write more of the id, or the name",
	}
}

// sees tells whether the callers may know of a container's session.
func (c *Core) sees(in engine.Instance) bool { return c.Sees == nil || c.Sees(labelsOf(in)) }

// idOf and nameOf read the identity that a container's labels carry.
func idOf(in engine.Instance) api.ID     { return api.ID(in.Labels[engine.LabelID]) }
func nameOf(in engine.Instance) api.Name { return api.Name(in.Labels[engine.LabelName]) }

// briefOf names a container's session.
func briefOf(in engine.Instance) api.Brief { return api.Brief{ID: idOf(in), Name: nameOf(in)} }

// undo runs the steps that unmake something, last made first, on a context
// that outlives the caller's: a cancelled creation must still clean up. A step
// that fails does not keep the others from running.
func undo(ctx context.Context, steps []func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	var errs []error
	for _, step := range slices.Backward(steps) {
		errs = append(errs, step(ctx))
	}
	return errors.Join(errs...)
}

// undoTime is how long unmaking may take in all.
const undoTime = 30 * time.Second
