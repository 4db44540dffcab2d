package fake

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/ccc-dev/ccc/internal/engine"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// checkSources refuses mounts of what is not there, as a real engine does.
func checkSources(c engine.Container) error {
	var sources []string
	for _, b := range c.Binds {
		sources = append(sources, b.Source)
	}
	for _, o := range c.Overlays {
		sources = append(sources, o.Lower, o.Upper, o.Work)
	}
	if c.Seccomp != "" {
		sources = append(sources, c.Seccomp)
	}
	for _, s := range sources {
		if _, err := os.Stat(s); err != nil {
			return notFound("mount source", s)
		}
	}
	return nil
}

// Spec returns the OCI configuration that Podman 4.3 writes for the container, as
// far as it depends on the container: tests of what reads it back need one that
// is right. It is pure.
func Spec(c engine.Container) *specs.Spec {
	env := []string{"HOSTNAME=" + c.Hostname}
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		env = append(env, name+"="+c.Env[name])
	}
	umask := uint32(0o022)
	s := &specs.Spec{
		Version: "1.0.2",
		Process: &specs.Process{
			User:            specs.User{UID: c.UID, GID: c.GID, Umask: &umask, AdditionalGids: []uint32{c.GID}},
			Args:            first(c),
			Env:             env,
			Cwd:             c.Dir,
			Capabilities:    &specs.LinuxCapabilities{},
			NoNewPrivileges: true,
		},
		Root:     &specs.Root{Path: "/fake/merged", Readonly: true},
		Hostname: c.Hostname,
		Mounts:   mounts(c),
		Linux:    linux(c),
	}
	for _, name := range slices.Sorted(maps.Keys(c.Rlimits)) {
		s.Process.Rlimits = append(s.Process.Rlimits, specs.POSIXRlimit{Type: "RLIMIT_" + name, Soft: c.Rlimits[name], Hard: c.Rlimits[name]})
	}
	return s
}

// first returns the command of the first process.
func first(c engine.Container) []string {
	if c.Reap {
		return append([]string{"/run/podman-init", "--"}, c.Argv...)
	}
	return c.Argv
}

// mounts returns what is mounted: what every container has, then c's own. Podman
// adds /etc/passwd and /etc/group only where the image does not know the user.
func mounts(c engine.Container) []specs.Mount {
	list := []specs.Mount{
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "noexec", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/etc/hostname", Type: "bind", Source: "/fake/userdata/hostname", Options: []string{"bind", "rprivate", "ro", "nosuid", "noexec", "nodev"}},
		{Destination: "/etc/passwd", Type: "bind", Source: "/fake/userdata/passwd", Options: []string{"bind", "rprivate", "ro", "nosuid", "noexec", "nodev"}},
		{Destination: "/etc/group", Type: "bind", Source: "/fake/userdata/group", Options: []string{"bind", "rprivate", "ro", "nosuid", "noexec", "nodev"}},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"rprivate", "nosuid", "noexec", "nodev", "relatime", "ro"}},
	}
	if c.Reap {
		list = append(list, specs.Mount{Destination: "/run/podman-init", Type: "bind", Source: "/usr/libexec/podman/catatonit", Options: []string{"bind", "ro", "rprivate"}})
	}
	if !slices.ContainsFunc(c.Tmpfs, func(t engine.Tmpfs) bool { return t.Target == "/run" }) {
		list = append(list, specs.Mount{
			Destination: "/run/.containerenv", Type: "bind", Source: "/fake/userdata/.containerenv",
			Options: []string{"bind", "rprivate", "ro", "nosuid", "noexec", "nodev"},
		})
	}
	shm := engine.Tmpfs{Target: "/dev/shm", Size: max(c.ShmSize, 4096), Mode: 0o777 | fs.ModeSticky, NoExec: true}
	for _, t := range append(slices.Clone(c.Tmpfs), shm) {
		mode := uint32(t.Mode.Perm())
		if t.Mode&fs.ModeSticky != 0 {
			mode |= 0o1000
		}
		options := []string{"nosuid", "nodev", fmt.Sprintf("size=%d", t.Size), fmt.Sprintf("mode=%04o", mode)}
		if t.NoExec {
			options = append(options, "noexec")
		}
		list = append(list, specs.Mount{Destination: t.Target, Type: "tmpfs", Source: "tmpfs", Options: append(options, "rw", "rprivate")})
	}
	for _, b := range c.Binds {
		access := "ro"
		if b.Writable {
			access = "rw"
		}
		list = append(list, specs.Mount{Destination: b.Target, Type: "bind", Source: b.Source, Options: []string{"bind", "rprivate", "nosuid", "nodev", access}})
	}
	for _, h := range c.Homes {
		list = append(list, specs.Mount{Destination: h.Target, Type: "bind", Source: "/fake/volumes/" + h.Volume + "/_data", Options: []string{"nosuid", "nodev", "rw", "rprivate", "rbind"}})
	}
	for _, o := range c.Overlays {
		list = append(list, specs.Mount{
			Destination: o.Target, Type: "overlay", Source: "/fake/userdata/overlay/merge",
			Options: []string{"lowerdir=" + o.Lower, "upperdir=" + o.Upper, "workdir=" + o.Work, "private", "userxattr"},
		})
	}
	return list
}

func linux(c engine.Container) *specs.Linux {
	quota, period := max(c.CPUs*100, 1000), uint64(100_000)
	memory := c.Memory
	errno := uint(38)
	// As Podman maps them: ids of the container's user namespace to those of
	// the engine's, in which the calling user is 0.
	mapping := func(id uint32) []specs.LinuxIDMapping {
		return []specs.LinuxIDMapping{
			{ContainerID: 0, HostID: 1, Size: id},
			{ContainerID: id, HostID: 0, Size: 1},
			{ContainerID: id + 1, HostID: id + 1, Size: 65536 - id},
		}
	}
	return &specs.Linux{
		UIDMappings: mapping(c.UID),
		GIDMappings: mapping(c.GID),
		Sysctl:      map[string]string{"net.ipv4.ping_group_range": "0 0"},
		Resources: &specs.LinuxResources{
			Memory: &specs.LinuxMemory{Limit: &memory, Swap: &memory},
			CPU:    &specs.LinuxCPU{Quota: &quota, Period: &period},
			Pids:   &specs.LinuxPids{Limit: c.PIDs},
		},
		Namespaces: []specs.LinuxNamespace{
			{Type: specs.PIDNamespace}, {Type: specs.NetworkNamespace}, {Type: specs.IPCNamespace}, {Type: specs.UTSNamespace},
			{Type: specs.MountNamespace}, {Type: specs.UserNamespace}, {Type: specs.CgroupNamespace},
		},
		Seccomp: &specs.LinuxSeccomp{
			DefaultAction: specs.ActErrno, DefaultErrnoRet: &errno,
			Architectures: []specs.Arch{specs.ArchX86_64},
			Syscalls:      []specs.LinuxSyscall{{Names: []string{"exit", "exit_group", "read", "write"}, Action: specs.ActAllow}},
		},
		MaskedPaths: []string{
			"/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
			"/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/fs/selinux", "/sys/dev/block",
		},
		ReadonlyPaths: []string{"/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
	}
}
