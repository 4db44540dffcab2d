package enginetest

import (
	"maps"
	"slices"
	"strings"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
)

// refusalCases are containers that must not come to be.
func refusalCases() []testCase {
	wrong := map[string]func(*engine.Container){
		"user 0":                     func(c *engine.Container) { c.UID = 0 },
		"group 0":                    func(c *engine.Container) { c.GID = 0 },
		"no timeout":                 func(c *engine.Container) { c.Timeout = 0 },
		"no memory limit":            func(c *engine.Container) { c.Memory = 0 },
		"no cpu limit":               func(c *engine.Container) { c.CPUs = 0 },
		"no process limit":           func(c *engine.Container) { c.PIDs = 0 },
		"no command":                 func(c *engine.Container) { c.Argv = nil },
		"an empty command":           func(c *engine.Container) { c.Argv = []string{""} },
		"a NUL in the command":       func(c *engine.Container) { c.Argv = []string{"echo", "a\x00b"} },
		"no directory":               func(c *engine.Container) { c.Dir = "" },
		"a relative directory":       func(c *engine.Container) { c.Dir = "workspace" },
		"an image by name":           func(c *engine.Container) { c.Image = Image },
		"a variable of the host":     func(c *engine.Container) { c.Env["*"] = "" },
		"a variable with equals":     func(c *engine.Container) { c.Env["A=B"] = "" },
		"a NUL in a variable":        func(c *engine.Container) { c.Env["A"] = "a\x00" },
		"an unconfined seccomp":      func(c *engine.Container) { c.Seccomp = "unconfined" },
		"a host name with a dot":     func(c *engine.Container) { c.Hostname = "a.b" },
		"a mount over the root":      func(c *engine.Container) { c.Tmpfs[0].Target = "/" },
		"a mount over /proc":         func(c *engine.Container) { c.Tmpfs[0].Target = "/proc/sys" },
		"a mount over /sys":          func(c *engine.Container) { c.Tmpfs[0].Target = "/sys" },
		"a mount over /dev":          func(c *engine.Container) { c.Tmpfs[0].Target = "/dev/shm" },
		"a mount at an unclean path": func(c *engine.Container) { c.Tmpfs[0].Target = "/tmp/../proc" },
		"a tmpfs without a size":     func(c *engine.Container) { c.Tmpfs[0].Size = 0 },
		"a setuid tmpfs":             func(c *engine.Container) { c.Tmpfs[0].Mode = 0o777 | 1<<23 },
		"two mounts at one target":   func(c *engine.Container) { c.Tmpfs = append(c.Tmpfs, c.Tmpfs[0]) },
		"a bind source with a colon": func(c *engine.Container) { c.Binds = []engine.Bind{{Source: "/tmp:/etc", Target: "/mnt"}} },
		"a bind source with a comma": func(c *engine.Container) { c.Binds = []engine.Bind{{Source: "/tmp,suid", Target: "/mnt"}} },
		"an overlay over itself": func(c *engine.Container) {
			c.Overlays = []engine.Overlay{{Lower: "/tmp", Upper: "/tmp/up", Work: "/var/work", Target: "/mnt"}}
		},
		"a volume that is a path":    func(c *engine.Container) { c.Homes = []engine.Home{{Volume: "/etc", Target: "/mnt"}} },
		"an unknown resource limit":  func(c *engine.Container) { c.Rlimits = map[string]uint64{"FUN": 1} },
		"a label for crun":           func(c *engine.Container) { c.Labels["run.oci.keep_original_groups"] = "1" },
		"a label for podman":         func(c *engine.Container) { c.Labels["io.podman.annotations.privileged"] = "TRUE" },
		"a label for systemd":        func(c *engine.Container) { c.Labels["PODMAN_SYSTEMD_UNIT"] = "x" },
		"a name with a slash":        func(c *engine.Container) { c.Name = "a/b" },
		"a name that is too long":    func(c *engine.Container) { c.Name = strings.Repeat("a", 200) },
		"a name with a control char": func(c *engine.Container) { c.Name += "\n" },
	}
	var cases []testCase
	for _, name := range slices.Sorted(maps.Keys(wrong)) {
		spoil := wrong[name]
		cases = append(cases, testCase{"create refuses " + name, func(r *rig) {
			c := r.wanted()
			spoil(&c)
			before, err := r.e.ListContainers(r.Context())
			r.must(err)
			_, err = r.e.CreateContainer(r.Context(), c)
			r.wantKind(err, api.KindInvalid)
			after, err := r.e.ListContainers(r.Context())
			r.must(err)
			if len(after) != len(before) {
				r.Errorf("there were %d containers, now %d", len(before), len(after))
			}
		}})
	}
	return cases
}
