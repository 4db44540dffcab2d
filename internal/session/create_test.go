package session_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/audit"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/policy"
	"github.com/ccc-dev/ccc/internal/session/sessiontest"
)

func TestCreate(t *testing.T) {
	w := newWorld(t)
	req := w.request("demo")
	req.Labels = []api.Label{{Key: "team", Value: "blue"}}
	s, err := w.Core.Create(t.Context(), sessiontest.Caller(), req)
	w.must(err)
	want := api.Session{
		ID: s.ID, Name: "demo", Status: api.StatusRunning, Project: w.Project, Workspace: api.WorkspaceOverlay,
		Level: "standard", Image: "localhost/ccc-session:latest", ImageID: s.ImageID,
		Created: w.clock.now, Expires: w.clock.now.Add(8 * time.Hour),
		Limits:  api.Limits{Memory: 4 << 30, CPUs: 2000, PIDs: 512, NoFile: 4096, Tmp: 1 << 30, TTL: api.Duration(8 * time.Hour), Idle: api.Duration(time.Hour)},
		Network: "none", Labels: map[string]string{"team": "blue"}, Posture: s.Posture,
	}
	if d := cmp.Diff(want, s); d != "" {
		t.Errorf("session (-want +got):\n%s", d)
	}
	if !s.ID.Valid() || len(s.ImageID) != 64 {
		t.Errorf("id %q, image %q", s.ID, s.ImageID)
	}
	volumes, err := w.Machine.ListVolumes(t.Context())
	w.must(err)
	if len(volumes) != 1 || volumes[0].Name != "ccc-"+string(s.ID)+"-home" || volumes[0].Labels[engine.LabelID] != string(s.ID) {
		t.Errorf("volumes %+v", volumes)
	}
	in, err := w.Machine.Container(t.Context(), "ccc-demo")
	w.must(err)
	if in.State != engine.InstanceRunning {
		t.Errorf("the container is %s", in.State)
	}
	for _, dir := range []string{w.Core.Dirs.Upper(s.ID), w.Core.Dirs.Work(s.ID)} {
		if info, err := os.Stat(dir); err != nil || info.Mode() != os.ModeDir|0o700 {
			t.Errorf("%s: %v %v", dir, info, err)
		}
	}
	if entries, err := os.ReadDir(w.Core.Intents.Dir); err != nil || len(entries) > 0 {
		t.Errorf("intents are left: %v, %v", entries, err)
	}
}

func TestCreateIsRecordedBeforeAndAfter(t *testing.T) {
	w := newWorld(t)
	var acted int
	w.Machine.Step = func(step string) error {
		if step == "CreateVolume.before" {
			acted = len(w.records())
		}
		return nil
	}
	s := w.create("demo")
	records := w.records()
	if len(records) != 2 || acted != 1 {
		t.Fatalf("%d records, %d of them before anything was made: %+v", len(records), acted, records)
	}
	begin, end := records[0], records[1]
	subject := audit.Subject{ID: s.ID, Name: "demo"}
	if begin.Phase != audit.PhaseBegin || begin.Decision != audit.Allow || begin.Session != subject || begin.Caller != sessiontest.Caller() {
		t.Errorf("begin %+v", begin)
	}
	if end.Phase != audit.PhaseEnd || end.Op != begin.Op || end.Result != audit.ResultOK || end.Session != subject {
		t.Errorf("end %+v", end)
	}
	var terms policy.Terms
	if err := json.Unmarshal(begin.Grant, &terms); err != nil || terms.ID != s.ID || terms.Project.Path != w.Project || terms.ImageID != s.ImageID {
		t.Errorf("grant %s, %v", begin.Grant, err)
	}
	var posture api.Posture
	if err := json.Unmarshal(end.Posture, &posture); err != nil || !cmp.Equal(posture, s.Posture) {
		t.Errorf("posture %s, %v", end.Posture, err)
	}
}

func TestCreateChoosesAName(t *testing.T) {
	w := newWorld(t)
	for dir, begin := range map[string]string{"Über App": "ber-app-", "...": "session-", strings.Repeat("x", 100): strings.Repeat("x", 40) + "-", "a.b": "a.b-"} {
		req := api.CreateRequest{Project: filepath.Join(w.Home, "src", dir)}
		w.must(os.Mkdir(req.Project, 0o700))
		s, err := w.Core.Create(t.Context(), sessiontest.Caller(), req)
		if err != nil {
			t.Errorf("%q: %v", dir, err)
			continue
		}
		if !strings.HasPrefix(string(s.Name), begin) || new(api.Name).UnmarshalText([]byte(s.Name)) != nil {
			t.Errorf("%q: name %q does not begin with %q", dir, s.Name, begin)
		}
	}
}

func TestCreateNeverRecordsAValueOfTheEnvironment(t *testing.T) {
	w := newWorld(t)
	req := w.request("demo")
	req.Env = []api.EnvVar{{Key: "TOKEN", Value: "canary-value"}}
	s, err := w.Core.Create(t.Context(), sessiontest.Caller(), req)
	w.must(err)
	log, err := os.ReadFile(w.Log.Path())
	w.must(err)
	in, err := w.Machine.Container(t.Context(), "ccc-demo")
	w.must(err)
	if !slices.Contains(in.Spec.Process.Env, "TOKEN=canary-value") {
		t.Errorf("the session's environment lacks it: %q", in.Spec.Process.Env)
	}
	for what, text := range map[string]string{"audit log": string(log), "labels": strings.Join(mapValues(in.Labels), " "), "session": encoded(t, s)} {
		if strings.Contains(text, "canary-value") {
			t.Errorf("the value is in the %s", what)
		}
	}
	if !strings.Contains(string(log), `"TOKEN"`) {
		t.Error("the name is not in the audit log")
	}
	// Attestation of a session with variables of its own must not take them for
	// the host's.
	if _, err := w.Core.Show(t.Context(), api.RefRequest{Ref: "demo"}); err != nil {
		t.Error(err)
	}
}

func TestCreateRefusesATakenName(t *testing.T) {
	w := newWorld(t)
	first := w.create("demo")
	check := w.unchanged()
	_, err := w.Core.Create(t.Context(), sessiontest.Caller(), w.request("demo"))
	w.refused(err, api.KindConflict, "session.exists")
	check()
	w.paired()
	s, err := w.Core.Show(t.Context(), api.RefRequest{Ref: "demo"})
	if err != nil || s.ID != first.ID || s.Status != api.StatusRunning {
		t.Errorf("the first session suffered: %+v, %v", s, err)
	}
}

// Of several that want the same name at the same time exactly one has it, and
// the others leave nothing.
func TestCreateOfOneNameAtOnce(t *testing.T) {
	w := newWorld(t)
	const many = 8
	errs := make([]error, many)
	var group sync.WaitGroup
	for i := range many {
		group.Go(func() { _, errs[i] = w.Core.Create(t.Context(), sessiontest.Caller(), w.request("demo")) })
	}
	group.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
			continue
		}
		w.refused(err, api.KindConflict, "session.exists")
	}
	if won != 1 {
		t.Errorf("%d of %d have the name", won, many)
	}
	w.must(removeAll(w))
	w.nothing()
	w.paired()
}

func TestCreateRefusesOneTooMany(t *testing.T) {
	w := newWorld(t)
	w.Core.Defaults.MaxSessions = 2
	w.create("one")
	w.create("two")
	check := w.unchanged()
	_, err := w.Core.Create(t.Context(), sessiontest.Caller(), w.request("three"))
	w.refused(err, api.KindLimit, "sessions.max")
	check()
	if r := w.last("session.create"); r.Decision != audit.Deny || r.Rule != "sessions.max" || r.Session.Name != "three" {
		t.Errorf("record %+v", r)
	}
}

func TestCreateRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*world, *api.CreateRequest)
		kind   api.Kind
		rule   string
	}{
		"no project":      {func(_ *world, r *api.CreateRequest) { r.Project = "" }, api.KindInvalid, "input.path"},
		"missing project": {func(_ *world, r *api.CreateRequest) { r.Project += "/nowhere" }, api.KindNotFound, "project.open"},
		"a file":          {func(_ *world, r *api.CreateRequest) { r.Project += "/README" }, api.KindInvalid, "project.kind"},
		"home":            {func(w *world, r *api.CreateRequest) { r.Project = w.Home }, api.KindDenied, "project.home"},
		"above home":      {func(w *world, r *api.CreateRequest) { r.Project = w.Dir }, api.KindDenied, "project.home"},
		"keys":            {func(w *world, r *api.CreateRequest) { r.Project = filepath.Join(w.Home, ".ssh") }, api.KindDenied, "project.hidden"},
		"own state":       {func(w *world, r *api.CreateRequest) { r.Project = w.State }, api.KindDenied, "project.own"},
		"own runtime":     {func(w *world, r *api.CreateRequest) { r.Project = w.Runtime }, api.KindDenied, "project.own"},
		"unknown level":   {func(_ *world, r *api.CreateRequest) { r.Level = "lax" }, api.KindNotFound, "profile.unknown"},
		"unknown image":   {func(_ *world, r *api.CreateRequest) { r.Image = "localhost/none:1" }, api.KindNotFound, "image.unknown"},
		"strict and bind": {func(_ *world, r *api.CreateRequest) { r.Level, r.Workspace = "strict", api.WorkspaceBind }, api.KindDenied, "profile.workspaces"},
		"mount of keys": {func(w *world, r *api.CreateRequest) {
			r.Mounts = []api.Mount{{Source: filepath.Join(w.Home, ".ssh"), Target: "/data"}}
		}, api.KindDenied, "mount.hidden"},
		"mount over a wall": {func(w *world, r *api.CreateRequest) { r.Mounts = []api.Mount{{Source: w.Project, Target: "/etc"}} }, api.KindDenied, "mount.target"},
		"two mounts at once": {func(w *world, r *api.CreateRequest) {
			r.Mounts = []api.Mount{{Source: w.Project, Target: "/data"}, {Source: w.Project, Target: "/data"}}
		}, api.KindInvalid, "input"},
		"too many labels": {func(_ *world, r *api.CreateRequest) { r.Labels = make([]api.Label, 65) }, api.KindInvalid, "input"},
		"guarded link": {func(w *world, r *api.CreateRequest) {
			w.must(os.Symlink("/etc", filepath.Join(w.Project, ".husky")))
			r.Workspace = api.WorkspaceBind
		}, api.KindDenied, "project.guarded"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			req := w.request("demo")
			c.change(w, &req)
			check := w.unchanged()
			_, err := w.Core.Create(t.Context(), sessiontest.Caller(), req)
			w.refused(err, c.kind, c.rule)
			check()
			w.nothing()
			r := w.last("session.create")
			if r.Decision != audit.Deny || r.Rule != c.rule || r.Kind != c.kind.String() || r.Result != audit.ResultError {
				t.Errorf("record %+v", r)
			}
		})
	}
}

// What cannot be recorded is not done, and what was done and cannot be recorded
// is undone.
func TestCreateWithoutAnAuditLog(t *testing.T) {
	t.Run("before", func(t *testing.T) {
		w := newWorld(t)
		breakLog(w)
		_, err := w.Core.Create(t.Context(), sessiontest.Caller(), w.request("demo"))
		if api.KindOf(err) != api.KindUnavailable {
			t.Errorf("error %v", err)
		}
		w.nothing()
	})
	t.Run("after", func(t *testing.T) {
		w := newWorld(t)
		w.Machine.Step = func(step string) error {
			if step == "StartContainer.after" {
				breakLog(w)
			}
			return nil
		}
		_, err := w.Core.Create(t.Context(), sessiontest.Caller(), w.request("demo"))
		if err == nil {
			t.Error("a session was made that the log does not have")
		}
		w.nothing()
	})
	t.Run("refusal", func(t *testing.T) {
		w := newWorld(t)
		breakLog(w)
		_, err := w.Core.Create(t.Context(), sessiontest.Caller(), api.CreateRequest{Project: w.Home})
		var kinds []api.Kind
		for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
			kinds = append(kinds, api.KindOf(e))
		}
		if !slices.Equal(kinds, []api.Kind{api.KindDenied, api.KindUnavailable}) {
			t.Errorf("error %v of kinds %v: the refusal and that it was not recorded must both be told", err, kinds)
		}
	})
}

func TestRequire(t *testing.T) {
	for _, c := range []struct {
		require api.Require
		ceiling api.Require
		rule    string
	}{
		{"", "", ""},
		{api.RequireEnforced, "", "require.enforced"},
		{api.RequireFallback, "", "require.fallback"},
		{"", api.RequireEnforced, "require.enforced"},
		{api.RequireFallback, api.RequireEnforced, "require.enforced"},
	} {
		w := newWorld(t)
		w.Core.Ceilings = []policy.Ceiling{{Source: "policy.yaml", Require: c.ceiling}}
		req := w.request("demo")
		req.Require = c.require
		s, err := w.Core.Create(t.Context(), sessiontest.Caller(), req)
		if c.rule == "" {
			w.must(err)
			if s.Posture.Weakest() != api.StateMissing {
				t.Error("nothing is missing: then the other cases of this test prove nothing")
			}
			continue
		}
		w.refused(err, api.KindDegraded, c.rule)
		if !strings.Contains(err.Error(), "disk is missing") {
			t.Errorf("the error does not name what is missing: %v", err)
		}
		w.nothing()
		w.paired()
	}
}

func TestCreateBind(t *testing.T) {
	w := newWorld(t)
	data := filepath.Join(w.Home, "data")
	w.must(os.Mkdir(data, 0o700))
	req := w.request("demo")
	req.Workspace = api.WorkspaceBind
	req.Mounts = []api.Mount{{Source: data, Target: "/data", Writable: true}, {Source: filepath.Join(w.Project, "README"), Target: "/readme"}}
	s, err := w.Core.Create(t.Context(), sessiontest.Caller(), req)
	w.must(err)
	in, err := w.Machine.Container(t.Context(), "ccc-demo")
	w.must(err)
	access := map[string]string{}
	for _, m := range in.Spec.Mounts {
		for _, o := range []string{"ro", "rw"} {
			if m.Type == "bind" && slices.Contains(m.Options, o) {
				access[m.Destination] = o + " " + m.Source
			}
		}
	}
	for target, want := range map[string]string{
		"/workspace": "rw " + w.Project, "/workspace/.git": "ro " + w.Project + "/.git", "/workspace/.envrc": "ro " + w.Project + "/.envrc",
		"/data": "rw " + data, "/readme": "ro " + w.Project + "/README",
	} {
		if access[target] != want {
			t.Errorf("%s is %q, want %q", target, access[target], want)
		}
	}
	if i := slices.IndexFunc(s.Posture, func(c api.Control) bool { return c.Name == "workspace" }); s.Posture[i].State != api.StateFallback {
		t.Errorf("posture %+v", s.Posture[i])
	}
	w.must(removeAll(w))
	w.nothing()
}

// breakLog makes the audit log one that cannot be written.
func breakLog(w *world) {
	w.must(os.Remove(w.Log.Path()))
	w.must(os.Mkdir(w.Log.Path(), 0o700))
}

// removeAll removes every session.
func removeAll(w *world) error {
	_, err := w.Core.Remove(w.Context(), sessiontest.Caller(), api.RemoveRequest{All: true})
	return err
}

func mapValues(m map[string]string) []string {
	var values []string
	for _, v := range m {
		values = append(values, v)
	}
	return values
}

func encoded(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

var errFault = errors.New("a fault was injected")
