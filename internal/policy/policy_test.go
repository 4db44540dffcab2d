package policy_test

import (
	"strings"
	"testing"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/policy"
	"github.com/ccc-dev/ccc/internal/profile"
	"github.com/ccc-dev/ccc/profiles"
)

func level(t *testing.T, name api.Level) profile.Level {
	t.Helper()
	l, err := profile.Find(name, profile.Source{FS: profiles.Levels, Dir: "levels"})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// input returns the plainest request that is allowed.
func input(t *testing.T) policy.Input {
	return policy.Input{
		ID:      "0123456789ab",
		Request: api.CreateRequest{Name: "demo", Image: "img"},
		Project: policy.Place{Path: "/home/u/src/p", Dir: true, Dev: 1, Ino: 2},
		Level:   level(t, "standard"),
		Ground:  policy.Ground{Home: "/home/u", Own: []string{"/home/u/.local/state/ccc", "/srv/own"}},
		ImageID: strings.Repeat("a", 64), Init: strings.Repeat("b", 64),
	}
}

func TestDecide(t *testing.T) {
	file := policy.Ceiling{Source: "/etc/ccc/policy.yaml", Lines: map[string]int{"ceiling.limits.memory": 7}}
	for name, c := range map[string]struct {
		change func(*policy.Input)
		rule   string // empty: allowed
	}{
		"plain":                  {func(*policy.Input) {}, ""},
		"home of the project":    {func(i *policy.Input) { i.Project.Path = "/home/u" }, "project.home"},
		"above the home":         {func(i *policy.Input) { i.Project.Path = "/home" }, "project.parent"},
		"root":                   {func(i *policy.Input) { i.Project.Path = "/" }, "project.parent"},
		"tmp itself":             {func(i *policy.Input) { i.Project.Path = "/tmp" }, "project.parent"},
		"below tmp":              {func(i *policy.Input) { i.Project.Path = "/tmp/p" }, ""},
		"etc":                    {func(i *policy.Input) { i.Project.Path = "/etc" }, "project.system"},
		"below etc":              {func(i *policy.Input) { i.Project.Path = "/etc/ssl" }, "project.system"},
		"like etc":               {func(i *policy.Input) { i.Project.Path = "/etcetera" }, ""},
		"proc":                   {func(i *policy.Input) { i.Project.Path = "/proc/self/root" }, "project.system"},
		"run":                    {func(i *policy.Input) { i.Project.Path = "/run/user/1000" }, "project.system"},
		"containers' storage":    {func(i *policy.Input) { i.Project.Path = "/var/lib/containers" }, "project.system"},
		"web root":               {func(i *policy.Input) { i.Project.Path = "/var/www/x" }, ""},
		"ssh keys":               {func(i *policy.Input) { i.Project.Path = "/home/u/.ssh" }, "project.hidden"},
		"below configuration":    {func(i *policy.Input) { i.Project.Path = "/home/u/.config/x" }, "project.hidden"},
		"own state":              {func(i *policy.Input) { i.Project.Path = "/home/u/.local/state/ccc/sessions" }, "project.own"},
		"holds own":              {func(i *policy.Input) { i.Project.Path = "/srv" }, "project.parent"},
		"is own":                 {func(i *policy.Input) { i.Project.Path = "/srv/own" }, "project.own"},
		"hidden but opened":      {func(i *policy.Input) { i.Project.Path = "/home/u/.dot"; i.Ground.Allow = []string{"/home/u/.dot"} }, ""},
		"hidden, home listed":    {func(i *policy.Input) { i.Project.Path = "/home/u/.ssh"; i.Ground.Allow = []string{"/home/u"} }, "project.hidden"},
		"mount nobody listed":    {func(i *policy.Input) { mount("/home/u/data", "/data", false)(i); i.Ceilings = nil }, "mounts.allow"},
		"hidden in a project":    {func(i *policy.Input) { i.Project.Path = "/home/u/src/.hidden" }, ""},
		"another home":           {func(i *policy.Input) { i.Project.Path = "/home/v/p" }, ""},
		"no home":                {func(i *policy.Input) { i.Ground.Home = "" }, "project.home"},
		"a file":                 {func(i *policy.Input) { i.Project.Dir = false }, "project.kind"},
		"colon in resolved path": {func(i *policy.Input) { i.Project.Path = "/home/u/a:b" }, "input.path"},
		"level refuses bind":     {func(i *policy.Input) { i.Level = level(t, "strict"); i.Request.Workspace = api.WorkspaceBind }, "profile.workspaces"},
		"ceiling refuses bind": {func(i *policy.Input) {
			c := file
			c.Workspaces = []api.Workspace{api.WorkspaceOverlay}
			i.Ceilings = append(i.Ceilings, c)
			i.Request.Workspace = api.WorkspaceBind
		}, "ceiling.workspaces"},
		"ceiling refuses level": {func(i *policy.Input) { c := file; c.Levels = []api.Level{"strict"}; i.Ceilings = append(i.Ceilings, c) }, "ceiling.profiles"},
		"memory above ceiling":  {func(i *policy.Input) { c := file; c.Limits.Memory = 1 << 30; i.Ceilings = append(i.Ceilings, c) }, "ceiling.limits.memory"},
		"memory at ceiling": {func(i *policy.Input) {
			c := file
			c.Limits.Memory = 1 << 30
			i.Ceilings = append(i.Ceilings, c)
			i.Request.Limits.Memory = 1 << 30
		}, ""},
		"idle above ceiling": {func(i *policy.Input) { c := file; c.Limits.Idle = 1; i.Ceilings = append(i.Ceilings, c) }, "ceiling.limits.idle"},
		"ttl above ceiling":  {func(i *policy.Input) { c := file; c.Limits.TTL = 1; i.Ceilings = append(i.Ceilings, c) }, "ceiling.limits.ttl"},
		"project not listed": {func(i *policy.Input) {
			c := file
			c.Projects = []string{"/srv/code"}
			i.Ceilings = append(i.Ceilings, c)
		}, "ceiling.projects.allow"},
		"project listed": {func(i *policy.Input) {
			c := file
			c.Projects = []string{"/home/u/src"}
			i.Ceilings = append(i.Ceilings, c)
		}, ""},
		"prefix is no parent": {func(i *policy.Input) {
			c := file
			c.Projects = []string{"/home/u/sr"}
			i.Ceilings = append(i.Ceilings, c)
		}, "ceiling.projects.allow"},
		"one too many":            {func(i *policy.Input) { i.MaxSessions, i.Sessions = 3, 3 }, "sessions.max"},
		"the last one":            {func(i *policy.Input) { i.MaxSessions, i.Sessions = 3, 2 }, ""},
		"mount":                   {mount("/home/u/data", "/data", false), ""},
		"mount of keys":           {mount("/home/u/.ssh", "/data", false), "mount.hidden"},
		"mount of a socket's dir": {mount("/run/user/1000/podman", "/data", false), "mount.system"},
		"mount over workspace":    {mount("/home/u/data", "/workspace", false), "mount.target"},
		"mount below workspace":   {mount("/home/u/data", "/workspace/.git", false), "mount.target"},
		"mount over etc":          {mount("/home/u/data", "/etc/passwd", true), "mount.target"},
		"mount above ccc":         {mount("/home/u/data", "/.ccc", false), "mount.target"},
		"mount where strict":      {func(i *policy.Input) { mount("/home/u/data", "/data", false)(i); i.Level = level(t, "strict") }, "profile.mounts"},
		"mount not listed": {func(i *policy.Input) {
			mount("/home/u/data", "/data", false)(i)
			c := file
			c.Mounts = []string{}
			i.Ceilings = append(i.Ceilings, c)
		}, "ceiling.mounts.allow"},
		"writable where read": {func(i *policy.Input) { mount("/home/u/data", "/data", true)(i); i.Level.Mounts = profile.MountRead }, "profile.mounts"},
	} {
		t.Run(name, func(t *testing.T) {
			in := input(t)
			c.change(&in)
			g, err := policy.Decide(in)
			if got := api.ReportOf(orNone(err)); got.Rule != c.rule {
				t.Fatalf("rule %q (%v), want %q", got.Rule, err, c.rule)
			} else if c.rule != "" && got.Hint == "" {
				t.Errorf("no hint: %v", err)
			}
			if g.Valid() != (c.rule == "") {
				t.Errorf("grant valid: %t", g.Valid())
			}
		})
	}
}

func mount(source, target string, writable bool) func(*policy.Input) {
	return func(i *policy.Input) {
		i.Request.Mounts = []api.Mount{{Source: source, Target: target, Writable: writable}}
		i.Mounts = []policy.Place{{Path: source, Dir: true}}
		i.Ceilings = append(i.Ceilings, policy.Ceiling{Source: "user", Mounts: []string{"/home", "/run"}})
	}
}

func orNone(err error) error {
	if err == nil {
		return &api.Error{}
	}
	return err
}

func TestRefusalNamesFileAndLine(t *testing.T) {
	in := input(t)
	in.Ceilings = []policy.Ceiling{{Source: "/etc/ccc/policy.yaml", Lines: map[string]int{"ceiling.limits.memory": 7}, Limits: api.Limits{Memory: 1}}}
	_, err := policy.Decide(in)
	if err == nil || !strings.Contains(err.Error(), "/etc/ccc/policy.yaml:7") {
		t.Errorf("got %v", err)
	}
}

func TestEmptyRequestGetsTheLevelsBounds(t *testing.T) {
	in := input(t)
	g, err := policy.Decide(in)
	if err != nil {
		t.Fatal(err)
	}
	got, want := g.Terms(), in.Level.Limits
	if got.Limits.Memory != want.Memory || got.Limits.CPUs != want.CPUs || got.Limits.PIDs != want.PIDs ||
		got.Limits.NoFile != want.NoFile || got.Limits.Tmp != want.Tmp || got.Limits.TTL != want.TTL || got.Limits.Idle != want.Idle {
		t.Errorf("limits %v, want %v", got.Limits, want)
	}
	if got.Workspace != api.WorkspaceOverlay || len(got.Mounts) != 0 {
		t.Errorf("terms %+v", got)
	}
}

func TestProjectFileOnlyLowers(t *testing.T) {
	for _, c := range []struct{ asked, configured, low, want api.Bytes }{
		{0, 0, 0, 4 << 30},
		{0, 0, 1 << 30, 1 << 30},
		{0, 0, 64 << 30, 4 << 30},
		{0, 2 << 30, 64 << 30, 2 << 30},
		{0, 2 << 30, 1 << 30, 1 << 30},
		{3 << 30, 2 << 30, 1 << 30, 3 << 30},
	} {
		in := input(t)
		in.Request.Limits.Memory, in.Defaults.Memory, in.Lower.Memory = c.asked, c.configured, c.low
		g, err := policy.Decide(in)
		if err != nil || g.Terms().Limits.Memory != c.want {
			t.Errorf("%v: got %v, %v", c, g.Terms().Limits.Memory, err)
		}
	}
}

func TestStrongestRequirementWins(t *testing.T) {
	for _, c := range []struct {
		request api.Require
		files   []api.Require
		want    api.Require
	}{
		{"", nil, ""},
		{"fallback", []api.Require{"enforced"}, "enforced"},
		{"enforced", []api.Require{"fallback"}, "enforced"},
		{"", []api.Require{"fallback", "enforced", "fallback"}, "enforced"},
		{"", []api.Require{"", "fallback"}, "fallback"},
	} {
		in := input(t)
		in.Request.Require = c.request
		for _, r := range c.files {
			in.Ceilings = append(in.Ceilings, policy.Ceiling{Require: r})
		}
		g, err := policy.Decide(in)
		if err != nil || g.Terms().Require != c.want {
			t.Errorf("%v: got %q, %v", c, g.Terms().Require, err)
		}
	}
}

func TestAdoptHoldsToTodaysCeilings(t *testing.T) {
	in := input(t)
	g, err := policy.Decide(in)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := policy.Adopt(g.Terms(), nil, in.Ground); err != nil || !again.Valid() {
		t.Errorf("unchanged: %v", err)
	}
	low := []policy.Ceiling{{Source: "f", Limits: api.Limits{Memory: 1}}}
	if _, err := policy.Adopt(g.Terms(), low, in.Ground); api.KindOf(err) != api.KindDenied {
		t.Errorf("lower ceiling: %v", err)
	}
	forged := g.Terms()
	forged.Project.Path = "/etc"
	if _, err := policy.Adopt(forged, nil, in.Ground); api.KindOf(err) != api.KindDenied {
		t.Errorf("forged project: %v", err)
	}
	forged = g.Terms()
	forged.Init = "../../../bin/sh"
	if _, err := policy.Adopt(forged, nil, in.Ground); api.KindOf(err) != api.KindDenied {
		t.Errorf("forged first process: %v", err)
	}
	forged = g.Terms()
	forged.Limits.Idle = 0
	if _, err := policy.Adopt(forged, nil, in.Ground); api.KindOf(err) != api.KindDenied {
		t.Errorf("a session that may be idle for ever: %v", err)
	}
	forged = g.Terms()
	forged.ID = "../../etc"
	if _, err := policy.Adopt(forged, nil, in.Ground); api.KindOf(err) != api.KindDenied {
		t.Errorf("forged id: %v", err)
	}
	if (policy.Grant{}).Valid() {
		t.Error("the zero grant is valid")
	}
}

// own is a filter of the user's own.
func own(base string, calls ...string) profile.Filter {
	f := profile.Filter{Name: "mine", Source: "~/.config/ccc/seccomp/mine.yaml", Base: base}
	for _, c := range calls {
		f.Allow = append(f.Allow, profile.Allowed{Call: c, Reason: "a test"})
	}
	return f
}

// A filter of the user's own can add what was found harmless to a shipped one,
// and nothing else to nothing else; when the session is adopted, too.
func TestOwnFiltersHaveACeiling(t *testing.T) {
	in := input(t)
	g, err := policy.Decide(in)
	if err != nil || g.Terms().Seccomp != "agent" || g.Terms().SeccompAllow != nil {
		t.Fatalf("without one: %+v, %v", g.Terms(), err)
	}
	in.Filter = own("agent", "mbind", "adjtimex")
	if g, err = policy.Decide(in); err != nil {
		t.Fatal(err)
	}
	terms := g.Terms()
	if terms.Seccomp != "agent" || strings.Join(terms.SeccompAllow, " ") != "mbind adjtimex" {
		t.Errorf("%+v", terms)
	}
	if _, err := policy.Adopt(terms, nil, in.Ground); err != nil {
		t.Error(err)
	}
	for name, bad := range map[string]struct {
		filter profile.Filter
		kind   api.Kind
	}{
		"a call with a history": {own("agent", "mbind", "unshare"), api.KindDenied},
		"half a call":           {own("agent", "socket"), api.KindDenied},
		"tracing":               {own("agent", "ptrace"), api.KindDenied},
		"tracing, where it is":  {own("debug", "ptrace"), api.KindDenied},
		"no call":               {own("agent", "mbind2"), api.KindInvalid},
		"no base":               {own("unconfined", "mbind"), api.KindNotFound},
		"its own base":          {own("mine", "mbind"), api.KindNotFound},
	} {
		in.Filter = bad.filter
		_, err := policy.Decide(in)
		if api.KindOf(err) != bad.kind || !strings.Contains(err.Error(), "seccomp/mine.yaml") {
			t.Errorf("%s: %v", name, err)
		}
		// A label that says so is believed no more than a file.
		forged := terms
		forged.Seccomp, forged.SeccompAllow = bad.filter.Base, bad.filter.Calls()
		if _, err := policy.Adopt(forged, nil, in.Ground); api.KindOf(err) != bad.kind {
			t.Errorf("%s in a label: %v", name, err)
		}
	}
}
