package apparmor_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/apparmor"
	"github.com/ccc-dev/ccc/internal/seccomp"
)

// host is a tree that looks like that of a machine.
type host struct {
	*testing.T
	apparmor.Host
}

const policy = "sys/kernel/security/apparmor/policy/profiles"

// newHost returns a machine with AppArmor and without ccc's profile.
func newHost(t *testing.T) host {
	h := host{t, apparmor.Host{Root: t.TempDir()}}
	h.write("sys/module/apparmor/parameters/enabled", "Y\n")
	h.write("etc/apparmor.d/abi/4.0", "")
	h.write("proc/1/attr/current", "unconfined\n")
	h.load("crun", "unconfined")
	// It notes how it was called, and does what the file "fails" says.
	h.write("usr/sbin/apparmor_parser", fmt.Sprintf("#!/bin/sh\necho \"$*\" >>%[1]s/calls\ncat >>%[1]s/stdin\n[ ! -e %[1]s/fails ] || { echo no such luck >&2; exit 1; }\n", h.Root))
	if err := os.Chmod(filepath.Join(h.Root, "usr/sbin/apparmor_parser"), 0o755); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h host) write(name, text string) {
	h.Helper()
	file := filepath.Join(h.Root, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
		h.Fatal(err)
	}
}

func (h host) read(name string) string {
	h.Helper()
	text, err := os.ReadFile(filepath.Join(h.Root, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		h.Fatal(err)
	}
	return string(text)
}

func (h host) load(profile, mode string) {
	h.Helper()
	h.write(policy+"/"+profile+".7/name", profile+"\n")
	h.write(policy+"/"+profile+".7/mode", mode+"\n")
}

// loadAll loads what ccc ships.
func (h host) loadAll() {
	h.Helper()
	for _, p := range apparmor.Profiles() {
		h.load(p.Name, "enforce")
	}
	h.load(apparmor.VersionName(version(h.T, apparmor.NewABI)), "enforce")
}

func version(t *testing.T, abi string) string {
	t.Helper()
	v, err := apparmor.Version(abi)
	if err != nil || v == "" {
		t.Fatalf("%q, %v", v, err)
	}
	return v
}

func TestFor(t *testing.T) {
	for _, c := range []struct {
		filter              string
		w                   api.Workspace
		name                string
		guarded, trace, own bool
	}{
		{seccomp.Agent, api.WorkspaceOverlay, "ccc-session", false, false, false},
		{seccomp.Agent, api.WorkspaceBind, "ccc-session-bind", true, false, false},
		{seccomp.Debug, api.WorkspaceOverlay, "ccc-session-debug", false, true, false},
		{seccomp.Nested, api.WorkspaceBind, "ccc-session-nested-bind", true, false, true},
		{"somebody's", "", "ccc-session", false, false, false},
		{"", "", "ccc-session", false, false, false},
	} {
		p := apparmor.For(c.filter, c.w)
		if p.Name != c.name || p.Guarded != c.guarded || p.Trace != c.trace || p.Namespaces != c.own {
			t.Errorf("%+v: %+v", c, p)
		}
	}
	seen := map[string]bool{}
	for _, p := range apparmor.Profiles() {
		if seen[p.Mark] || seen[p.Name] {
			t.Errorf("%+v is not the only one of its name or mark", p)
		}
		seen[p.Mark], seen[p.Name] = true, true
	}
}

func TestStatus(t *testing.T) {
	type want struct {
		kernel, installed, current apparmor.Answer
		inForce                    bool
	}
	shipped, err := apparmor.Text(apparmor.NewABI)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(host)
		want   want
	}{
		"all is well": {func(host) {}, want{apparmor.Yes, apparmor.Yes, apparmor.Yes, true}},
		"no AppArmor": {func(h host) { h.remove("sys") }, want{apparmor.No, apparmor.Yes, apparmor.No, false}},
		"switched off": {func(h host) { h.write("sys/module/apparmor/parameters/enabled", "N\n") },
			want{apparmor.No, apparmor.Yes, apparmor.No, false}},
		"not loaded": {func(h host) { h.remove(policy); h.load("crun", "unconfined") },
			want{apparmor.Yes, apparmor.Yes, apparmor.No, false}},
		"nothing is shown": {func(h host) { h.remove(policy) }, want{apparmor.Yes, apparmor.Yes, apparmor.Unknown, false}},
		"complaining only": {func(h host) { h.load("ccc-session-bind", "complain") },
			want{apparmor.Yes, apparmor.Yes, apparmor.Yes, false}},
		"one is missing": {func(h host) { h.remove(policy + "/ccc-session-bind.7") },
			want{apparmor.Yes, apparmor.Yes, apparmor.Yes, false}},
		"another version, too": {func(h host) { h.load(apparmor.VersionName("000000000000"), "enforce") },
			want{apparmor.Yes, apparmor.Yes, apparmor.Unknown, false}},
		"another version": {func(h host) {
			h.remove(policy + "/" + apparmor.VersionName(version(h.T, apparmor.NewABI)) + ".7")
			h.load(apparmor.VersionName("000000000000"), "enforce")
		}, want{apparmor.Yes, apparmor.Yes, apparmor.No, false}},
		"no version": {func(h host) { h.remove(policy + "/" + apparmor.VersionName(version(h.T, apparmor.NewABI)) + ".7") },
			want{apparmor.Yes, apparmor.Yes, apparmor.No, false}},
		"the file is gone":    {func(h host) { h.remove(apparmor.File) }, want{apparmor.Yes, apparmor.No, apparmor.Yes, true}},
		"the file is changed": {func(h host) { h.write(apparmor.File, "#\n") }, want{apparmor.Yes, apparmor.No, apparmor.Yes, true}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.write(apparmor.File, string(shipped))
			h.loadAll()
			c.change(h)
			s := h.Status()
			if got := (want{s.Kernel, s.Installed, s.Current, s.InForce()}); got != c.want {
				t.Errorf("got %+v, want %+v: %+v", got, c.want, s)
			}
		})
	}
	if s := (apparmor.Status{}); s.InForce() {
		t.Error("the zero status is in force")
	}
}

func (h host) remove(name string) {
	h.Helper()
	if err := os.RemoveAll(filepath.Join(h.Root, name)); err != nil {
		h.Fatal(err)
	}
}

func TestInstall(t *testing.T) {
	h := newHost(t)
	h.load(apparmor.VersionName("000000000000"), "enforce")
	if err := h.Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := h.Status(); s.Installed != apparmor.Yes || s.ABI != apparmor.NewABI {
		t.Errorf("%+v", s)
	}
	if calls := h.read("calls"); calls != "--replace "+apparmor.File+"\n--remove\n" {
		t.Errorf("%q", calls)
	}
	if said := h.read("stdin"); said != "profile "+apparmor.VersionName("000000000000")+" {\n}\n" {
		t.Errorf("%q", said)
	}
	// An older parser gets what it can read.
	h = newHost(t)
	h.remove("etc/apparmor.d/abi/4.0")
	if err := h.Install(t.Context()); err != nil || !strings.Contains(h.read(apparmor.File), "\nabi <abi/3.0>,\n") {
		t.Errorf("%v, %.300q", err, h.read(apparmor.File))
	}
}

// What cannot be loaded leaves the file as it was.
func TestInstallIsUndone(t *testing.T) {
	for _, before := range []string{"", "# another\n"} {
		h := newHost(t)
		h.write("fails", "")
		if before != "" {
			h.write(apparmor.File, before)
		}
		err := h.Install(t.Context())
		if r := api.ReportOf(err); api.KindOf(err) != api.KindUnavailable || !strings.Contains(r.Message, "no such luck") || r.Hint == "" {
			t.Errorf("%v", err)
		}
		if after := h.read(apparmor.File); after != before {
			t.Errorf("the file is %q, it was %q", after, before)
		}
		left, err := filepath.Glob(filepath.Join(h.Root, "etc/apparmor.d/.ccc*"))
		if err != nil || len(left) > 0 {
			t.Errorf("%v is left, %v", left, err)
		}
	}
}

func TestInstallRefuses(t *testing.T) {
	for rule, change := range map[string]func(host){
		"apparmor.kernel": func(h host) { h.remove("sys") },
		"apparmor.parser": func(h host) { h.remove("usr/sbin/apparmor_parser") },
	} {
		h := newHost(t)
		change(h)
		err := h.Install(t.Context())
		if r := api.ReportOf(err); r.Rule != rule || r.Hint == "" || h.read(apparmor.File) != "" || h.read("calls") != "" {
			t.Errorf("%s: %v, file %q, calls %q", rule, err, h.read(apparmor.File), h.read("calls"))
		}
	}
}

// The profile is not taken from under a running session.
func TestUninstall(t *testing.T) {
	h := newHost(t)
	if err := h.Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.loadAll()
	h.remove("calls")
	h.write("proc/4711/attr/current", "ccc-session-bind (enforce)\n")
	err := h.Uninstall(t.Context())
	if api.KindOf(err) != api.KindConflict || h.read(apparmor.File) == "" || h.read("calls") != "" {
		t.Errorf("%v, calls %q", err, h.read("calls"))
	}
	h.remove("proc/4711")
	if err := h.Uninstall(t.Context()); err != nil {
		t.Fatal(err)
	}
	calls := strings.Split(strings.TrimSpace(h.read("calls")), "\n")
	if len(calls) != len(apparmor.Profiles())+1 || slices.ContainsFunc(calls, func(c string) bool { return c != "--remove" }) || h.read(apparmor.File) != "" {
		t.Errorf("%q", calls)
	}
	for _, p := range apparmor.Profiles() {
		if !strings.Contains(h.read("stdin"), "profile "+p.Name+" {\n}\n") {
			t.Errorf("%s was not removed", p.Name)
		}
	}
	if err := h.Uninstall(t.Context()); err != nil {
		t.Errorf("a second time: %v", err)
	}
}

func TestCommand(t *testing.T) {
	if got := apparmor.Command("/opt/my ccc/ccc", false); !strings.HasPrefix(got, "'/opt/my ccc/ccc' profile show apparmor:session | sudo sh -c ") {
		t.Error(got)
	}
	if got := apparmor.Command("/usr/bin/ccc", true); got != "sudo /usr/bin/ccc profile install --uninstall" {
		t.Error(got)
	}
}
