package spec_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/engine/fake"
	"github.com/ccc-dev/ccc/internal/spec"
)

// wanted returns a container with a mount of every sort.
func wanted(t *testing.T, name string) engine.Container {
	t.Helper()
	c := cases[name]
	want, err := spec.Container(grant(t, c.level, c.change), c.paths, created, c.labels)
	if err != nil {
		t.Fatal(err)
	}
	return want
}

func TestCheckAcceptsWhatWasAskedFor(t *testing.T) {
	for name := range cases {
		want := wanted(t, name)
		if bad := spec.Check(want, fake.Spec(want)); len(bad) > 0 {
			t.Errorf("%s: %v", name, bad)
		}
	}
}

// mountAt returns the mount at a point.
func mountAt(s *specs.Spec, point string) *specs.Mount {
	for i := range s.Mounts {
		if s.Mounts[i].Destination == point {
			return &s.Mounts[i]
		}
	}
	panic("no mount at " + point)
}

// instead replaces one option of a mount, or removes it.
func instead(s *specs.Spec, point, old, now string) {
	m := mountAt(s, point)
	i := slices.IndexFunc(m.Options, func(o string) bool { return strings.HasPrefix(o, old) })
	if i < 0 {
		panic(fmt.Sprintf("the mount at %s has %q and no %s", point, m.Options, old))
	}
	m.Options = slices.Clone(m.Options)
	if now == "" {
		m.Options = slices.Delete(m.Options, i, i+1)
		return
	}
	m.Options[i] = now
}

// namespace returns the namespace of a type.
func namespace(s *specs.Spec, kind specs.LinuxNamespaceType) *specs.LinuxNamespace {
	for i := range s.Linux.Namespaces {
		if s.Linux.Namespaces[i].Type == kind {
			return &s.Linux.Namespaces[i]
		}
	}
	panic("no namespace " + kind)
}

// widened are the ways in which a configuration can be wider than asked for.
// names is what the mismatch must name.
var widened = map[string]struct {
	change func(*specs.Spec)
	names  string
}{
	"new privileges":         {func(s *specs.Spec) { s.Process.NoNewPrivileges = false }, "no-new-privileges"},
	"bounding capability":    {func(s *specs.Spec) { s.Process.Capabilities.Bounding = []string{"CAP_SYS_ADMIN"} }, "capabilities"},
	"effective capability":   {func(s *specs.Spec) { s.Process.Capabilities.Effective = []string{"CAP_CHOWN"} }, "capabilities"},
	"permitted capability":   {func(s *specs.Spec) { s.Process.Capabilities.Permitted = []string{"CAP_CHOWN"} }, "capabilities"},
	"inheritable capability": {func(s *specs.Spec) { s.Process.Capabilities.Inheritable = []string{"CAP_CHOWN"} }, "capabilities"},
	"ambient capability":     {func(s *specs.Spec) { s.Process.Capabilities.Ambient = []string{"CAP_CHOWN"} }, "capabilities"},
	"root":                   {func(s *specs.Spec) { s.Process.User.UID = 0 }, "user"},
	"root's group":           {func(s *specs.Spec) { s.Process.User.GID = 0 }, "user"},
	"root's group beside":    {func(s *specs.Spec) { s.Process.User.AdditionalGids = []uint32{1000, 0} }, "groups"},
	"another directory":      {func(s *specs.Spec) { s.Process.Cwd = "/" }, "working directory"},
	"variable of the host":   {func(s *specs.Spec) { s.Process.Env = append(s.Process.Env, "AWS_SECRET=canary-value") }, "AWS_SECRET"},
	"variable of the image":  {func(s *specs.Spec) { s.Process.Env = append(s.Process.Env, "LD_PRELOAD=/evil.so") }, "LD_PRELOAD"},
	"another value":          {func(s *specs.Spec) { s.Process.Env = append(s.Process.Env, "PATH=/evil") }, "PATH"},
	"more open files":        {func(s *specs.Spec) { s.Process.Rlimits[1].Hard *= 2 }, "rlimit"},
	"no limit of core files": {func(s *specs.Spec) {
		s.Process.Rlimits = slices.DeleteFunc(s.Process.Rlimits, func(r specs.POSIXRlimit) bool { return r.Type == "RLIMIT_CORE" })
	}, "rlimit CORE"},
	"another command":         {func(s *specs.Spec) { s.Process.Args = []string{"/.ccc/init", "pid1", "--write", "/"} }, "command"},
	"writable root":           {func(s *specs.Spec) { s.Root.Readonly = false }, "root"},
	"hook before the runtime": {func(s *specs.Spec) { s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/x"}}} }, "hooks"},
	"hook in the container":   {func(s *specs.Spec) { s.Hooks = &specs.Hooks{CreateContainer: []specs.Hook{{Path: "/x"}}} }, "hooks"},
	"hook at the start":       {func(s *specs.Spec) { s.Hooks = &specs.Hooks{StartContainer: []specs.Hook{{Path: "/x"}}} }, "hooks"},
	"hook after the start":    {func(s *specs.Spec) { s.Hooks = &specs.Hooks{Poststart: []specs.Hook{{Path: "/x"}}} }, "hooks"},
	"hook after the stop":     {func(s *specs.Spec) { s.Hooks = &specs.Hooks{Poststop: []specs.Hook{{Path: "/x"}}} }, "hooks"},
	"hook of old runtimes": {func(s *specs.Spec) {
		s.Hooks = &specs.Hooks{Prestart: []specs.Hook{{Path: "/x"}}} //nolint:staticcheck // deprecated, and run all the same
	}, "hooks"},
	"orders to crun":  {func(s *specs.Spec) { s.Annotations = map[string]string{"run.oci.handler": "krun"} }, "run.oci.handler"},
	"no seccomp":      {func(s *specs.Spec) { s.Linux.Seccomp = nil }, "seccomp"},
	"seccomp allows":  {func(s *specs.Spec) { s.Linux.Seccomp.DefaultAction = specs.ActAllow }, "seccomp"},
	"seccomp logs":    {func(s *specs.Spec) { s.Linux.Seccomp.DefaultAction = specs.ActLog }, "seccomp"},
	"seccomp traces":  {func(s *specs.Spec) { s.Linux.Seccomp.DefaultAction = specs.ActTrace }, "seccomp"},
	"seccomp asks":    {func(s *specs.Spec) { s.Linux.Seccomp.DefaultAction = specs.ActNotify }, "seccomp"},
	"kcore":           {unmasked("/proc/kcore"), "/proc/kcore"},
	"keys":            {unmasked("/proc/keys"), "/proc/keys"},
	"timers":          {unmasked("/proc/timer_list"), "/proc/timer_list"},
	"firmware":        {unmasked("/sys/firmware"), "/sys/firmware"},
	"writable sysctl": {func(s *specs.Spec) { s.Linux.ReadonlyPaths = nil }, "/proc/sys"},
	"a device":        {func(s *specs.Spec) { s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/kvm"}} }, "devices"},
	"another mount": {func(s *specs.Spec) {
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/host", Type: "bind", Source: "/"})
	}, "/host"},
	"a second mount on the workspace": {func(s *specs.Spec) {
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/workspace", Type: "bind", Source: "/"})
	}, "/workspace"},
	"no workspace": {func(s *specs.Spec) {
		s.Mounts = slices.DeleteFunc(s.Mounts, func(m specs.Mount) bool { return m.Destination == "/workspace" })
	}, "/workspace"},
	"the host's hosts file": {func(s *specs.Spec) {
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/etc/hosts", Source: "/etc/hosts"})
	}, "/etc/hosts"},
	"the host's users":     {func(s *specs.Spec) { mountAt(s, "/etc/passwd").Source = "/etc/passwd" }, "/etc/passwd"},
	"the host's /proc":     {func(s *specs.Spec) { bindInstead(s, "/proc", "/proc") }, "/proc"},
	"the host's /dev":      {func(s *specs.Spec) { bindInstead(s, "/dev", "/dev") }, "/dev"},
	"the host's terminals": {func(s *specs.Spec) { bindInstead(s, "/dev/pts", "/dev/pts") }, "/dev/pts"},
	"the host's shm":       {func(s *specs.Spec) { bindInstead(s, "/dev/shm", "/dev/shm") }, "/dev/shm"},
	"the host's queues":    {func(s *specs.Spec) { bindInstead(s, "/dev/mqueue", "/dev/mqueue") }, "/dev/mqueue"},
	"the host's /sys":      {func(s *specs.Spec) { bindInstead(s, "/sys", "/sys") }, "/sys"},
	"writable /sys":        {func(s *specs.Spec) { instead(s, "/sys", "ro", "rw") }, "/sys"},
	"the host's cgroups":   {func(s *specs.Spec) { bindInstead(s, "/sys/fs/cgroup", "/sys/fs/cgroup") }, "/sys/fs/cgroup"},
	"another init":         {func(s *specs.Spec) { mountAt(s, "/.ccc/init").Source = "/home/u/evil" }, "/.ccc/init"},
	"a writable init":      {func(s *specs.Spec) { instead(s, "/.ccc/init", "ro", "rw") }, "/.ccc/init"},
	"a life of its own":    {func(s *specs.Spec) { instead(s, "/.ccc/session", "ro", "rw") }, "/.ccc/session"},
	"the engine's init": {func(s *specs.Spec) {
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/run/podman-init", Type: "bind", Source: "/usr/libexec/podman/catatonit", Options: []string{"bind", "ro"}})
	}, "/run/podman-init"},
	"a command below an init": {func(s *specs.Spec) { s.Process.Args = append([]string{"/run/podman-init", "--"}, s.Process.Args...) }, "command"},
	"another lower layer":     {func(s *specs.Spec) { instead(s, "/workspace", "lowerdir=", "lowerdir=/etc") }, "/workspace"},
	"another upper layer":     {func(s *specs.Spec) { instead(s, "/workspace", "upperdir=", "upperdir=/home/u/src/p") }, "/workspace"},
	"a bind for the overlay":  {func(s *specs.Spec) { bindInstead(s, "/workspace", "/home/u/src/p") }, "/workspace"},
	"another source":          {func(s *specs.Spec) { mountAt(s, "/data").Source = "/home/u" }, "/data"},
	"a writable mount":        {func(s *specs.Spec) { instead(s, "/data", "ro", "rw") }, "/data"},
	"a mount with setuid":     {func(s *specs.Spec) { instead(s, "/data", "nosuid", "") }, "/data"},
	"a mount with devices":    {func(s *specs.Spec) { instead(s, "/out", "nodev", "") }, "/out"},
	"a recursive mount":       {func(s *specs.Spec) { instead(s, "/data", "bind", "rbind") }, "/data"},
	"a shared mount":          {func(s *specs.Spec) { instead(s, "/data", "rprivate", "rshared") }, "/data"},
	"another home":            {func(s *specs.Spec) { mountAt(s, "/home/agent").Source = "/fake/volumes/other/_data" }, "/home/agent"},
	"a home with setuid":      {func(s *specs.Spec) { instead(s, "/home/agent", "nosuid", "") }, "/home/agent"},
	"a tmp on disk":           {func(s *specs.Spec) { bindInstead(s, "/tmp", "/tmp") }, "/tmp"},
	"a tmp without a size":    {func(s *specs.Spec) { instead(s, "/tmp", "size=", "") }, "/tmp"},
	"a tmp of another size":   {func(s *specs.Spec) { instead(s, "/tmp", "size=", "size=99999999999") }, "/tmp"},
	"a run with programs":     {func(s *specs.Spec) { instead(s, "/run", "noexec", "") }, "/run"},
	"shared mounts":           {func(s *specs.Spec) { s.Linux.RootfsPropagation = "shared" }, "propagation"},
	"root mapped to root":     {func(s *specs.Spec) { s.Linux.UIDMappings = nil }, "mapping"},
}

func unmasked(p string) func(*specs.Spec) {
	return func(s *specs.Spec) {
		s.Linux.MaskedPaths = slices.DeleteFunc(slices.Clone(s.Linux.MaskedPaths), func(m string) bool { return m == p })
	}
}

// bindInstead mounts a directory of the host in place of what was there.
func bindInstead(s *specs.Spec, point, source string) {
	*mountAt(s, point) = specs.Mount{Destination: point, Type: "bind", Source: source, Options: []string{"rbind", "nosuid", "nodev"}}
}

func TestCheckFindsWhatIsWider(t *testing.T) {
	for name, w := range widened {
		t.Run(name, func(t *testing.T) {
			want := wanted(t, "everything")
			got := fake.Spec(want)
			w.change(got)
			bad := spec.Check(want, got)
			if len(bad) == 0 {
				t.Fatal("it is taken for what was asked for")
			}
			text := fmt.Sprint(bad)
			if !strings.Contains(text, w.names) {
				t.Errorf("%s does not name %s", text, w.names)
			}
			if strings.Contains(text, "canary-value") {
				t.Errorf("a value of the host's is told: %s", text)
			}
		})
	}
}

func TestCheckFindsEveryNamespaceThatIsShared(t *testing.T) {
	for _, kind := range []specs.LinuxNamespaceType{
		specs.UserNamespace, specs.PIDNamespace, specs.MountNamespace, specs.NetworkNamespace, specs.IPCNamespace, specs.UTSNamespace, specs.CgroupNamespace,
	} {
		want := wanted(t, "standard")
		got := fake.Spec(want)
		got.Linux.Namespaces = slices.DeleteFunc(got.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == kind })
		if bad := spec.Check(want, got); len(bad) != 1 || !strings.Contains(bad[0].String(), string(kind)) {
			t.Errorf("without a %s namespace: %v", kind, bad)
		}
		got = fake.Spec(want)
		namespace(got, kind).Path = "/proc/1/ns/" + string(kind)
		if bad := spec.Check(want, got); len(bad) != 1 || !strings.Contains(bad[0].String(), string(kind)) {
			t.Errorf("with the %s namespace of another: %v", kind, bad)
		}
	}
}

func TestCheckOfNothing(t *testing.T) {
	want := wanted(t, "standard")
	whole := fake.Spec(want)
	for name, got := range map[string]*specs.Spec{
		"nil": nil, "empty": {}, "no process": {Linux: whole.Linux, Root: whole.Root},
		"no Linux": {Process: whole.Process, Root: whole.Root}, "no root": {Process: whole.Process, Linux: whole.Linux},
	} {
		if bad := spec.Check(want, got); len(bad) == 0 {
			t.Errorf("%s is taken for what was asked for", name)
		}
	}
}
