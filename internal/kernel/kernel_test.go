package kernel_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/kernel"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// status is what a locked-down process has.
const status = `Name:	catatonit
Uid:	1000	1001	1002	1003
CapEff:	0000000000000000
CapBnd:	00000000a80425fb
NoNewPrivs:	1
Seccomp:	2
Seccomp_filters:	1
`

// mountinfo has what makes it hard to read: optional fields, none of them, a
// mount over a mount, escapes, and a source that is empty.
const mountinfo = `1 0 0:1 / / ro,relatime - overlay overlay rw,lowerdir=/l1:/l2
2 1 0:2 / /workspace rw,nosuid master:3 shared:4 - overlay overlay rw,lowerdir=/home/u/a\040b\075c\054d\043\134e,upperdir=/up
3 1 0:3 / /tmp rw,nosuid,nodev - tmpfs tmpfs rw,size=64k
4 3 0:4 / /tmp ro - tmpfs none rw,size=1k
5 1 0:5 / /with\040blank\011tab\012line rw - tmpfs  rw
`

// proc makes a directory like /proc with one process, 42, and returns a reader
// of it.
func proc(t *testing.T, files map[string]string) kernel.Reader {
	t.Helper()
	dir := t.TempDir()
	all := map[string]string{
		"proc/42/status": status, "proc/42/mountinfo": mountinfo, "proc/42/root/workspace/file": "", "proc/42/root/tmp/file": "",
		"proc/42/net/dev":      "Inter-|   Receive |  Transmit\n face |bytes |bytes\n    lo: 0 0\n",
		"proc/42/limits":       "Limit  Soft Limit  Hard Limit  Units\nMax processes             512                  513                  processes\nMax open files  1  2  files\n",
		"proc/42/attr/current": "unconfined\n", "proc/42/cgroup": "0::/user.slice/a/b\n",
	}
	maps.Copy(all, files)
	for name, text := range all {
		p := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(p), 0o700))
		if text != "-" {
			must(t, os.WriteFile(p, []byte(text), 0o600))
		}
	}
	for link, target := range map[string]string{"self": "user:[1]", "42": "user:[2]"} {
		if to, ok := files["ns "+link]; ok {
			target = to
		}
		must(t, os.MkdirAll(filepath.Join(dir, "proc", link, "ns"), 0o700))
		must(t, os.Symlink(target, filepath.Join(dir, "proc", link, "ns", "user")))
	}
	return kernel.Reader{Proc: filepath.Join(dir, "proc"), CgroupRoot: filepath.Join(dir, "cgroup")}
}

func TestOOMKills(t *testing.T) {
	const events = "low 0\nhigh 1\nmax 2\noom 3\noom_kill 4\noom_group_kill 5\n"
	for name, c := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"some":             {map[string]string{"cgroup/user.slice/a/b/memory.events": events}, 4},
		"another group's":  {map[string]string{"cgroup/user.slice/a/memory.events": events}, 0},
		"not a number":     {map[string]string{"cgroup/user.slice/a/b/memory.events": "oom_kill x\n"}, 0},
		"none says":        {nil, 0},
		"version 1":        {map[string]string{"proc/42/cgroup": "3:memory:/a\n", "cgroup/memory.events": events}, 0},
		"outside":          {map[string]string{"proc/42/cgroup": "0::/../x\n", "cgroup/../x/memory.events": events}, 0},
		"the process gone": {map[string]string{"proc/42/cgroup": "-", "cgroup/memory.events": events}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := proc(t, c.files).OOMKills(42); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}

func TestProcess(t *testing.T) {
	f, err := proc(t, nil).Process(42, []string{"/workspace", "/tmp"})
	must(t, err)
	if !f.NoNewPrivs || f.CapBounding != 0xa80425fb || f.CapEffective != 0 || f.Seccomp != 2 || f.UID != 1001 || !f.UserNamespace || f.NetworkInterfaces != nil || f.LSM != "" {
		t.Errorf("%+v", f)
	}
	if f.Processes == nil || *f.Processes != 513 {
		t.Errorf("limit of processes %v", f.Processes)
	}
	if f, err := proc(t, map[string]string{"proc/42/limits": "Max processes  unlimited  unlimited  processes\n"}).Process(42, nil); err != nil || f.Processes != nil {
		t.Errorf("unlimited: %v, %v", f.Processes, err)
	}
	for i, m := range f.Mounts {
		if identified := m.Ino != 0; identified != (i == 1 || i == 3) {
			t.Errorf("mount %d at %s: inode %d; only the last one on a wanted point is seen", i, m.Point, m.Ino)
		}
		f.Mounts[i].Dev, f.Mounts[i].Ino = 0, 0
	}
	want := []kernel.Mount{
		{Point: "/", Type: "overlay", Options: []string{"ro", "relatime"}, SuperOptions: []string{"rw", "lowerdir=/l1:/l2"}},
		{Point: "/workspace", Type: "overlay", Options: []string{"rw", "nosuid"}, SuperOptions: []string{"rw", `lowerdir=/home/u/a b=c,d#\e`, "upperdir=/up"}},
		{Point: "/tmp", Type: "tmpfs", Options: []string{"rw", "nosuid", "nodev"}, SuperOptions: []string{"rw", "size=64k"}},
		{Point: "/tmp", Type: "tmpfs", Options: []string{"ro"}, SuperOptions: []string{"rw", "size=1k"}},
		{Point: "/with blank\ttab\nline", Type: "tmpfs", Options: []string{"rw"}, SuperOptions: []string{"rw"}},
	}
	if d := cmp.Diff(want, f.Mounts); d != "" {
		t.Errorf("mounts (-want +got):\n%s", d)
	}
}

func TestProcessReportsWhatIsThere(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		check func(kernel.Facts) bool
	}{
		"new privileges":    {map[string]string{"proc/42/status": strings.Replace(status, "NoNewPrivs:\t1", "NoNewPrivs:\t0", 1)}, func(f kernel.Facts) bool { return !f.NoNewPrivs }},
		"effective":         {map[string]string{"proc/42/status": strings.Replace(status, "CapEff:\t0000000000000000", "CapEff:\t000001ffffffffff", 1)}, func(f kernel.Facts) bool { return f.CapEffective == 0x1ffffffffff }},
		"no filter":         {map[string]string{"proc/42/status": strings.Replace(status, "Seccomp:\t2", "Seccomp:\t0", 1)}, func(f kernel.Facts) bool { return f.Seccomp == 0 }},
		"the same users":    {map[string]string{"ns 42": "user:[1]"}, func(f kernel.Facts) bool { return !f.UserNamespace }},
		"an interface":      {map[string]string{"proc/42/net/dev": "x\ny\n  lo: 0\ntap0: 1 2\n eth0:3\n"}, func(f kernel.Facts) bool { return slices.Equal(f.NetworkInterfaces, []string{"tap0", "eth0"}) }},
		"AppArmor":          {map[string]string{"proc/42/attr/current": "ccc-session (enforce)\n"}, func(f kernel.Facts) bool { return f.LSM == "ccc-session (enforce)" }},
		"no AppArmor":       {map[string]string{"proc/42/attr/current": "crun (unconfined)\n"}, func(f kernel.Facts) bool { return f.LSM == "" }},
		"SELinux":           {map[string]string{"proc/42/attr/current": "system_u:system_r:container_t:s0\x00"}, func(f kernel.Facts) bool { return f.LSM == "system_u:system_r:container_t:s0" }},
		"no such module":    {map[string]string{"proc/42/attr/current": "-"}, func(f kernel.Facts) bool { return f.LSM == "" }},
		"no cgroup":         {map[string]string{"proc/42/cgroup": "12:memory:/x\n"}, func(f kernel.Facts) bool { return f.Cgroup == kernel.Cgroup{} }},
		"the cgroup's root": {map[string]string{"proc/42/cgroup": "0::/\n"}, func(f kernel.Facts) bool { return f.Cgroup == kernel.Cgroup{} }},
		"a cgroup outside":  {map[string]string{"proc/42/cgroup": "0::/../../x\n", "x/memory.max": "1\n"}, func(f kernel.Facts) bool { return f.Cgroup == kernel.Cgroup{} }},
	} {
		if f, err := proc(t, c.files).Process(42, nil); err != nil || !c.check(f) {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
}

func TestCgroupLimitsAreTheTightestOnTheWay(t *testing.T) {
	number := func(n *int64) int64 {
		if n == nil {
			return -1
		}
		return *n
	}
	f, err := proc(t, map[string]string{
		"cgroup/user.slice/a/b/memory.max": "max\n", "cgroup/user.slice/a/memory.max": "1000\n", "cgroup/user.slice/memory.max": "2000\n",
		"cgroup/memory.max": "1\n", "cgroup/user.slice/a/b/memory.swap.max": "0\n",
		"cgroup/user.slice/a/b/cpu.max": "150000 100000\n", "cgroup/user.slice/cpu.max": "max 100000\n",
		"cgroup/user.slice/a/b/pids.max": "not a number\n",
	}).Process(42, nil)
	must(t, err)
	got := []int64{number(f.Cgroup.Memory), number(f.Cgroup.Swap), number(f.Cgroup.CPUs), number(f.Cgroup.PIDs)}
	if want := []int64{1000, 0, 1500, -1}; !slices.Equal(got, want) {
		t.Errorf("memory, swap, cpus, pids: %v, want %v", got, want)
	}
}

// What cannot be read is an error: no fact may be taken for granted.
func TestProcessRefusesWhatIsNotWhole(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"no process":        {"proc/42/status": "-"},
		"empty status":      {"proc/42/status": ""},
		"no bounding set":   {"proc/42/status": strings.Replace(status, "CapBnd", "CapXxx", 1)},
		"no NoNewPrivs":     {"proc/42/status": strings.Replace(status, "NoNewPrivs", "Xxx", 1)},
		"no seccomp":        {"proc/42/status": strings.Replace(status, "Seccomp:", "Xxx:", 1)},
		"capabilities odd":  {"proc/42/status": strings.Replace(status, "00000000a80425fb", "lots", 1)},
		"user odd":          {"proc/42/status": strings.Replace(status, "1000	1001", "me	me", 1)},
		"no mounts":         {"proc/42/mountinfo": "-"},
		"mounts odd":        {"proc/42/mountinfo": "1 0 0:1 / /\n"},
		"mounts cut":        {"proc/42/mountinfo": "1 0 0:1 / / ro - overlay\n"},
		"no network":        {"proc/42/net/dev": "-"},
		"no cgroup":         {"proc/42/cgroup": "-"},
		"missing workspace": {"proc/42/root/workspace/file": "-", "proc/42/mountinfo": mountinfo + "6 1 0:6 / /data rw - tmpfs tmpfs rw\n"},
	} {
		points := []string{"/workspace"}
		if name == "missing workspace" {
			points = []string{"/data"}
		}
		if f, err := proc(t, files).Process(42, points); err == nil {
			t.Errorf("%s: %+v", name, f)
		}
	}
	if _, err := proc(t, nil).Process(43, nil); err == nil {
		t.Error("a process that is not there has facts")
	}
}

// The real thing: this process, and one in namespaces of its own if the kernel
// lets an ordinary user make them.
func TestProcessOfTheRealKernel(t *testing.T) {
	f, err := kernel.Reader{}.Process(os.Getpid(), []string{"/"})
	must(t, err)
	var st unix.Stat_t
	must(t, unix.Stat("/", &st))
	last := slices.IndexFunc(f.Mounts, func(m kernel.Mount) bool { return m.Ino == st.Ino && m.Dev == st.Dev })
	if f.UserNamespace || f.UID != os.Geteuid() || last < 0 || f.Mounts[last].Point != "/" {
		t.Errorf("%+v", f)
	}
	cmd := exec.CommandContext(t.Context(), "sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, HostID: os.Getgid(), Size: 1}},
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("no user namespaces here: %v", err)
	}
	t.Cleanup(func() {
		must(t, cmd.Process.Kill())
		_ = cmd.Wait()
	})
	f, err = kernel.Reader{}.Process(cmd.Process.Pid, nil)
	must(t, err)
	if !f.UserNamespace || len(f.NetworkInterfaces) > 0 || f.UID != os.Geteuid() {
		t.Errorf("%+v", f)
	}
}

func TestEntries(t *testing.T) {
	r := proc(t, map[string]string{"proc/42/root/workspace/dir/x": "", "proc/42/root/workspace/file": ""})
	must(t, os.Symlink("file", filepath.Join(r.Proc, "42/root/workspace/link")))
	seen, err := r.Entries(42, "/workspace", 10)
	must(t, err)
	slices.SortFunc(seen, func(a, b kernel.Entry) int { return strings.Compare(a.Name, b.Name) })
	if len(seen) != 3 || seen[0].Name != "dir" || !seen[0].Dir || seen[1].Dir || seen[2].Name != "link" || seen[2].Dir || seen[1].Ino == seen[2].Ino || seen[2].Ino == 0 {
		t.Errorf("%+v", seen)
	}
	if seen, err := r.Entries(42, "/workspace", 2); err != nil || len(seen) != 2 {
		t.Errorf("%+v, %v", seen, err)
	}
	if seen, err := kernel.ReadEntries(t.TempDir(), 10); err != nil || len(seen) != 0 {
		t.Errorf("%+v, %v", seen, err)
	}
	if _, err := r.Entries(43, "/workspace", 2); err == nil {
		t.Error("a process that is not there shows files")
	}
}
