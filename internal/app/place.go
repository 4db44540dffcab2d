package app

import (
	"cmp"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/config"
	"github.com/ccc-dev/ccc/internal/policy"
	"github.com/ccc-dev/ccc/internal/session"
)

// dirs are the user's directories, see the XDG Base Directory Specification.
type dirs struct {
	home, config, state, data, runtime string
}

// home returns the user's home directory, the one that the password database
// has: HOME can be set to anything, and what it protects depends on it.
func (a *App) home() (string, error) {
	home := a.Home
	if u, err := user.Current(); home == "" && err == nil {
		home = u.HomeDir
	}
	home = cmp.Or(home, a.env("HOME"))
	if !filepath.IsAbs(home) {
		return "", &api.Error{Kind: api.KindUnavailable, Msg: "the home directory is not known", Hint: "export HOME=/home/you"}
	}
	return home, nil
}

// dirs returns the user's directories.
func (a *App) dirs() (dirs, error) {
	home, err := a.home()
	if err != nil {
		return dirs{}, err
	}
	run := a.env("XDG_RUNTIME_DIR")
	if err := private(run); err != nil {
		return dirs{}, err
	}
	return dirs{
		home:    home,
		config:  filepath.Join(a.base("XDG_CONFIG_HOME", home, ".config"), "ccc"),
		state:   filepath.Join(a.base("XDG_STATE_HOME", home, ".local/state"), "ccc"),
		data:    a.base("XDG_DATA_HOME", home, ".local/share"),
		runtime: filepath.Join(run, "ccc"),
	}, nil
}

// base returns a base directory: the variable's value if it is absolute, as the
// specification wants, else the default below the home.
func (a *App) base(variable, home, otherwise string) string {
	if v := a.env(variable); filepath.IsAbs(v) {
		return filepath.Clean(v)
	}
	return filepath.Join(home, otherwise)
}

// private refuses a runtime directory that others can reach into: locks and
// sockets lie there.
func private(dir string) error {
	hint := "log in through a session manager, or: sudo loginctl enable-linger $USER"
	if !filepath.IsAbs(dir) {
		return &api.Error{Kind: api.KindUnavailable, Rule: "runtime.dir", Msg: "XDG_RUNTIME_DIR is not set", Hint: hint}
	}
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return &api.Error{Kind: api.KindUnavailable, Rule: "runtime.dir", Msg: fmt.Sprintf("the runtime directory %s cannot be used", dir), Hint: hint, Err: err}
	}
	if int(st.Uid) != os.Getuid() || st.Mode&0o077 != 0 {
		return &api.Error{Kind: api.KindDenied, Rule: "runtime.dir", Msg: fmt.Sprintf("the runtime directory %s is open to others", dir), Hint: "chmod 0700 " + dir}
	}
	return nil
}

// ground returns the paths that no session may see.
func (d dirs) ground(c *config.Config) policy.Ground {
	g := policy.Ground{Home: real(d.home)}
	for _, own := range []string{
		d.config, d.state, d.runtime, filepath.Dir(d.runtime), string(c.Effective.Audit.Dir), filepath.Join(d.data, "containers"),
	} {
		g.Own = append(g.Own, real(own))
	}
	for _, l := range c.Layers {
		if l.Source == config.SourceProject {
			continue
		}
		for _, p := range l.ProjectsAllow {
			g.Allow = append(g.Allow, real(string(p)))
		}
	}
	return g
}

// real resolves the links of a path as far as it exists.
func real(p string) string {
	if r, err := filepath.EvalSymlinks(p); err == nil {
		return r
	}
	if dir := filepath.Dir(p); dir != p {
		return filepath.Join(real(dir), filepath.Base(p))
	}
	return p
}

// ceilings returns what each configuration file bounds.
func ceilings(c *config.Config) []policy.Ceiling {
	var all []policy.Ceiling
	for _, l := range c.Layers {
		ceiling := policy.Ceiling{
			Source: l.File, Limits: l.Ceiling.Limits, Workspaces: l.Ceiling.Workspaces, Levels: l.Ceiling.Profiles,
			Require: l.Ceiling.Require, Lines: l.Lines,
		}
		for _, p := range l.ProjectsAllow {
			ceiling.Projects = append(ceiling.Projects, real(string(p)))
		}
		if _, stated := l.Stated("mounts.allow"); stated {
			ceiling.Mounts = []string{}
		}
		for _, p := range l.MountsAllow {
			ceiling.Mounts = append(ceiling.Mounts, real(string(p)))
		}
		all = append(all, ceiling)
	}
	return all
}

// defaults returns what fills a request.
func defaults(c *config.Config) session.Defaults {
	e := c.Effective
	return session.Defaults{
		Image: e.Image, Level: e.Profile, Workspace: e.Workspace, MaxSessions: e.MaxSessions,
		Require: stricter(e.Require, c.Lower.Require), Limits: e.Limits, Lower: c.Lower.Limits,
	}
}

// stricter returns the stronger of two requirements.
func stricter(a, b api.Require) api.Require {
	order := []api.Require{"", api.RequireFallback, api.RequireEnforced}
	return order[max(slices.Index(order, a), slices.Index(order, b))]
}

// installed returns where a further program of ccc lies: beside ccc, where a build
// puts it, or in libexec/ccc next to the directory of programs, where an
// installation does (see the Filesystem Hierarchy Standard, 4.7). If it is in
// neither, the name beside ccc is returned: whoever opens it gets to know.
func installed(name string, executable func() (string, error)) string {
	self, err := executable()
	if err == nil {
		// The program itself, not a link to it in a directory of links.
		self, err = filepath.EvalSymlinks(self)
	}
	if err != nil {
		return name
	}
	dir := filepath.Dir(self)
	beside, libexec := filepath.Join(dir, name), filepath.Join(dir, "..", "libexec", "ccc", name)
	if _, err := os.Lstat(beside); err != nil {
		if _, err := os.Lstat(libexec); err == nil {
			return libexec
		}
	}
	return beside
}
