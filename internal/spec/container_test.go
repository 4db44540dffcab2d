package spec_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/policy"
	"github.com/ccc-dev/ccc/internal/profile"
	"github.com/ccc-dev/ccc/internal/spec"
	"github.com/ccc-dev/ccc/profiles"
)

var update = flag.Bool("update", false, "write the golden files again")

// created is when the sessions of the tests were made.
var created = time.Date(2026, 11, 22, 12, 0, 0, 0, time.FixedZone("", 3600))

// grant returns what policy makes of a request at a level.
func grant(t *testing.T, level api.Level, change func(*policy.Input)) policy.Grant {
	t.Helper()
	l, err := profile.Find(level, profile.Source{FS: profiles.Levels, Dir: "levels"})
	if err != nil {
		t.Fatal(err)
	}
	in := policy.Input{
		ID: "0123456789ab", Level: l, ImageID: strings.Repeat("a", 64), Init: strings.Repeat("b", 64),
		Request:  api.CreateRequest{Name: "demo", Image: "localhost/ccc-session:latest"},
		Project:  policy.Place{Asked: ".", Path: "/home/u/src/p", Dev: 1, Ino: 2, Dir: true},
		Ground:   policy.Ground{Home: "/home/u"},
		Ceilings: []policy.Ceiling{{Source: "config.yaml", Mounts: []string{"/home/u/data"}}},
	}
	change(&in)
	g, err := policy.Decide(in)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// cases are sessions of all sorts.
var cases = map[string]struct {
	level  api.Level
	change func(*policy.Input)
	paths  spec.Paths
	labels []api.Label
}{
	"strict":   {level: "strict", change: func(*policy.Input) {}, paths: overlay},
	"standard": {level: "standard", change: func(*policy.Input) {}, paths: overlay},
	"trusted":  {level: "trusted", change: func(*policy.Input) {}, paths: overlay},
	"bind": {level: "standard", change: func(i *policy.Input) { i.Request.Workspace = api.WorkspaceBind },
		paths: spec.Paths{Init: overlay.Init, Session: overlay.Session, Guarded: []string{".claude/settings.json", ".envrc", ".git"}}},
	"everything": {level: "standard", change: func(i *policy.Input) {
		i.Request.Limits = api.Limits{Memory: 512 << 20, CPUs: 500, PIDs: 100, NoFile: 256, Tmp: 64 << 20, TTL: api.Duration(90 * time.Minute)}
		i.Request.Env = []api.EnvVar{{Key: "EDITOR", Value: "vi"}, {Key: "PATH", Value: "/opt/bin:/bin"}}
		i.Request.Mounts = []api.Mount{{Source: "data", Target: "/data"}, {Source: "out", Target: "/out", Writable: true}}
		i.Mounts = []policy.Place{{Path: "/home/u/data", Dev: 1, Ino: 3, Dir: true}, {Path: "/home/u/data/out", Dev: 1, Ino: 4, Dir: true}}
		i.Request.Require = api.RequireFallback
	}, paths: overlay, labels: []api.Label{{Key: "team", Value: `a "b", c=d`}}},
}

var overlay = spec.Paths{
	Upper: "/state/sessions/0123456789ab/upper", Work: "/state/sessions/0123456789ab/work",
	Init: "/state/init/bb", Session: "/run/sessions/0123456789ab",
}

func TestContainer(t *testing.T) {
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := spec.Container(grant(t, c.level, c.change), c.paths, created, c.labels)
			if err != nil {
				t.Fatal(err)
			}
			if err := got.Check(); err != nil {
				t.Errorf("no engine takes it: %v", err)
			}
			golden(t, name, got)
		})
	}
}

// golden compares a value with a file.
func golden(t *testing.T, name string, v any) {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata", name+".json")
	if *update {
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), b.String()); d != "" {
		t.Errorf("%s (-want +got; -update writes it again):\n%s", file, d)
	}
}

func TestContainerNeedsAGrantOfPolicy(t *testing.T) {
	if c, err := spec.Container(policy.Grant{}, overlay, created, nil); err == nil || c.Name != "" {
		t.Errorf("%+v, %v", c, err)
	}
}

// What policy granted can be read back from the labels, so that a start after
// this one is held to the same.
func TestLabelsCarryTheGrant(t *testing.T) {
	for name, c := range cases {
		g := grant(t, c.level, c.change)
		got, err := spec.Container(g, c.paths, created, c.labels)
		if err != nil {
			t.Fatal(err)
		}
		var terms policy.Terms
		if err := json.Unmarshal([]byte(got.Labels[engine.LabelGrant]), &terms); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(g.Terms(), terms); d != "" {
			t.Errorf("%s (-granted +read back):\n%s", name, d)
		}
		adopted, err := policy.Adopt(terms, []policy.Ceiling{{Mounts: []string{"/home/u/data"}}}, policy.Ground{Home: "/home/u"})
		if err != nil {
			t.Fatal(err)
		}
		again, err := spec.Container(adopted, c.paths, created, c.labels)
		if err != nil {
			t.Fatal(err)
		}
		// The values of variables are on the container alone.
		got.Env, again.Env = nil, nil
		if d := cmp.Diff(got, again); d != "" {
			t.Errorf("%s (-first +again):\n%s", name, d)
		}
	}
}
