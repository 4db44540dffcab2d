package observe

import (
	"errors"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/guest"
)

// scratch is the name of what is made to see whether it can be made.
const scratch = ".ccc-probe-"

// Directories are where the probe tries to make a file, beside all mount points.
func Directories() []string {
	return []string{
		"/", "/bin", "/boot", "/dev", "/dev/mqueue", "/dev/shm", "/etc", "/home", "/lib", "/media", "/mnt", "/opt", "/proc", "/proc/self", "/root", "/run",
		"/run/lock", "/sbin", "/srv", "/sys", "/sys/fs/cgroup", "/tmp", "/usr", "/usr/bin", "/usr/lib", "/usr/local/bin", "/var", "/var/lib", "/var/log",
		"/var/tmp", guest.Dir, guest.SessionDir, "/workspace", "/home/agent",
	}
}

// Written are files that the probe tries to open for writing; it writes nothing.
func Written() []string {
	return []string{
		"/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/kernel/modprobe",
		"/proc/sys/vm/overcommit_memory", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv4/ping_group_range", "/proc/sys/user/max_user_namespaces",
		"/proc/irq/default_smp_affinity", "/proc/1/mem", "/proc/1/oom_score_adj",
		"/sys/kernel/mm/transparent_hugepage/enabled", "/sys/kernel/uevent_helper", "/sys/power/state", "/sys/fs/cgroup/cgroup.procs",
		"/sys/fs/cgroup/memory.max", "/sys/module/kernel/parameters/panic", guest.Path, guest.LifeFile(guest.SessionDir), "/etc/passwd",
	}
}

// Masked are files and directories that must have nothing to tell. Not every path
// that some engine masks is one: what can be seen in another place anyway is not.
func Masked() []string {
	return []string{
		"/proc/acpi", "/proc/kallsyms", "/proc/kcore", "/proc/keys", "/proc/kmsg", "/proc/latency_stats", "/proc/sched_debug",
		"/proc/scsi", "/proc/slabinfo", "/proc/timer_list", "/proc/timer_stats", "/proc/vmallocinfo", "/proc/1/environ", "/proc/1/fd", "/proc/1/root", "/proc/1/cwd",
		"/proc/1/maps", "/sys/firmware", "/sys/fs/selinux", "/sys/kernel/debug", "/sys/kernel/tracing", "/sys/kernel/security",
		"/sys/devices/virtual/powercap/intel-rapl/intel-rapl:0/energy_uj",
	}
}

// mountPoints returns the points of a mountinfo, each once.
func mountPoints(info string) []string {
	var points []string
	for line := range strings.Lines(info) {
		if f := strings.Fields(line); len(f) > 4 && len(points) < maxNames {
			points = append(points, unescape(f[4]))
		}
	}
	slices.Sort(points)
	return slices.Compact(points)
}

// unescape undoes the octal escapes of mountinfo (proc_pid_mountinfo(5)).
func unescape(s string) string {
	for _, c := range [...]struct{ from, to string }{{`\040`, " "}, {`\011`, "\t"}, {`\012`, "\n"}, {`\134`, `\`}} {
		s = strings.ReplaceAll(s, c.from, c.to)
	}
	return s
}

// tryWrites makes a file in every directory of the list and at every mount
// point. Where that is possible it removes it.
func (p Probe) tryWrites(r *Report, points []string) {
	for _, dir := range slices.Concat(Directories(), points) {
		key := Key("write", dir)
		if _, tried := r.Tries[key]; tried {
			continue
		}
		// A directory may be a link to another, such as /bin.
		if leads := resolve(dir); leads != dir {
			r.Tries[key] = Link(leads)
			dir, key = leads, Key("write", leads)
		}
		r.Tries[key] = makeFile(dir)
	}
	for _, name := range Written() {
		r.Tries[Key("open-write", name)] = openWrite(name)
	}
}

// Link is the answer for a path that leads to another, which is tried in its place.
func Link(to string) string { return "link " + to }

// resolve returns what a path leads to, and the path itself if that is nothing.
func resolve(name string) string {
	fd, err := unix.Open(name, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return name
	}
	defer unix.Close(fd)
	// What is per process or terminal, such as /proc/self and /dev/tty, stays.
	if strings.HasPrefix(name, "/proc/") || strings.HasPrefix(name, "/dev/") {
		return name
	}
	if to := link("/proc/self/fd/" + strconv.Itoa(fd)); to.Err == "" && strings.HasPrefix(to.Data, "/") {
		return to.Data
	}
	return name
}

// makeFile makes a file in a directory and removes it, or opens for writing what
// is no directory.
func makeFile(dir string) string {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return word(err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		answer := openWrite(dir)
		if answer == "ok" && st.Mode&unix.S_IFMT == unix.S_IFCHR {
			// What is masked is often covered by the null device.
			return Device(unix.Major(st.Rdev), unix.Minor(st.Rdev))
		}
		return answer
	}
	name := path.Join(dir, scratch+strconv.Itoa(unix.Getpid()))
	fd, err := unix.Open(name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return word(err)
	}
	unix.Close(fd)
	if err := unix.Unlink(name); err != nil {
		return "ok, and cannot be removed: " + word(err)
	}
	return "ok"
}

// Device is the answer for a character device that can be written to.
func Device(major, minor uint32) string {
	return "ok " + strconv.Itoa(int(major)) + ":" + strconv.Itoa(int(minor))
}

// openWrite opens a file for writing and closes it again.
func openWrite(name string) string {
	fd, err := unix.Open(name, unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return word(err)
	}
	unix.Close(fd)
	return "ok"
}

// tryMasks looks whether what must be hidden is.
func tryMasks(r *Report) {
	for _, name := range Masked() {
		r.Tries[Key("read", name)] = look(name)
	}
}

// look says in a word what a file or directory has to tell: "empty", "zeros" for
// a table of addresses without addresses, "something", or an errno.
func look(name string) string {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return word(err)
	}
	defer unix.Close(fd)
	buf := make([]byte, 4096)
	n, err := unix.Read(fd, buf)
	if errors.Is(err, unix.EISDIR) {
		n, err = unix.ReadDirent(fd, buf)
		_, entries, _ := unix.ParseDirent(buf[:max(n, 0)], 1, nil)
		if err == nil && entries == 0 {
			return "empty"
		}
	}
	switch {
	case err != nil:
		return word(err)
	case n == 0:
		return "empty"
	case name == "/proc/kallsyms" && zeros(string(buf[:n])):
		return "zeros"
	}
	return "something"
}

// zeros tells whether every line but a cut one begins with the address zero.
func zeros(text string) bool {
	whole := text[:strings.LastIndexByte(text, '\n')+1]
	for line := range strings.Lines(whole) {
		if address, _, _ := strings.Cut(line, " "); strings.Trim(address, "0") != "" {
			return false
		}
	}
	return whole != ""
}

// tryNodes makes device nodes and removes them. A character device 0:0 is what
// overlayfs takes for a deleted file.
func tryNodes(r *Report) {
	for name, n := range map[string]struct {
		kind         uint32
		major, minor uint32
	}{"char 1:3": {unix.S_IFCHR, 1, 3}, "char 0:0": {unix.S_IFCHR, 0, 0}, "block 7:0": {unix.S_IFBLK, 7, 0}} {
		at := "/tmp/" + scratch + strconv.Itoa(unix.Getpid())
		err := unix.Mknod(at, n.kind|0o600, int(unix.Mkdev(n.major, n.minor)))
		r.Tries[Key("mknod", name)] = word(err)
		if err == nil {
			_ = unix.Unlink(at)
		}
	}
}

// devices lists the nodes in /dev.
func devices() []Node {
	names, err := list("/dev")
	if err != nil {
		return nil
	}
	slices.Sort(names)
	var all []Node
	for _, name := range names {
		var st unix.Stat_t
		if unix.Lstat("/dev/"+name, &st) != nil || len(all) == maxNames {
			continue
		}
		kind := map[uint32]string{
			unix.S_IFCHR: "char", unix.S_IFBLK: "block", unix.S_IFREG: "file", unix.S_IFIFO: "pipe", unix.S_IFSOCK: "socket",
		}[st.Mode&unix.S_IFMT]
		if kind != "" {
			all = append(all, Node{Name: name, Kind: kind, Major: unix.Major(st.Rdev), Minor: unix.Minor(st.Rdev)})
		}
	}
	return all
}

// walk looks through the directories of every mount but those of the kernel.
func walk(points []string) Tree {
	// A root file system has some ten thousand; a project may have any number,
	// so each mount has a share of its own.
	const most = 20_000
	// And whoever waits for the report waits for all of them.
	const longest = 5 * time.Second
	var t Tree
	until := guest.Boottime() + longest
	for _, point := range points {
		var st unix.Stat_t
		var fs unix.Statfs_t
		if unix.Lstat(point, &st) != nil || unix.Statfs(point, &fs) != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
			continue
		}
		switch fs.Type {
		case unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.CGROUP2_SUPER_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.DEVPTS_SUPER_MAGIC:
			continue
		}
		t.below(point, st.Dev, most, until)
	}
	return t
}

// below walks through the directories of one device.
func (t *Tree) below(point string, dev uint64, most int, until time.Duration) {
	for queue := []string{point}; len(queue) > 0; queue = queue[1:] {
		if most--; most < 0 || guest.Boottime() > until {
			t.Cut = true
			return
		}
		t.Directories++
		names, err := list(queue[0])
		if err != nil {
			continue
		}
		for _, name := range names {
			at := path.Join(queue[0], name)
			var st unix.Stat_t
			if unix.Lstat(at, &st) != nil {
				continue
			}
			if st.Mode&unix.S_IFMT == unix.S_IFDIR {
				if st.Dev == dev {
					queue = append(queue, at)
				}
				continue
			}
			t.add(at, st.Mode)
		}
	}
}

// add notes what is remarkable about a file.
func (t *Tree) add(name string, mode uint32) {
	switch {
	case mode&unix.S_IFMT == unix.S_IFREG && (mode&(unix.S_ISUID|unix.S_ISGID) != 0 || mode&0o111 != 0 && capable(name)):
		t.SetID = note(t.SetID, name, &t.Cut)
	case mode&unix.S_IFMT == unix.S_IFSOCK:
		t.Sockets = note(t.Sockets, name, &t.Cut)
	case (mode&unix.S_IFMT == unix.S_IFCHR || mode&unix.S_IFMT == unix.S_IFBLK) && !strings.HasPrefix(name, "/dev/"):
		t.Nodes = note(t.Nodes, name, &t.Cut)
	}
}

// capable tells whether a program has file capabilities.
func capable(name string) bool {
	n, err := unix.Lgetxattr(name, "security.capability", make([]byte, 64))
	return err == nil && n > 0
}

// note adds a name to a list that has an end.
func note(names []string, name string, cut *bool) []string {
	if len(names) >= maxNames || len(name) > 1024 {
		*cut = true
		return names
	}
	return append(names, name)
}
