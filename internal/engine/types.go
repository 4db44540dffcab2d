package engine

import (
	"fmt"
	"io/fs"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Version is the version of an engine's API.
type Version struct{ Major, Minor, Patch int }

// AtLeast tells whether v is the given version or newer.
func (v Version) AtLeast(major, minor int) bool {
	return v.Major > major || v.Major == major && v.Minor >= minor
}

// String renders the version with dots.
func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch) }

// Host is what an engine says of itself and of the machine it runs on.
type Host struct {
	Engine        string `json:"engine"`
	EngineVersion string `json:"engine_version"`
	APIVersion    string `json:"api_version"`
	Rootless      bool   `json:"rootless"`
	Runtime       string `json:"runtime"`
	RuntimeInfo   string `json:"runtime_info"`
	// RuntimePackage and ConmonPackage are the distribution's names of the packages
	// that the runtime and the monitor came in, Conmon what the monitor says of its
	// version.
	RuntimePackage string   `json:"runtime_package"`
	Conmon         string   `json:"conmon"`
	ConmonPackage  string   `json:"conmon_package"`
	CgroupVersion  string   `json:"cgroup_version"`
	Controllers    []string `json:"controllers"`
	StorageDriver  string   `json:"storage_driver"`
	// StorageRoot is where the engine keeps images and volumes.
	StorageRoot string `json:"storage_root"`
	// NativeOverlay tells that the kernel does the overlay, without fuse.
	NativeOverlay bool   `json:"native_overlay"`
	Seccomp       bool   `json:"seccomp"`
	AppArmor      bool   `json:"apparmor"`
	SELinux       bool   `json:"selinux"`
	Kernel        string `json:"kernel"`
}

// Container is the container that ccc wants. The zero value of every field is
// its safest: no network, read-only root file system, no mounts. No field can
// express privileges, capabilities, devices, host namespaces or hooks; every
// engine drops all capabilities, sets no-new-privileges, masks /proc and /sys
// and ignores the image's entry point, environment, volumes and health check.
type Container struct {
	// Name is the container's name.
	Name string
	// Image is the identity of an image that is there; never pulled.
	Image string
	// Hostname is the name inside.
	Hostname string
	// Argv is the first process.
	Argv []string
	// Reap puts a small init of the engine's above Argv, which reaps orphans and
	// passes signals on, for a command that does neither.
	Reap bool
	// Env is the whole environment.
	Env map[string]string
	// Dir is the absolute working directory.
	Dir string
	// UID and GID are the identity inside, which is the calling user outside.
	// Zero is refused.
	UID, GID uint32
	// Seccomp is the host path of a seccomp profile; the engine's own default
	// if empty.
	Seccomp string
	// Binds, Overlays, Homes and Tmpfs are what is mounted.
	Binds    []Bind
	Overlays []Overlay
	Homes    []Home
	Tmpfs    []Tmpfs
	// ShmSize is the size of /dev/shm in bytes.
	ShmSize int64
	// Memory in bytes (swap is off), CPUs in thousandths, PIDs in processes.
	Memory, CPUs, PIDs int64
	// Rlimits are resource limits of every process, by name without "RLIMIT_",
	// soft and hard alike.
	Rlimits map[string]uint64
	// Timeout is the longest the container may run at a stretch; zero is
	// refused.
	Timeout time.Duration
	// StopGrace is the time between SIGTERM and SIGKILL.
	StopGrace time.Duration
	// Labels are put on the container when it is created.
	Labels map[string]string
}

// Bind is one host file or directory in a container; nosuid and nodev always, as
// far as the OCI runtime heeds it: crun 1.8 does not for what is writable, as
// the container's mount table tells. No new privileges, and no capability to
// make devices, stand in.
type Bind struct {
	Source, Target string
	// Writable tells whether the container may write there.
	Writable bool
}

// Overlay is a copy-on-write view of a host directory.
type Overlay struct {
	// Lower is the host directory, never written.
	Lower string
	// Target is where it appears.
	Target string
	// Upper and Work are host directories on one file system for what changes.
	Upper, Work string
}

// Home is a named volume at a path; nosuid and nodev as for a [Bind]. An empty volume
// starts as a copy of what the image has there, with the same owner: the image
// must give the directory to the user of the container.
type Home struct{ Volume, Target string }

// Tmpfs is a file system in memory; nosuid and nodev always.
type Tmpfs struct {
	Target string
	// Size in bytes; zero is refused.
	Size int64
	// Mode is the permission of its root directory.
	Mode fs.FileMode
	// NoExec forbids executing files there.
	NoExec bool
}

// Instance is a container that exists.
type Instance struct {
	// ID is the engine's identity of it.
	ID string
	// Name is its name.
	Name string
	// Image is the identity of its image.
	Image  string
	Labels map[string]string
	State  InstanceState
	// Created and Started are zero if unknown.
	Created, Started time.Time
	// ExitCode is that of the last run; meaningful in [InstanceExited].
	ExitCode int

	// The rest is filled by Container only, not by ListContainers.

	// PID is the first process on the host; zero when not running.
	PID int
	// OOMKilled tells that the kernel ended the last run for its memory use.
	OOMKilled bool
	// Spec is the configuration that the OCI runtime was given for the current
	// or last run, read back from where the engine wrote it. Nil if there is
	// none: a container that never ran, or an engine without a runtime.
	Spec *specs.Spec
}

// InstanceState is where a container is in its life.
type InstanceState string

// The states that ccc tells apart.
const (
	InstanceCreated InstanceState = "created"
	InstanceRunning InstanceState = "running"
	InstancePaused  InstanceState = "paused"
	InstanceExited  InstanceState = "exited"
	// InstanceChanging is on its way from one of the others to another.
	InstanceChanging InstanceState = "changing"
)

// Process is a process to run in a container, as the container's own user.
type Process struct {
	Argv []string
	Env  map[string]string
	// Dir is the absolute working directory.
	Dir string
	TTY bool
	// Stdin tells that the process reads the caller's input.
	Stdin bool
}

// LogOptions selects log lines.
type LogOptions struct {
	Follow bool
	// Tail gives only the last lines; zero means all.
	Tail int
	// Since drops what is older; zero means nothing is dropped.
	Since time.Time
}

// Volume is a named volume.
type Volume struct {
	Name    string
	Labels  map[string]string
	Created time.Time
}

// Image is an image that exists.
type Image struct {
	// ID is the digest of its configuration, without algorithm prefix.
	ID      string    `json:"id"`
	Names   []string  `json:"names"`
	Created time.Time `json:"created"`
	// Size is in bytes.
	Size   int64             `json:"size"`
	Labels map[string]string `json:"labels,omitempty"`
	// The rest is filled by Image only, not by ListImages: what the image asks
	// an engine to do. ccc honours none of it, and refuses some.
	Env         []string            `json:"env,omitempty"`
	Entrypoint  []string            `json:"entrypoint,omitempty"`
	WorkingDir  string              `json:"working_dir,omitempty"`
	User        string              `json:"user,omitempty"`
	Volumes     map[string]struct{} `json:"volumes,omitempty"`
	Annotations map[string]string   `json:"annotations,omitempty"`
}

// ImportOptions describes an image to be made.
type ImportOptions struct {
	// Name is the name it gets, with tag.
	Name string
	// Labels are put on it.
	Labels map[string]string
}

// File is a file in an image.
type File struct {
	Mode fs.FileMode
	// Target is where a symbolic link points.
	Target string
}
