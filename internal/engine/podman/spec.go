package podman

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"syscall"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/containers/podman/v5/pkg/specgen"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"go.podman.io/image/v5/manifest"
)

// maxLog bounds what Podman keeps of a container's output; older lines go.
const maxLog = 10 << 20

// Spec translates a container into what Podman is asked for, for the user
// hostUID and a Podman of the given version. It is the only place where this is
// done, and pure. It returns a [api.KindInvalid] error for a container that is
// not valid, and [api.KindUnavailable] if this Podman cannot do what is meant.
func Spec(c engine.Container, hostUID int, v engine.Version) (*specgen.SpecGenerator, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	user, err := userNamespace(c, hostUID, v)
	if err != nil {
		return nil, err
	}
	s := specgen.NewSpecGenerator(c.Image, false)
	s.ContainerBasicConfig = basic(c)
	storage(&s.ContainerStorageConfig, c)
	s.ContainerSecurityConfig = security(c, user)
	s.ContainerCgroupConfig = specgen.ContainerCgroupConfig{CgroupNS: specgen.Namespace{NSMode: specgen.Private}}
	s.ContainerNetworkConfig = specgen.ContainerNetworkConfig{
		// Loopback and nothing else.
		NetNS: specgen.Namespace{NSMode: specgen.NoNetwork},
		// Podman would copy the host's /etc/hosts, which names other machines,
		// and add the host's address.
		UseImageHosts: yes(),
	}
	s.ContainerResourceConfig = resources(c)
	// An image's health check would be a process that nobody asked for, run from
	// a timer of the host's.
	s.HealthConfig = &manifest.Schema2HealthConfig{Test: []string{"NONE"}}
	return s, nil
}

// userNamespace maps the user inside to the calling user outside, and all other
// ids to ids that the host does not use.
func userNamespace(c engine.Container, hostUID int, v engine.Version) (specgen.Namespace, error) {
	if v.AtLeast(4, 3) {
		return specgen.Namespace{NSMode: specgen.KeepID, Value: fmt.Sprintf("uid=%d,gid=%d", c.UID, c.GID)}, nil
	}
	if int64(c.UID) == int64(hostUID) && c.GID == c.UID {
		return specgen.Namespace{NSMode: specgen.KeepID}, nil
	}
	return specgen.Namespace{}, &api.Error{
		Kind: api.KindUnavailable, Msg: fmt.Sprintf("podman %v cannot map user %d to user %d", v, hostUID, c.UID),
		Hint: "install podman 4.3 or newer",
	}
}

// basic is the process, and nothing that the image or the host could add to it.
func basic(c engine.Container) specgen.ContainerBasicConfig {
	term := syscall.SIGTERM
	grace := roundUp(c.StopGrace)
	return specgen.ContainerBasicConfig{
		Name:     c.Name,
		Hostname: c.Hostname,
		// The whole command is the entry point: an empty one could be read as
		// none given, and then the image's would run. With an entry point given,
		// the image's command is not used either.
		Entrypoint:  slices.Clone(c.Argv),
		Env:         maps.Clone(c.Env),
		UnsetEnvAll: yes(),
		EnvHost:     no(),
		// Podman would pass on the proxy variables, passwords and all.
		HTTPProxy:   no(),
		Terminal:    no(),
		Stdin:       no(),
		Labels:      maps.Clone(c.Labels),
		StopSignal:  &term,
		StopTimeout: &grace,
		// Enforced by conmon, which outlives us.
		Timeout: seconds(c.Timeout),
		// A file that is bounded, and that needs no journal.
		LogConfiguration: &specgen.LogConfig{Driver: "k8s-file", Size: maxLog},
		RestartPolicy:    "no",
		Systemd:          "false",
		SdNotifyMode:     "ignore",
		PidNS:            specgen.Namespace{NSMode: specgen.Private},
		UtsNS:            specgen.Namespace{NSMode: specgen.Private},
		Remove:           no(),
	}
}

// storage is what is mounted. All options are given, so that no default of the
// engine's can widen them.
func storage(s *specgen.ContainerStorageConfig, c engine.Container) {
	// An image's volumes would be writable places that nobody asked for.
	s.ImageVolumeMode = "ignore"
	s.Init = &c.Reap
	s.WorkDir = c.Dir
	s.CreateWorkingDir = no()
	s.IpcNS = specgen.Namespace{NSMode: specgen.Private}
	for _, b := range c.Binds {
		access := "ro"
		if b.Writable {
			access = "rw"
		}
		s.Mounts = append(s.Mounts, specs.Mount{
			Type: "bind", Source: b.Source, Destination: b.Target,
			// Not rbind: what is mounted below the source was not asked for.
			Options: []string{"bind", "rprivate", "nosuid", "nodev", access},
		})
	}
	// Podman 5 mounts its own /dev/shm read-only in a container whose root file
	// system is. tmpfs(5) reads a size of 0 as no limit; a page is the least.
	shm := engine.Tmpfs{Target: "/dev/shm", Size: max(c.ShmSize, 4096), Mode: 0o777 | fs.ModeSticky, NoExec: true}
	for _, t := range append(slices.Clone(c.Tmpfs), shm) {
		options := []string{"nosuid", "nodev", fmt.Sprintf("size=%d", t.Size), fmt.Sprintf("mode=%04o", posixMode(t.Mode)), "notmpcopyup"}
		if t.NoExec {
			options = append(options, "noexec")
		}
		s.Mounts = append(s.Mounts, specs.Mount{Type: "tmpfs", Source: "tmpfs", Destination: t.Target, Options: options})
	}
	for _, o := range c.Overlays {
		// Podman drops all other options here, nosuid and nodev too. No new
		// privileges, and a mount of the container's user namespace, stand in.
		s.OverlayVolumes = append(s.OverlayVolumes, &specgen.OverlayVolume{
			Source: o.Lower, Destination: o.Target, Options: []string{"upperdir=" + o.Upper, "workdir=" + o.Work},
		})
	}
	for _, h := range c.Homes {
		s.Volumes = append(s.Volumes, &specgen.NamedVolume{Name: h.Volume, Dest: h.Target, Options: []string{"nosuid", "nodev"}})
	}
}

// posixMode renders permissions as chmod(1) has them.
func posixMode(m fs.FileMode) uint32 {
	mode := uint32(m.Perm())
	if m&fs.ModeSticky != 0 {
		mode |= 0o1000
	}
	return mode
}

// security is the walls. Podman's own masks over /proc and /sys stay, since
// nothing is unmasked, as does its SELinux label.
func security(c engine.Container, user specgen.Namespace) specgen.ContainerSecurityConfig {
	return specgen.ContainerSecurityConfig{
		Privileged:         no(),
		User:               fmt.Sprintf("%d:%d", c.UID, c.GID),
		CapDrop:            []string{"all"},
		NoNewPrivileges:    yes(),
		SeccompProfilePath: c.Seccomp,
		UserNS:             user,
		ReadOnlyFilesystem: yes(),
		// Podman would put writable file systems without a size on /tmp, /run
		// and /var/tmp.
		ReadWriteTmpfs: no(),
		Umask:          "0022",
	}
}

// cpuPeriod is the kernel's default accounting period, in microseconds.
const cpuPeriod = 100_000

func resources(c engine.Container) specgen.ContainerResourceConfig {
	memory, pids, period := c.Memory, c.PIDs, uint64(cpuPeriod)
	// The kernel takes no quota below one millisecond (sched-bwc.rst).
	quota := max(c.CPUs*cpuPeriod/1000, 1000)
	r := specgen.ContainerResourceConfig{ResourceLimits: &specs.LinuxResources{
		// The limit of memory and swap together: there is no swap.
		Memory: &specs.LinuxMemory{Limit: &memory, Swap: &memory},
		CPU:    &specs.LinuxCPU{Quota: &quota, Period: &period},
		Pids:   &specs.LinuxPids{Limit: pids},
	}}
	for _, name := range slices.Sorted(maps.Keys(c.Rlimits)) {
		// Podman adds the prefix RLIMIT_ itself.
		r.Rlimits = append(r.Rlimits, specs.POSIXRlimit{Type: name, Soft: c.Rlimits[name], Hard: c.Rlimits[name]})
	}
	return r
}

// seconds returns d in whole seconds, the shorter way; none if d is negative.
func seconds(d time.Duration) uint { return uint(max(d, 0) / time.Second) }

// roundUp returns d in whole seconds, the longer way.
func roundUp(d time.Duration) uint { return seconds(d + time.Second - 1) }

func yes() *bool { b := true; return &b }
func no() *bool  { b := false; return &b }
