// Package policy decides, purely, what a session may have: the intersection of
// the ceilings (host, user, project), the level and the request becomes a
// [Grant], or the rule that refuses is named.
//
// Only this package can make a Grant, and nothing downstream builds a container
// without one; so a container that policy has not seen cannot be built by
// accident. The package touches no file, clock, environment or engine: every
// fact it judges is in the [Input].
package policy

import (
	"cmp"
	"slices"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/profile"
	"github.com/ccc-dev/ccc/internal/seccomp"
)

// Place is a host directory or file as the kernel knows it: the path with all
// links resolved, and the identity of what it leads to.
type Place struct {
	// Asked is the path as the caller wrote it.
	Asked string `json:"asked,omitempty"`
	// Path is absolute and free of links.
	Path string `json:"path"`
	// Dev and Ino identify the file (inode(7)).
	Dev uint64 `json:"dev"`
	Ino uint64 `json:"ino"`
	// Dir tells a directory from a regular file.
	Dir bool `json:"dir"`
}

// Ceiling is the most that one source of policy allows. A zero field bounds
// nothing.
type Ceiling struct {
	// Source names the file for messages.
	Source string
	// Lines gives the line of each key, for messages; may be nil.
	Lines      map[string]int
	Limits     api.Limits
	Workspaces []api.Workspace
	Levels     []api.Level
	Require    api.Require
	// Projects and Mounts are path prefixes that projects and further mounts
	// must lie under; nil bounds nothing, an empty list allows none. Further
	// mounts are allowed only where at least one ceiling lists their prefix.
	Projects, Mounts []string
}

// Input is everything that a decision depends on.
type Input struct {
	// ID is the identity the session will have.
	ID api.ID
	// Request is the validated request; but for its limits, its empty fields are
	// already filled from the configuration's defaults.
	Request api.CreateRequest
	// Defaults are the configuration's limits for what the request leaves open,
	// instead of the level's. Lower is how far the project's file lowers what
	// comes of it: it can only make limits smaller.
	Defaults, Lower api.Limits
	// Project and Mounts are the request's paths, resolved; Mounts in the
	// request's order.
	Project Place
	Mounts  []Place
	Level   profile.Level
	// Filter is the system call filter that the level names; the shipped one of
	// that name if it is zero.
	Filter profile.Filter
	// Ceilings in any order; all bind.
	Ceilings []Ceiling
	// Ground is what the host says of its own paths.
	Ground Ground
	// ImageID is the identity of the image that Request.Image names.
	ImageID string
	// Init is the digest of the program that sessions begin with.
	Init string
	// Sessions is how many sessions there are now, and MaxSessions how many
	// there may be; zero means no bound.
	Sessions    int
	MaxSessions api.Count
}

// Terms are what a grant allows. They are recorded in the audit log and on the
// container, and hold no secret: of the environment only the names.
type Terms struct {
	ID        api.ID        `json:"id"`
	Name      api.Name      `json:"name"`
	Project   Place         `json:"project"`
	Workspace api.Workspace `json:"workspace"`
	Level     api.Level     `json:"profile"`
	Image     api.Image     `json:"image"`
	ImageID   string        `json:"image_id"`
	Limits    api.Limits    `json:"limits"`
	Mounts    []MountTerm   `json:"mounts,omitempty"`
	// Init is the digest of the program that the session begins with, ccc-init.
	Init string `json:"init"`
	// Seccomp names the shipped system call filter, and SeccompAllow are the calls
	// that a file of the user's own adds to it.
	Seccomp      string      `json:"seccomp,omitempty"`
	SeccompAllow []string    `json:"seccomp_allow,omitempty"`
	Env          []string    `json:"env,omitempty"`
	Require      api.Require `json:"require,omitempty"`
}

// MountTerm is one further host path that was allowed.
type MountTerm struct {
	Place
	Target   string `json:"target"`
	Writable bool   `json:"writable,omitempty"`
}

// Grant is permission to build one session. The zero value permits nothing.
type Grant struct {
	terms Terms
	env   []api.EnvVar
	valid bool
}

// Valid tells whether policy made the grant.
func (g Grant) Valid() bool { return g.valid }

// Terms returns what is allowed.
func (g Grant) Terms() Terms {
	t := g.terms
	t.Mounts = slices.Clone(t.Mounts)
	t.Env = slices.Clone(t.Env)
	t.SeccompAllow = slices.Clone(t.SeccompAllow)
	return t
}

// Env returns the session's environment variables with their values, which the
// terms leave out.
func (g Grant) Env() []api.EnvVar { return slices.Clone(g.env) }

// Decide returns the grant for the input, or a [api.KindDenied] error that
// names the rule. It is a pure function.
func Decide(in Input) (Grant, error) {
	checks := []func(*Input) error{checkQuota, checkLevel, checkWorkspace, checkProject, checkMounts, checkLimits, checkFilter}
	in.Request.Limits = in.limits()
	if in.Request.Workspace == "" {
		in.Request.Workspace = in.Level.Workspaces[0]
	}
	if in.Filter.Base == "" {
		in.Filter = profile.Filter{Base: cmp.Or(in.Level.Seccomp, seccomp.Agent)}
	}
	for _, check := range checks {
		if err := check(&in); err != nil {
			return Grant{}, err
		}
	}
	r := in.Request
	terms := Terms{
		ID: in.ID, Name: r.Name, Project: in.Project, Workspace: r.Workspace,
		Level: in.Level.Name, Image: r.Image, ImageID: in.ImageID, Limits: r.Limits,
		Require: strictest(r.Require, in.Ceilings), Seccomp: in.Filter.Base, SeccompAllow: in.Filter.Calls(), Init: in.Init,
	}
	for i, m := range r.Mounts {
		terms.Mounts = append(terms.Mounts, MountTerm{Place: in.Mounts[i], Target: m.Target, Writable: m.Writable})
	}
	for _, e := range r.Env {
		terms.Env = append(terms.Env, e.Key)
	}
	return Grant{terms: terms, env: r.Env, valid: true}, nil
}

// Adopt returns the grant for terms that were read back from a container's
// label, held to the ceilings of today: what was allowed when the session was
// made may not be allowed any more. The environment is the container's own and
// is not part of the result.
func Adopt(t Terms, ceilings []Ceiling, ground Ground) (Grant, error) {
	if !t.ID.Valid() || t.Name == "" || t.ImageID == "" || !digest(t.Init) || t.Limits.Idle <= 0 {
		return Grant{}, &api.Error{Kind: api.KindDenied, Rule: "grant.label", Msg: "the session's grant label is not whole", Hint: "ccc session rm " + string(t.Name)}
	}
	in := Input{ID: t.ID, Project: t.Project, Ceilings: ceilings, Ground: ground, Level: profile.Level{Name: t.Level}}
	in.Request = api.CreateRequest{Name: t.Name, Workspace: t.Workspace, Limits: t.Limits}
	in.Filter = profile.Filter{Base: t.Seccomp}
	for _, call := range t.SeccompAllow {
		in.Filter.Allow = append(in.Filter.Allow, profile.Allowed{Call: call})
	}
	for _, check := range []func(*Input) error{checkLevel, checkWorkspaceCeilings, checkProject, checkLimits, checkFilter} {
		if err := check(&in); err != nil {
			return Grant{}, err
		}
	}
	for _, m := range t.Mounts {
		if err := checkPlace("mount", m.Place, ground); err != nil {
			return Grant{}, err
		}
		if err := checkMountCeilings(m.Path, ceilings); err != nil {
			return Grant{}, err
		}
	}
	return Grant{terms: t, valid: true}, nil
}

// digest tells whether a text is a SHA-256 digest in hexadecimal. It becomes a
// file's name.
var digest = api.Syntax(64, `[0-9a-f]{64}`)

// limits gives each limit that was not asked for its default.
func (in *Input) limits() api.Limits {
	ask, def, low, l := in.Request.Limits, in.Defaults, in.Lower, in.Level.Limits
	return api.Limits{
		Memory: limit(ask.Memory, def.Memory, l.Memory, low.Memory),
		CPUs:   limit(ask.CPUs, def.CPUs, l.CPUs, low.CPUs),
		PIDs:   limit(ask.PIDs, def.PIDs, l.PIDs, low.PIDs),
		NoFile: limit(ask.NoFile, def.NoFile, l.NoFile, low.NoFile),
		Tmp:    limit(ask.Tmp, def.Tmp, l.Tmp, low.Tmp),
		TTL:    limit(ask.TTL, def.TTL, l.TTL, low.TTL),
		Idle:   limit(ask.Idle, def.Idle, l.Idle, low.Idle),
	}
}

// limit returns what was asked for, else the configured default, else the
// level's, these two lowered to low. Zero is unset.
func limit[T ~int64](asked, configured, level, low T) T {
	if asked != 0 {
		return asked
	}
	d := cmp.Or(configured, level)
	if low != 0 {
		d = min(d, low)
	}
	return d
}

// strictest returns the strongest requirement of the request and the ceilings.
func strictest(r api.Require, ceilings []Ceiling) api.Require {
	for _, c := range ceilings {
		if c.Require == api.RequireEnforced || r == "" {
			r = cmp.Or(c.Require, r)
		}
	}
	return r
}
