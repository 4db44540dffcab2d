package verify_test

import (
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/guest"
	"github.com/ccc-dev/ccc/internal/guest/observe"
	"github.com/ccc-dev/ccc/internal/kernel"
	"github.com/ccc-dev/ccc/internal/policy"
	"github.com/ccc-dev/ccc/internal/verify"
)

// good returns what was seen of a session whose walls all hold: the report of a
// real one, and a host that agrees with it.
func good(t *testing.T) verify.Input {
	t.Helper()
	data, err := os.ReadFile("testdata/report.json")
	if err != nil {
		t.Fatal(err)
	}
	report, err := verify.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	limit := func(n int64) *int64 { return &n }
	sight := func() verify.Sight {
		s := verify.Sight{
			Facts: kernel.Facts{
				NoNewPrivs: true, Seccomp: 2, UID: 1000, UserNamespace: true, LSM: "ccc-session (enforce)",
				Cgroup: kernel.Cgroup{Memory: limit(4 << 30), Swap: limit(0), PIDs: limit(512), CPUs: limit(2000)},
			},
			Namespaces: map[string]string{},
		}
		for line := range strings.Lines(report.Texts["/proc/self/mountinfo"].Data) {
			before, after, _ := strings.Cut(strings.TrimSpace(line), " - ")
			f, tail := strings.Fields(before), strings.Fields(after)
			s.Facts.Mounts = append(s.Facts.Mounts, kernel.Mount{
				Point: f[4], Type: tail[0], Options: append(strings.Split(f[5], ","), "nosuid", "nodev"), SuperOptions: strings.Split(tail[2], ","),
			})
		}
		for name, text := range report.Texts {
			if kind, ok := strings.CutPrefix(name, "/proc/self/ns/"); ok {
				s.Namespaces[kind] = text.Data
			}
		}
		return s
	}
	report.Texts["/proc/self/attr/current"] = observe.Text{Data: "ccc-session (enforce)\n"}
	in := verify.Input{
		Terms: policy.Terms{ID: "0123456789ab", Name: "demo", Seccomp: "agent", Limits: api.Limits{TTL: api.Duration(8 * time.Hour), Idle: api.Duration(time.Hour)}},
		Want: engine.Container{
			Dir: "/workspace", UID: 1000, GID: 1000, ShmSize: 64 << 20, Memory: 4 << 30, CPUs: 2000, PIDs: 512,
			Env:      map[string]string{"PATH": "", "HOME": "", "USER": "", "LANG": "", "TMPDIR": "", "ASAN_OPTIONS": ""},
			Rlimits:  map[string]uint64{"NOFILE": 4096, "NPROC": 512, "CORE": 0},
			Binds:    []engine.Bind{{Target: guest.Path}, {Target: guest.SessionDir}},
			Overlays: []engine.Overlay{{Target: "/workspace"}},
			Homes:    []engine.Home{{Target: "/home/agent"}},
			Tmpfs:    []engine.Tmpfs{{Target: "/tmp", Size: 1 << 30}, {Target: "/run", Size: 16 << 20}},
		},
		Write: []string{"/workspace", "/home/agent", "/tmp", "/run", "/dev/shm"},
		Own:   map[string]string{}, Init: observe.Identity{Dev: 1, Ino: 2}, Landlock: 7, Boottime: time.Minute, Arch: "amd64",
		Sockets: []string{"unix:@ccc-canary"}, Report: report, First: sight(),
	}
	probe := sight()
	in.Probe = &probe
	for name := range probe.Namespaces {
		in.Own[name] = name + ":[1]"
	}
	for _, c := range []string{"lsm", "mount-options", "memory", "cpu", "pids"} {
		in.Posture = append(in.Posture, api.Control{Name: c, State: api.StateEnforced})
	}
	return in
}

// of returns a control.
func of(t *testing.T, all []api.Checked, id string) api.Checked {
	t.Helper()
	i := slices.IndexFunc(all, func(c api.Checked) bool { return c.ID == id })
	if i < 0 {
		t.Fatalf("there is no control %s", id)
	}
	return all[i]
}

func TestGood(t *testing.T) {
	all := verify.Judge(good(t))
	for _, c := range all {
		if c.Verdict != api.VerdictPass || c.Seen == "" || c.Expected == "" || len(c.Cases) == 0 || c.Hint != "" {
			t.Errorf("%+v", c)
		}
	}
	if !(api.Verification{Controls: all}).Holds() || len(all) < 40 {
		t.Errorf("%d controls do not hold", len(all))
	}
}

// status changes a line of what a process says of itself inside.
func status(in *verify.Input, file, key, value string) {
	var b strings.Builder
	for line := range strings.Lines(in.Report.Texts[file].Data) {
		if strings.HasPrefix(line, key+":") {
			line = key + ":\t" + value + "\n"
		}
		b.WriteString(line)
	}
	in.Report.Texts[file] = observe.Text{Data: b.String()}
}

// forgery is something bad to be seen.
type forgery struct {
	control, name string
	do            func(*verify.Input)
}

func answer(control, key, value string) forgery {
	return forgery{control, key + " = " + value, func(in *verify.Input) { in.Report.Tries[key] = value }}
}

func call(control, id, value string) forgery {
	return forgery{control, id + " = " + value, func(in *verify.Input) { in.Report.Calls[id] = value }}
}

const self, first = "/proc/self/status", "/proc/1/status"

var forgeries = slices.Concat(identity, process, filters, places, network, bounds)

var identity = []forgery{
	{"attestation", "the container is another", func(in *verify.Input) { in.Attested = errors.New("seccomp is none") }},
	{"report", "claims no filter", func(in *verify.Input) { status(in, self, "Seccomp", "0") }},
	{"report", "claims a filter that is not there", func(in *verify.Input) { in.Probe.Facts.Seccomp = 0 }},
	{"report", "claims fewer capabilities", func(in *verify.Input) { in.Probe.Facts.CapEffective = 1 << 21 }},
	{"report", "claims no_new_privs", func(in *verify.Input) { in.Probe.Facts.NoNewPrivs = false }},
	{"report", "hides a mount", func(in *verify.Input) {
		in.Probe.Facts.Mounts = append(in.Probe.Facts.Mounts, kernel.Mount{Point: "/host", Type: "ext4"})
	}},
	{"report", "another machine", func(in *verify.Input) { in.Report.Arch = "arm64" }},
	{"report", "another kernel", func(in *verify.Input) { in.Report.Landlock = 5 }},
	{"report", "another namespace", func(in *verify.Input) { in.Report.Texts["/proc/self/ns/net"] = observe.Text{Data: "net:[7]"} }},
	{"init-file", "another file", func(in *verify.Input) { in.Report.Init.Ino++ }},
	{"init-file", "no file", func(in *verify.Input) { in.Report.Init, in.Init = observe.Identity{}, observe.Identity{} }},
	answer("init-file", "open-write /.ccc/init", "ok"),
	answer("init-file", "write /.ccc", "ok"),
	{"first-process", "sleep", func(in *verify.Input) {
		in.Report.Texts["/proc/1/cmdline"] = observe.Text{Data: "sleep\x00infinity\x00"}
	}},
	answer("first-process", "read /proc/1/environ", "something"),
	answer("first-process", "read /proc/1/root", "something"),
	answer("first-process", "open-write /proc/1/mem", "ok"),
}

var process = []forgery{
	{"namespaces", "the host's network", func(in *verify.Input) { in.First.Namespaces["net"] = in.Own["net"] }},
	{"namespaces", "a command in the host's PIDs", func(in *verify.Input) { in.Probe.Namespaces["pid"] = in.Own["pid"] }},
	{"namespaces", "the host's users", func(in *verify.Input) { in.First.Facts.UserNamespace = false }},
	{"user", "root outside", func(in *verify.Input) { in.Probe.Facts.UID = 0 }},
	{"user", "root inside", func(in *verify.Input) { status(in, self, "Uid", "1000\t0\t1000\t0") }},
	{"user", "a group of the host", func(in *verify.Input) { status(in, self, "Groups", "27 1000") }},
	{"capabilities", "effective, of a command", func(in *verify.Input) { in.Probe.Facts.CapEffective = 1 }},
	{"capabilities", "bounding, of the first process", func(in *verify.Input) { in.First.Facts.CapBounding = 0x5fb }},
	{"capabilities", "ambient", func(in *verify.Input) { status(in, self, "CapAmb", "0000000000000400") }},
	{"no-new-privileges", "the first process", func(in *verify.Input) { in.First.Facts.NoNewPrivs = false }},
	{"no-new-privileges", "a command", func(in *verify.Input) { in.Probe.Facts.NoNewPrivs = false }},
	{"no-new-privileges", "seen inside", func(in *verify.Input) { status(in, first, "NoNewPrivs", "0") }},
	answer("set-id", "set-id /usr/bin/su", "euid 0"),
	{"set-id", "silent, and privileges can be gained", func(in *verify.Input) {
		in.Report.Tries["set-id /usr/bin/su"] = "silent"
		in.Probe.Facts.NoNewPrivs = false
	}},
	{"lsm", "a command escapes", func(in *verify.Input) { in.Probe.Facts.LSM = "" }},
	{"lsm", "the first process escapes", func(in *verify.Input) { in.First.Facts.LSM = "" }},
	{"lsm", "only watched", func(in *verify.Input) {
		in.First.Facts.LSM, in.Probe.Facts.LSM = "ccc-session (complain)", "ccc-session (complain)"
		in.Report.Texts["/proc/self/attr/current"] = observe.Text{Data: "ccc-session (complain)\n"}
	}},
	{"lsm", "none, though required", func(in *verify.Input) {
		in.First.Facts.LSM, in.Probe.Facts.LSM, in.Terms.Require = "", "", api.RequireEnforced
	}},
	answer("landlock", "open-write /proc/self/comm", "ok"),
	{"landlock", "none, though required", func(in *verify.Input) { in.Landlock, in.Terms.Require = 0, api.RequireEnforced }},
	{"descriptors", "a directory of the host", func(in *verify.Input) { in.Report.Descriptors["7"] = "/sys/fs/cgroup" }},
	{"descriptors", "standard input from the host", func(in *verify.Input) { in.Report.Descriptors["0"] = "/home/u/secret" }},
	{"descriptors", "a working directory outside", func(in *verify.Input) { in.Report.Dir = "(unreachable)/home/u" }},
	{"environment", "not asked for", func(in *verify.Input) {
		in.Report.Variables = append(in.Report.Variables, observe.Variable{Name: "LD_PRELOAD"})
	}},
	{"environment", "a secret's name", func(in *verify.Input) {
		in.Report.Variables = append(in.Report.Variables, observe.Variable{Name: "AWS_SECRET_ACCESS_KEY"})
		in.Want.Env["AWS_SECRET_ACCESS_KEY"] = "x"
	}},
	{"environment", "a secret's form", func(in *verify.Input) { in.Report.Variables[0].Like = "a GitHub token" }},
}

var filters = []forgery{
	{"seccomp", "no filter on a command", func(in *verify.Input) { in.Probe.Facts.Seccomp = 0 }},
	{"seccomp", "no filter on the first process", func(in *verify.Input) { in.First.Facts.Seccomp = 0 }},
	{"seccomp", "seen inside", func(in *verify.Input) { status(in, first, "Seccomp", "0") }},
	call("seccomp-namespaces", "S01/unshare-user", "ok"),
	call("seccomp-namespaces", "S01/clone3", "EPERM"),
	call("seccomp-sockets", "S02/alg", "EAFNOSUPPORT"),
	call("seccomp-high-bits", "S03/tiocsti", "EBADF"),
	call("seccomp-other-tables", "S04/int80", "ok"),
	call("seccomp-primitives", "S07/io-uring-setup", "EFAULT"),
	call("seccomp-primitives", "S07/splice", "EBADF"),
	call("seccomp-mounts", "S08/mount", "EFAULT"),
	call("seccomp-host", "host/syslog", "EINVAL"),
	call("seccomp-ordinary", "use/openat", "EPERM"),
	call("seccomp-ordinary", "use/futex", "SIGSYS"),
}

var places = []forgery{
	{"mounts", "a disk", func(in *verify.Input) {
		in.First.Facts.Mounts = append(in.First.Facts.Mounts, kernel.Mount{Point: "/host", Type: "ext4"})
	}},
	{"mounts", "a disk where only masks belong", func(in *verify.Input) {
		in.Probe.Facts.Mounts = append(in.Probe.Facts.Mounts, kernel.Mount{Point: "/proc/acpi", Type: "ext4"})
	}},
	{"mounts", "a writable root", func(in *verify.Input) {
		for i, m := range in.First.Facts.Mounts {
			if m.Point == "/" {
				in.First.Facts.Mounts[i].Options = []string{"rw"}
			}
		}
	}},
	{"mount-options", "set-user-id files count", func(in *verify.Input) {
		for i, m := range in.First.Facts.Mounts {
			if m.Point == "/workspace" {
				in.First.Facts.Mounts[i].Options = []string{"rw", "nodev"}
			}
		}
	}},
	answer("writable", "write /etc", "ok"),
	answer("writable", "write /dev/mqueue", "ok"),
	{"writable", "behind a link", func(in *verify.Input) {
		in.Report.Tries["write /var/tmp"], in.Report.Tries["write /var/spool"] = observe.Link("/var/spool"), "ok"
	}},
	answer("writable", "write /usr/local/bin", "ok, and cannot be removed: EPERM"),
	answer("writable", "write /var/tmp", "ok at /etc"),
	answer("writable", "write /var/tmp", "ok at /tmp/../etc"),
	answer("writable", "write /dev/sda", "ok 8:0"),
	answer("writable", "open-write /etc/passwd", "ok"),
	{"writable", "a guarded file", func(in *verify.Input) {
		in.Want.Binds = append(in.Want.Binds, engine.Bind{Target: "/workspace/.git"})
		in.Report.Tries["write /workspace/.git"] = "ok"
	}},
	answer("usable", "write /workspace", "EACCES"),
	answer("usable", "loopback 127.0.0.1", "ENETUNREACH"),
	answer("masked-paths", "read /proc/keys", "something"),
	answer("masked-paths", "read /sys/firmware", "something"),
	answer("read-only-proc", "open-write /proc/sysrq-trigger", "ok"),
	answer("read-only-proc", "open-write /.ccc/session/life", "ok"),
	answer("kernel-addresses", "read /proc/kallsyms", "something"),
	{"devices", "a disk", func(in *verify.Input) {
		in.Report.Devices = append(in.Report.Devices, observe.Node{Name: "sda", Kind: "block", Major: 8})
	}},
	{"devices", "kvm", func(in *verify.Input) {
		in.Report.Devices = append(in.Report.Devices, observe.Node{Name: "kvm", Kind: "char", Major: 10, Minor: 232})
	}},
	{"devices", "elsewhere", func(in *verify.Input) { in.Report.Tree.Nodes = []string{"/home/agent/sda"} }},
	answer("device-nodes", "mknod char 0:0", "ok"),
}

var network = []forgery{
	{"network-devices", "by the host", func(in *verify.Input) { in.First.Facts.NetworkInterfaces = []string{"tap0"} }},
	{"network-devices", "by the session", func(in *verify.Input) {
		in.Report.Texts["/proc/net/dev"] = observe.Text{Data: in.Report.Texts["/proc/net/dev"].Data + "  eth0: 1 2\n"}
	}},
	answer("routes", "route 169.254.169.254", "ok"),
	answer("routes", "tcp 192.0.2.1", "EINPROGRESS"),
	{"routes", "a default route", func(in *verify.Input) {
		in.Report.Texts["/proc/net/route"] = observe.Text{Data: "Iface\tDestination\ntap0\t00000000\n"}
	}},
	answer("dns", "dns 10.0.2.3", "ok"),
	{"host-sockets", "of the host", func(in *verify.Input) {
		in.Report.Tries["connect unix:/var/run/docker.sock"] = "ok"
	}},
	{"host-sockets", "the canary", func(in *verify.Input) {
		in.Report.Tries["connect unix:@ccc-canary"], in.First.Namespaces["net"] = "ok", in.Own["net"]
	}},
	{"host-sockets", "found", func(in *verify.Input) { in.Report.Tree.Sockets = []string{"/var/lib/x.sock"} }},
}

var bounds = []forgery{
	{"lifetime", "for ever", func(in *verify.Input) {
		in.Report.Texts["/.ccc/session/life"] = observe.Text{Data: "deadline 9223372036854775807\n"}
	}},
	{"lifetime", "over", func(in *verify.Input) { in.Boottime = 1000 * time.Hour }},
	{"lifetime", "no file", func(in *verify.Input) { in.Report.Texts["/.ccc/session/life"] = observe.Text{Err: "ENOENT"} }},
	{"pids", "no limit at all", func(in *verify.Input) {
		in.First.Facts.Cgroup.PIDs, in.Report.Limits["NPROC"] = nil, observe.Limit{Soft: -1, Hard: -1}
	}},
	{"memory", "more", func(in *verify.Input) { *in.First.Facts.Cgroup.Memory *= 2 }},
	{"memory", "none, though the posture says enforced", func(in *verify.Input) { in.First.Facts.Cgroup.Memory = nil }},
	{"cpu", "more", func(in *verify.Input) { *in.First.Facts.Cgroup.CPUs *= 2 }},
	{"rlimits", "more files", func(in *verify.Input) { in.Report.Limits["NOFILE"] = observe.Limit{Soft: 4096, Hard: 1 << 20} }},
	{"rlimits", "core files", func(in *verify.Input) { in.Report.Limits["CORE"] = observe.Limit{Hard: -1} }},
	{"tmp-size", "larger", func(in *verify.Input) {
		for i, m := range in.First.Facts.Mounts {
			if m.Point == "/tmp" {
				in.First.Facts.Mounts[i].SuperOptions = []string{"rw", "size=9999999k"}
			}
		}
	}},
	{"tmp-size", "without bound", func(in *verify.Input) {
		for i, m := range in.First.Facts.Mounts {
			if m.Point == "/run" {
				in.First.Facts.Mounts[i].SuperOptions = []string{"rw"}
			}
		}
	}},
}

// Each control fails when what it is about is bad, and there is none that
// cannot.
func TestForgeries(t *testing.T) {
	failed := map[string]bool{}
	for _, f := range forgeries {
		t.Run(f.control+"/"+f.name, func(t *testing.T) {
			in := good(t)
			f.do(&in)
			all := verify.Judge(in)
			c := of(t, all, f.control)
			if c.Verdict != api.VerdictFail || c.Hint == "" {
				t.Errorf("%+v", c)
			}
			if (api.Verification{Controls: all}).Holds() {
				t.Error("the whole holds")
			}
			failed[f.control] = true
		})
	}
	for _, c := range verify.Judge(good(t)) {
		if !failed[c.ID] {
			t.Errorf("%s was not shown to fail", c.ID)
		}
	}
}

// What is left out of a report cannot pass.
func TestGapsDoNotPass(t *testing.T) {
	holds := func(in verify.Input) bool { return api.Verification{Controls: verify.Judge(in)}.Holds() }
	base := good(t)
	for key := range base.Report.Tries {
		in := good(t)
		delete(in.Report.Tries, key)
		if holds(in) {
			t.Errorf("without %q all is well", key)
		}
		in.Report.Tries[key] = "error"
		if holds(in) {
			t.Errorf("with an error of %q all is well", key)
		}
	}
	in := good(t)
	for i, id := range slices.Sorted(maps.Keys(base.Report.Calls)) {
		was := base.Report.Calls[id]
		// An answer that no kernel gives to any of them, or none at all; not
		// each call has each of these, for a judgement of them all takes a while.
		answers := []string{"ENOTTY"}
		switch i % 8 {
		case 1, 3, 5:
			continue
		case 0:
			answers = []string{"", "timeout", "error: fork"}
		}
		for _, a := range answers {
			in.Report.Calls[id] = a
			if a == "" {
				delete(in.Report.Calls, id)
			}
			if holds(in) {
				t.Errorf("with the answer %q of %s instead of %s all is well", a, id, was)
			}
		}
		in.Report.Calls[id] = was
	}
	if !holds(in) {
		t.Error("what was put back does not hold")
	}
	for _, key := range slices.Sorted(maps.Keys(base.Report.Limits)) {
		in := good(t)
		delete(in.Report.Limits, key)
		if _, granted := in.Want.Rlimits[key]; granted && holds(in) {
			t.Errorf("without the limit %s all is well", key)
		}
	}
	in = good(t)
	if in.Report.Tries["write /var/tmp"] = observe.Link("/tmp"); !holds(in) {
		t.Error("a link to where may be written does not hold")
	}
	if in.Report.Tries["write /var/tmp"] = observe.Link("/nowhere"); holds(in) {
		t.Error("a link to what was not tried holds")
	}
	in = good(t)
	in.Probe = nil
	if holds(in) {
		t.Error("without a look at the probe all is well")
	}
	in = good(t)
	in.Report = observe.Report{}
	for _, c := range verify.Judge(in) {
		if c.Witness != "host" && c.Verdict == api.VerdictPass && c.ID != "pids" {
			t.Errorf("an empty report, and yet: %+v", c)
		}
	}
	if len(verify.Judge(verify.Input{})) == 0 || holds(verify.Input{}) {
		t.Error("nothing at all, and all is well")
	}
}

// What the host cannot enforce is missing, not good, unless it was required.
func TestMissing(t *testing.T) {
	in := good(t)
	in.First.Facts.LSM, in.Probe.Facts.LSM = "", ""
	in.Landlock, in.Report.Landlock, in.Report.Tries["open-write /proc/self/comm"] = 0, 0, "ok"
	in.First.Facts.Cgroup = kernel.Cgroup{}
	in.Posture = api.Posture{{Name: "mount-options", State: api.StateFallback, Detail: "not set"}}
	in.Report.Tries["read /proc/kallsyms"], in.Report.Tries["write /dev/mqueue"] = "something", "ok"
	all := verify.Judge(in)
	for _, id := range []string{"lsm", "landlock", "memory", "cpu", "mount-options", "kernel-addresses"} {
		if c := of(t, all, id); c.Verdict != api.VerdictMissing || c.Hint == "" {
			t.Errorf("%+v", c)
		}
	}
	v := api.Verification{Controls: all}
	if !v.Holds() || v.Count(api.VerdictMissing) != 6 {
		t.Errorf("%d are missing", v.Count(api.VerdictMissing))
	}
	other := good(t)
	other.Posture = api.Posture{{Name: "lsm", State: api.StateFallback, Detail: "the engine's label"}, {Name: "mount-options", State: api.StateEnforced}}
	if c := of(t, verify.Judge(other), "lsm"); c.Verdict != api.VerdictMissing || c.Seen != "the engine's label" {
		t.Errorf("%+v", c)
	}
	in.Terms.Require = api.RequireEnforced
	all = verify.Judge(in)
	for _, id := range []string{"lsm", "landlock", "memory", "cpu", "kernel-addresses"} {
		if c := of(t, all, id); c.Verdict != api.VerdictFail {
			t.Errorf("required: %+v", c)
		}
	}
}

// A session may have sockets and servers of its own.
func TestOwnThings(t *testing.T) {
	in := good(t)
	in.Report.Tries["connect unix:/tmp/.X11-unix/X0"], in.Report.Tries["connect unix:@/tmp/.X11-unix/X0"] = "ok", "ok"
	in.Report.Tree.Sockets = []string{"/tmp/.X11-unix/X0", "/run/mine.sock"}
	in.Report.Tries["set-id /usr/bin/su"], in.Report.Tries["set-id /static"] = "euid 1000", "silent"
	in.Report.Tries["dns 127.0.0.1"] = "ECONNREFUSED"
	in.Report.Calls["S07/ptrace-me"] = "EPERM"
	// A kernel without restartable sequences, and without 32-bit programs.
	in.Report.Calls["use/rseq"], in.Report.Calls["S04/int80"] = "ENOSYS", "SIGSEGV"
	if v := (api.Verification{Controls: verify.Judge(in)}); !v.Holds() {
		t.Errorf("%+v", v)
	}
}

func TestDecodeIsStrict(t *testing.T) {
	data, err := os.ReadFile("testdata/report.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, doc := range map[string]string{
		"nothing":          "",
		"no object":        `[]`,
		"another format":   `{"format":2}`,
		"no format":        `{}`,
		"an unknown key":   `{"format":1,"verdict":"pass"}`,
		"something behind": string(data) + "{}",
		"too long":         `{"format":1,"dir":"` + strings.Repeat("a", observe.MaxSize) + `"}`,
		"cut":              string(data[:len(data)/2]),
	} {
		if _, err := verify.Decode([]byte(doc)); err == nil {
			t.Errorf("%s was read", name)
		}
	}
}

// What a session says cannot move a cursor or fill a screen.
func TestSeenIsHarmless(t *testing.T) {
	in := good(t)
	in.Report.Dir = "\x1b[2J\u202e" + strings.Repeat("x", 5000)
	in.Report.Tries["write /\nevil\x1b[31m"] = "ok"
	for _, c := range verify.Judge(in) {
		if len(c.Seen) > 410 || api.Printable(c.Seen) != c.Seen {
			t.Errorf("%s: %q", c.ID, c.Seen)
		}
	}
}
