// Package sessiontest is a small world for tests of the core and of what is
// built on it: a home, a project, an audit log, and a [Machine] that has Podman's
// and the kernel's part. Everything lies in one directory, so that the processes
// of one test share it.
//
// Only tests may import the package.
package sessiontest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/audit"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/engine/fake"
	"github.com/ccc-dev/ccc/internal/guest"
	"github.com/ccc-dev/ccc/internal/image"
	"github.com/ccc-dev/ccc/internal/policy"
	"github.com/ccc-dev/ccc/internal/profile"
	"github.com/ccc-dev/ccc/internal/seccomp"
	"github.com/ccc-dev/ccc/internal/session"
	"github.com/ccc-dev/ccc/internal/workspace"
	"github.com/ccc-dev/ccc/profiles"
)

// World is what a core needs, and the core. Use [Open].
type World struct {
	// Dir holds everything; Home, Project, State, Runtime and Engine lie in it.
	Dir, Home, Project, State, Runtime, Engine string
	Machine                                    *Machine
	Log                                        *audit.Log
	Core                                       *session.Core
}

// Open returns the world kept in dir, furnished (see [Furnish]). All clocks of
// the world are now.
func Open(ctx context.Context, dir string, now func() time.Time) (*World, error) {
	w, err := Furnish(ctx, dir)
	if err != nil {
		return nil, err
	}
	if w.Machine, err = OpenMachine(w.Engine, now); err != nil {
		return nil, err
	}
	w.Log, err = audit.Open(ctx, filepath.Join(w.State, "audit"), audit.Options{
		Clock: now, Version: "test", Caller: Caller(),
	})
	if err != nil {
		return nil, err
	}
	w.Core = &session.Core{
		Engine: w.Machine, Kernel: w.Machine, Audit: w.Log,
		Dirs:    workspace.Dirs{Root: filepath.Join(w.State, "sessions")},
		Intents: session.Intents{Dir: filepath.Join(w.Runtime, "making")},
		Levels:  []profile.Source{{FS: profiles.Levels, Dir: "levels", Label: "shipped "}},
		// Further mounts have to be listed by somebody.
		Ceilings: []policy.Ceiling{{Source: "config.yaml", Mounts: []string{w.Home}}},
		Ground:   policy.Ground{Home: w.Home, Own: []string{w.State, w.Runtime, w.Engine}},
		Defaults: session.Defaults{
			Image: image.DefaultName, Level: "standard", Workspace: api.WorkspaceOverlay, MaxSessions: 128,
		},
		Clock: now, Random: Random, Dir: w.Project,
		Guest: session.Guest{
			Source: w.Init(), Programs: filepath.Join(w.State, "init"), Dirs: filepath.Join(w.Runtime, "sessions"),
			Boottime: guest.Boottime,
		},
		Filters: profile.Source{FS: os.DirFS(w.Home), Dir: "seccomp", Label: w.Home + "/"},
		Seccomp: func(filter []byte) (string, error) {
			return seccomp.Deliver(filepath.Join(w.Runtime, "seccomp"), filter)
		},
		Sockets: filepath.Join(w.Runtime, "learn"),
	}
	return w, nil
}

// Furnish makes what is not there of the world in dir, and opens nothing: a
// project with a few files, and the default session image.
func Furnish(ctx context.Context, dir string) (*World, error) {
	w := Places(dir)
	if err := w.furnish(); err != nil {
		return nil, err
	}
	e, err := fake.Open(w.Engine, time.Now)
	if err != nil {
		return nil, err
	}
	return w, AddImage(ctx, e)
}

// Places returns the world with its paths and nothing else.
func Places(dir string) *World {
	home := filepath.Join(dir, "home")
	return &World{
		Dir: dir, Home: home, Project: filepath.Join(home, "src", "project"), State: filepath.Join(home, ".local", "state", "ccc"),
		Runtime: filepath.Join(dir, "run", "ccc"), Engine: filepath.Join(dir, "engine"),
	}
}

// furnish makes what is not there.
func (w *World) furnish() error {
	for _, d := range []string{w.Project, filepath.Join(w.Project, "src"), filepath.Join(w.Project, ".git"), w.State, filepath.Join(w.Runtime, "making"), filepath.Join(w.Home, ".ssh")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	if _, err := os.Lstat(w.Init()); err != nil {
		if err := os.WriteFile(w.Init(), []byte("ccc-init"), 0o700); err != nil { //nolint:gosec // a program
			return err
		}
	}
	for name, text := range map[string]string{"README": "a project\n", "src/main.c": "int main(void) { return 0; }\n", ".git/config": "[core]\n", ".envrc": "\n"} {
		file := filepath.Join(w.Project, name)
		if _, err := os.Lstat(file); err == nil {
			continue
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Init is the installed ccc-init: a file that the fake engine takes for it.
func (w *World) Init() string { return filepath.Join(w.Dir, "ccc-init") }

// AddImage gives an engine the default session image, unless it has it.
func AddImage(ctx context.Context, e *fake.Engine) error {
	_, err := e.Image(ctx, image.DefaultName)
	if api.KindOf(err) != api.KindNotFound {
		return err
	}
	_, err = e.ImportImage(ctx, fake.Rootfs(), engine.ImportOptions{
		Name: image.DefaultName, Labels: map[string]string{engine.LabelImage: "test"},
	})
	return err
}

// Caller is who asks in tests.
func Caller() api.Caller { return api.Caller{UID: 1000, PID: 1, User: "tester", Client: "test"} }

// Random returns so many random bytes in hexadecimal.
func Random(n int) string {
	b := make([]byte, n)
	// Never fails (crypto/rand).
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

// Close lets go of files.
func (w *World) Close() error { return errors.Join(w.Log.Close(), w.Machine.Close()) }

// Left lists everything that sessions have made and not removed: containers and
// volumes of the engine, whatever their labels, directories and intents.
func (w *World) Left() ([]string, error) {
	var left []string
	for _, dir := range []string{
		filepath.Join(w.Engine, "containers"), filepath.Join(w.Engine, "volumes"), filepath.Join(w.Engine, "execs"),
		filepath.Join(w.State, "sessions"), filepath.Join(w.Runtime, "making"), filepath.Join(w.Runtime, "sessions"),
	} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			// A file that the fake had not finished writing is not an object yet.
			if !strings.HasSuffix(e.Name(), ".new") {
				left = append(left, filepath.Join(filepath.Base(dir), e.Name()))
			}
		}
	}
	return left, nil
}

// Snapshot returns every file and directory of the world with its content, but
// for the audit log: two that are equal prove that nothing was changed.
func (w *World) Snapshot() (map[string]string, error) {
	all := map[string]string{}
	err := filepath.WalkDir(w.Dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(p, w.Dir)
		switch {
		case p == filepath.Join(w.State, "audit"):
			return filepath.SkipDir
		case p == filepath.Join(w.Engine, "lock"):
		case info.Mode().IsRegular():
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			all[name] = info.Mode().String() + " " + string(data)
		default:
			all[name] = info.Mode().String()
		}
		return nil
	})
	return all, err
}

// Records returns the audit log's records without those of the log itself, or
// the error of a log that is not whole.
func (w *World) Records(ctx context.Context) ([]audit.Record, error) {
	log, err := audit.OpenReader(ctx, filepath.Join(w.State, "audit"), "")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	var all []audit.Record
	for e, err := range audit.Read(log) {
		if err != nil {
			return nil, fmt.Errorf("audit log: %w", err)
		}
		if e.Record.Action != audit.ActionBegin {
			all = append(all, e.Record)
		}
	}
	return all, nil
}
