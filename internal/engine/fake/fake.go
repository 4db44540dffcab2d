// Package fake is a container engine kept as files in a directory. Tests of
// everything above [engine.Engine] use it: it is fast, needs no Podman, and the
// processes of one test share it, because nothing is kept in memory.
//
// It is as strict as the real driver about what it is given, and passes the
// same suite (package enginetest). It runs nothing: a container's processes are
// interpreted, from a dozen commands and a shell of a few lines (see the file
// shell.go); anything else is "not found". No word of a test ever reaches the
// host as a command or as a path to be written.
//
// The Fault hook of [Engine] is for crash tests: it is called around every step
// that changes something.
package fake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/gofrs/flock"
)

// Engine is the fake. Use [Open].
type Engine struct {
	// Fault, if not nil, is called before and after every call that changes
	// something, with the method's name and ".before" or ".after", for example
	// "CreateContainer.after". An error is returned to the caller as it is; what
	// the method did before ".after" stays done, as when an answer is lost. It
	// may also end the process. Set it before the engine is used.
	Fault func(step string) error

	dir string
	now func() time.Time
}

var _ engine.Engine = (*Engine)(nil)

// Open returns the engine kept in dir, which is made if it is not there. Any
// number of engines, in any number of processes, may have the same directory.
// now gives the time: containers age by it.
func Open(dir string, now func() time.Time) (*Engine, error) {
	for _, kind := range []string{containers, volumes, images, execs} {
		if err := os.MkdirAll(filepath.Join(dir, kind), 0o700); err != nil {
			return nil, fmt.Errorf("open fake engine: %w", err)
		}
	}
	return &Engine{dir: dir, now: now}, nil
}

// Version returns a version that is recent enough for everything.
func (e *Engine) Version() engine.Version { return engine.Version{Major: 5, Minor: 4, Patch: 2} }

// Host describes a host on which everything can be enforced.
func (e *Engine) Host(ctx context.Context) (engine.Host, error) {
	if err := ended(ctx); err != nil {
		return engine.Host{}, err
	}
	return engine.Host{
		Engine: "fake", EngineVersion: e.Version().String(), APIVersion: e.Version().String(),
		Rootless: true, Runtime: "fake", RuntimeInfo: "fake", CgroupVersion: "v2",
		Controllers: []string{"cpu", "memory", "pids"}, StorageDriver: "overlay",
		StorageRoot: e.dir, NativeOverlay: true, Seccomp: true, Kernel: "fake",
	}, nil
}

// change runs f with the directory locked, between the two calls of Fault.
func (e *Engine) change(ctx context.Context, step string, f func() error) error {
	if err := e.fault(step + ".before"); err != nil {
		return err
	}
	if err := e.locked(ctx, f); err != nil {
		return err
	}
	return e.fault(step + ".after")
}

func (e *Engine) fault(step string) error {
	if e.Fault == nil {
		return nil
	}
	return e.Fault(step)
}

// locked runs f while no other engine uses the directory. A lock belongs to an
// open file, so that it also holds between goroutines, and it ends with the
// process however that ends.
func (e *Engine) locked(ctx context.Context, f func() error) (err error) {
	if err := ended(ctx); err != nil {
		return err
	}
	lock := flock.New(filepath.Join(e.dir, "lock"))
	if err := lock.Lock(); err != nil {
		return fmt.Errorf("lock fake engine: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	return f()
}

// ended returns an error if the context has ended.
func ended(ctx context.Context) error {
	err := ctx.Err()
	if err == nil {
		return nil
	}
	kind := api.KindInterrupted
	if errors.Is(err, context.DeadlineExceeded) {
		kind = api.KindUnavailable
	}
	return &api.Error{Kind: kind, Msg: "the engine's answer was not waited for", Err: err}
}

func notFound(what, name string) error {
	return &api.Error{Kind: api.KindNotFound, Msg: fmt.Sprintf("no such %s: %.80q", what, name), Err: fs.ErrNotExist}
}

func conflict(format string, args ...any) error {
	return &api.Error{Kind: api.KindConflict, Msg: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) error {
	return &api.Error{Kind: api.KindInvalid, Msg: fmt.Sprintf(format, args...)}
}
