package config_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/config"
)

// write writes a file that only its owner may write, and returns its path.
func write(t testing.TB, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// load loads sources that must be good.
func load(t testing.TB, s config.Sources) *config.Config {
	t.Helper()
	c, err := config.Load(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// plainKeys has, for every plain key, five values in the order of the text that
// `ccc config show` gives them, and where it may stand beside host and user
// file.
var plainKeys = []struct {
	key, flag, variable string
	values              [5]string
	project             bool
}{
	{"connection", "--connection", "CCC_CONNECTION", [5]string{"/a", "/b", "unix:///c", "d", "/e"}, false},
	{"image", "--image", "CCC_IMAGE", [5]string{"a", "b", "c:1", "d/e", "f@sha256:00"}, false},
	{"profile", "--profile", "CCC_PROFILE", [5]string{"strict", "standard", "trusted", "mine", "yours"}, false},
	{"workspace", "--workspace", "CCC_WORKSPACE", [5]string{"overlay", "bind", "overlay", "bind", "overlay"}, false},
	{"limits.memory", "--memory", "CCC_LIMITS_MEMORY", [5]string{"1g", "2g", "3g", "4g", "5g"}, true},
	{"limits.cpus", "--cpus", "CCC_LIMITS_CPUS", [5]string{"1", "2", "0.5", "4", "5"}, true},
	{"limits.pids", "--pids", "CCC_LIMITS_PIDS", [5]string{"1", "2", "3", "4", "5"}, true},
	{"limits.nofile", "--nofile", "CCC_LIMITS_NOFILE", [5]string{"1", "2", "3", "4", "5"}, true},
	{"limits.tmp", "--tmp-size", "CCC_LIMITS_TMP", [5]string{"1m", "2m", "3m", "4m", "5m"}, true},
	{"limits.idle", "--idle", "CCC_LIMITS_IDLE", [5]string{"1m", "2m", "3h", "4m30s", "25h"}, true},
	{"limits.ttl", "--ttl", "CCC_LIMITS_TTL", [5]string{"1h", "2h", "3d", "1m30s", "1h30m"}, true},
	{"require", "--require", "CCC_REQUIRE", [5]string{"enforced", "fallback", "enforced", "fallback", "enforced"}, true},
	{"max_sessions", "", "CCC_MAX_SESSIONS", [5]string{"1", "2", "3", "4", "5"}, false},
	{"audit.dir", "", "CCC_AUDIT_DIR", [5]string{"/a", "/b", "/c", "/d", "/e"}, false},
	{"audit.file", "", "CCC_AUDIT_FILE", [5]string{"a", "b", "c", "d", "e"}, false},
}

// yamlOf writes a key as a file has it.
func yamlOf(key, value string) string {
	text, indent := "", ""
	for part := range strings.SplitSeq(key, ".") {
		text += "\n" + indent + part + ":"
		indent += "  "
	}
	return text[1:] + " " + value + "\n"
}

// field returns a setting's value out of the typed configuration.
func field(t *testing.T, c *config.Config, key string) string {
	t.Helper()
	e := c.Effective
	v, ok := map[string]string{
		"connection": string(e.Connection), "image": string(e.Image), "profile": string(e.Profile), "workspace": string(e.Workspace),
		"limits.memory": e.Limits.Memory.String(), "limits.cpus": e.Limits.CPUs.String(), "limits.pids": e.Limits.PIDs.String(),
		"limits.nofile": e.Limits.NoFile.String(), "limits.tmp": e.Limits.Tmp.String(), "limits.ttl": e.Limits.TTL.String(), "limits.idle": e.Limits.Idle.String(),
		"require": string(e.Require), "max_sessions": e.MaxSessions.String(), "audit.dir": string(e.Audit.Dir), "audit.file": string(e.Audit.File),
	}[key]
	if !ok {
		t.Fatalf("the test does not know %s", key)
	}
	return strings.Replace(v, "72h", "3d", 1)
}

func TestEverySourceBeatsTheWeakerOnes(t *testing.T) {
	for _, k := range plainKeys {
		t.Run(k.key, func(t *testing.T) {
			s := config.Sources{Defaults: map[string]string{k.key: k.values[0]}}
			check := func(value string, want config.Origin) {
				t.Helper()
				c := load(t, s)
				if got := field(t, c, k.key); got != value {
					t.Errorf("from %s: %s, want %s", want, got, value)
				}
				if got := c.Origin(k.key); got != want {
					t.Errorf("origin %+v, want %+v", got, want)
				}
				line := config.Setting{Key: k.key, Value: value, Origin: want}
				if !slices.Contains(c.List(), line) {
					t.Errorf("the list lacks %+v", line)
				}
			}
			line := strings.Count(k.key, ".") + 1
			check(k.values[0], config.Origin{Source: config.SourceDefault})
			s.HostFile = write(t, "policy.yaml", yamlOf(k.key, k.values[1]))
			check(k.values[1], config.Origin{Source: config.SourceHost, Name: s.HostFile, Line: line})
			s.UserFile = write(t, "config.yaml", "# mine\n"+yamlOf(k.key, k.values[2]))
			check(k.values[2], config.Origin{Source: config.SourceUser, Name: s.UserFile, Line: line + 1})
			s.Environ = []string{k.variable + "=" + k.values[3], "OTHER=1"}
			check(k.values[3], config.Origin{Source: config.SourceEnv, Name: k.variable})
			if k.flag == "" {
				s.Flags = map[string]string{k.key: k.values[4]}
				if _, err := config.Load(s); err == nil {
					t.Error("a flag was taken")
				}
				return
			}
			s.Flags = map[string]string{k.key: k.values[4]}
			check(k.values[4], config.Origin{Source: config.SourceFlag, Name: k.flag})
		})
	}
}

func TestTheTestKnowsEveryPlainKey(t *testing.T) {
	var got, want []string
	for _, s := range load(t, config.Sources{}).List() {
		got = append(got, s.Key)
	}
	for _, k := range plainKeys {
		want = append(want, k.key)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDefaults(t *testing.T) {
	c := load(t, config.Sources{HostFile: "/nonexistent/policy.yaml", UserFile: "/nonexistent/config.yaml", ProjectFile: "/nonexistent/.ccc.yaml"})
	want := config.Effective{Profile: "standard", Workspace: api.WorkspaceOverlay, MaxSessions: 128, Audit: config.Audit{File: "audit.jsonl"}}
	if diff := cmp.Diff(want, c.Effective); diff != "" {
		t.Error(diff)
	}
	if len(c.Layers) != 0 || c.Lower != (config.Lower{}) {
		t.Errorf("got layers %+v, lower %+v", c.Layers, c.Lower)
	}
}

// Whatever a project's file says about plain keys, the effective settings are
// as if it were not there.
func TestAProjectCannotSetDefaults(t *testing.T) {
	for _, k := range plainKeys {
		t.Run(k.key, func(t *testing.T) {
			s := config.Sources{ProjectFile: write(t, ".ccc.yaml", yamlOf(k.key, k.values[2]))}
			c, err := config.Load(s)
			if !k.project {
				r := api.ReportOf(orNil(err))
				at := s.ProjectFile + ":" + string(rune('1'+strings.Count(k.key, ".")))
				if r.Kind != api.KindDenied || r.Rule != "config.project" || r.Hint == "" || !strings.Contains(r.Message, at+": ") || !strings.Contains(r.Message, k.key) {
					t.Errorf("got %+v", r)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(load(t, config.Sources{}).Effective, c.Effective); diff != "" {
				t.Error(diff)
			}
			if c.Lower == (config.Lower{}) {
				t.Error("the project lowers nothing")
			}
			if o := c.Origin(k.key); o.Source != config.SourceDefault {
				t.Errorf("origin %+v", o)
			}
			// A variable and a flag are the person's own word.
			for _, s := range []config.Sources{
				{ProjectFile: s.ProjectFile, Environ: []string{k.variable + "=" + k.values[3]}},
				{ProjectFile: s.ProjectFile, Flags: map[string]string{k.key: k.values[3]}},
			} {
				c := load(t, s)
				if c.Lower != (config.Lower{}) || field(t, c, k.key) != k.values[3] {
					t.Errorf("lower %+v, effective %s", c.Lower, field(t, c, k.key))
				}
			}
		})
	}
}

// orNil gives an error that says so where there is none.
func orNil(err error) error {
	if err == nil {
		return api.Invalidf("", "no error")
	}
	return err
}

func TestLayersKeepWhatEachFileAllows(t *testing.T) {
	const all = `ceiling:
  limits:
    memory: 8g
    cpus: 4
    pids: 1000
    nofile: 2000
    tmp: 2g
    ttl: 12h
  workspaces: [overlay]
  profiles:
    - strict
    - standard
  require: fallback
`
	s := config.Sources{
		HostFile:    write(t, "policy.yaml", all+"mounts:\n  allow: [/srv, ~/data]\nprojects: {allow: [/home]}\n"),
		UserFile:    write(t, "config.yaml", "ceiling: {limits: {memory: 6g}}\nmounts: {allow: []}\n"),
		ProjectFile: write(t, ".ccc.yaml", "limits: {memory: 1g}\nrequire: enforced\n"+all),
		Home:        "/home/ann",
	}
	ceiling := config.Ceiling{
		Limits:     api.Limits{Memory: 8 << 30, CPUs: 4000, PIDs: 1000, NoFile: 2000, Tmp: 2 << 30, TTL: api.Duration(12 * time.Hour)},
		Workspaces: []api.Workspace{api.WorkspaceOverlay}, Profiles: []api.Level{"strict", "standard"}, Require: api.RequireFallback,
	}
	lines := func(first int, more map[string]int) map[string]int {
		for i, k := range []string{"memory", "cpus", "pids", "nofile", "tmp", "ttl"} {
			more["ceiling.limits."+k] = first + 2 + i
		}
		more["ceiling.workspaces"], more["ceiling.profiles"], more["ceiling.require"] = first+8, first+9, first+12
		return more
	}
	want := []config.Layer{
		{
			Source: config.SourceHost, File: s.HostFile, Ceiling: ceiling, MountsAllow: []config.Path{"/srv", "/home/ann/data"}, ProjectsAllow: []config.Path{"/home"},
			Lines: lines(1, map[string]int{"mounts.allow": 15, "projects.allow": 16}),
		},
		{
			Source: config.SourceUser, File: s.UserFile, Ceiling: config.Ceiling{Limits: api.Limits{Memory: 6 << 30}}, MountsAllow: []config.Path{},
			Lines: map[string]int{"ceiling.limits.memory": 1, "mounts.allow": 2},
		},
		{
			Source: config.SourceProject, File: s.ProjectFile, Ceiling: ceiling,
			Lines: lines(3, map[string]int{"limits.memory": 1, "require": 2}),
		},
	}
	c := load(t, s)
	if diff := cmp.Diff(want, c.Layers); diff != "" {
		t.Error(diff)
	}
	if want := (config.Lower{Limits: api.Limits{Memory: 1 << 30}, Require: api.RequireEnforced}); c.Lower != want {
		t.Errorf("lower %+v, want %+v", c.Lower, want)
	}
	if o, ok := c.Layers[0].Stated("projects.allow"); !ok || o.String() != s.HostFile+":16" {
		t.Errorf("stated at %s, %v", o, ok)
	}
	if _, ok := c.Layers[1].Stated("projects.allow"); ok {
		t.Error("the user's file states no projects")
	}
}

func TestList(t *testing.T) {
	s := config.Sources{
		HostFile:    write(t, "policy.yaml", "ceiling: {limits: {memory: 8g}, profiles: [strict, standard]}\nlimits: {memory: 4g}\n"),
		ProjectFile: write(t, ".ccc.yaml", "ceiling: {limits: {memory: 2g}}\nlimits: {memory: 1g}\n"),
	}
	var got []string
	for _, l := range load(t, s).List() {
		if strings.Contains(l.Key, "memory") || strings.HasPrefix(l.Key, "ceiling") {
			got = append(got, l.Key+" = "+l.Value+" from "+l.Origin.String())
		}
	}
	want := []string{
		"ceiling.limits.memory = 8g from " + s.HostFile + ":1",
		"ceiling.limits.memory = 2g from " + s.ProjectFile + ":1",
		"ceiling.profiles = strict, standard from " + s.HostFile + ":1",
		"limits.memory = 4g from " + s.HostFile + ":2",
		"limits.memory = 1g from " + s.ProjectFile + ":2",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func BenchmarkLoadNothing(b *testing.B) {
	for b.Loop() {
		if _, err := config.Load(config.Sources{HostFile: "/nonexistent/a", UserFile: "/nonexistent/b", ProjectFile: "/nonexistent/c"}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLoadThreeFiles(b *testing.B) {
	const text = "limits: {memory: 4g, cpus: 2, pids: 512, ttl: 8h}\nceiling:\n  limits: {memory: 8g, cpus: 4}\n  workspaces: [overlay, bind]\n  profiles: [strict, standard]\n"
	s := config.Sources{HostFile: write(b, "a", text), UserFile: write(b, "b", text), ProjectFile: write(b, "c", text)}
	for b.Loop() {
		if _, err := config.Load(s); err != nil {
			b.Fatal(err)
		}
	}
}
