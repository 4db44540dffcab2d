package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/image"
	"github.com/ccc-dev/ccc/internal/policy"
	"github.com/ccc-dev/ccc/internal/profile"
	"github.com/ccc-dev/ccc/internal/spec"
	"github.com/ccc-dev/ccc/internal/workspace"
)

// Create makes and starts a session and returns it with its posture. On error
// nothing of it is left, and the error says why.
func (c *Core) Create(ctx context.Context, caller api.Caller, req api.CreateRequest) (api.Session, error) {
	a := c.newAct(caller, "session.create")
	a.rec.Session.Name = string(req.Name)
	grant, err := c.admit(ctx, req)
	if err != nil {
		return api.Session{}, a.refused(ctx, err)
	}
	t := grant.Terms()
	a.about(t.ID, t.Name)
	intent, err := c.Intents.Begin(t.ID, t.Name)
	if err != nil {
		return api.Session{}, a.refused(ctx, err)
	}
	m := &making{core: c, grant: grant, labels: req.Labels, intent: intent}
	if err := a.allowed(ctx, &grant); err != nil {
		return api.Session{}, m.unmake(ctx, err)
	}
	s, err := m.make(ctx)
	if err != nil {
		return api.Session{}, a.ended(ctx, m.unmake(ctx, interrupted(ctx, err)))
	}
	a.out.Posture = encode(s.Posture)
	if err := a.ended(ctx, nil); err != nil {
		return api.Session{}, m.unmake(ctx, err)
	}
	return s, intent.Done()
}

// admit checks a request, finishes what was cut short before, and asks policy.
func (c *Core) admit(ctx context.Context, req api.CreateRequest) (policy.Grant, error) {
	if err := req.Validate(); err != nil {
		return policy.Grant{}, err
	}
	if err := c.Reclaim(ctx); err != nil {
		return policy.Grant{}, err
	}
	return c.decide(ctx, c.withDefaults(req))
}

// interrupted turns the failure of a call whose caller went away into that.
func interrupted(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	return &api.Error{Kind: api.KindInterrupted, Msg: "interrupted", Err: err}
}

// withDefaults fills what the request leaves open from the configuration, but
// for the limits: policy does that, together with the level.
func (c *Core) withDefaults(r api.CreateRequest) api.CreateRequest {
	d := c.Defaults
	r.Level = cmp.Or(r.Level, d.Level)
	r.Workspace = cmp.Or(r.Workspace, d.Workspace)
	r.Image = cmp.Or(r.Image, d.Image)
	r.Require = cmp.Or(r.Require, d.Require)
	return r
}

// decide gathers the facts of a request and asks policy. The paths are judged
// before the engine is asked anything about the image: what is refused for
// itself costs nothing.
func (c *Core) decide(ctx context.Context, req api.CreateRequest) (policy.Grant, error) {
	in := policy.Input{
		ID: api.ID(c.Random(6)), Ceilings: c.Ceilings, Ground: c.Ground, MaxSessions: c.Defaults.MaxSessions,
		Defaults: c.Defaults.Limits, Lower: c.Defaults.Lower,
	}
	var err error
	if in.Level, err = profile.Find(req.Level, c.Levels...); err != nil {
		return policy.Grant{}, err
	}
	if in.Filter, err = c.filterNamed(in.Level.Seccomp); err != nil {
		return policy.Grant{}, err
	}
	if in.Project, err = workspace.Resolve("project", req.Project, c.Dir); err != nil {
		return policy.Grant{}, err
	}
	for _, m := range req.Mounts {
		place, err := workspace.Resolve("mount", m.Source, c.Dir)
		if err != nil {
			return policy.Grant{}, err
		}
		in.Mounts = append(in.Mounts, place)
	}
	if req.Name == "" {
		req.Name = nameFor(in.Project.Path, in.ID)
	}
	in.Request = req
	if in.MaxSessions > 0 {
		all, err := c.Engine.ListContainers(ctx)
		if err != nil {
			return policy.Grant{}, err
		}
		in.Sessions = len(all)
	}
	grant, err := policy.Decide(in)
	if err != nil {
		return policy.Grant{}, err
	}
	if t := grant.Terms(); t.Workspace == api.WorkspaceBind {
		// Asked again when the mounts are made; here so that it is refused
		// before anything is begun.
		if _, _, err := workspace.Guarded(t.Project.Path); err != nil {
			return policy.Grant{}, err
		}
	}
	if in.ImageID, err = c.imageID(ctx, req.Image); err != nil {
		return policy.Grant{}, err
	}
	if in.Init, err = c.Guest.Digest(markOf(grant.Terms())); err != nil {
		return policy.Grant{}, err
	}
	return policy.Decide(in)
}

// imageID returns the identity of a session image that may be used.
func (c *Core) imageID(ctx context.Context, ref api.Image) (string, error) {
	img, err := c.Engine.Image(ctx, string(ref))
	if api.KindOf(err) == api.KindNotFound {
		return "", &api.Error{
			Kind: api.KindNotFound, Rule: "image.unknown",
			Msg: fmt.Sprintf("there is no session image %q", ref), Hint: "ccc image build",
		}
	}
	if err != nil {
		return "", err
	}
	if err := image.Check(img); err != nil {
		return "", err
	}
	return img.ID, image.CheckFiles(ctx, c.Engine, img)
}

// nameFor makes a session name from the project's directory name, which may
// hold anything, and the beginning of the id.
func nameFor(project string, id api.ID) api.Name {
	base := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '_', r == '.':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, filepath.Base(project))
	base = strings.TrimLeft(base, "-_.")
	if len(base) > 40 {
		base = base[:40]
	}
	return api.Name(cmp.Or(base, "session") + "-" + string(id[:4]))
}

// making is a session being made, and what unmakes it.
type making struct {
	core   *Core
	grant  policy.Grant
	labels []api.Label
	intent *Intent
	undo   []func(context.Context) error
}

// unmake removes what was made and returns cause, joined with what went wrong.
// If something did, the intent is left behind unlocked, and the next ccc goes on
// where this one could not.
func (m *making) unmake(ctx context.Context, cause error) error {
	err := undo(ctx, m.undo)
	if err != nil {
		return errors.Join(cause, err, m.intent.Abandon())
	}
	if err := m.intent.Done(); err != nil {
		return errors.Join(cause, err)
	}
	return cause
}

// made notes how to unmake what was just made.
func (m *making) made(step func(context.Context) error) { m.undo = append(m.undo, step) }

// make makes all parts of the session, in the order in which they depend on
// each other, and attests the result.
func (m *making) make(ctx context.Context) (api.Session, error) {
	c, t := m.core, m.grant.Terms()
	content, err := c.filter(t)
	if err != nil {
		return api.Session{}, err
	}
	filter, err := c.Seccomp(content)
	if err != nil {
		return api.Session{}, err
	}
	if err := c.Guest.Keep(t.Init, markOf(t)); err != nil {
		return api.Session{}, err
	}
	paths := spec.Paths{Seccomp: filter, Init: c.Guest.Program(t.Init), Session: c.Guest.Dir(t.ID)}
	m.made(func(context.Context) error { return c.Guest.Remove(t.ID) })
	if err := c.Guest.Make(t.ID); err != nil {
		return api.Session{}, err
	}
	if t.Workspace == api.WorkspaceOverlay {
		m.made(func(ctx context.Context) error { return c.removeDirs(ctx, t.ID) })
		if err := c.Dirs.Make(t.ID); err != nil {
			return api.Session{}, err
		}
		paths.Upper, paths.Work = c.Dirs.Upper(t.ID), c.Dirs.Work(t.ID)
	} else {
		var err error
		if paths.Guarded, _, err = workspace.Guarded(t.Project.Path); err != nil {
			return api.Session{}, err
		}
	}
	created := c.Clock().Truncate(time.Second)
	want, err := spec.Container(m.grant, paths, created, m.labels)
	if err != nil {
		return api.Session{}, err
	}
	id, err := m.container(ctx, want)
	if err != nil {
		return api.Session{}, err
	}
	in, posture, err := m.core.start(ctx, id, want, t, t.Limits.TTL.Std())
	if err != nil {
		return api.Session{}, err
	}
	s := describe(in, c.Clock())
	s.Posture = posture
	return s, nil
}

// container makes the volume and the container. Both carry their labels from
// the first moment.
func (m *making) container(ctx context.Context, want engine.Container) (string, error) {
	c, id := m.core, m.grant.Terms().ID
	asked := ctx
	ctx, cancel := outlasting(asked)
	defer cancel()
	if err := m.intent.Asks(c.Clock()); err != nil {
		return "", fmt.Errorf("declare creation: %w", err)
	}
	for _, h := range want.Homes {
		v := engine.Volume{Name: h.Volume, Labels: map[string]string{engine.LabelSchema: engine.Schema, engine.LabelID: string(id)}}
		m.made(func(ctx context.Context) error { return c.Engine.RemoveVolume(ctx, v.Name) })
		if err := c.Engine.CreateVolume(ctx, v); err != nil {
			return "", fmt.Errorf("create volume: %w", err)
		}
	}
	if err := asked.Err(); err != nil {
		return "", err
	}
	// Registered before the call: when an interrupted call leaves it unknown
	// whether the container was made, its name and labels tell.
	m.made(func(ctx context.Context) error { return c.removeOwn(ctx, want.Name, id) })
	cid, err := c.Engine.CreateContainer(ctx, want)
	if api.KindOf(err) == api.KindConflict {
		return "", &api.Error{
			Kind: api.KindConflict, Rule: "session.exists",
			Msg:  fmt.Sprintf("there is a session %q already", m.grant.Terms().Name),
			Hint: "choose another --name, or ccc session rm " + string(m.grant.Terms().Name),
		}
	}
	return cid, cmp.Or(err, asked.Err())
}

// outlasting returns a context that ends some time after ctx does. An engine
// goes on with a creation whose caller has gone away: to undo it one has to know
// that it is over.
func outlasting(ctx context.Context) (context.Context, context.CancelFunc) {
	const patience = 5 * time.Second
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(patience, cancel) })
	return late, func() {
		stop()
		cancel()
	}
}

// start tells a session its life, starts its container, attests it, and holds its posture against what was
// required. On error the container may be running; the caller decides its end.
func (c *Core) start(ctx context.Context, id string, want engine.Container, t policy.Terms, left time.Duration) (engine.Instance, api.Posture, error) {
	if err := c.Guest.Begin(t.ID, left, t.Limits.Idle.Std()); err != nil {
		return engine.Instance{}, nil, err
	}
	if err := c.Engine.StartContainer(ctx, id); err != nil {
		return engine.Instance{}, nil, fmt.Errorf("start session: %w", err)
	}
	in, err := c.Engine.Container(ctx, id)
	if err != nil {
		return engine.Instance{}, nil, err
	}
	posture, err := c.attest(ctx, want, in, t)
	if err == nil {
		err = c.attestView(in, t)
	}
	if err != nil {
		return engine.Instance{}, nil, err
	}
	// After the mounts were made: a path that was swapped for them and is still
	// swapped is seen here, one that was swapped back by the attestation.
	if !samePlaces(t) {
		return engine.Instance{}, nil, moved(t)
	}
	if short := posture.Short(t.Require); t.Require != "" && len(short) > 0 {
		names := make([]string, len(short))
		for i, s := range short {
			names[i] = s.Name + " is " + string(s.State)
		}
		return engine.Instance{}, nil, &api.Error{
			Kind: api.KindDegraded, Rule: "require." + string(t.Require),
			Msg:  "this host cannot give the required posture: " + strings.Join(names, ", "),
			Hint: "run `ccc doctor` for what is missing, or leave out --require",
		}
	}
	return in, posture, nil
}

// removeOwn removes the container of that name if it is the session's: another
// session may have the name that a half-made one wanted.
func (c *Core) removeOwn(ctx context.Context, name string, id api.ID) error {
	in, err := c.Engine.Container(ctx, name)
	if api.KindOf(err) == api.KindNotFound {
		return nil
	}
	if err != nil || idOf(in) != id {
		return err
	}
	return c.Engine.RemoveContainer(ctx, in.ID)
}

// samePlaces tells whether every path of the grant still leads where it led
// when policy judged it.
func samePlaces(t policy.Terms) bool {
	return workspace.Same(t.Project) && !slices.ContainsFunc(t.Mounts, func(m policy.MountTerm) bool { return !workspace.Same(m.Place) })
}

// moved is the error for a path that was replaced.
func moved(t policy.Terms) error {
	return api.Deniedf("project.moved", "run the command again", "the project %q or a mount was replaced after it was checked", t.Project.Path)
}
