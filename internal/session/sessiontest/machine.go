package sessiontest

import (
	"context"
	"encoding/json"
	"errors"
	"hash/crc32"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/engine/fake"
	"github.com/ccc-dev/ccc/internal/guest"
	"github.com/ccc-dev/ccc/internal/kernel"
	"github.com/ccc-dev/ccc/internal/policy"
	"github.com/ccc-dev/ccc/internal/seccomp"
	"github.com/ccc-dev/ccc/internal/session"
)

// Machine is the fake engine together with the kernel that its containers would
// run on: what the kernel says of a container's first process is what a truthful
// kernel would say of a container that was made as the engine was told. Use
// [OpenMachine]. The hooks are set before it is used.
type Machine struct {
	*fake.Engine
	// Step, if not nil, is called before and after every call of the engine and
	// of the kernel, with the method's name and ".before" or ".after". An error
	// is returned to the caller in place of the answer; what the call did before
	// ".after" stays done.
	Step func(step string) error
	// Instance and Facts, if not nil, change what the engine and the kernel say
	// of a container: they make them lie.
	Instance func(*engine.Instance)
	Facts    func(*kernel.Facts)
	// ABI is the kernel's Landlock ABI; that of Linux 6.10 after [OpenMachine].
	ABI int
	// Kills counts the processes that the kernel has ended for want of memory;
	// nil for none.
	Kills func() int64

	mu   sync.Mutex
	pids map[int]engine.Instance
	// made has the configuration of each container that this process made.
	made map[string]*specs.Spec
	// filters has the system call filter of each of these.
	filters map[string]*specs.LinuxSeccomp
	// mounted has, for each container started by this process and each mount
	// source, the directory that the path led to then. A mount stays what it
	// was, whatever becomes of the path.
	mounted map[string]map[string]*os.File
}

var (
	_ engine.Engine  = (*Machine)(nil)
	_ session.Kernel = (*Machine)(nil)
)

// OpenMachine returns the machine kept in dir; see [fake.Open].
func OpenMachine(dir string, now func() time.Time) (*Machine, error) {
	e, err := fake.Open(dir, now)
	if err != nil {
		return nil, err
	}
	m := &Machine{Engine: e, ABI: 5, pids: map[int]engine.Instance{}, made: map[string]*specs.Spec{}, filters: map[string]*specs.LinuxSeccomp{}, mounted: map[string]map[string]*os.File{}}
	e.Fault = m.step
	return m, nil
}

func (m *Machine) step(step string) error {
	if m.Step == nil {
		return nil
	}
	return m.Step(step)
}

// around calls f between two steps.
func (m *Machine) around(name string, f func() error) error {
	if err := m.step(name + ".before"); err != nil {
		return err
	}
	if err := f(); err != nil {
		return err
	}
	return m.step(name + ".after")
}

// CreateContainer implements [engine.Containers].
func (m *Machine) CreateContainer(ctx context.Context, c engine.Container) (string, error) {
	id, err := m.Engine.CreateContainer(ctx, c)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.made[id] = fake.Spec(c)
	if filter, readErr := os.ReadFile(c.Seccomp); readErr == nil {
		if parsed, parseErr := seccomp.Parse(filter); parseErr == nil {
			m.filters[id] = parsed
		}
	}
	return id, err
}

// StartContainer implements [engine.Containers].
func (m *Machine) StartContainer(ctx context.Context, id string) error {
	in, err := m.Engine.Container(ctx, id)
	if err != nil || in.State == engine.InstanceRunning {
		return m.Engine.StartContainer(ctx, id)
	}
	// A hook that swaps a path does so before the engine mounts it, and swaps it
	// back after: the mounts are made between the two.
	fault := m.Fault
	started := *m.Engine
	started.Fault = func(step string) error {
		err := fault(step)
		if step == "StartContainer.before" && err == nil {
			m.mount(in)
		}
		return err
	}
	return started.StartContainer(ctx, id)
}

// granted returns the system call filter that a container was made with, or that
// it was granted if another process made it: the fake engine reads no profile.
func (m *Machine) granted(in engine.Instance) *specs.LinuxSeccomp {
	m.mu.Lock()
	defer m.mu.Unlock()
	if made := m.filters[in.ID]; made != nil {
		own := *made
		return &own
	}
	var t policy.Terms
	if json.Unmarshal([]byte(in.Labels[engine.LabelGrant]), &t) != nil {
		return nil
	}
	filter, err := seccomp.Filter(t.Seccomp, t.SeccompAllow)
	if err != nil {
		return nil
	}
	parsed, err := seccomp.Parse(filter)
	if err != nil {
		return nil
	}
	return parsed
}

// mount notes what the mount sources of a container lead to now.
func (m *Machine) mount(in engine.Instance) {
	m.mu.Lock()
	defer m.mu.Unlock()
	spec := in.Spec
	if spec == nil {
		spec = m.made[in.ID]
	}
	if spec == nil {
		return
	}
	files := map[string]*os.File{}
	for _, s := range sources(spec.Mounts) {
		// One that is not there is the engine's to refuse.
		if fd, err := unix.Open(s, unix.O_PATH|unix.O_CLOEXEC, 0); err == nil {
			files[s] = os.NewFile(uintptr(fd), s)
		}
	}
	m.mounted[in.ID] = files
}

// Container implements [engine.Containers].
func (m *Machine) Container(ctx context.Context, id string) (in engine.Instance, err error) {
	err = m.around("Container", func() error {
		in, err = m.Engine.Container(ctx, id)
		return err
	})
	if err != nil {
		return engine.Instance{}, err
	}
	if in.State == engine.InstanceRunning {
		in.PID = 1<<20 + int(crc32.ChecksumIEEE([]byte(in.ID))>>8)
	}
	if in.Spec != nil {
		in.Spec.Linux.Seccomp = m.granted(in)
	}
	m.mu.Lock()
	m.pids[in.PID] = in
	m.mu.Unlock()
	if m.Instance != nil {
		told := in
		if in.Spec != nil {
			// A copy: the kernel knows better than what the engine tells.
			told.Spec = clone(in.Spec)
		}
		m.Instance(&told)
		return told, nil
	}
	return in, nil
}

// clone copies a configuration.
func clone(s *specs.Spec) *specs.Spec {
	var c specs.Spec
	data, err := json.Marshal(s)
	if err != nil || json.Unmarshal(data, &c) != nil {
		return nil
	}
	return &c
}

// ListContainers implements [engine.Containers].
func (m *Machine) ListContainers(ctx context.Context) (list []engine.Instance, err error) {
	err = m.around("ListContainers", func() error {
		list, err = m.Engine.ListContainers(ctx)
		return err
	})
	return list, err
}

// ListVolumes implements [engine.Volumes].
func (m *Machine) ListVolumes(ctx context.Context) (list []engine.Volume, err error) {
	err = m.around("ListVolumes", func() error {
		list, err = m.Engine.ListVolumes(ctx)
		return err
	})
	return list, err
}

// Image implements [engine.Images].
func (m *Machine) Image(ctx context.Context, ref string) (img engine.Image, err error) {
	err = m.around("Image", func() error {
		img, err = m.Engine.Image(ctx, ref)
		return err
	})
	return img, err
}

// Process implements [session.Kernel].
func (m *Machine) Process(pid int, points []string) (f kernel.Facts, err error) {
	err = m.around("Process", func() error {
		in, ok := m.instance(pid)
		if !ok || in.Spec == nil {
			return unix.ESRCH
		}
		f = m.facts(in, points)
		return nil
	})
	if err == nil && m.Facts != nil {
		m.Facts(&f)
	}
	return f, err
}

func (m *Machine) instance(pid int) (engine.Instance, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	in, ok := m.pids[pid]
	return in, ok
}

// facts says of a container what its configuration would have made true.
func (m *Machine) facts(in engine.Instance, points []string) kernel.Facts {
	// What ccc-init was told.
	var processes *int64
	if i := slices.Index(in.Spec.Process.Args, guest.FlagProcesses); i >= 0 && i+1 < len(in.Spec.Process.Args) {
		if n, err := strconv.ParseInt(in.Spec.Process.Args[i+1], 10, 64); err == nil {
			processes = &n
		}
	}
	f := kernel.Facts{
		Processes:  processes,
		NoNewPrivs: in.Spec.Process.NoNewPrivileges, Seccomp: 2, UID: max(os.Getuid(), 1), UserNamespace: true,
		Mounts: []kernel.Mount{{Point: "/", Type: "overlay", Options: []string{"ro", "relatime"}}},
	}
	for _, mount := range in.Spec.Mounts {
		at := kernel.Mount{Point: mount.Destination, Type: mount.Type, Options: mount.Options}
		if mount.Type == "overlay" {
			at.SuperOptions = mount.Options
		}
		if mount.Type == "bind" {
			at.Type = "ext4"
		}
		var st unix.Stat_t
		if slices.Contains(points, mount.Destination) && m.stat(in.ID, mount.Source, &st) == nil {
			at.Dev, at.Ino = st.Dev, st.Ino
		}
		f.Mounts = append(f.Mounts, at)
	}
	if r := in.Spec.Linux.Resources; r != nil {
		f.Cgroup.Memory, f.Cgroup.Swap, f.Cgroup.PIDs = r.Memory.Limit, new(int64), &r.Pids.Limit
		cpus := *r.CPU.Quota * 1000 / int64(*r.CPU.Period) //nolint:gosec // a period is 100000
		f.Cgroup.CPUs = &cpus
	}
	return f
}

// stat looks at what a mount source led to when it was mounted.
func (m *Machine) stat(id, source string, st *unix.Stat_t) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.mounted[id][source]; f != nil {
		return unix.Fstat(int(f.Fd()), st)
	}
	return unix.Stat(source, st)
}

// Entries implements [session.Kernel]: the merged view of an overlay, as the
// kernel shows it.
func (m *Machine) Entries(pid int, dir string, most int) (seen []kernel.Entry, err error) {
	err = m.around("Entries", func() error {
		in, ok := m.instance(pid)
		if !ok {
			return unix.ESRCH
		}
		lower, upper := layers(in, dir)
		if lower == "" {
			return unix.ENOENT
		}
		seen, err = kernel.ReadEntries(m.path(in.ID, lower), most)
		if err != nil {
			return err
		}
		own, err := kernel.ReadEntries(upper, most)
		if err != nil {
			return err
		}
		for _, e := range own {
			seen = slices.DeleteFunc(seen, func(s kernel.Entry) bool { return s.Name == e.Name })
			seen = append(seen, e)
		}
		return nil
	})
	return seen, err
}

// Identity implements [session.Kernel].
func (m *Machine) Identity(pid int, file string) (dev, ino uint64, err error) {
	err = m.around("Identity", func() error {
		in, ok := m.instance(pid)
		if !ok || in.Spec == nil {
			return unix.ESRCH
		}
		for _, mount := range in.Spec.Mounts {
			var st unix.Stat_t
			if mount.Destination == file && m.stat(in.ID, mount.Source, &st) == nil {
				dev, ino = st.Dev, st.Ino
				return nil
			}
		}
		return unix.ENOENT
	})
	return dev, ino, err
}

// Landlock implements [session.Kernel].
func (m *Machine) Landlock() int { return m.ABI }

// OOMKills implements [session.Kernel].
func (m *Machine) OOMKills(int) int64 {
	if m.Kills == nil {
		return 0
	}
	return m.Kills()
}

// path returns a path to what a mount source led to when it was mounted.
func (m *Machine) path(id, source string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.mounted[id][source]; f != nil {
		return "/proc/self/fd/" + strconv.Itoa(int(f.Fd()))
	}
	return source
}

// layers returns the directories of the overlay mounted at a point.
func layers(in engine.Instance, point string) (lower, upper string) {
	if in.Spec == nil {
		return "", ""
	}
	for _, mount := range in.Spec.Mounts {
		if mount.Destination != point || mount.Type != "overlay" {
			continue
		}
		for _, o := range mount.Options {
			if v, ok := strings.CutPrefix(o, "lowerdir="); ok {
				lower = v
			}
			if v, ok := strings.CutPrefix(o, "upperdir="); ok {
				upper = v
			}
		}
	}
	return lower, upper
}

// sources returns the host paths that a configuration mounts.
func sources(mounts []specs.Mount) []string {
	var paths []string
	for _, mount := range mounts {
		switch mount.Type {
		case "bind":
			paths = append(paths, mount.Source)
		case "overlay":
			for _, o := range mount.Options {
				if lower, ok := strings.CutPrefix(o, "lowerdir="); ok {
					paths = append(paths, lower)
				}
			}
		}
	}
	return paths
}

// Close lets go of the directories that are mounted.
func (m *Machine) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	for _, files := range m.mounted {
		for _, f := range files {
			errs = append(errs, f.Close())
		}
	}
	m.mounted = map[string]map[string]*os.File{}
	return errors.Join(errs...)
}
