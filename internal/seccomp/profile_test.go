package seccomp_test

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/seccomp"
	"github.com/ccc-dev/ccc/internal/seccomp/calls"
	"github.com/ccc-dev/ccc/profiles"
)

var update = flag.Bool("update", false, "write the golden files")

// arches are Go's names of the architectures that profiles are shipped for.
var arches = []string{"amd64", "arm64"}

// parsed are all shipped profiles, read once: by architecture and name.
var parsed = sync.OnceValues(func() (map[[2]string]*specs.LinuxSeccomp, error) {
	all := map[[2]string]*specs.LinuxSeccomp{}
	for _, a := range arches {
		dir := "seccomp"
		if a != "amd64" {
			dir = path.Join(dir, a)
		}
		for _, v := range seccomp.Variants() {
			data, err := fs.ReadFile(profiles.Seccomp, path.Join(dir, v.Name+".json"))
			if err != nil {
				return nil, err
			}
			if all[[2]string{a, v.Name}], err = seccomp.Parse(data); err != nil {
				return nil, fmt.Errorf("%s for %s: %w", v.Name, a, err)
			}
		}
	}
	return all, nil
})

// shipped returns a profile of any architecture.
func shipped(t testing.TB, goarch, name string) *specs.LinuxSeccomp {
	t.Helper()
	all, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	return all[[2]string{goarch, name}]
}

// each runs a test for every shipped profile.
func each(t *testing.T, test func(t *testing.T, goarch string, v seccomp.Variant, p *specs.LinuxSeccomp)) {
	t.Helper()
	for _, a := range arches {
		for _, v := range seccomp.Variants() {
			t.Run(a+"/"+v.Name, func(t *testing.T) { test(t, a, v, shipped(t, a, v.Name)) })
		}
	}
}

func TestProfileIsTheShippedFile(t *testing.T) {
	for _, v := range seccomp.Variants() {
		data, err := seccomp.Profile(v.Name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := seccomp.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		want, err := seccomp.Expected(v.Name)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(got, want); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff(shipped(t, runtime.GOARCH, v.Name), want); d != "" {
			t.Error(d)
		}
		if v.Name != seccomp.Agent && (len(v.GivesUp) == 0 || len(v.Adds) == 0) {
			t.Errorf("%s does not say what it adds and gives up", v.Name)
		}
	}
}

func TestUnknownProfile(t *testing.T) {
	for _, name := range []string{"", "unconfined", "../levels/strict", "agent.json", "arm64/agent", "Agent", "x\x00y"} {
		_, err := seccomp.Profile(name)
		e, ok := errors.AsType[*api.Error](err)
		if !ok || e.Kind != api.KindNotFound || !strings.Contains(e.Hint, seccomp.Agent) {
			t.Errorf("Profile(%q) = %v", name, err)
		}
		if _, err := seccomp.Expected(name); api.KindOf(err) != api.KindNotFound {
			t.Errorf("Expected(%q) = %v", name, err)
		}
	}
}

func TestParseIsStrict(t *testing.T) {
	if _, err := seccomp.Parse([]byte(`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","comment":"c"}]}`)); err != nil {
		t.Errorf("a plain profile: %v", err)
	}
	for _, bad := range []string{
		``, `null x`, `{}{}`, `[]`, `{"defaultAction":1}`,
		`{"defaultAction":"SCMP_ACT_ERRNO","archMap":[]}`,
		`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]}}]}`,
		`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"name":"read","action":"SCMP_ACT_ALLOW"}]}`,
		`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ERRNO","errno":"EPERM"}]}`,
	} {
		if _, err := seccomp.Parse([]byte(bad)); err == nil {
			t.Errorf("Parse(%s) was taken", bad)
		}
	}
}

// The frame of every profile: nothing is allowed unless a rule says so, and the
// tables of 32-bit programs are not in it, so that calls through them kill.
func TestFrame(t *testing.T) {
	each(t, func(t *testing.T, goarch string, _ seccomp.Variant, p *specs.LinuxSeccomp) {
		if p.DefaultAction != specs.ActErrno || p.DefaultErrnoRet == nil || *p.DefaultErrnoRet != 38 {
			t.Error("the default is not ENOSYS")
		}
		if d := cmp.Diff([]specs.Arch{seccomp.Native(goarch)}, p.Architectures); d != "" {
			t.Error(d)
		}
		if len(p.Flags) > 0 || p.ListenerPath != "" || p.ListenerMetadata != "" {
			t.Errorf("flags %v, listener %q", p.Flags, p.ListenerPath)
		}
		for _, s := range p.Syscalls {
			if s.Action != specs.ActAllow && s.Action != specs.ActErrno || (s.Action == specs.ActErrno) != (s.ErrnoRet != nil) {
				t.Errorf("%v: action %s", s.Names, s.Action)
			}
			for _, name := range s.Names {
				if _, ok := calls.Number(goarch, name); !ok {
					t.Errorf("%s has no call %s: runtimes warn about it", goarch, name)
				}
			}
		}
	})
}

// A filter library turns the rules for a call into a tree of comparisons, and
// how it does that is its own affair. So no result may depend on it: a call has
// either one rule without conditions or only rules with some, and on each level
// of the tree two conditions are the same or cannot both hold.
func TestNothingDependsOnTheOrderOfRules(t *testing.T) {
	each(t, func(t *testing.T, _ string, _ seccomp.Variant, p *specs.LinuxSeccomp) {
		rules := map[string][][]specs.LinuxSeccompArg{}
		for _, s := range p.Syscalls {
			for _, name := range s.Names {
				rules[name] = append(rules[name], s.Args)
			}
		}
		for name, paths := range rules {
			if len(paths) > 1 || len(paths[0]) > 0 {
				disjoint(t, name, paths)
			}
		}
	})
}

// disjoint checks one level of the tree, and those below.
func disjoint(t *testing.T, name string, paths [][]specs.LinuxSeccompArg) {
	t.Helper()
	below := map[specs.LinuxSeccompArg][][]specs.LinuxSeccompArg{}
	ends := map[specs.LinuxSeccompArg]int{}
	for _, path := range paths {
		if len(path) == 0 {
			t.Errorf("%s: a rule without conditions, or one that is the beginning of another", name)
			return
		}
		c := path[0]
		if c.Op != specs.OpMaskedEqual || c.Value == 0 || c.Value>>32 != 0 || c.ValueTwo&^c.Value != 0 {
			t.Errorf("%s: the condition %+v does not compare some of the low 32 bits", name, c)
		}
		for other := range below {
			if other.Index != c.Index {
				t.Errorf("%s: %+v and %+v on one level are of different arguments", name, c, other)
			}
			both := c.Value & other.Value
			if other != c && c.ValueTwo&both == other.ValueTwo&both {
				t.Errorf("%s: %+v and %+v can both hold", name, c, other)
			}
		}
		below[c] = append(below[c], path[1:])
		if len(path) == 1 {
			ends[c]++
		}
	}
	for c, next := range below {
		switch {
		case ends[c] > 1:
			t.Errorf("%s: two rules end in %+v", name, c)
		case ends[c] == 0:
			disjoint(t, name, next)
		case len(next) > 1:
			t.Errorf("%s: a rule that ends in %+v is the beginning of another", name, c)
		}
	}
}

// rulesOf returns the rules of a profile, rendered, with the call of each.
func rulesOf(p *specs.LinuxSeccomp) map[string]string {
	set := map[string]string{}
	for _, s := range p.Syscalls {
		errno := uint(0)
		if s.ErrnoRet != nil {
			errno = *s.ErrnoRet
		}
		for _, name := range s.Names {
			set[fmt.Sprint(name, s.Args, s.Action, errno)] = name
		}
	}
	return set
}

// differing returns the calls for which a has a rule that b has not.
func differing(a, b *specs.LinuxSeccomp) []string {
	in := rulesOf(b)
	var names []string
	for r, name := range rulesOf(a) {
		if _, ok := in[r]; !ok {
			names = append(names, name)
		}
	}
	return names
}

// A variant differs from the default profile in what it says it adds, and in
// nothing else.
func TestVariantsAddOnlyWhatTheySay(t *testing.T) {
	want := map[string][]string{
		seccomp.Agent: nil,
		seccomp.Debug: {"process_vm_readv", "ptrace"},
		// The newer calls for mounts are denied in both, as ENOSYS here.
		seccomp.Nested: {
			"clone", "fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr", "move_mount", "open_tree",
			"pivot_root", "umount2", "unshare",
		},
	}
	each(t, func(t *testing.T, goarch string, v seccomp.Variant, p *specs.LinuxSeccomp) {
		agent := shipped(t, goarch, seccomp.Agent)
		got := append(differing(p, agent), differing(agent, p)...)
		slices.Sort(got)
		if d := cmp.Diff(want[v.Name], slices.Compact(got)); d != "" {
			t.Error(d)
		}
	})
}

// What every probe must meet under every profile. The table is for people to
// read: a change of a profile shows here as what it means.
func TestVerdicts(t *testing.T) {
	var b strings.Builder
	ids := map[string]bool{}
	for _, probe := range calls.Probes() {
		if ids[probe.ID] {
			t.Errorf("two probes %s", probe.ID)
		}
		ids[probe.ID] = true
		fmt.Fprintf(&b, "%-32s %s", probe.ID, call(probe))
		for _, goarch := range arches {
			fmt.Fprintf(&b, " | %s", goarch)
			for _, v := range seccomp.Variants() {
				fmt.Fprintf(&b, " %s", judge(t, shipped(t, goarch, v.Name), goarch, probe))
			}
		}
		b.WriteByte('\n')
	}
	if len(ids) < 150 {
		t.Errorf("only %d probes", len(ids))
	}
	golden(t, "testdata/verdicts.golden", b.String())
}

// judge renders the verdict of a profile on a probe, or "-" where there is no
// such call.
func judge(t testing.TB, p *specs.LinuxSeccomp, goarch string, probe calls.Probe) string {
	t.Helper()
	if _, ok := calls.Number(goarch, probe.Call); !ok || probe.Entry != calls.Native && goarch != "amd64" {
		return "-"
	}
	v, err := seccomp.Judge(p, goarch, probe)
	if err != nil {
		t.Error(err)
	}
	if v.Allowed() && len(probe.Kernel) == 0 {
		t.Errorf("%s is allowed, and what the kernel answers is not known", probe.ID)
	}
	return v.String()
}

// call renders what a probe calls, without the arguments at the end that are 0.
func call(p calls.Probe) string {
	n := len(p.Args)
	for n > 0 && p.Args[n-1] == 0 {
		n--
	}
	var args []string
	for _, a := range p.Args[:n] {
		switch {
		case int64(a) < 0 && int64(a) > -1000:
			args = append(args, fmt.Sprint(int64(a)))
		default:
			args = append(args, fmt.Sprintf("%#x", a))
		}
	}
	name := p.Call
	if p.Entry != calls.Native {
		name = string(p.Entry) + " " + name
	}
	return fmt.Sprintf("%s(%s)", name, strings.Join(args, ", "))
}

// golden holds text against a golden file.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (run with -update and look at the difference):\n%s", file, d)
	}
}
