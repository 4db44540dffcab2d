package verify

import (
	"maps"
	"slices"
	"strings"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/guest"
	"github.com/ccc-dev/ccc/internal/guest/observe"
	"github.com/ccc-dev/ccc/internal/kernel"
)

// files are the controls of what a session sees and may change.
func files() []check {
	return []check{
		{"mounts", "F01 S08", "nothing of the host is mounted but what was granted", "host", judgeMounts},
		{"mount-options", "S10 S11", "nosuid and nodev wherever the session can write", "host", judgeOptions},
		{"writable", "S09 F02", "no path can be written but those granted", "inside", judgeWritable},
		{"usable", "S12", "what was granted can be written, and loopback works", "inside", judgeUsable},
		{"masked-paths", "S09", "/proc and /sys keep their secrets", "inside", judgeMasked},
		{"read-only-proc", "S09", "no switch of the kernel can be written", "inside", judgeSwitches},
		{"kernel-addresses", "S09", "/proc/kallsyms shows no address", "inside", judgeAddresses},
		{"devices", "S11", "no device but null, zero, full, random, urandom, tty and terminals", "inside", judgeDevices},
		{"device-nodes", "S11", "no device node can be made", "inside", judgeMknod},
	}
}

// engineFiles are what every engine mounts into a container.
func engineFile(point string) bool {
	return slices.Contains([]string{
		"/", "/proc", "/sys", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys/fs/cgroup", "/dev/console",
		"/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/passwd", "/etc/group", "/run/.containerenv", "/run/secrets", "/etc/localtime",
	}, point)
}

// covers tells whether a mount at the point can only be a mask or a device: of a
// file system that the kernel makes up, and not one of a disk.
func covers(m kernel.Mount) bool {
	pseudo := slices.Contains([]string{"tmpfs", "devtmpfs", "proc", "sysfs", "cgroup2", "cgroup", "devpts"}, m.Type)
	return pseudo && (beneath(m.Point, "/proc") || beneath(m.Point, "/sys") || beneath(m.Point, "/dev"))
}

func judgeMounts(e *evidence) result {
	granted := map[string]bool{}
	for _, b := range e.Want.Binds {
		granted[b.Target] = true
	}
	for _, o := range e.Want.Overlays {
		granted[o.Target] = true
	}
	for _, h := range e.Want.Homes {
		granted[h.Target] = true
	}
	for _, m := range e.Want.Tmpfs {
		granted[m.Target] = true
	}
	var t tally
	n := 0
	e.both(&t, func(who string, s Sight) {
		for _, m := range s.Facts.Mounts {
			t.expect(granted[m.Point] || engineFile(m.Point) || covers(m), "%s is mounted (%s) for %s", m.Point, m.Type, who)
		}
		root := mountAt(s.Facts, "/")
		t.expect(root != nil && slices.Contains(root.Options, "ro"), "the root is writable for %s", who)
		n = len(s.Facts.Mounts)
	})
	return t.result("%d mounts; mountinfo names the host's directories behind them, which cannot be entered", n)
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

func judgeOptions(e *evidence) result {
	if c := e.state("mount-options"); c.State != api.StateEnforced && e.Attested == nil && e.Terms.Require != api.RequireEnforced {
		return result{verdict: api.VerdictMissing, seen: c.Detail, hint: "update crun and Podman; until then what is said stands in"}
	}
	var t tally
	for _, w := range e.Write {
		m := mountAt(e.First.Facts, w)
		t.expect(m != nil && slices.Contains(m.Options, "nosuid") && slices.Contains(m.Options, "nodev"), "%s is mounted without", w)
	}
	return t.result("on %s", strings.Join(e.Write, ", "))
}

// harmless are the devices that everybody may write to, as answers.
func harmless(answer string) bool {
	for _, d := range allowedDevices() {
		if answer == observe.Device(d[0], d[1]) {
			return true
		}
	}
	return false
}

// allowedDevices are those of every container: null, zero, full, random, urandom,
// tty, ptmx (devices.txt of the kernel).
func allowedDevices() [][2]uint32 {
	return [][2]uint32{{1, 3}, {1, 5}, {1, 7}, {1, 8}, {1, 9}, {5, 0}, {5, 2}}
}

func judgeWritable(e *evidence) result {
	var t tally
	wanted := observe.Directories()
	for _, m := range e.First.Facts.Mounts {
		wanted = append(wanted, m.Point)
	}
	for _, dir := range wanted {
		if _, tried := e.answer("write", dir); !tried {
			t.unsure("%s was not tried", dir)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(e.Report.Tries)) {
		if dir, ok := strings.CutPrefix(key, "write "); ok {
			t.unwritable(e, dir, e.Report.Tries[key])
		}
	}
	t.refusal(e, "open-write", "/etc/passwd")
	return t.result("%d places refuse", t.good)
}

// unwritable expects a place to refuse, unless the session may write there.
func (t *tally) unwritable(e *evidence, dir, answer string) {
	to, linked := strings.CutPrefix(answer, "link ")
	switch {
	case refused(answer) || harmless(answer):
		t.good++
	case linked:
		// What it leads to is judged by its own name.
		if _, tried := e.answer("write", to); !tried {
			t.unsure("%s is a link to what was not tried", dir)
		}
	case answer == "ok" && (e.writable(clean(dir)) || e.queues(dir)):
	case strings.HasPrefix(answer, "ok"):
		t.expect(false, "%s can be written", dir)
	default:
		t.unsure("%s: %q", dir, answer)
	}
}

// queues tells whether a directory is that of message queues, which belongs to the
// session's own IPC namespace: only Landlock keeps commands from it, and where the
// kernel has none that is a control of its own.
func (e *evidence) queues(dir string) bool {
	m := mountAt(e.First.Facts, dir)
	own := e.First.Namespaces["ipc"] != "" && e.First.Namespaces["ipc"] != e.Own["ipc"]
	return e.Landlock < guest.LandlockOldest && own && m != nil && m.Type == "mqueue"
}

func judgeUsable(e *evidence) result {
	var t tally
	for _, w := range e.Write {
		if answer, ok := e.answer("write", w); ok {
			t.expect(answer == "ok", "%s cannot be written: %s", w, answer)
		} else {
			t.unsure("%s was not tried", w)
		}
	}
	answer, _ := e.answer("loopback", "127.0.0.1")
	t.expect(answer == "ok", "loopback answers %q", answer)
	r := t.result("%s", strings.Join(e.Write, ", "))
	if r.verdict == api.VerdictFail {
		r.hint = "ccc session restart " + string(e.Terms.Name)
	}
	return r
}

// hidden expects a file or directory to have nothing to tell.
func (t *tally) hidden(e *evidence, name string) {
	answer, ok := e.answer("read", name)
	switch {
	case !ok:
		t.unsure("%s was not tried", name)
	case answer == "empty" || answer == "zeros" || refused(answer) || answer == "EAGAIN":
		t.good++
	case answer == "something":
		t.expect(false, "%s can be read", name)
	default:
		t.unsure("%s: %q", name, answer)
	}
}

func judgeMasked(e *evidence) result {
	var t tally
	for _, name := range observe.Masked() {
		if name != "/proc/kallsyms" && !strings.HasPrefix(name, "/proc/1/") {
			t.hidden(e, name)
		}
	}
	return t.result("%d files and directories have nothing to tell", t.good)
}

func judgeSwitches(e *evidence) result {
	var t tally
	for _, name := range observe.Written() {
		// What belongs to the first process is a control of its own.
		if beneath(name, "/proc") && !beneath(name, "/proc/1") || beneath(name, "/sys") || name == guest.LifeFile(guest.SessionDir) {
			t.refusal(e, "open-write", name)
		}
	}
	return t.result("%d switches refuse", t.good)
}

func judgeAddresses(e *evidence) result {
	// Which kernel's addresses are shown is a setting of the host; only a security
	// module can hide the file.
	if answer, _ := e.answer("read", "/proc/kallsyms"); answer == "something" && e.First.Facts.LSM == "" && e.Terms.Require != api.RequireEnforced {
		return result{verdict: api.VerdictMissing, seen: "addresses are shown, as to every user of this host", hint: "sudo sysctl -w kernel.kptr_restrict=1"}
	}
	var t tally
	t.hidden(e, "/proc/kallsyms")
	answer, _ := e.answer("read", "/proc/kallsyms")
	return t.result("%s", answer)
}

func judgeDevices(e *evidence) result {
	var t tally
	for _, n := range e.Report.Devices {
		known := slices.Contains(allowedDevices(), [2]uint32{n.Major, n.Minor})
		t.expect(n.Kind == "char" && known, "/dev/%s is a %s %d:%d", n.Name, n.Kind, n.Major, n.Minor)
	}
	for _, n := range e.Report.Tree.Nodes {
		t.expect(false, "%s is a device", n)
	}
	return t.result("%d", len(e.Report.Devices))
}

func judgeMknod(e *evidence) result {
	var t tally
	for _, name := range []string{"char 1:3", "char 0:0", "block 7:0"} {
		t.refusal(e, "mknod", name)
	}
	return t.result("neither character nor block, nor one that overlayfs takes for a deletion")
}
