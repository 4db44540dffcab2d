package spec

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ccc-dev/ccc/internal/engine"
)

// Mismatch is one way in which the container that exists is not the one that
// was asked for.
type Mismatch struct {
	// Field names the part of the configuration.
	Field string
	// Want and Got describe what was asked for and what is there.
	Want, Got string
}

// String renders the mismatch in one line.
func (m Mismatch) String() string { return fmt.Sprintf("%s: want %s, got %s", m.Field, m.Want, m.Got) }

// engineMounts are the mounts that an engine adds by itself, with the types that
// make them the container's own and not the host's of the same name.
var engineMounts = map[string][]string{
	"/proc": {"proc"}, "/dev": {"tmpfs"}, "/dev/pts": {"devpts"}, "/dev/mqueue": {"mqueue"},
	"/sys": {"sysfs"}, "/sys/fs/cgroup": {"cgroup", "cgroup2"},
}

// engineFiles are files and directories that an engine makes for one container
// and mounts into it. Their sources must be such, not the host's of the same
// name.
var engineFiles = []string{
	"/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/etc/passwd", "/etc/group", "/run/.containerenv", "/dev/shm",
}

// addedByEngine tells whether a mount that nobody asked for is one of those.
func addedByEngine(m specs.Mount) bool {
	switch {
	case slices.Contains(engineFiles, m.Destination):
		return strings.HasSuffix(m.Source, "/userdata/"+path.Base(m.Destination)) || m.Destination == "/dev/shm" && m.Type == "tmpfs"
	case m.Destination == "/sys" && !slices.Contains(m.Options, "ro"):
		return false
	}
	return slices.Contains(engineMounts[m.Destination], m.Type)
}

// masked are the kernel files that must not be readable inside: together with
// the read-only ones they are the runtime's default set.
var masked = []string{"/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"}

// Check compares the configuration that the OCI runtime was given with the
// container that was asked for, and returns every difference that would make
// the session wider. It checks what is there, not how it was written: an
// engine may add protections of its own.
func Check(want engine.Container, got *specs.Spec) []Mismatch {
	if got == nil || got.Process == nil || got.Linux == nil || got.Root == nil {
		return []Mismatch{{"configuration", "an OCI configuration", "none"}}
	}
	var bad []Mismatch
	bad = append(bad, checkProcess(want, got.Process)...)
	bad = append(bad, checkLinux(got.Linux)...)
	bad = append(bad, checkMappings(want, got.Linux)...)
	bad = append(bad, checkMounts(want, got.Mounts)...)
	if !got.Root.Readonly {
		bad = append(bad, Mismatch{"root", "read-only", "writable"})
	}
	if h := got.Hooks; h != nil {
		//nolint:staticcheck // prestart hooks are deprecated, and run all the same
		if n := len(h.Prestart) + len(h.CreateRuntime) + len(h.CreateContainer) + len(h.StartContainer) + len(h.Poststart) + len(h.Poststop); n > 0 {
			bad = append(bad, Mismatch{"hooks", "none", fmt.Sprint(n)})
		}
	}
	for key := range got.Annotations {
		// crun takes orders from these: raw seccomp programs, handlers, hooks.
		if strings.HasPrefix(key, "run.oci.") {
			bad = append(bad, Mismatch{"annotation", "no run.oci.*", key})
		}
	}
	return bad
}

// checkProcess compares the first process's privileges and surroundings.
func checkProcess(want engine.Container, p *specs.Process) []Mismatch {
	var bad []Mismatch
	if !p.NoNewPrivileges {
		bad = append(bad, Mismatch{"no-new-privileges", "true", "false"})
	}
	if c := p.Capabilities; c != nil {
		for _, set := range [][]string{c.Bounding, c.Effective, c.Permitted, c.Inheritable, c.Ambient} {
			if len(set) > 0 {
				bad = append(bad, Mismatch{"capabilities", "none", strings.Join(set, " ")})
			}
		}
	}
	bad = append(bad, checkUser(want, p.User)...)
	if !slices.Equal(p.Args, want.Argv) {
		bad = append(bad, Mismatch{"command", strings.Join(want.Argv, " "), strings.Join(p.Args, " ")})
	}
	if p.Cwd != want.Dir {
		bad = append(bad, Mismatch{"working directory", want.Dir, p.Cwd})
	}
	bad = append(bad, checkEnv(want, p.Env)...)
	for _, name := range slices.Sorted(maps.Keys(want.Rlimits)) {
		i := slices.IndexFunc(p.Rlimits, func(r specs.POSIXRlimit) bool { return r.Type == "RLIMIT_"+name })
		if i < 0 || p.Rlimits[i].Hard > want.Rlimits[name] {
			bad = append(bad, Mismatch{"rlimit " + name, fmt.Sprint(want.Rlimits[name]), fmt.Sprint(p.Rlimits)})
		}
	}
	return bad
}

// checkUser compares who the first process is. Another group than its own would
// open files of the host that the group may read.
func checkUser(want engine.Container, u specs.User) []Mismatch {
	var bad []Mismatch
	if u.UID != want.UID || u.GID != want.GID {
		bad = append(bad, Mismatch{"user", fmt.Sprintf("%d:%d", want.UID, want.GID), fmt.Sprintf("%d:%d", u.UID, u.GID)})
	}
	for _, g := range u.AdditionalGids {
		if g != want.GID {
			bad = append(bad, Mismatch{"groups", fmt.Sprint(want.GID), fmt.Sprint(u.AdditionalGids)})
		}
	}
	return bad
}

// checkEnv finds variables that nobody asked for: an image can make an engine
// copy the host's (CVE-2026-57231). container, HOSTNAME and TERM are the
// engine's own.
func checkEnv(want engine.Container, got []string) []Mismatch {
	var bad []Mismatch
	for _, e := range got {
		key, value, _ := strings.Cut(e, "=")
		if w, asked := want.Env[key]; asked && w == value {
			continue
		}
		if key != "container" && key != "HOSTNAME" && key != "TERM" {
			// The value may be a secret of the host: it is not repeated.
			bad = append(bad, Mismatch{"environment", "only what was asked for", key})
		}
	}
	return bad
}

// checkLinux checks namespaces, system call filter and masked paths.
func checkLinux(l *specs.Linux) []Mismatch {
	var bad []Mismatch
	for _, ns := range []specs.LinuxNamespaceType{
		specs.UserNamespace, specs.PIDNamespace, specs.MountNamespace, specs.NetworkNamespace, specs.IPCNamespace, specs.UTSNamespace,
		specs.CgroupNamespace,
	} {
		// One with a path is joined, and was there before.
		if !slices.ContainsFunc(l.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == ns && n.Path == "" }) {
			bad = append(bad, Mismatch{"namespaces", "a " + string(ns) + " namespace of its own", "none"})
		}
	}
	// Not "unless it allows": some actions let another process decide.
	if l.Seccomp == nil || !slices.Contains(denials, l.Seccomp.DefaultAction) {
		bad = append(bad, Mismatch{"seccomp", "a filter that denies by default", "none"})
	}
	for _, m := range masked {
		if !slices.ContainsFunc(l.MaskedPaths, func(p string) bool { return p == m }) {
			bad = append(bad, Mismatch{"masked paths", m, "not masked"})
		}
	}
	if !slices.Contains(l.ReadonlyPaths, "/proc/sys") {
		bad = append(bad, Mismatch{"read-only paths", "/proc/sys", "writable"})
	}
	if len(l.Devices) > 0 {
		bad = append(bad, Mismatch{"devices", "none", fmt.Sprint(len(l.Devices))})
	}
	if spreads(l.RootfsPropagation) {
		bad = append(bad, Mismatch{"propagation", "private", l.RootfsPropagation})
	}
	return bad
}

// denials are the actions of a system call filter that deny.
var denials = []specs.LinuxSeccompAction{specs.ActErrno, specs.ActKill, specs.ActKillProcess, specs.ActKillThread, specs.ActTrap}

// spreads tells whether a mount with this option passes mounts on, in or out.
func spreads(option string) bool {
	return slices.Contains([]string{"shared", "rshared", "slave", "rslave"}, option)
}

// checkMappings checks that the user inside is the calling user outside, who is
// user 0 of the namespace in which a rootless engine lives, and nobody else is.
func checkMappings(want engine.Container, l *specs.Linux) []Mismatch {
	var bad []Mismatch
	for _, m := range []struct {
		what string
		id   uint32
		got  []specs.LinuxIDMapping
	}{{"user mapping", want.UID, l.UIDMappings}, {"group mapping", want.GID, l.GIDMappings}} {
		own := slices.Contains(m.got, specs.LinuxIDMapping{ContainerID: m.id, HostID: 0, Size: 1})
		others := slices.DeleteFunc(slices.Clone(m.got), func(i specs.LinuxIDMapping) bool { return i.HostID != 0 })
		if !own || len(others) != 1 {
			bad = append(bad, Mismatch{m.what, fmt.Sprintf("%d, and it alone, is the calling user", m.id), fmt.Sprint(m.got)})
		}
	}
	return bad
}

// checkMounts checks that every mount asked for is there as asked, and that
// nothing else of the host is.
func checkMounts(want engine.Container, got []specs.Mount) []Mismatch {
	var bad []Mismatch
	asked := map[string]func(specs.Mount) string{}
	for _, b := range want.Binds {
		asked[b.Target] = func(m specs.Mount) string { return bindFault(b, m) }
	}
	for _, o := range want.Overlays {
		asked[o.Target] = func(m specs.Mount) string { return overlayFault(o, m) }
	}
	for _, h := range want.Homes {
		asked[h.Target] = func(m specs.Mount) string {
			if path.Base(path.Dir(m.Source)) != h.Volume {
				return "source " + m.Source
			}
			return optionFault(m, "nosuid", "nodev")
		}
	}
	for _, t := range want.Tmpfs {
		asked[t.Target] = func(m specs.Mount) string { return tmpfsFault(t, m) }
	}
	for _, m := range got {
		check, ours := asked[m.Destination]
		switch {
		case ours:
			delete(asked, m.Destination)
			if fault := check(m); fault != "" {
				bad = append(bad, Mismatch{"mount " + m.Destination, "as asked for", fault})
			}
		case !addedByEngine(m):
			bad = append(bad, Mismatch{"mount " + m.Destination, "none", m.Type + " " + m.Source})
		}
	}
	for _, target := range slices.Sorted(maps.Keys(asked)) {
		bad = append(bad, Mismatch{"mount " + target, "there", "missing"})
	}
	return bad
}

func bindFault(b engine.Bind, m specs.Mount) string {
	if m.Type != "bind" {
		return m.Type + " instead of a bind"
	}
	if slices.Contains(m.Options, "rbind") {
		return "with what is mounted below it"
	}
	if m.Source != b.Source {
		return "source " + m.Source
	}
	if !b.Writable && !slices.Contains(m.Options, "ro") {
		return "writable"
	}
	return optionFault(m, "nosuid", "nodev")
}

func overlayFault(o engine.Overlay, m specs.Mount) string {
	if m.Type != "overlay" {
		return m.Type + " instead of an overlay"
	}
	return optionFault(m, "lowerdir="+o.Lower, "upperdir="+o.Upper, "workdir="+o.Work)
}

func tmpfsFault(t engine.Tmpfs, m specs.Mount) string {
	if m.Type != "tmpfs" {
		return m.Type + " instead of a tmpfs"
	}
	need := []string{fmt.Sprintf("size=%d", t.Size), "nosuid", "nodev"}
	if t.NoExec {
		need = append(need, "noexec")
	}
	return optionFault(m, need...)
}

// optionFault names the first option that is missing, or that passes mounts on.
func optionFault(m specs.Mount, need ...string) string {
	if i := slices.IndexFunc(m.Options, spreads); i >= 0 {
		return m.Options[i]
	}
	for _, o := range need {
		if !slices.Contains(m.Options, o) {
			return "without " + o
		}
	}
	return ""
}
