package profiles_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ccc-dev/ccc/profiles"
)

// few are the modules that the module for containers needs, and those that start
// containers. A policy of these compiles in a second; the whole one takes ten.
var few = []string{"base", "clock", "container", "iptables", "lvm", "podman", "unconfined", "xdg"}

// policy is a real SELinux policy as modules, with its compiler.
type policy struct{ dir string }

// openPolicy finds what testdata/selinux/fetch got. Without CCC_TEST_SELINUX the
// test is left out.
func openPolicy(t *testing.T) policy {
	t.Helper()
	dir := os.Getenv("CCC_TEST_SELINUX")
	if dir == "" {
		t.Skip("run make test-selinux to compile the module into a real policy")
	}
	return policy{dir}
}

// modules returns the files of the modules; all, if none is named.
func (p policy) modules(t *testing.T, names ...string) []string {
	t.Helper()
	if len(names) == 0 {
		all, err := filepath.Glob(filepath.Join(p.dir, "policy", "*.cil"))
		if err != nil || len(all) < 300 {
			t.Fatalf("%d modules, %v", len(all), err)
		}
		return all
	}
	files := make([]string, 0, len(names))
	for _, n := range names {
		text, err := os.ReadFile(filepath.Join(p.dir, "policy", n+".cil"))
		if err != nil {
			t.Fatal(err)
		}
		// A user of a role in a module that is left out.
		text = regexp.MustCompile(`(?m)^\(selinuxuser sddm .*$`).ReplaceAll(text, nil)
		files = append(files, write(t, n, string(text)))
	}
	return files
}

// compile links files into a policy and returns what the compiler says against
// it, which is nothing if all is well.
func (p policy) compile(t *testing.T, files ...string) string {
	t.Helper()
	libraries, err := filepath.Glob(filepath.Join(p.dir, "tree/usr/lib/*-linux-gnu"))
	if err != nil || len(libraries) != 1 {
		t.Fatalf("libraries %v, %v", libraries, err)
	}
	loaders, err := filepath.Glob(filepath.Join(libraries[0], "ld-linux-*.so.?"))
	if err != nil || len(loaders) != 1 {
		t.Fatalf("loaders %v, %v", loaders, err)
	}
	out := filepath.Join(t.TempDir(), "policy")
	args := []string{"--library-path", libraries[0], filepath.Join(p.dir, "tree/usr/bin/secilc"), "-m", "-o", out, "-f", os.DevNull}
	said, err := exec.CommandContext(t.Context(), loaders[0], slices.Concat(args, files)...).CombinedOutput()
	if info, statErr := os.Stat(out); err == nil && (statErr != nil || info.Size() < 100_000) {
		t.Fatalf("no policy was made: %v", statErr)
	}
	if err != nil && len(bytes.TrimSpace(said)) == 0 {
		t.Fatal(err)
	}
	return string(said)
}

// write makes a file of CIL.
func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name+".cil")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// module returns the text of the module.
func module(t *testing.T) string {
	t.Helper()
	text, err := profiles.SELinux.ReadFile("selinux/ccc.cil")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	denyRule   = regexp.MustCompile(`(?m)^\(deny .*$`)
	neverRule  = regexp.MustCompile(`(?m)^\(neverallow .*$`)
	brokenRule = regexp.MustCompile(`neverallow check failed at \S*/(?:walls|needs)\.cil:(\d+)`)
)

// broken returns the rules of a text that the compiler says are broken.
func broken(said, text string) []string {
	lines := strings.Split(text, "\n")
	var all []string
	for _, m := range brokenRule.FindAllStringSubmatch(said, -1) {
		if n, err := strconv.Atoi(m[1]); err == nil && n <= len(lines) {
			all = append(all, lines[n-1])
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// rules returns the rules of a text, sorted.
func rules(of *regexp.Regexp, text string) []string {
	return slices.Sorted(slices.Values(of.FindAllString(text, -1)))
}

// The module is linked into all of a real policy, and no wall is broken by it.
func TestSELinuxModuleLinksIntoARealPolicy(t *testing.T) {
	p := openPolicy(t)
	modules := p.modules(t)
	files := slices.Concat(modules, []string{write(t, "ccc", module(t)), write(t, "walls", read(t, "walls.cil"))})
	if said := p.compile(t, files...); said != "" {
		t.Errorf("with %d modules: %s", len(modules), said)
	}
}

// Every rule of the walls is one that the compiler checks: a module that allows
// what it forbids is refused, and the compiler names it.
func TestSELinuxEveryWallCanBeBroken(t *testing.T) {
	p := openPolicy(t)
	walls := read(t, "walls.cil")
	all := rules(neverRule, walls)
	if len(all) < 40 {
		t.Fatalf("%d walls", len(all))
	}
	open := denyRule.ReplaceAllString(module(t), "")
	for _, w := range all {
		open += strings.Replace(w, "neverallow", "allow", 1) + "\n"
	}
	// The policy below has walls of its own in the way of some of these.
	files := p.modules(t, few...)
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f, regexp.MustCompile(`(?m)^ *\(neverallow .*$`).ReplaceAll(text, nil), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	said := p.compile(t, slices.Concat(files, []string{write(t, "ccc", open), write(t, "walls", walls)})...)
	if diff := cmp.Diff(all, broken(said, walls)); diff != "" {
		t.Errorf("walls that are not checked (-): %s", diff)
	}
}

// The container policy gives more than a session may have, and the deny rules
// are what takes it away.
func TestSELinuxTheDenyRulesAreNeeded(t *testing.T) {
	p := openPolicy(t)
	walls := read(t, "walls.cil")
	files := append(p.modules(t, few...), write(t, "ccc", denyRule.ReplaceAllString(module(t), "")), write(t, "walls", walls))
	got := strings.Join(broken(p.compile(t, files...), walls), "\n")
	for _, class := range []string{"cap_userns", "rawip_socket", "packet_socket", "blk_file", "sysctl_type", "relabelfrom", "self (capability", "wall_foreign (file"} {
		if !strings.Contains(got, class) {
			t.Errorf("%s: nothing was to be denied; broken are:\n%s", class, got)
		}
	}
}

// Modules that give too much in one place are refused; rules that a deny rule
// takes away again are not even a danger.
func TestSELinuxMutatedModulesAreRefused(t *testing.T) {
	p := openPolicy(t)
	files := p.modules(t, few...)
	walls := write(t, "walls", read(t, "walls.cil"))
	for name, c := range map[string]struct {
		// cut is taken out, put is put there, add is added at the end.
		cut, put, add string
		// names is what the compiler must say; nothing if the module is as good.
		names string
	}{
		"unchanged":                          {},
		"capabilities in a user namespace":   {cut: `(?m)^\(deny ccc_container self \(cap_userns .*$`, names: "cap_userns"},
		"a deny of all, which is of nothing": {cut: `\(cap_userns \(chown[^)]*\)\)`, put: "(cap_userns (all))", names: "cap_userns"},
		"a user namespace":                   {cut: `(?m)^\(deny ccc_container self \(user_namespace .*$`, add: "(allow ccc_session_t self (user_namespace (create)))", names: "user_namespace"},
		"a domain that may do everything":    {add: "(typeattributeset can_load_kernmodule (ccc_session_t)) (allow ccc_session_t security_t (security (load_policy)))", names: "load_policy"},
		"a session that listens as gateway":  {add: "(allow ccc_session_t ccc_egress_t (sock_file (create)))", names: "ccc_egress_t"},
		"another container at the gateway":   {add: "(allow container_t ccc_egress_t (sock_file (write)))", names: "container_t"},
		"a session with a network":           {add: "(typeattributeset container_net_domain (ccc_session_t))", names: "netif"},
		"an unknown type":                    {add: "(allow ccc_session_t no_such_t (file (read)))", names: "Failed to resolve"},
		"a rule that is denied again":        {add: "(allow ccc_session_t unconfined_t (unix_stream_socket (connectto)))"},
	} {
		t.Run(name, func(t *testing.T) {
			text := module(t)
			if c.cut != "" {
				changed := regexp.MustCompile(c.cut).ReplaceAllString(text, c.put)
				if changed == text {
					t.Fatal("the module has nothing like it")
				}
				text = changed
			}
			said := p.compile(t, slices.Concat(files, []string{write(t, "ccc", text+c.add+"\n"), walls})...)
			if (c.names == "") != (said == "") || !strings.Contains(said, c.names) {
				t.Errorf("want %q, the compiler says: %.2000s", c.names, said)
			}
		})
	}
}

// What a session and the gateway need is allowed: every rule that says it is not
// is broken.
func TestSELinuxAllowsWhatIsNeeded(t *testing.T) {
	p := openPolicy(t)
	needs := read(t, "needs.cil")
	said := p.compile(t, append(p.modules(t, few...), write(t, "ccc", module(t)), write(t, "needs", needs))...)
	if diff := cmp.Diff(rules(neverRule, needs), broken(said, needs)); diff != "" {
		t.Errorf("not allowed (-): %s", diff)
	}
}

// What can be said of the module without a compiler.
func TestModuleTakesNothingBack(t *testing.T) {
	text := module(t)
	if regexp.MustCompile(`(?m)^\(deny [^\n]*\(all\)`).MatchString(text) {
		t.Error("a deny of (all) denies nothing")
	}
	for _, bad := range []string{"unconfined", "spc_t", "permissive", "typealias"} {
		if regexp.MustCompile(`(?m)^[^;\n]*\b` + bad).MatchString(text) {
			t.Errorf("the module has %s", bad)
		}
	}
	if len(rules(denyRule, text)) < 40 {
		t.Errorf("%d deny rules", len(rules(denyRule, text)))
	}
}
