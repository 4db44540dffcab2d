// Package spec turns a policy grant into the container that enforces it, and
// holds what the engine made of that container against it.
//
// Both directions are pure functions. The package decides nothing (policy has
// decided) and reads nothing; paths and facts are passed in.
package spec

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/guest"
	"github.com/ccc-dev/ccc/internal/policy"
)

// Fixed points of every session.
const (
	// UID and GID are the identity inside a session; the user's own outside.
	UID, GID = 1000, 1000
	// WorkDir is where the project appears and where commands start.
	WorkDir = "/workspace"
	// HomeDir is the session's own volume, so that tool state survives a stop.
	HomeDir = "/home/agent"

	// shmSize and runSize bound the two small memory file systems.
	shmSize = 64 << 20
	runSize = 16 << 20
	// backstop is how much longer than its life the engine's own monitor lets a
	// session run. ccc-init ends it in time; this is for one that cannot.
	backstop = time.Minute
	// stopGrace is the time between SIGTERM and SIGKILL.
	stopGrace = 5 * time.Second
)

// Paths are the host directories that a session's parts lie in.
type Paths struct {
	// Upper and Work take what an overlay session changes.
	Upper, Work string
	// Seccomp is the file of the system call filter.
	Seccomp string
	// Init is the file of the first process, Session the directory that tells it
	// when the session ends.
	Init, Session string
	// Guarded are the existing paths below the project, relative to it, that a
	// bind session may read and not write.
	Guarded []string
}

// ContainerName returns the engine's name of a session's container.
func ContainerName(name api.Name) string { return "ccc-" + string(name) }

// VolumeName returns the engine's name of a session's home volume.
func VolumeName(id api.ID) string { return "ccc-" + string(id) + "-home" }

// Container returns the container that enforces the grant and nothing wider.
// created is when the session was made; its labels carry the whole state. It
// returns an error for a grant that policy did not make.
func Container(g policy.Grant, p Paths, created time.Time, labels []api.Label) (engine.Container, error) {
	if !g.Valid() {
		return engine.Container{}, &api.Error{Msg: "spec: the grant was not made by policy"}
	}
	t := g.Terms()
	c := engine.Container{
		Name:     ContainerName(t.Name),
		Image:    t.ImageID,
		Hostname: "ccc",
		// The first process reaps what commands leave behind and ends the session
		// when its time has come; no program on the host has to run for it.
		Argv: guest.PID1Argv(Bounds(t)),
		Env:  environment(g.Env()),
		// An explicit directory keeps the engine from creating the image's own
		// WORKDIR through a symbolic link on the host (CVE-2026-55686).
		Dir: WorkDir,
		UID: UID, GID: GID,
		Seccomp: p.Seccomp,
		Homes:   []engine.Home{{Volume: VolumeName(t.ID), Target: HomeDir}},
		Tmpfs: []engine.Tmpfs{
			// Compilers and test runners execute what they put into /tmp.
			{Target: "/tmp", Size: int64(t.Limits.Tmp), Mode: fs.ModeSticky | 0o777},
			{Target: "/run", Size: runSize, Mode: fs.ModeSticky | 0o777, NoExec: true},
		},
		ShmSize: shmSize,
		Memory:  int64(t.Limits.Memory), CPUs: int64(t.Limits.CPUs), PIDs: int64(t.Limits.PIDs),
		Rlimits: map[string]uint64{
			"NOFILE": uint64(t.Limits.NoFile),
			// A core file would put a session's memory on the host's disk.
			"CORE": 0,
		},
		Timeout:   t.Limits.TTL.Std() + backstop,
		StopGrace: stopGrace,
	}
	c.Overlays, c.Binds = projectMounts(t, p)
	c.Binds = append(c.Binds,
		engine.Bind{Source: p.Init, Target: guest.Path},
		engine.Bind{Source: p.Session, Target: guest.SessionDir},
	)
	for _, m := range t.Mounts {
		c.Binds = append(c.Binds, engine.Bind{Source: m.Path, Target: m.Target, Writable: m.Writable})
	}
	var err error
	c.Labels, err = sessionLabels(t, created, labels)
	return c, err
}

// Bounds returns what ccc-init holds a session's commands to.
func Bounds(t policy.Terms) guest.Bounds {
	return guest.Bounds{Write: Writable(t), Processes: uint64(max(t.Limits.PIDs, 0))}
}

// Writable returns the paths beneath which a session's commands may write.
// Landlock holds them to these, wherever else a mount may be writable.
func Writable(t policy.Terms) []string {
	paths := []string{WorkDir, HomeDir, "/tmp", "/run", "/dev/shm"}
	for _, m := range t.Mounts {
		if m.Writable {
			paths = append(paths, m.Target)
		}
	}
	return paths
}

// projectMounts returns how the project appears.
func projectMounts(t policy.Terms, p Paths) ([]engine.Overlay, []engine.Bind) {
	if t.Workspace != api.WorkspaceBind {
		return []engine.Overlay{{Lower: t.Project.Path, Target: WorkDir, Upper: p.Upper, Work: p.Work}}, nil
	}
	binds := []engine.Bind{{Source: t.Project.Path, Target: WorkDir, Writable: true}}
	for _, g := range p.Guarded {
		binds = append(binds, engine.Bind{Source: path.Join(t.Project.Path, g), Target: path.Join(WorkDir, g)})
	}
	return nil, binds
}

// environment returns the whole environment of a session. The image's own is
// never used: it may hold anything.
func environment(asked []api.EnvVar) map[string]string {
	env := map[string]string{
		"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME": HomeDir, "USER": "agent", "LANG": "C.UTF-8", "TMPDIR": "/tmp",
		// The leak check at a program's exit needs ptrace, which is filtered;
		// the rest of the address sanitizer does not.
		"ASAN_OPTIONS": "detect_leaks=0",
	}
	for _, e := range asked {
		env[e.Key] = e.Value
	}
	return env
}

// sessionLabels returns the labels that are the session's state.
func sessionLabels(t policy.Terms, created time.Time, own []api.Label) (map[string]string, error) {
	grant, err := json.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("encode grant: %w", err)
	}
	labels := map[string]string{
		engine.LabelSchema:    engine.Schema,
		engine.LabelID:        string(t.ID),
		engine.LabelName:      string(t.Name),
		engine.LabelProject:   t.Project.Path,
		engine.LabelWorkspace: string(cmp.Or(t.Workspace, api.WorkspaceOverlay)),
		engine.LabelLevel:     string(t.Level),
		engine.LabelImage:     string(t.Image),
		engine.LabelCreated:   created.UTC().Format(time.RFC3339),
		engine.LabelExpires:   created.Add(t.Limits.TTL.Std()).UTC().Format(time.RFC3339),
		engine.LabelGrant:     string(grant),
	}
	for _, l := range own {
		labels[engine.LabelUser+l.Key] = l.Value
	}
	return labels, nil
}
