package seccomp_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/seccomp"
	"github.com/ccc-dev/ccc/internal/seccomp/calls"
)

// every returns calls that together try a profile: each call by name, and the
// calls with arguments that the probes make.
func every() []seccomp.Call {
	var all []seccomp.Call
	for _, name := range calls.Names("amd64") {
		for _, args := range [][6]uint64{{}, {^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}} {
			all = append(all, seccomp.Call{Arch: specs.ArchX86_64, Name: name, Args: args})
		}
	}
	for _, p := range calls.Probes() {
		arch := specs.ArchX86_64
		switch p.Entry {
		case calls.Int80:
			arch = specs.ArchX86
		case calls.X32:
			arch = specs.ArchX32
		}
		all = append(all, seccomp.Call{Arch: arch, Name: p.Call, Args: p.Args})
	}
	return all
}

func parse(t *testing.T, profile []byte) *specs.LinuxSeccomp {
	t.Helper()
	p, err := seccomp.Parse(profile)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func asShipped(t *testing.T, name string) []byte {
	t.Helper()
	data, err := seccomp.Profile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func evaluate(t *testing.T, p *specs.LinuxSeccomp, c seccomp.Call) seccomp.Verdict {
	t.Helper()
	v, err := seccomp.Evaluate(p, c)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// What is added is allowed, and nothing else changes: for each addition by
// itself, and for all of them together.
func TestFilterAddsThatAndNothingElse(t *testing.T) {
	var all []string
	for _, a := range seccomp.Additions() {
		all = append(all, a.Call)
	}
	sets := [][]string{all}
	for _, a := range all {
		sets = append(sets, []string{a})
	}
	for _, base := range []string{seccomp.Agent, seccomp.Debug, seccomp.Nested} {
		before := parse(t, asShipped(t, base))
		for _, set := range sets {
			data, err := seccomp.Filter(base, set)
			if err != nil {
				t.Fatal(err)
			}
			after := parse(t, data)
			for _, c := range every() {
				want := evaluate(t, before, c)
				if c.Arch == specs.ArchX86_64 && slices.Contains(set, c.Name) {
					want = seccomp.Verdict{Action: specs.ActAllow}
				}
				if got := evaluate(t, after, c); got != want {
					t.Errorf("%s + %v: %+v: %v, want %v", base, set, c, got, want)
				}
			}
		}
	}
	same, err := seccomp.Filter(seccomp.Agent, nil)
	if err != nil || !slices.Equal(same, asShipped(t, seccomp.Agent)) {
		t.Errorf("without additions: %v", err)
	}
	// The order and how often a call is named make no other file.
	one, _ := seccomp.Filter(seccomp.Agent, []string{"mbind", "adjtimex"})
	two, _ := seccomp.Filter(seccomp.Agent, []string{"adjtimex", "mbind", "adjtimex"})
	if !slices.Equal(one, two) {
		t.Error("the same additions give two files")
	}
}

// The ceiling: everything that is denied with a known vulnerability, and
// everything that nobody has looked at, cannot be added.
func TestOnlyWhatWasFoundHarmlessCanBeAdded(t *testing.T) {
	for _, bad := range []string{
		"unshare", "setns", "clone3", "mount", "umount2", "fsopen", "ptrace", "bpf", "keyctl", "io_uring_setup", "userfaultfd",
		"splice", "perf_event_open", "socket", "open_by_handle_at", "pidfd_getfd", "lsm_set_self_attr", "process_vm_writev",
	} {
		err := seccomp.CheckAdditions([]string{"mbind", bad})
		if api.KindOf(err) != api.KindDenied || !strings.Contains(err.Error(), bad) {
			t.Errorf("%s: %v", bad, err)
		}
		if _, err := seccomp.Filter(seccomp.Agent, []string{bad}); api.KindOf(err) != api.KindDenied {
			t.Errorf("%s in a filter: %v", bad, err)
		}
	}
	if err := seccomp.CheckAdditions([]string{"no_such_call"}); api.KindOf(err) != api.KindInvalid {
		t.Errorf("an unknown call: %v", err)
	}
	// A call that needed a fix is none that costs no wall; nor is one that some
	// arguments of are allowed.
	agent := asShipped(t, seccomp.Agent)
	var file struct {
		Syscalls []specs.LinuxSyscall `json:"syscalls"`
	}
	if err := json.Unmarshal(agent, &file); err != nil {
		t.Fatal(err)
	}
	last := ""
	for _, a := range seccomp.Additions() {
		if a.Call <= last || len(a.Why) < 20 {
			t.Errorf("%q after %q: %q", a.Call, last, a.Why)
		}
		last = a.Call
		r, err := seccomp.ReasonFor(agent, seccomp.Call{Arch: specs.ArchX86_64, Name: a.Call})
		if err != nil || len(r.CVEs) > 0 {
			t.Errorf("%s has the vulnerabilities %v, %v", a.Call, r.CVEs, err)
		}
		for _, s := range file.Syscalls {
			if slices.Contains(s.Names, a.Call) && (len(s.Args) > 0 || s.Action != specs.ActErrno) {
				t.Errorf("%s is decided by its arguments, or allowed", a.Call)
			}
		}
	}
}

// A watched profile lets through exactly what the profile lets through, and asks
// about all else that has a name. What is asked gets the profile's own answer.
func TestWatchedDeniesWhatTheProfileDenies(t *testing.T) {
	asked, killed := 0, 0
	for _, base := range []string{seccomp.Agent, seccomp.Debug, seccomp.Nested} {
		before := parse(t, asShipped(t, base))
		data, err := seccomp.Watched(asShipped(t, base), "/run/user/1/ccc/learn/s")
		if err != nil {
			t.Fatal(err)
		}
		after := parse(t, data)
		if after.ListenerPath != "/run/user/1/ccc/learn/s" || after.DefaultAction != specs.ActErrno {
			t.Errorf("listener %q, default %s", after.ListenerPath, after.DefaultAction)
		}
		for _, c := range every() {
			want, got := evaluate(t, before, c), evaluate(t, after, c)
			switch {
			case got.Action == specs.ActNotify:
				asked++
				errno, known := seccomp.ErrnoAnswer(before, c)
				if want.Allowed() || !known || errno != want.Errno {
					t.Errorf("%s: %+v: %v, and the listener says %v", base, c, want, errno)
				}
			case got != want:
				t.Errorf("%s: %+v: %v, want %v", base, c, got, want)
			case !got.Allowed():
				killed++
			}
		}
		// What the runtime got is held against this: the listener counts.
		if err := seccomp.Compare(after, before); err == nil {
			t.Error("a watched profile passes for the profile")
		}
		if err := seccomp.Compare(before, after); err == nil {
			t.Error("the profile passes for a watched one")
		}
	}
	if asked < 300 || killed == 0 {
		t.Errorf("asked about %d calls, %d by default or killed", asked, killed)
	}
	if _, err := seccomp.Watched([]byte(`{"defaultAction":"SCMP_ACT_ALLOW","architectures":[],"syscalls":[]}`), "/s"); err == nil {
		t.Error("a profile that allows by default is watched")
	}
}

// Whoever answers must not let through what the profile allows, were it asked.
func TestErrnoAnswerNeverAllows(t *testing.T) {
	p := parse(t, asShipped(t, seccomp.Agent))
	for _, c := range []seccomp.Call{{Arch: specs.ArchX86_64, Name: "read"}, {Arch: specs.ArchX86, Name: "read"}, {}} {
		if errno, known := seccomp.ErrnoAnswer(p, c); errno == 0 || known {
			t.Errorf("%+v: %v, %v", c, errno, known)
		}
	}
}

func TestReasonFor(t *testing.T) {
	agent := asShipped(t, seccomp.Agent)
	for _, c := range []struct {
		call string
		args [6]uint64
		text string
		cve  string
	}{
		{"unshare", [6]uint64{}, "no new namespaces", "CVE-2022-0185"},
		// A rule of a row whose first rule has the comment.
		{"socket", [6]uint64{38, 5}, "Unix, TCP, UDP", "CVE-2026-31431 AF_ALG"},
		{"socket", [6]uint64{16, 3, 12}, "Unix, TCP, UDP", "CVE-2022-1015 NETLINK_NETFILTER"},
		{"name_to_handle_at", [6]uint64{}, "files by number", ""},
		{"ustat", [6]uint64{}, "denied by the profile that this one is made from", ""},
		{"mseal", [6]uint64{}, "", ""},
		{"read", [6]uint64{}, "", ""},
	} {
		r, err := seccomp.ReasonFor(agent, seccomp.Call{Arch: specs.ArchX86_64, Name: c.call, Args: c.args})
		if err != nil || !strings.HasPrefix(r.Text, c.text) || (c.text == "") != (r.Text == "") {
			t.Errorf("%s: %+v, %v", c.call, r, err)
		}
		if (c.cve == "") != (len(r.CVEs) == 0) || c.cve != "" && !slices.Contains(r.CVEs, c.cve) {
			t.Errorf("%s: %q", c.call, r.CVEs)
		}
	}
	r := seccomp.Reason{Text: "why", CVEs: []string{"CVE-1", "CVE-2"}}
	if diff := cmp.Diff("why (CVE-1, CVE-2)", r.String()); diff != "" {
		t.Error(diff)
	}
}

func TestInstead(t *testing.T) {
	for call, want := range map[string]string{"ptrace": seccomp.Debug, "unshare": seccomp.Nested, "mount": seccomp.Nested, "bpf": "", "read": seccomp.Agent} {
		if got := seccomp.Instead(seccomp.Call{Arch: specs.ArchX86_64, Name: call}); got != want {
			t.Errorf("%s: %q, want %q", call, got, want)
		}
	}
}
