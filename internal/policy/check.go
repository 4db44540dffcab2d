package policy

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/profile"
	"github.com/ccc-dev/ccc/internal/seccomp"
)

// checkQuota refuses one session too many.
func checkQuota(in *Input) error {
	if in.MaxSessions > 0 && in.Sessions >= int(in.MaxSessions) {
		return &api.Error{
			Kind: api.KindLimit, Rule: "sessions.max",
			Msg:  fmt.Sprintf("there are %d sessions, and at most %d are allowed", in.Sessions, in.MaxSessions),
			Hint: "ccc session list, then ccc session rm NAME",
		}
	}
	return nil
}

// checkLevel refuses a level that a ceiling does not list.
func checkLevel(in *Input) error {
	for _, c := range in.Ceilings {
		if len(c.Levels) > 0 && !slices.Contains(c.Levels, in.Level.Name) {
			return c.deny("profiles", "profile %q is not allowed here; allowed: %v", in.Level.Name, c.Levels)
		}
	}
	return nil
}

// checkWorkspace refuses a mode that the level or a ceiling does not list.
func checkWorkspace(in *Input) error {
	if !slices.Contains(in.Level.Workspaces, in.Request.Workspace) {
		return api.Deniedf("profile.workspaces", "use another --profile, or --workspace "+string(in.Level.Workspaces[0]),
			"profile %q does not allow workspace %q", in.Level.Name, in.Request.Workspace)
	}
	return checkWorkspaceCeilings(in)
}

// checkWorkspaceCeilings refuses a mode that a ceiling does not list.
func checkWorkspaceCeilings(in *Input) error {
	for _, c := range in.Ceilings {
		if len(c.Workspaces) > 0 && !slices.Contains(c.Workspaces, in.Request.Workspace) {
			return c.deny("workspaces", "workspace %q is not allowed here; allowed: %v", in.Request.Workspace, c.Workspaces)
		}
	}
	return nil
}

// checkProject refuses a project that lies where none may.
func checkProject(in *Input) error {
	if !in.Project.Dir {
		return api.Invalidf("give a directory", "project %q is not a directory", in.Project.Path).By("project.kind")
	}
	if err := checkPlace("project", in.Project, in.Ground); err != nil {
		return err
	}
	for _, c := range in.Ceilings {
		if !withinAny(in.Project.Path, c.Projects) {
			return c.deny("projects.allow", "project %q is not below any of %v", in.Project.Path, c.Projects)
		}
	}
	return nil
}

// withinAny tells whether p lies below one of the prefixes; nil bounds nothing.
func withinAny(p string, prefixes []string) bool {
	return prefixes == nil || slices.ContainsFunc(prefixes, func(dir string) bool { return within(p, dir) })
}

// checkMounts refuses further host paths that the level or the host's paths do
// not allow, and targets inside the session that would cover its own walls.
func checkMounts(in *Input) error {
	for i, m := range in.Request.Mounts {
		switch mode := in.Level.Mounts; {
		case mode == profile.MountNone || mode == "":
			return api.Deniedf("profile.mounts", "use another --profile", "profile %q allows no further mounts", in.Level.Name)
		case m.Writable && mode != profile.MountWrite:
			return api.Deniedf("profile.mounts", "mount without :rw, or use another --profile", "profile %q allows no writable mounts", in.Level.Name)
		}
		if err := checkPlace("mount", in.Mounts[i], in.Ground); err != nil {
			return err
		}
		if err := checkMountCeilings(in.Mounts[i].Path, in.Ceilings); err != nil {
			return err
		}
		if err := checkTarget(m.Target); err != nil {
			return err
		}
	}
	return nil
}

// checkMountCeilings refuses a mount that no configuration lists. A project is
// named by the person who works on it; a further path may come from anybody who
// can make a request, so the person allows it beforehand.
func checkMountCeilings(source string, ceilings []Ceiling) error {
	listed := false
	for _, c := range ceilings {
		if !withinAny(source, c.Mounts) {
			return c.deny("mounts.allow", "mount %q is not below any of %v", source, c.Mounts)
		}
		listed = listed || c.Mounts != nil
	}
	if !listed {
		return api.Deniedf("mounts.allow", "list its directory under mounts.allow in ~/.config/ccc/config.yaml",
			"mount %q is not allowed by any configuration", source)
	}
	return nil
}

// ownTargets are the paths inside a session that belong to ccc or to the
// kernel; a mount there, below or above would change what the walls rest on.
var ownTargets = []string{"/workspace", "/home", "/tmp", "/run", "/dev", "/proc", "/sys", "/etc", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/.ccc"}

func checkTarget(target string) error {
	for _, own := range ownTargets {
		if within(target, own) || within(own, target) {
			return api.Deniedf("mount.target", "choose another target, for example /data",
				"nothing can be mounted at %q: %s belongs to the session itself", target, own)
		}
	}
	return nil
}

// checkFilter refuses a system call filter that allows what no file of a user's
// own may allow. The list is the same for every ceiling: whatever a level says,
// it can only lead to a shipped filter and calls that were found harmless.
func checkFilter(in *Input) error {
	_, err := seccomp.Filter(in.Filter.Base, in.Filter.Calls())
	if e, ok := errors.AsType[*api.Error](err); ok && in.Filter.Source != "" {
		named := *e
		named.Msg += " (" + in.Filter.Source + ")"
		named.Hint = "edit " + in.Filter.Source
		return &named
	}
	return err
}

// checkLimits refuses a limit above a ceiling.
func checkLimits(in *Input) error {
	asked := in.Request.Limits
	for _, c := range in.Ceilings {
		for _, l := range []struct {
			key       string
			ask, most int64
			show      fmt.Stringer
		}{
			{"memory", int64(asked.Memory), int64(c.Limits.Memory), c.Limits.Memory},
			{"cpus", int64(asked.CPUs), int64(c.Limits.CPUs), c.Limits.CPUs},
			{"pids", int64(asked.PIDs), int64(c.Limits.PIDs), c.Limits.PIDs},
			{"nofile", int64(asked.NoFile), int64(c.Limits.NoFile), c.Limits.NoFile},
			{"tmp", int64(asked.Tmp), int64(c.Limits.Tmp), c.Limits.Tmp},
			{"ttl", int64(asked.TTL), int64(c.Limits.TTL), c.Limits.TTL},
			{"idle", int64(asked.Idle), int64(c.Limits.Idle), c.Limits.Idle},
		} {
			if l.most > 0 && l.ask > l.most {
				return c.deny("limits."+l.key, "%s is above the ceiling of %s", l.key, l.show)
			}
		}
	}
	return nil
}

// deny returns a refusal that names the ceiling's file and line.
func (c Ceiling) deny(key, format string, args ...any) error {
	where := c.Source
	if line := c.Lines["ceiling."+key]; line > 0 {
		where = fmt.Sprintf("%s:%d", where, line)
	} else if line := c.Lines[key]; line > 0 {
		where = fmt.Sprintf("%s:%d", where, line)
	}
	e := api.Deniedf("ceiling."+key, "ask for less, or edit "+c.Source, format, args...)
	e.Msg += " (" + where + ")"
	return e
}
