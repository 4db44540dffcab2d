package session

import (
	"context"
	"fmt"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/guest"
	"github.com/ccc-dev/ccc/internal/kernel"
	"github.com/ccc-dev/ccc/internal/policy"
	"github.com/ccc-dev/ccc/internal/seccomp"
	"github.com/ccc-dev/ccc/internal/spec"
	"github.com/ccc-dev/ccc/internal/workspace"
)

// attest holds a running container against what was granted: the configuration
// that the OCI runtime really got, and what the kernel says of the first
// process. It returns the posture, or an error that names every difference. A
// container that differs must not be used: something between us and the kernel
// did not do what it was told.
func (c *Core) attest(ctx context.Context, want engine.Container, in engine.Instance, t policy.Terms) (api.Posture, error) {
	bad := spec.Check(want, in.Spec)
	bad = append(bad, c.checkFilter(t, in.Spec)...)
	points := make([]string, 0, len(t.Mounts)+3)
	points = append(points, spec.WorkDir, guest.Path, guest.SessionDir)
	for _, m := range t.Mounts {
		points = append(points, m.Target)
	}
	facts, err := c.settled(ctx, in.PID, points, want.PIDs)
	if err != nil {
		return nil, fmt.Errorf("attest: %w", err)
	}
	bad = append(bad, checkFacts(facts, t)...)
	bad = append(bad, checkGuest(want, facts)...)
	if err := differs(bad); err != nil {
		return nil, err
	}
	return posture(want, facts, t, c.landlock(), c.AppArmor.Status), nil
}

// attestView does the rest for a container that has just been started: its view
// of the project was made from a path. Later the project may change under it, as
// when an editor puts a new file in the place of the old one, and that is none of
// the session's doing.
func (c *Core) attestView(in engine.Instance, t policy.Terms) error {
	if t.Workspace != api.WorkspaceOverlay {
		return nil
	}
	view, err := c.checkView(in.PID, t)
	if err != nil {
		return fmt.Errorf("attest: %w", err)
	}
	return differs(view)
}

// differs returns the error that names every difference, nil for none.
func differs(bad []spec.Mismatch) error {
	if len(bad) == 0 {
		return nil
	}
	lines := make([]string, len(bad))
	for i, m := range bad {
		lines[i] = m.String()
	}
	return &api.Error{
		Kind: api.KindDegraded, Rule: "attest",
		Msg:  "the container is not what was asked for: " + strings.Join(lines, "; "),
		Hint: "run `ccc doctor`; if it finds nothing, please report this",
	}
}

// checkFilter compares the system call filter that the OCI runtime was given
// with the one that was granted: between the two stand a file, the engine's
// reading of it, and whatever the image or the host's configuration had to say.
func (c *Core) checkFilter(t policy.Terms, got *specs.Spec) []spec.Mismatch {
	var want *specs.LinuxSeccomp
	content, err := c.filter(t)
	if err == nil {
		want, err = seccomp.Parse(content)
	}
	if err == nil && got != nil && got.Linux != nil {
		err = seccomp.Compare(want, got.Linux.Seccomp)
	}
	if err == nil {
		return nil
	}
	return []spec.Mismatch{{Field: "seccomp", Want: "the filter " + filterName(t), Got: err.Error()}}
}

// settled returns the facts of a container's first process once it is that. The
// engine says that a container runs as soon as the OCI runtime was told to go
// on; the runtime then sets the system call filter, as the last thing before it
// executes the program, so that for a moment there is none; and the program, which
// is ccc-init, then limits its processes. What is not there after some time is not
// coming.
func (c *Core) settled(ctx context.Context, pid int, points []string, processes int64) (kernel.Facts, error) {
	const longest = time.Second
	for wait := time.Millisecond; ; wait *= 2 {
		f, err := c.Kernel.Process(pid, points)
		begun := f.Seccomp == seccompFilter && f.Processes != nil && *f.Processes <= processes
		if err != nil || begun || wait > longest {
			return f, err
		}
		select {
		case <-ctx.Done():
			return f, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// seccompFilter is the mode of a process with a system call filter (seccomp(2)).
const seccompFilter = 2

// checkFacts returns what the kernel contradicts.
func checkFacts(f kernel.Facts, t policy.Terms) []spec.Mismatch {
	var bad []spec.Mismatch
	expect := func(ok bool, field, want string, got any) {
		if !ok {
			bad = append(bad, spec.Mismatch{Field: field, Want: want, Got: fmt.Sprint(got)})
		}
	}
	expect(f.NoNewPrivs, "NoNewPrivs", "1", 0)
	expect(f.CapBounding == 0, "CapBnd", "0", fmt.Sprintf("%x", f.CapBounding))
	expect(f.CapEffective == 0, "CapEff", "0", fmt.Sprintf("%x", f.CapEffective))
	expect(f.Seccomp == seccompFilter, "Seccomp", "2", f.Seccomp)
	expect(f.UID != 0, "Uid", "the user's own", f.UID)
	expect(f.Processes != nil && *f.Processes <= int64(t.Limits.PIDs), "Max processes", t.Limits.PIDs.String(), shownLimit(f.Processes))
	expect(f.UserNamespace, "user namespace", "its own", "the host's")
	expect(len(f.NetworkInterfaces) == 0, "network", "no interface", f.NetworkInterfaces)
	root := mountAt(f, "/")
	expect(root != nil && has(root.Options, "ro"), "root mount", "read-only", root)
	work := mountAt(f, spec.WorkDir)
	expect(work != nil && shows(*work, t.Project, t.Workspace), "workspace", "the project that was checked", work)
	for _, m := range t.Mounts {
		at := mountAt(f, m.Target)
		expect(at != nil && at.Dev == m.Dev && at.Ino == m.Ino, "mount "+m.Target, "the path that was checked", at)
	}
	return bad
}

// shownLimit renders a limit that may not be there.
func shownLimit(n *int64) string {
	if n == nil {
		return "unlimited"
	}
	return fmt.Sprint(*n)
}

// checkGuest holds what ccc brings into a session against the files on the host:
// the program that every command begins as, and the directory that says when the
// session ends.
func checkGuest(want engine.Container, f kernel.Facts) []spec.Mismatch {
	var bad []spec.Mismatch
	for _, b := range want.Binds {
		if b.Target != guest.Path && b.Target != guest.SessionDir {
			continue
		}
		var st unix.Stat_t
		at := mountAt(f, b.Target)
		if err := unix.Lstat(b.Source, &st); err != nil || at == nil || at.Dev != st.Dev || at.Ino != st.Ino || !has(at.Options, "ro") {
			bad = append(bad, spec.Mismatch{Field: "mount " + b.Target, Want: "the file of the host, read-only", Got: fmt.Sprint(at)})
		}
	}
	return bad
}

// shows tells whether a mount leads to the place that policy saw. A bind shows
// the very directory. An overlay has an identity of its own and names the path
// of its lower directory; what that led to is checked by checkView.
func shows(m kernel.Mount, p policy.Place, w api.Workspace) bool {
	if w == api.WorkspaceBind {
		return m.Dev == p.Dev && m.Ino == p.Ino
	}
	return m.Type == "overlay" && has(m.SuperOptions, "lowerdir="+p.Path)
}

// checkView looks for signs that the lower directory of an overlay is not the
// project that policy saw: a component of its path may have been swapped for a
// link while the engine mounted it, and swapped back. Whatever the session sees
// must be in the project, files as the same inode (overlayfs passes the lower
// layer's inode numbers on, see its kernel documentation), or in the session's
// own upper layer.
//
// Files may come and go on the host meanwhile, so a difference counts only if
// it stays.
func (c *Core) checkView(pid int, t policy.Terms) ([]spec.Mismatch, error) {
	const most, tries = 128, 3
	for try := 1; ; try++ {
		seen, err := c.Kernel.Entries(pid, spec.WorkDir, most)
		if err != nil {
			return nil, err
		}
		stray, err := workspace.Stray(t.Project, c.Dirs.Upper(t.ID), seen)
		if err != nil {
			return nil, err
		}
		if stray == "" {
			return nil, nil
		}
		if try == tries {
			return []spec.Mismatch{{Field: "workspace", Want: "only what the project holds", Got: api.Printable(stray)}}, nil
		}
	}
}

// mountAt returns the last mount on a point, the one that is seen.
func mountAt(f kernel.Facts, point string) *kernel.Mount {
	for i := len(f.Mounts) - 1; i >= 0; i-- {
		if f.Mounts[i].Point == point {
			return &f.Mounts[i]
		}
	}
	return nil
}

func has(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}
