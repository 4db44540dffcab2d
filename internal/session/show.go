package session

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/guest"
	"github.com/ccc-dev/ccc/internal/policy"
	"github.com/ccc-dev/ccc/internal/spec"
	"github.com/ccc-dev/ccc/internal/workspace"
)

// List returns all sessions of the user, oldest first. It is a read and leaves
// no record.
func (c *Core) List(ctx context.Context) ([]api.Session, error) {
	if err := c.Reclaim(ctx); err != nil {
		return nil, err
	}
	all, err := c.Engine.ListContainers(ctx)
	if err != nil {
		return nil, err
	}
	sessions := make([]api.Session, 0, len(all))
	for _, in := range all {
		// A container without an id is none: an image build makes one to warm
		// its layers.
		if idOf(in) != "" && c.sees(in) {
			sessions = append(sessions, describe(in, c.Clock()))
		}
	}
	slices.SortFunc(sessions, func(a, b api.Session) int {
		if n := a.Created.Compare(b.Created); n != 0 {
			return n
		}
		return strings.Compare(string(a.Name), string(b.Name))
	})
	return sessions, nil
}

// Names returns the references that begin with prefix, for completion. It never
// fails for long: completion has the patience of a keystroke.
func (c *Core) Names(ctx context.Context, prefix string) []string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	all, err := c.Engine.ListContainers(ctx)
	if err != nil {
		return nil
	}
	var names []string
	for _, in := range all {
		if !c.sees(in) {
			continue
		}
		for _, s := range []string{string(nameOf(in)), string(idOf(in))} {
			if strings.HasPrefix(s, prefix) && (prefix != "" || s == string(nameOf(in))) {
				names = append(names, s)
			}
		}
	}
	slices.Sort(names)
	return names
}

// Show returns everything about one session. For a running one the posture is
// read anew from the kernel; a session that no longer is what was granted shows
// that as the error.
func (c *Core) Show(ctx context.Context, req api.RefRequest) (api.Session, error) {
	in, err := c.reach(ctx, req.Ref)
	if err != nil {
		return api.Session{}, err
	}
	s := describe(in, c.Clock())
	if in.State != engine.InstanceRunning {
		return s, nil
	}
	// The engine tells of it only when the session is over.
	s.OOMKilled = s.OOMKilled || c.Kernel.OOMKills(in.PID) > 0
	want, t, err := c.granted(in)
	if err != nil {
		return s, err
	}
	if s.Posture, err = c.attest(ctx, want, in, t); err == nil {
		return s, nil
	}
	// It may have ended while it was looked at, as idle ones do: then there is
	// nothing that could be other than granted.
	if now, gone := c.Engine.Container(ctx, in.ID); gone == nil && now.State == engine.InstanceExited {
		return describe(now, c.Clock()), nil
	}
	return s, err
}

// Find returns what a session's labels and its container's state tell of it,
// without looking at what runs. It is a read and leaves no record.
func (c *Core) Find(ctx context.Context, req api.RefRequest) (api.Session, error) {
	in, err := c.reach(ctx, req.Ref)
	if err != nil {
		return api.Session{}, err
	}
	return describe(in, c.Clock()), nil
}

// granted rebuilds, from a container's labels, the container that its session
// was granted.
func (c *Core) granted(in engine.Instance) (engine.Container, policy.Terms, error) {
	t, err := termsOf(in)
	if err != nil {
		return engine.Container{}, t, err
	}
	g, err := policy.Adopt(t, c.Ceilings, c.Ground)
	if err != nil {
		return engine.Container{}, t, err
	}
	paths := spec.Paths{
		Upper: c.Dirs.Upper(t.ID), Work: c.Dirs.Work(t.ID),
		Init: c.Guest.Program(t.Init), Session: c.Guest.Dir(t.ID),
	}
	if t.Workspace == api.WorkspaceBind {
		if paths.Guarded, _, err = workspace.Guarded(t.Project.Path); err != nil {
			return engine.Container{}, t, err
		}
	}
	want, err := spec.Container(g, paths, time.Time{}, nil)
	if err != nil {
		return engine.Container{}, t, err
	}
	// The values of the session's own variables are only on the container.
	if in.Spec != nil && in.Spec.Process != nil {
		for _, e := range in.Spec.Process.Env {
			if key, value, _ := strings.Cut(e, "="); slices.Contains(t.Env, key) {
				want.Env[key] = value
			}
		}
	}
	return want, t, nil
}

// termsOf reads the grant that a container carries.
func termsOf(in engine.Instance) (policy.Terms, error) {
	var t policy.Terms
	err := json.Unmarshal([]byte(in.Labels[engine.LabelGrant]), &t)
	if err != nil || t.ID != idOf(in) || t.Name != nameOf(in) || spec.ContainerName(t.Name) != strings.TrimPrefix(in.Name, "/") {
		return t, &api.Error{
			Kind: api.KindDenied, Rule: "grant.label",
			Msg:  fmt.Sprintf("the labels of container %s do not agree: it was not made by ccc, or was changed", in.Name),
			Hint: "podman rm --force " + in.Name,
		}
	}
	return t, nil
}

// describe reads a session from its container. Labels that cannot be read give
// a broken session, which can still be listed and removed.
func describe(in engine.Instance, now time.Time) api.Session {
	s := api.Session{
		ID: idOf(in), Name: nameOf(in), Status: api.StatusBroken,
		Project:   in.Labels[engine.LabelProject],
		Workspace: api.Workspace(in.Labels[engine.LabelWorkspace]),
		Level:     api.Level(in.Labels[engine.LabelLevel]),
		Image:     api.Image(in.Labels[engine.LabelImage]),
		ImageID:   in.Image, Network: "none", OOMKilled: in.OOMKilled, Labels: labelsOf(in),
	}
	t, err := termsOf(in)
	if err != nil || in.Labels[engine.LabelSchema] != engine.Schema {
		return s
	}
	s.Limits = t.Limits
	var errCreated, errExpires error
	s.Created, errCreated = time.Parse(time.RFC3339, in.Labels[engine.LabelCreated])
	s.Expires, errExpires = time.Parse(time.RFC3339, in.Labels[engine.LabelExpires])
	if errCreated != nil || errExpires != nil {
		return s
	}
	s.Status = statusOf(in, s.Expires, now)
	if in.State == engine.InstanceExited {
		code := in.ExitCode
		s.ExitCode = &code
		s.Ended = endingOf(in)
	}
	return s
}

// labelsOf returns the user's own labels on a container; nil if there are none.
func labelsOf(in engine.Instance) map[string]string {
	var labels map[string]string
	for key, value := range in.Labels {
		if own, ok := strings.CutPrefix(key, engine.LabelUser); ok {
			if labels == nil {
				labels = map[string]string{}
			}
			labels[own] = value
		}
	}
	return labels
}

// endingOf tells why the last run of a session ended.
func endingOf(in engine.Instance) api.Ending {
	switch {
	case in.OOMKilled:
		return api.EndedMemory
	case in.ExitCode == guest.ExitIdle:
		return api.EndedIdle
	case in.ExitCode == guest.ExitLifetime || in.ExitCode < 0:
		return api.EndedLifetime
	case in.ExitCode == guest.ExitStopped:
		return api.EndedStopped
	}
	return api.EndedFailed
}

// statusOf returns where a session is in its life.
func statusOf(in engine.Instance, expires, now time.Time) api.Status {
	switch {
	case !now.Before(expires):
		return api.StatusExpired
	case in.State == engine.InstanceRunning:
		return api.StatusRunning
	case in.State == engine.InstancePaused:
		return api.StatusPaused
	}
	return api.StatusStopped
}
