package probe_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/probe"
)

// newListed is a fit host that the checklist can ask.
func newListed(t *testing.T) *fit {
	t.Helper()
	f := newFit(t)
	f.files["/etc/subgid"] = "tester:100000:65536\n"
	f.files["/proc/net/tcp"] = "  sl  local_address rem_address   st\n   0: 0100007F:0016 00000000:0000 0A\n   1: 0100007F:0947 0100007F:9999 01\n"
	f.Clock = func() time.Time { return time.Now().Add(time.Hour) }
	f.Package = func(context.Context, string) string { return "" }
	f.Changes = f.Package
	f.Interfaces = func(int) ([]string, error) { return nil, nil }
	f.Commands = func() ([]string, error) { return []string{"podman system service --time=5 unix:///run/user/1/x"}, nil }
	return f
}

// session makes a session that runs.
func (f *fit) session(t *testing.T) {
	t.Helper()
	img, err := f.engine.Image(t.Context(), f.Image)
	if err != nil {
		t.Fatal(err)
	}
	id, err := f.engine.CreateContainer(t.Context(), engine.Container{
		Name: "ccc-demo", Image: img.ID, Argv: []string{"sleep", "infinity"}, Env: map[string]string{"PATH": "/usr/bin:/bin"}, Dir: "/workspace", UID: 1000, GID: 1000, Timeout: time.Hour, Memory: 1 << 30, CPUs: 1000, PIDs: 100,
		Labels: map[string]string{engine.LabelSchema: engine.Schema, engine.LabelID: "0123456789ab", engine.LabelName: "demo"},
	})
	if err == nil {
		err = f.engine.StartContainer(t.Context(), id)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// item returns the item of the checklist whose words begin so.
func item(t *testing.T, c probe.Checklist, words string) probe.Item {
	t.Helper()
	i := slices.IndexFunc(c.Items, func(i probe.Item) bool { return strings.HasPrefix(i.Item, words) })
	if i < 0 {
		t.Fatalf("there is no item %q", words)
	}
	return c.Items[i]
}

const (
	reached  = "no container engine can be reached"
	limited  = "resource limits"
	audited  = "audit logging"
	isolated = "network isolation"
	scanned  = "security scanning"
	planned  = "an incident response plan"
	updated  = "security updates"
	access   = "access controls"
)

func TestChecklist(t *testing.T) {
	f := newListed(t)
	c := f.Checklist(t.Context())
	if len(c.Items) != 8 || c.Ready {
		t.Errorf("%d items, ready: %t", len(c.Items), c.Ready)
	}
	for _, i := range c.Items {
		if len(i.Evidence) == 0 || (i.Answer == probe.Yes) != (i.Mend == "") || len(i.Lacks) > 0 && i.Answer != probe.No {
			t.Errorf("%+v", i)
		}
	}
	for _, words := range []string{reached, audited, isolated} {
		if i := item(t, c, words); i.Answer != probe.Yes {
			t.Errorf("%+v", i)
		}
	}
	// What this version does not have is said, and nothing is ticked off for it.
	for _, words := range []string{limited, scanned, planned, updated, access} {
		if i := item(t, c, words); i.Answer != probe.No || len(i.Lacks) == 0 {
			t.Errorf("%+v", i)
		}
	}
}

func TestChecklistAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		spoil    func(*fit)
		item     string
		answer   probe.Answer
		evidence string
	}{
		"Docker's port": {func(f *fit) { f.files["/proc/net/tcp6"] = " 0: 00000000:0947 00000000:0000 0A\n" }, reached, probe.No, "port 2375"},
		"Podman on the network": {func(f *fit) {
			f.Commands = func() ([]string, error) { return []string{"podman system service tcp:0.0.0.0:8"}, nil }
		}, reached, probe.No, "listens on the network"},
		"root's engine":            {func(f *fit) { f.engine.change = func(h *engine.Host) { h.Rootless = false } }, reached, probe.No, "runs as root"},
		"nobody knows who listens": {func(f *fit) { delete(f.files, "/proc/net/tcp") }, reached, probe.Unknown, "could not be read"},
		"no processes":             {func(f *fit) { f.Commands = func() ([]string, error) { return nil, errors.New("no /proc") } }, reached, probe.Unknown, "could not be read"},
		"no engine":                {func(f *fit) { f.engine.err = &api.Error{Msg: "silent", Hint: "wake it"} }, reached, probe.Unknown, "silent"},
		"no engine, network":       {func(f *fit) { f.engine.err = &api.Error{Msg: "silent", Hint: "wake it"} }, isolated, probe.Unknown, "silent"},
		"a session with a way out": {func(f *fit) {
			f.session(t)
			f.Interfaces = func(int) ([]string, error) { return []string{"tap0"}, nil }
		}, isolated, probe.No, "session demo has the interface tap0"},
		"a session that is gone": {func(f *fit) {
			f.session(t)
			f.Interfaces = func(int) ([]string, error) { return nil, errors.New("gone") }
		}, isolated, probe.Unknown, "session demo could not be looked at"},
		"no control groups": {func(f *fit) { f.engine.change = func(h *engine.Host) { h.CgroupVersion = "v1" } }, limited, probe.No, "cannot be limited"},
		"a broken log":      {func(f *fit) { f.Audit = func() (string, error) { return "", errors.New("record 3 is bad") } }, audited, probe.No, "record 3"},
		"no scanner":        {func(f *fit) { f.missing = []string{"trivy", "grype", "docker-scout", "snyk"} }, scanned, probe.No, "none of the scanners"},
		"a scanner":         {func(f *fit) { f.missing = []string{"trivy", "docker-scout", "snyk"} }, scanned, probe.No, "/usr/bin/grype"},
		"a plan":            {func(f *fit) { f.files["/etc/ccc/incident-response.md"] = "call Ada" }, planned, probe.No, "8 bytes"},
		"no plan":           {func(*fit) {}, planned, probe.No, "there may be one elsewhere"},
		"an old image":      {func(f *fit) { f.Clock = func() time.Time { return time.Now().Add(50 * 24 * time.Hour) } }, updated, probe.No, "50 days old"},
		"no image":          {func(f *fit) { f.Image = "localhost/none:1" }, updated, probe.No, "is not there"},
		"updates of apt": {func(f *fit) {
			f.files["/etc/apt/apt.conf.d/20auto-upgrades"] = "APT::Periodic::Unattended-Upgrade \"1\";\n"
		}, updated, probe.No, "unattended-upgrades is on"},
		"none of apt": {func(f *fit) {
			f.files["/etc/apt/apt.conf.d/20auto-upgrades"] = "APT::Periodic::Unattended-Upgrade \"0\";\n"
		}, updated, probe.No, "is off"},
		"updates of dnf": {func(f *fit) { f.files["/etc/systemd/system/timers.target.wants/dnf5-automatic.timer"] = "[Timer]" }, updated, probe.No, "dnf5-automatic.timer is enabled"},
		"root":           {func(f *fit) { f.UID = 0 }, access, probe.No, "this is root"},
		"ceilings":       {func(f *fit) { f.files["/etc/ccc/policy.yaml"] = "ceiling: {}" }, access, probe.No, "sets the host's ceilings"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newListed(t)
			c.spoil(f)
			list := f.Checklist(t.Context())
			i := item(t, list, c.item)
			if i.Answer != c.answer || !strings.Contains(strings.Join(i.Evidence, "; "), c.evidence) || i.Mend == "" || list.Ready {
				t.Errorf("%+v, want %s, %q", i, c.answer, c.evidence)
			}
		})
	}
}

// Every flaw in the table says what it is, what ccc does about it, and where the
// versions come from, and is there once.
func TestFlawsAreWhole(t *testing.T) {
	f := newListed(t)
	seen := map[string]bool{}
	for _, v := range f.Checklist(t.Context()).Flaws {
		if seen[v.CVE] || v.About == "" || v.Source == "" || v.Evidence == "" && v.Component != "conmon" {
			t.Errorf("%+v", v)
		}
		seen[v.CVE] = true
		// Nothing is done about these, and that is said too.
		if guarded := v.Guard != ""; guarded == slices.Contains([]string{"CVE-2026-47766", "CVE-2026-41579", "-"}, v.CVE) {
			t.Errorf("guarded: %t: %+v", guarded, v)
		}
	}
	for _, cve := range []string{"CVE-2026-57231", "CVE-2026-55686", "CVE-2026-30892", "CVE-2025-31133", "CVE-2026-31431", "CVE-2026-43284"} {
		if !seen[cve] {
			t.Errorf("%s is not there", cve)
		}
	}
}

const debianConfig = "# CONFIG_AF_RXRPC is not set\nCONFIG_RDS=m\nCONFIG_INET_ESP=y\n"

func TestExposure(t *testing.T) {
	podman := func(v string) func(*engine.Host) { return func(h *engine.Host) { h.EngineVersion = v } }
	runtime := func(name, v, pkg string) func(*engine.Host) {
		return func(h *engine.Host) { h.Runtime, h.RuntimeInfo, h.RuntimePackage = name, v, pkg }
	}
	kernel := func(v string) func(*engine.Host) { return func(h *engine.Host) { h.Kernel = v } }
	for _, c := range []struct {
		name     string
		change   func(*engine.Host)
		pkg      string
		changes  string
		cve      string
		want     probe.Exposure
		evidence string
	}{
		// Upstream's own versions.
		{"fixed", podman("5.8.4"), "", "", "CVE-2026-57231", probe.Fixed, "5.8.4 has the fix"},
		{"fixed, of the other branch", podman("6.0.1"), "", "", "CVE-2026-57231", probe.Fixed, ""},
		{"between the branches", podman("6.0.0"), "", "", "CVE-2026-57231", probe.Affected, "below 5.8.4, 6.0.1"},
		{"newer than all", podman("7.1.0"), "", "", "CVE-2026-57231", probe.Fixed, ""},
		{"to be tried out", podman("5.8.4-rc1"), "", "", "CVE-2026-57231", probe.Affected, ""},
		{"in the making", podman("5.8.4-dev"), "", "", "CVE-2026-57231", probe.Affected, ""},
		{"self-built", podman("5.4.2"), "", "", "CVE-2026-57231", probe.Affected, "5.4.2 is below"},
		{"older than the flaw", podman("2.2.1"), "", "", "CVE-2026-55686", probe.NotApplicable, "came with 3.0.0"},
		{"two fixed branches, the old one", podman("4.9.4"), "", "", "CVE-2024-1753", probe.Fixed, ""},
		{"two fixed branches, the new one not", podman("5.0.0"), "", "", "CVE-2024-1753", probe.Affected, ""},
		{"nonsense", podman("?"), "", "", "CVE-2026-57231", probe.Undecided, "cannot be read"},
		{"nothing", podman(""), "", "", "CVE-2026-57231", probe.Undecided, "cannot be read"},
		// Debian and Ubuntu.
		{"Debian 12", podman("4.3.1"), "podman 4.3.1+ds1-8+deb12u1+b3", "", "CVE-2026-57231", probe.Undecided, "whoever built podman 4.3.1+ds1-8+deb12u1+b3 may have"},
		{"Debian 13, fixed", podman("5.4.2"), "podman 5.4.2+ds1-2+deb13u1", "* Fix CVE-2026-57231 (Closes: #1)", "CVE-2026-57231", probe.Fixed, "changes of podman 5.4.2+ds1-2+deb13u1 name it"},
		{"Debian 13, another fixed", podman("5.4.2"), "podman 5.4.2+ds1-2+deb13u1", "* Fix CVE-2026-55686", "CVE-2026-57231", probe.Undecided, "do not name it"},
		{"Debian unstable", podman("5.8.6"), "podman 5.8.6+ds1-1", "", "CVE-2026-57231", probe.Fixed, ""},
		{"Ubuntu", podman("4.9.3"), "podman 4.9.3+ds1-1ubuntu0.2", "", "CVE-2024-1753", probe.Undecided, "4.9.3+ds1-1ubuntu0.2"},
		// Fedora.
		{"Fedora", podman("5.2.2"), "podman-5.2.2-1.fc41.x86_64", "", "CVE-2025-9566", probe.Undecided, "podman-5.2.2-1.fc41.x86_64"},
		{"Fedora, fixed", podman("5.6.2"), "podman-5.6.2-1.fc42.x86_64", "", "CVE-2025-9566", probe.Fixed, ""},
		// The runtime.
		{"crun is not runc", runtime("crun", "crun version 1.28", ""), "", "", "CVE-2025-31133", probe.NotApplicable, "run by crun"},
		{"runc is not crun", runtime("runc", "runc version 1.3.3", ""), "", "", "CVE-2026-30892", probe.NotApplicable, "run by runc"},
		{"runc, fixed in its branch", runtime("runc", "runc version 1.2.8\ncommit: x", ""), "", "", "CVE-2025-31133", probe.Fixed, "runc version 1.2.8 has"},
		{"runc, old branch", runtime("runc", "runc version 1.1.15", ""), "", "", "CVE-2025-31133", probe.Affected, ""},
		{"runc, new branch too early", runtime("runc", "runc version 1.4.0-rc.2", ""), "", "", "CVE-2025-31133", probe.Affected, ""},
		{"runc, new branch", runtime("runc", "runc version 1.4.0-rc.3", ""), "", "", "CVE-2025-31133", probe.Fixed, ""},
		{"runc, finished", runtime("runc", "runc version 1.4.0", ""), "", "", "CVE-2025-31133", probe.Fixed, ""},
		{"crun before the flaw", runtime("crun", "crun version 1.8.1\ncommit: x\nspec: 1.0.0", "crun_1.8.1-1+deb12u1_amd64"), "", "", "CVE-2026-30892", probe.NotApplicable, "1.19"},
		{"crun with it", runtime("crun", "crun version 1.21", ""), "", "", "CVE-2026-30892", probe.Affected, ""},
		{"crun of Debian with it", runtime("crun", "crun version 1.21", "crun_1.21-1_amd64"), "", "", "CVE-2026-30892", probe.Undecided, "crun_1.21-1_amd64"},
		{"crun, no package", runtime("crun", "crun version 1.21", "Unknown"), "", "", "CVE-2026-30892", probe.Affected, ""},
		{"crun without krun", runtime("crun", "crun version 1.8.1\n+SYSTEMD +CAP +SECCOMP +YAJL", ""), "", "", "CVE-2025-24965", probe.NotApplicable, "without LIBKRUN"},
		{"crun with krun", runtime("crun", "crun version 1.8.1\n+SYSTEMD +CAP +SECCOMP +LIBKRUN", ""), "", "", "CVE-2025-24965", probe.Affected, ""},
		{"crun 1.27 itself", runtime("crun", "crun version 1.27", ""), "", "", "crun 1.27", probe.Affected, ""},
		{"crun 1.27.1", runtime("crun", "crun version 1.27.1", ""), "", "", "crun 1.27", probe.Fixed, ""},
		// The kernel.
		{"a plain kernel", kernel("6.18.20"), "", "", "CVE-2026-43500", probe.Affected, "6.18.20 is below"},
		{"fixed in its branch", kernel("6.18.29"), "", "", "CVE-2026-43500", probe.Fixed, ""},
		{"a branch that nobody told of", kernel("6.12.1"), "", "", "CVE-2026-43500", probe.Undecided, "no fixed version of this branch"},
		{"before the code was there", kernel("5.2.9"), "", "", "CVE-2026-43500", probe.NotApplicable, "5.3"},
		{"Debian's", kernel("6.12.57+deb13-amd64"), "", "", "CVE-2026-43284", probe.Undecided, "may have taken over"},
		{"Debian's, fixed", kernel("6.12.90+deb13-amd64"), "", "", "CVE-2026-43284", probe.Fixed, ""},
		{"Debian's, by its changes", kernel("6.1.0-45-amd64"), "", "- xfrm: esp (CVE-2026-43284)", "CVE-2026-43284", probe.Fixed, "name it"},
		{"Fedora's", kernel("6.18.20-200.fc43.x86_64"), "", "", "CVE-2026-43500", probe.Undecided, ""},
		{"RHEL's", kernel("5.14.0-427.13.1.el9_4.x86_64"), "", "", "CVE-2026-43284", probe.Undecided, ""},
		{"built without it", kernel("6.12.57"), "", "", "CVE-2026-43500", probe.NotApplicable, "built without CONFIG_AF_RXRPC"},
		{"built with it", kernel("6.12.57"), "", "", "CVE-2026-43284", probe.Affected, ""},
		{"no fix known", kernel("6.18.20"), "", "", "CVE-2026-53362", probe.Undecided, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newListed(t)
			f.engine.change = c.change
			f.files["/boot/config-6.12.57"] = debianConfig
			f.Package = func(_ context.Context, name string) string {
				if name != "podman" {
					return ""
				}
				return c.pkg
			}
			f.Changes = func(context.Context, string) string { return c.changes }
			all := f.Checklist(t.Context()).Flaws
			i := slices.IndexFunc(all, func(v probe.Flaw) bool { return v.CVE == c.cve })
			if i < 0 || all[i].Exposure != c.want || !strings.Contains(all[i].Evidence, c.evidence) {
				t.Errorf("want %s, %q: %+v", c.want, c.evidence, all[max(i, 0)])
			}
		})
	}
}
