// Package kernel reads what the kernel itself says of a session's first
// process: its privileges, its mounts, the limits of its control group. It is
// the evidence behind a session's posture, independent of what the engine was
// asked for or claims.
//
// The package only reads. It must not judge; that is the core's work.
package kernel

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Facts are what was read of one process, see proc(5).
type Facts struct {
	// NoNewPrivs is the no_new_privs bit (prctl(2), PR_SET_NO_NEW_PRIVS).
	NoNewPrivs bool
	// CapBounding and CapEffective are capability masks (capabilities(7)).
	CapBounding, CapEffective uint64
	// Seccomp is the mode: 2 is a filter (seccomp(2)).
	Seccomp int
	// UID is the effective user on the host.
	UID int
	// Processes is the limit of processes of its user in its user namespace
	// (RLIMIT_NPROC, getrlimit(2)); nil means that there is none.
	Processes *int64
	// UserNamespace tells that the process has a user namespace of its own.
	UserNamespace bool
	// NetworkInterfaces are those of its network namespace.
	NetworkInterfaces []string
	// LSM is its label, empty if no such module confines it.
	LSM string
	// Mounts are its mount points.
	Mounts []Mount
	// Cgroup holds the limits of its control group.
	Cgroup Cgroup
}

// Mount is one line of mountinfo, and the file its mount point leads to.
type Mount struct {
	Point, Type string
	// Options are those of the mount point, SuperOptions of the file system.
	Options, SuperOptions []string
	// Dev and Ino identify what is found at the point from inside; zero if it
	// could not be read.
	Dev, Ino uint64
}

// Cgroup are limits in force on a process, the tightest of its group and the
// groups above it. A nil field means that none is.
type Cgroup struct {
	Memory, Swap, PIDs *int64
	// CPUs in thousandths.
	CPUs *int64
}

// Reader reads facts. The zero value reads from /proc and /sys/fs/cgroup.
type Reader struct {
	// Proc and Cgroup replace those two directories.
	Proc, CgroupRoot string
}

// Process returns the facts of a process of the calling user. points are the
// mount points whose identity is wanted. It fails if the process is gone or
// belongs to somebody else.
func (r Reader) Process(pid int, points []string) (Facts, error) {
	dir := filepath.Join(or(r.Proc, "/proc"), strconv.Itoa(pid))
	var f Facts
	if err := readStatus(dir, &f); err != nil {
		return Facts{}, fmt.Errorf("read process %d: %w", pid, err)
	}
	limits, err := os.ReadFile(filepath.Join(dir, "limits"))
	if err != nil {
		return Facts{}, fmt.Errorf("read limits of process %d: %w", pid, err)
	}
	f.Processes = processLimit(string(limits))
	mounts, err := readMounts(filepath.Join(dir, "mountinfo"))
	if err != nil {
		return Facts{}, fmt.Errorf("read mounts of process %d: %w", pid, err)
	}
	f.Mounts = mounts
	if err := identify(filepath.Join(dir, "root"), &f, points); err != nil {
		return Facts{}, err
	}
	if f.NetworkInterfaces, err = interfaces(filepath.Join(dir, "net", "dev")); err != nil {
		return Facts{}, fmt.Errorf("read network of process %d: %w", pid, err)
	}
	own, err := os.Readlink(filepath.Join(or(r.Proc, "/proc"), "self", "ns", "user"))
	if err != nil {
		return Facts{}, err
	}
	theirs, err := os.Readlink(filepath.Join(dir, "ns", "user"))
	if err != nil {
		return Facts{}, err
	}
	f.UserNamespace = own != theirs
	f.LSM = label(filepath.Join(dir, "attr", "current"))
	f.Cgroup, err = readCgroup(filepath.Join(dir, "cgroup"), or(r.CgroupRoot, "/sys/fs/cgroup"))
	return f, err
}

// Entry is what a directory holds, as a process sees it.
type Entry struct {
	Name string
	Ino  uint64
	Dir  bool
}

// Entries returns the first entries, at most most, of a directory as the
// process sees it.
func (r Reader) Entries(pid int, dir string, most int) ([]Entry, error) {
	root := filepath.Join(or(r.Proc, "/proc"), strconv.Itoa(pid), "root")
	return ReadEntries(filepath.Join(root, dir), most)
}

// ReadEntries returns the first entries, at most most, of a directory. One that
// vanishes while it is looked at is left out.
func ReadEntries(dir string, most int) ([]Entry, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(most)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	entries := make([]Entry, 0, len(names))
	for _, n := range names {
		var st unix.Stat_t
		if unix.Fstatat(int(f.Fd()), n, &st, unix.AT_SYMLINK_NOFOLLOW) == nil {
			entries = append(entries, Entry{Name: n, Ino: st.Ino, Dir: st.Mode&unix.S_IFMT == unix.S_IFDIR})
		}
	}
	return entries, nil
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// readStatus fills what /proc/PID/status tells.
func readStatus(dir string, f *Facts) error {
	data, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return err
	}
	seen := 0
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		var err error
		switch key {
		case "NoNewPrivs":
			f.NoNewPrivs = value == "1"
		case "CapBnd":
			f.CapBounding, err = strconv.ParseUint(value, 16, 64)
		case "CapEff":
			f.CapEffective, err = strconv.ParseUint(value, 16, 64)
		case "Seccomp":
			f.Seccomp, err = strconv.Atoi(value)
		case "Uid":
			_, err = fmt.Sscanf(value, "%d %d", new(int), &f.UID)
		default:
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		seen++
	}
	if seen != 5 {
		return errors.New("status is not whole")
	}
	return nil
}

// processLimit returns the hard limit of processes of /proc/PID/limits, the soft
// one being at most as high; nil if there is none or it cannot be read.
func processLimit(limits string) *int64 {
	for line := range strings.Lines(limits) {
		rest, ok := strings.CutPrefix(line, "Max processes")
		if fields := strings.Fields(rest); ok && len(fields) >= 2 {
			if n, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
				return &n
			}
		}
	}
	return nil
}

// readMounts parses /proc/PID/mountinfo (proc_pid_mountinfo(5)).
func readMounts(file string) ([]Mount, error) {
	fh, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer fh.Close()
	var mounts []Mount
	in := bufio.NewScanner(fh)
	// A line holds overlay options, which may name many layers.
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		before, after, ok := strings.Cut(in.Text(), " - ")
		// Not Fields: the source, which is in the middle of tail, may be empty.
		head, tail := strings.Split(before, " "), strings.Split(after, " ")
		if !ok || len(head) < 6 || len(tail) != 3 {
			return nil, fmt.Errorf("mountinfo line %q", in.Text())
		}
		mounts = append(mounts, Mount{
			Point: unescape(head[4]), Type: tail[0],
			Options: options(head[5]), SuperOptions: options(tail[2]),
		})
	}
	return mounts, in.Err()
}

// options splits a list of options. A comma in one is escaped, so that comes
// first.
func options(list string) []string {
	all := strings.Split(list, ",")
	for i := range all {
		all[i] = unescape(all[i])
	}
	return all
}

// unescape undoes the octal escapes of mountinfo. Which characters are escaped
// depends on the field and the file system: overlayfs also escapes the comma and
// the equals sign of a layer's path.
func unescape(s string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, `\`)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		n, err := strconv.ParseUint(after[:min(3, len(after))], 8, 8)
		if err != nil || len(after) < 3 {
			b.WriteByte('\\')
			s = after
			continue
		}
		b.WriteByte(byte(n))
		s = after[3:]
	}
}

// identify fills Dev and Ino of the wanted mount points, seen from inside.
func identify(root string, f *Facts, points []string) error {
	for _, p := range points {
		var st unix.Stat_t
		// The point itself and no link on it; of the root link what it leads to.
		at := path.Join(root, p)
		if p == "/" {
			at = root + "/."
		}
		if err := unix.Lstat(at, &st); err != nil {
			return fmt.Errorf("look at %s inside: %w", p, err)
		}
		// The last mount on a point is the one that is seen.
		for i := len(f.Mounts) - 1; i >= 0; i-- {
			if f.Mounts[i].Point == p {
				f.Mounts[i].Dev, f.Mounts[i].Ino = st.Dev, st.Ino
				break
			}
		}
	}
	return nil
}

// interfaces lists the network interfaces of a namespace but for loopback.
func interfaces(file string) ([]string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var names []string
	for line := range strings.Lines(string(data)) {
		if name, _, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) != "lo" {
			names = append(names, strings.TrimSpace(name))
		}
	}
	return names, nil
}

// label returns the security module's label, empty when none confines the
// process or no module is there.
func label(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	l := strings.TrimRight(string(data), "\x00\n ")
	// "crun (unconfined)" is AppArmor's word for a label that confines nothing.
	if l == "unconfined" || strings.HasSuffix(l, "(unconfined)") {
		return ""
	}
	return l
}

// readCgroup returns the limits of the process's version 2 control group.
// Without one there are none.
func readCgroup(file, root string) (Cgroup, error) {
	group, err := groupOf(file)
	if err != nil {
		return Cgroup{}, err
	}
	var c Cgroup
	for dir := group; dir != "/"; dir = path.Dir(dir) {
		at := filepath.Join(root, dir)
		c.Memory = tightest(c.Memory, number(filepath.Join(at, "memory.max")))
		c.Swap = tightest(c.Swap, number(filepath.Join(at, "memory.swap.max")))
		c.PIDs = tightest(c.PIDs, number(filepath.Join(at, "pids.max")))
		c.CPUs = tightest(c.CPUs, quota(filepath.Join(at, "cpu.max")))
	}
	return c, nil
}

// tightest returns the smaller of two limits; nil is none.
func tightest(a, b *int64) *int64 {
	if a == nil || b != nil && *b < *a {
		return b
	}
	return a
}

// number reads a limit file; nil for "max" and for a file that is not there.
func number(file string) *int64 {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	if err != nil {
		return nil
	}
	return &n
}

// quota reads cpu.max, "QUOTA PERIOD" in microseconds, as thousandths of a
// processor.
func quota(file string) *int64 {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	var q, period int64
	if _, err := fmt.Sscanf(string(data), "%d %d", &q, &period); err != nil || period <= 0 {
		return nil
	}
	n := q * 1000 / period
	return &n
}

// Identity returns the identity of the file that a path leads to as a process of
// the calling user sees it. It fails if the process is gone or belongs to
// somebody else.
func (r Reader) Identity(pid int, file string) (dev, ino uint64, err error) {
	var st unix.Stat_t
	p := filepath.Join(or(r.Proc, "/proc"), strconv.Itoa(pid), "root", file)
	if err := unix.Lstat(p, &st); err != nil {
		return 0, 0, &os.PathError{Op: "stat", Path: p, Err: err}
	}
	return st.Dev, st.Ino, nil
}

// Landlock returns the Landlock ABI of the running kernel (landlock(7)); zero if
// it has none, or was started without it.
func (Reader) Landlock() int {
	abi, _, err := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if err != 0 {
		return 0
	}
	return int(abi)
}
