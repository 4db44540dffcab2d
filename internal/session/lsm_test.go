package session_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/apparmor"
	"github.com/ccc-dev/ccc/internal/kernel"
	"github.com/ccc-dev/ccc/internal/session/sessiontest"
)

// hostWith gives the world a host whose kernel has AppArmor and these profiles.
func (w *world) hostWith(profiles ...string) {
	w.Helper()
	w.Core.AppArmor.Root = w.TempDir()
	for file, text := range map[string]string{"sys/module/apparmor/parameters/enabled": "Y\n", "sys/kernel/security/apparmor/policy/profiles/x/name": "other\n"} {
		w.place(file, text)
	}
	for _, p := range profiles {
		w.place("sys/kernel/security/apparmor/policy/profiles/"+p+".1/name", p+"\n")
		w.place("sys/kernel/security/apparmor/policy/profiles/"+p+".1/mode", "enforce\n")
	}
}

func (w *world) place(file, text string) {
	w.Helper()
	file = filepath.Join(w.Core.AppArmor.Root, file)
	w.must(os.MkdirAll(filepath.Dir(file), 0o700))
	w.must(os.WriteFile(file, []byte(text), 0o600))
}

// lsm returns the control of a posture.
func lsm(p api.Posture) api.Control {
	i := slices.IndexFunc(p, func(c api.Control) bool { return c.Name == "lsm" })
	return p[max(i, 0)]
}

// The posture says what the label says, and why there is none; what falls short
// is refused where it is required, and recorded either way.
func TestLSM(t *testing.T) {
	all := func(w *world) { w.hostWith("ccc-session", "ccc-session-bind") }
	for name, c := range map[string]struct {
		label     string
		workspace api.Workspace
		host      func(*world)
		state     api.State
		says      string
	}{
		"enforced":              {"ccc-session (enforce)", "", all, api.StateEnforced, "AppArmor: ccc-session (enforce)"},
		"enforced bind":         {"ccc-session-bind (enforce)", api.WorkspaceBind, all, api.StateEnforced, "AppArmor: ccc-session-bind (enforce)"},
		"no guard for bind":     {"ccc-session (enforce)", api.WorkspaceBind, all, api.StateFallback, "in place of ccc-session-bind"},
		"more guard than asked": {"ccc-session-bind (enforce)", "", all, api.StateFallback, "in place of ccc-session"},
		"wider":                 {"ccc-session-nested (enforce)", "", all, api.StateMissing, "allows more than ccc-session"},
		"only watched":          {"ccc-session (complain)", "", all, api.StateMissing, "mode complain, which denies nothing"},
		"no mode":               {"ccc-session", "", all, api.StateMissing, "which denies nothing"},
		"somebody else's":       {"docker-default (enforce)", "", all, api.StateFallback, "the engine's label docker-default (enforce)"},
		"ours by its beginning": {"ccc-sessions (enforce)", "", all, api.StateFallback, "the engine's label"},
		"SELinux":               {"system_u:system_r:container_t:s0", "", all, api.StateFallback, "the engine's label system_u"},
		"not attached":          {"", "", all, api.StateMissing, "is loaded, but was not when the session was started"},
		"not loaded":            {"", "", func(w *world) { w.hostWith() }, api.StateMissing, "the profile ccc-session is not loaded; run: ccc profile install"},
		"not to be seen": {"", "", func(w *world) {
			w.hostWith()
			w.must(os.RemoveAll(filepath.Join(w.Core.AppArmor.Root, "sys/kernel")))
		}, api.StateMissing, "is unknown; run: ccc profile status"},
		"not in the kernel": {"", "", func(w *world) { w.Core.AppArmor.Root = w.TempDir() }, api.StateMissing, "the kernel has no AppArmor"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.host(w)
			w.Machine.Facts = func(f *kernel.Facts) { f.LSM = c.label }
			req := w.request("demo")
			req.Workspace = c.workspace
			s, err := w.Core.Create(t.Context(), sessiontest.Caller(), req)
			w.must(err)
			if got := lsm(s.Posture); got.State != c.state || !strings.Contains(got.Detail, c.says) {
				t.Errorf("got %+v, want %s: %s", got, c.state, c.says)
			}
			recorded := lastPosture(w)
			if recorded["lsm"] != c.state {
				t.Errorf("the record has %q", recorded["lsm"])
			}
			req.Name, req.Require = "required", api.RequireEnforced
			_, err = w.Core.Create(t.Context(), sessiontest.Caller(), req)
			w.refused(err, api.KindDegraded, "require.enforced")
			if says := strings.Contains(err.Error(), "lsm is "+string(c.state)); says != (c.state != api.StateEnforced) {
				t.Errorf("%v", err)
			}
		})
	}
}

// lastPosture returns the states that the last record has.
func lastPosture(w *world) map[string]api.State {
	w.Helper()
	var p api.Posture
	w.must(json.Unmarshal(w.last("session.create").Posture, &p))
	states := map[string]api.State{}
	for _, c := range p {
		states[c.Name] = c.State
	}
	return states
}

// Each kind of session has a copy of ccc-init with its mark, which stays as long
// as it is of use.
func TestInitIsMarked(t *testing.T) {
	w := newWorld(t)
	w.create("overlay")
	req := w.request("bind")
	req.Workspace = api.WorkspaceBind
	_, err := w.Core.Create(t.Context(), sessiontest.Caller(), req)
	w.must(err)
	kept, err := filepath.Glob(filepath.Join(w.Core.Guest.Programs, "*"))
	if err != nil || len(kept) != 2 {
		t.Fatalf("copies %q, %v", kept, err)
	}
	marks := map[string]int{}
	for _, k := range kept {
		value := make([]byte, 100)
		n, err := unix.Getxattr(k, apparmor.MarkAttribute, value)
		marks[string(value[:max(n, 0)])]++
		if err != nil && err != unix.ENODATA { //nolint:errorlint // an errno
			t.Skipf("this file system has no extended attributes: %v", err)
		}
	}
	if marks[""] != 1 || marks["bind"] != 1 {
		t.Errorf("marks %v", marks)
	}
	_, err = w.Core.Restart(t.Context(), sessiontest.Caller(), api.StopRequest{Ref: "bind"})
	w.must(err)
	_, err = w.Core.Remove(t.Context(), sessiontest.Caller(), api.RemoveRequest{Refs: []api.Ref{"overlay", "bind"}})
	w.must(err)
	done, err := w.Core.Prune(t.Context(), sessiontest.Caller(), api.PruneRequest{})
	if err != nil || len(done.Leftovers) > 0 {
		t.Errorf("pruned %+v, %v: the next session wants them", done, err)
	}
	w.must(os.WriteFile(w.Init(), []byte("ccc-init, newer"), 0o700)) //nolint:gosec // a program
	done, err = w.Core.Prune(t.Context(), sessiontest.Caller(), api.PruneRequest{})
	if err != nil || len(done.Leftovers) != 2 {
		t.Errorf("pruned %+v, %v", done, err)
	}
}
