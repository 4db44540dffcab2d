// Package probe asks whether a host is fit for sessions, one check at a time,
// and names the one command that mends each fault. It only looks: it changes
// nothing, starts no session and needs no privilege.
package probe

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/apparmor"
	"github.com/ccc-dev/ccc/internal/engine"
)

// Verdict says how a check went.
type Verdict string

// The verdicts.
const (
	// OK means that all is well.
	OK Verdict = "ok"
	// Warn means that sessions work, with a weaker posture or less comfort.
	Warn Verdict = "warn"
	// Fail means that sessions do not work.
	Fail Verdict = "fail"
)

// Finding is the result of one check.
type Finding struct {
	Check   string  `json:"check"`
	Verdict Verdict `json:"verdict"`
	// Detail says what was found.
	Detail string `json:"detail"`
	// Mend is the command that mends it, empty where all is well.
	Mend string `json:"mend,omitempty"`
}

// Host is what the checks look at. All fields are required.
type Host struct {
	UID        int
	User       string
	RuntimeDir string
	// LookPath finds a program; see [os/exec.LookPath].
	LookPath func(string) (string, error)
	// ReadFile reads a small file of the host.
	ReadFile func(string) ([]byte, error)
	// Engine connects to the engine.
	Engine func(context.Context) (engine.Engine, error)
	// Image is the default session image.
	Image string
	// AppArmor is what the host has of it.
	AppArmor apparmor.Host
	// Audit checks the audit log and says what it found.
	Audit func() (string, error)
	// The rest is for the checklist alone.

	// Clock returns the time.
	Clock func() time.Time
	// Package returns the name and version of an installed package of the
	// distribution, and Changes its list of changes; empty if there is none.
	Package, Changes func(ctx context.Context, name string) string
	// Commands returns the command lines of all processes that can be read.
	Commands func() ([]string, error)
	// Interfaces returns the network interfaces that a process sees beside
	// loopback.
	Interfaces func(pid int) ([]string, error)
}

// Check runs all checks and returns their findings in a fixed order.
func (h Host) Check(ctx context.Context) []Finding {
	all := []Finding{h.user(), h.runtimeDir(), h.namespaces(), h.ranges("/etc/subuid"), h.ranges("/etc/subgid")}
	all = append(all, h.programs()...)
	all = append(all, h.engine(ctx)...)
	return append(all, h.audit())
}

// Worst returns the worst verdict of all findings.
func Worst(all []Finding) Verdict {
	worst := OK
	for _, f := range all {
		if f.Verdict == Fail || f.Verdict == Warn && worst == OK {
			worst = f.Verdict
		}
	}
	return worst
}

func ok(check, format string, args ...any) Finding {
	return Finding{Check: check, Verdict: OK, Detail: fmt.Sprintf(format, args...)}
}

func warn(check, mend, format string, args ...any) Finding {
	return Finding{Check: check, Verdict: Warn, Detail: fmt.Sprintf(format, args...), Mend: mend}
}

func fail(check, mend, format string, args ...any) Finding {
	return Finding{Check: check, Verdict: Fail, Detail: fmt.Sprintf(format, args...), Mend: mend}
}

func (h Host) user() Finding {
	if h.UID == 0 {
		return fail("user", "run ccc as an ordinary user", "this is root: ccc never runs with root's rights")
	}
	return ok("user", "%s (%d)", h.User, h.UID)
}

func (h Host) runtimeDir() Finding {
	const check = "runtime directory"
	mend := fmt.Sprintf("log in through a session manager, or: sudo loginctl enable-linger %s", h.User)
	if h.RuntimeDir == "" {
		return fail(check, mend, "XDG_RUNTIME_DIR is not set")
	}
	var st unix.Stat_t
	if err := unix.Stat(h.RuntimeDir, &st); err != nil {
		return fail(check, mend, "%s: %v", h.RuntimeDir, err)
	}
	if int(st.Uid) != h.UID || st.Mode&0o077 != 0 {
		return fail(check, "chmod 0700 "+h.RuntimeDir, "%s is open to other users", h.RuntimeDir)
	}
	return ok(check, "%s", h.RuntimeDir)
}

// namespaces looks at the two switches that distributions have for turning
// unprivileged user namespaces off.
func (h Host) namespaces() Finding {
	const check = "user namespaces"
	if data, err := h.ReadFile("/proc/sys/user/max_user_namespaces"); err == nil {
		if n, err := strconv.Atoi(strings.TrimSpace(string(data))); err == nil && n < 8 {
			return fail(check, "sudo sysctl -w user.max_user_namespaces=15000", "only %d are allowed", n)
		}
	}
	if data, err := h.ReadFile("/proc/sys/kernel/unprivileged_userns_clone"); err == nil && strings.TrimSpace(string(data)) == "0" {
		return fail(check, "sudo sysctl -w kernel.unprivileged_userns_clone=1", "unprivileged ones are switched off")
	}
	return ok(check, "allowed")
}

// ranges looks for the user's subordinate ids (subuid(5)).
func (h Host) ranges(file string) Finding {
	check := "ids in " + file
	mend := fmt.Sprintf("sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 %s", h.User)
	data, err := h.ReadFile(file)
	if err != nil {
		return fail(check, mend, "%v", err)
	}
	total := 0
	for line := range strings.Lines(string(data)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) == 3 && (f[0] == h.User || f[0] == strconv.Itoa(h.UID)) {
			n, err := strconv.Atoi(f[2])
			if err == nil {
				total += n
			}
		}
	}
	if total < 65536 {
		return fail(check, mend, "%s has %d, a session needs 65536", h.User, total)
	}
	return ok(check, "%d", total)
}

// programs looks for what ccc and Podman call.
func (h Host) programs() []Finding {
	var all []Finding
	for _, p := range []struct {
		name, pkg, why string
		need           Verdict
	}{
		{"podman", "podman", "the container engine", Fail},
		{"newuidmap", "uidmap", "maps the session's ids", Fail},
		{"catatonit", "catatonit", "the first process of a session", Fail},
		{"mmdebstrap", "mmdebstrap", "builds the session image without a registry", Warn},
	} {
		path, err := h.LookPath(p.name)
		switch {
		case err == nil:
			all = append(all, ok(p.name, "%s", path))
		case p.need == Fail:
			all = append(all, fail(p.name, "sudo apt-get install "+p.pkg, "not found: %s", p.why))
		default:
			all = append(all, warn(p.name, "sudo apt-get install "+p.pkg, "not found: %s", p.why))
		}
	}
	return all
}

// engine asks the engine about itself and its host.
func (h Host) engine(ctx context.Context) []Finding {
	e, err := h.Engine(ctx)
	if err != nil {
		r := api.ReportOf(err)
		return []Finding{fail("engine", r.Hint, "%s", r.Message)}
	}
	info, err := e.Host(ctx)
	if err != nil {
		return []Finding{fail("engine", api.ReportOf(err).Hint, "%v", err)}
	}
	all := []Finding{ok("engine", "%s %s, API %s, %s", info.Engine, info.EngineVersion, info.APIVersion, firstLine(info.RuntimeInfo))}
	if !info.Rootless {
		all = append(all, fail("rootless", "use your own Podman: systemctl --user start podman.socket", "the engine runs as root"))
	}
	all = append(all, cgroups(info), storage(info), seccomp(info), h.lsm(info), kernelFloor(info))
	return append(all, h.image(ctx, e))
}

// cgroups says which limits the host can enforce.
func cgroups(info engine.Host) Finding {
	const check = "limits"
	if info.CgroupVersion != "v2" {
		return warn(check, "boot with systemd.unified_cgroup_hierarchy=1", "control groups are %s: memory, cpu and pids cannot be limited", info.CgroupVersion)
	}
	var missing []string
	for _, c := range []string{"cpu", "memory", "pids"} {
		if !slices.Contains(info.Controllers, c) {
			missing = append(missing, c)
		}
	}
	if len(missing) > 0 {
		return warn(check, "printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' | sudo tee /etc/systemd/system/user@.service.d/delegate.conf, then log in again",
			"not delegated to you: %s", strings.Join(missing, ", "))
	}
	return ok(check, "cpu, memory and pids")
}

func storage(info engine.Host) Finding {
	const check = "storage"
	if info.StorageDriver != "overlay" {
		return warn(check, "set driver = \"overlay\" in ~/.config/containers/storage.conf, then podman system reset", "driver %s copies whole images", info.StorageDriver)
	}
	if !info.NativeOverlay {
		return warn(check, "remove mount_program from ~/.config/containers/storage.conf", "overlay through fuse, which is slow")
	}
	return ok(check, "native overlay in %s", info.StorageRoot)
}

func seccomp(info engine.Host) Finding {
	if !info.Seccomp {
		return fail("seccomp", "install a kernel with CONFIG_SECCOMP_FILTER", "the engine cannot filter system calls")
	}
	return ok("seccomp", "available")
}

// kernelFloor compares the kernel with the oldest that does everything: 5.13
// for rootless overlayfs with user xattrs, 5.14 for counting processes per
// user namespace.
func kernelFloor(info engine.Host) Finding {
	const check = "kernel"
	var major, minor int
	if _, err := fmt.Sscanf(info.Kernel, "%d.%d", &major, &minor); err != nil {
		return warn(check, "uname -r", "version %q cannot be read", info.Kernel)
	}
	if major < 5 || major == 5 && minor < 14 {
		return warn(check, "upgrade to Linux 5.14 or newer", "%s", info.Kernel)
	}
	return ok(check, "%s", info.Kernel)
}

func (h Host) image(ctx context.Context, e engine.Engine) Finding {
	const check = "session image"
	img, err := e.Image(ctx, h.Image)
	if err != nil {
		return fail(check, "ccc image build", "%s is not there", h.Image)
	}
	return ok(check, "%s (%.12s)", h.Image, img.ID)
}

func (h Host) audit() Finding {
	detail, err := h.Audit()
	if err != nil {
		r := api.ReportOf(err)
		return fail("audit log", "ccc audit verify", "%s", r.Message)
	}
	return ok("audit log", "%s", detail)
}

// firstLine returns what a program says of its version, without the list of
// what it was built with.
func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
