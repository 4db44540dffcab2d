package session

import (
	"fmt"
	"strings"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/apparmor"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/guest"
	"github.com/ccc-dev/ccc/internal/kernel"
	"github.com/ccc-dev/ccc/internal/policy"
	"github.com/ccc-dev/ccc/internal/seccomp"
	"github.com/ccc-dev/ccc/internal/spec"
)

// posture says of every control how well it holds, from what was read. It is
// called for a container that passed attestation: what attestation demands is
// enforced, the rest depends on the host. A control that ccc promises and this
// version does not have is listed as missing.
func posture(want engine.Container, f kernel.Facts, t policy.Terms, landlock int, host func() apparmor.Status) api.Posture {
	p := api.Posture{
		{Name: "user-namespace", State: api.StateEnforced, Detail: fmt.Sprintf("uid %d inside is %d outside", want.UID, f.UID)},
		{Name: "capabilities", State: api.StateEnforced, Detail: "none, bounding set empty"},
		{Name: "no-new-privileges", State: api.StateEnforced},
		seccompControl(t),
		lsmControl(f, t, host),
		landlockControl(landlock),
		{Name: "read-only-root", State: api.StateEnforced},
		{Name: "masked-paths", State: api.StateEnforced},
		mountControl(want, f),
		{Name: "network", State: api.StateEnforced, Detail: "no interface but the session's own loopback"},
		memoryControl(want, f.Cgroup),
		bound("cpu", want.CPUs, f.Cgroup.CPUs, api.CPUs(want.CPUs).String()),
		pidsControl(want, f.Cgroup),
		{Name: "tmp-size", State: api.StateEnforced, Detail: api.Bytes(want.Tmpfs[0].Size).String()},
		{Name: "disk", State: api.StateMissing, Detail: "the workspace copy and the home volume are bounded by the disk alone"},
		{Name: "lifetime", State: api.StateEnforced, Detail: t.Limits.TTL.String() + ", ended from inside by ccc-init, else by the engine's monitor"},
		{Name: "idle-time", State: api.StateEnforced, Detail: t.Limits.Idle.String() + " without work, ended from inside by ccc-init"},
		workspaceControl(f, t),
		{Name: "hidden-files", State: api.StateMissing, Detail: "files such as .env are visible inside; keep them out of the project"},
		{Name: "secrets", State: api.StateEnforced, Detail: "nothing of the host's environment, keyrings or sockets is inside"},
	}
	return p
}

// seccompControl says which of the shipped filters is in force; that it is was
// attested. A wider variant than the default one is a fallback.
func seccompControl(t policy.Terms) api.Control {
	c := api.Control{Name: "seccomp", State: api.StateEnforced, Detail: "the filter " + filterName(t) + ", as read back from the runtime's configuration"}
	for _, v := range seccomp.Variants() {
		if v.Name == t.Seccomp && len(v.GivesUp) > 0 {
			c.State, c.Detail = api.StateFallback, "the filter "+filterName(t)+": "+strings.Join(v.GivesUp, "; ")
		}
	}
	return c
}

// landlockControl says what every command is held to: ccc-init refuses to become
// one where the kernel does less.
func landlockControl(abi int) api.Control {
	const held = "each command writes only beneath the workspace, the home and the temporary directories"
	switch {
	case abi == 0:
		return api.Control{Name: "landlock", State: api.StateMissing, Detail: "the kernel does not have it, or too old a version"}
	case abi < guest.LandlockFull:
		return api.Control{Name: "landlock", State: api.StateFallback, Detail: fmt.Sprintf("%s, but for what came after ABI %d: %s", held, abi, landlockLacks(abi))}
	}
	return api.Control{Name: "landlock", State: api.StateEnforced, Detail: held}
}

// landlockLacks names what an ABI does not restrict, see landlock(7).
func landlockLacks(abi int) string {
	if abi < 3 {
		return "truncating files, and device control"
	}
	return "device control"
}

// bound compares a limit with what is in force: enforced if that is as tight.
func bound(name string, want int64, got *int64, show string) api.Control {
	if got == nil {
		return api.Control{Name: name, State: api.StateMissing, Detail: "no control group limits it; run `ccc doctor`"}
	}
	if *got > want {
		return api.Control{Name: name, State: api.StateMissing, Detail: fmt.Sprintf("the control group allows %d instead of %d", *got, want)}
	}
	return api.Control{Name: name, State: api.StateEnforced, Detail: show}
}

// memoryControl needs both: a memory limit that swap gets around is none.
func memoryControl(want engine.Container, g kernel.Cgroup) api.Control {
	c := bound("memory", want.Memory, g.Memory, api.Bytes(want.Memory).String()+", no swap")
	if c.State == api.StateEnforced && (g.Swap == nil || *g.Swap > 0) {
		c.State, c.Detail = api.StateFallback, api.Bytes(want.Memory).String()+", but swap is not limited"
	}
	return c
}

// pidsControl knows one fallback: RLIMIT_NPROC counts the processes of one user
// in one user namespace, and each session has a user namespace of its own.
func pidsControl(want engine.Container, g kernel.Cgroup) api.Control {
	c := bound("pids", want.PIDs, g.PIDs, fmt.Sprint(want.PIDs))
	if c.State == api.StateMissing {
		c.State, c.Detail = api.StateFallback, fmt.Sprintf("%d by RLIMIT_NPROC; no control group limits it", want.PIDs)
	}
	return c
}

// mountControl looks whether what the session can write is mounted nosuid and
// nodev. Old crun (1.8.1) drops both on writable binds although it was told; a
// set-user-id file then still gives nothing, since no-new-privileges is set, and
// a device node opens nothing in a user namespace.
func mountControl(want engine.Container, f kernel.Facts) api.Control {
	c := api.Control{Name: "mount-options", State: api.StateEnforced, Detail: "nosuid and nodev wherever the session can write"}
	points := []string{spec.WorkDir, spec.HomeDir}
	for _, b := range want.Binds {
		points = append(points, b.Target)
	}
	for _, p := range points {
		if m := mountAt(f, p); m == nil || !has(m.Options, "nosuid") || !has(m.Options, "nodev") {
			c.State = api.StateFallback
			c.Detail = "the runtime did not set nosuid and nodev on " + p + "; no-new-privileges and the user namespace stand in"
		}
	}
	return c
}

func workspaceControl(f kernel.Facts, t policy.Terms) api.Control {
	if t.Workspace != api.WorkspaceBind {
		return api.Control{Name: "workspace", State: api.StateEnforced, Detail: "copy-on-write; the project is never written"}
	}
	c := api.Control{Name: "workspace", State: api.StateFallback, Detail: "live and writable; files that run by themselves are read-only where they exist"}
	if f.LSM == apparmor.For(t.Seccomp, t.Workspace).Name+" (enforce)" {
		c.Detail = "live and writable; files that run by themselves are read-only, whether they exist or not"
	}
	return c
}
