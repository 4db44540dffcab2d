package session_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/audit"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/kernel"
	"github.com/ccc-dev/ccc/internal/session"
	"github.com/ccc-dev/ccc/internal/session/sessiontest"
)

// withData is a request with a further mount.
func withData(w *world) api.CreateRequest {
	w.Helper()
	data := filepath.Join(w.Home, "data")
	w.must(os.MkdirAll(data, 0o700))
	req := w.request("demo")
	req.Mounts = []api.Mount{{Source: data, Target: "/data"}}
	return req
}

func TestCreateRemovesAContainerThatIsNotWhatWasAskedFor(t *testing.T) {
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			// Some lies are waited for, lest they are only early.
			t.Parallel()
			w := newWorld(t)
			w.Machine.Facts, w.Machine.Instance = lie.facts, whenRunning(lie.instance)
			_, err := w.Core.Create(t.Context(), sessiontest.Caller(), withData(w))
			w.refused(err, api.KindDegraded, "attest")
			if !strings.Contains(err.Error(), lie.names) {
				t.Errorf("the error does not name %q: %v", lie.names, err)
			}
			if strings.Contains(err.Error(), "canary-value") {
				t.Errorf("the error tells a value of the host's environment: %v", err)
			}
			w.nothing()
			w.paired()
			if r := w.last("session.create"); r.Phase != audit.PhaseEnd || r.Result != audit.ResultError || r.Rule != "attest" {
				t.Errorf("record %+v", r)
			}
		})
	}
}

// whenRunning leaves out what is seen of a container that is being removed.
func whenRunning(lie func(*engine.Instance)) func(*engine.Instance) {
	if lie == nil {
		return nil
	}
	return func(i *engine.Instance) {
		if i.State == engine.InstanceRunning {
			lie(i)
		}
	}
}

// A runtime sets the filter as the last thing before it executes the program: a
// session that is looked at a moment too early must not be refused for it.
func TestAttestWaitsForTheFilter(t *testing.T) {
	w := newWorld(t)
	looks := 0
	w.Machine.Facts = func(f *kernel.Facts) {
		if looks++; looks < 4 {
			f.Seccomp = 0
		}
	}
	w.create("demo")
	if looks != 4 {
		t.Errorf("%d looks", looks)
	}
}

// The same lies about a session that has run before: it is stopped, and kept,
// for its files may be somebody's work. One that runs is shown for what it is.
func TestStartStopsAContainerThatIsNotWhatWasGranted(t *testing.T) {
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			_, err := w.Core.Create(t.Context(), sessiontest.Caller(), withData(w))
			w.must(err)
			w.Machine.Facts, w.Machine.Instance = lie.facts, whenRunning(lie.instance)
			s, err := w.Core.Show(t.Context(), api.RefRequest{Ref: "demo"})
			w.refused(err, api.KindDegraded, "attest")
			if s.Name != "demo" || len(s.Posture) > 0 {
				t.Errorf("shown %+v", s)
			}
			_, err = w.Core.Restart(t.Context(), sessiontest.Caller(), api.StopRequest{Ref: "demo"})
			w.refused(err, api.KindDegraded, "attest")
			w.Machine.Facts, w.Machine.Instance = nil, nil
			s, err = w.Core.Show(t.Context(), api.RefRequest{Ref: "demo"})
			if err != nil || s.Status != api.StatusStopped {
				t.Errorf("after the failed start: %+v, %v", s, err)
			}
			w.paired()
		})
	}
}

// victim returns a directory that no session may see. It has the guarded files
// that the project has, so that a mount of it does not fail for their lack.
func victim(w *world) string {
	w.Helper()
	dir := filepath.Join(w.Home, ".ssh")
	w.must(os.MkdirAll(filepath.Join(dir, ".git"), 0o700))
	for _, name := range []string{"id_ed25519", ".envrc"} {
		w.must(os.WriteFile(filepath.Join(dir, name), []byte("secret"), 0o600))
	}
	return dir
}

// A path can be made to lead elsewhere between the check and the mount. Whatever
// the moment, the session that would show it does not come to be.
func TestCreateNoticesASwappedPath(t *testing.T) {
	swap := func(w *world, path string) {
		w.Helper()
		w.must(os.Rename(path, path+".was"))
		w.must(os.Symlink(victim(w), path))
	}
	back := func(w *world, path string) {
		w.Helper()
		w.must(os.Remove(path))
		w.must(os.Rename(path+".was", path))
	}
	project := func(w *world) string { return w.Project }
	data := func(w *world) string { return filepath.Join(w.Home, "data") }
	parent := func(w *world) string { return filepath.Dir(w.Project) }
	for name, c := range map[string]struct {
		path      func(*world) string
		swap      string
		back      string
		workspace api.Workspace
		rule      string
	}{
		"project overlay":                {project, "CreateVolume.before", "", api.WorkspaceOverlay, "project.moved"},
		"project bind":                   {project, "CreateVolume.before", "", api.WorkspaceBind, "attest"},
		"project while mounted overlay":  {project, "StartContainer.before", "StartContainer.after", api.WorkspaceOverlay, "attest"},
		"project while mounted bind":     {project, "StartContainer.before", "StartContainer.after", api.WorkspaceBind, "attest"},
		"parent while mounted":           {parent, "StartContainer.before", "StartContainer.after", api.WorkspaceOverlay, ""},
		"mount":                          {data, "CreateVolume.before", "", api.WorkspaceOverlay, "attest"},
		"mount while mounted":            {data, "StartContainer.before", "StartContainer.after", api.WorkspaceOverlay, "attest"},
		"project after it was attested":  {project, "Entries.after", "", api.WorkspaceOverlay, "project.moved"},
		"project after the facts bind":   {project, "Process.after", "", api.WorkspaceBind, "project.moved"},
		"mount after it was attested":    {data, "Entries.after", "", api.WorkspaceOverlay, "project.moved"},
		"project before the image":       {project, "Image.before", "", api.WorkspaceOverlay, "project.moved"},
		"swapped twice facts in between": {project, "Process.before", "Process.after", api.WorkspaceOverlay, "none"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			victim(w)
			req := withData(w)
			req.Workspace = c.workspace
			path, swapped := c.path(w), false
			w.Machine.Step = func(step string) error {
				switch {
				case step == c.swap && !swapped:
					swapped = true
					swap(w, path)
				case step == c.back && swapped:
					back(w, path)
				}
				return nil
			}
			_, err := w.Core.Create(t.Context(), sessiontest.Caller(), req)
			w.Machine.Step = nil
			if !swapped {
				t.Fatal("nothing was swapped")
			}
			if c.rule == "none" {
				// What is mounted was not touched.
				w.must(err)
				return
			}
			if c.rule == "" {
				// A path that is not there any more cannot be mounted at all.
				if err == nil {
					t.Error("no error")
				}
			} else {
				if err == nil {
					t.Fatal("no error")
				}
				if got := api.ReportOf(err); got.Rule != c.rule {
					t.Errorf("refused by %q (%v), want %q", got.Rule, err, c.rule)
				}
			}
			w.nothing()
			w.paired()
		})
	}
}

// blind is a kernel that shows no directory.
type blind struct{ session.Kernel }

func (blind) Entries(int, string, int) ([]kernel.Entry, error) { return nil, nil }

// Without the look at the entries a session on a directory that was swapped
// while it was mounted would be taken for good: nothing else tells what the lower
// directory of an overlay led to.
func TestSwappedOverlayLooksRightToEverythingElse(t *testing.T) {
	for _, looks := range []bool{false, true} {
		w := newWorld(t)
		if !looks {
			w.Core.Kernel = blind{w.Machine}
		}
		w.Machine.Step = func(step string) error {
			switch step {
			case "StartContainer.before":
				w.must(os.Rename(w.Project, w.Project+".was"))
				w.must(os.Symlink(victim(w), w.Project))
			case "StartContainer.after":
				w.must(os.Remove(w.Project))
				w.must(os.Rename(w.Project+".was", w.Project))
			}
			return nil
		}
		_, err := w.Core.Create(t.Context(), sessiontest.Caller(), w.request("demo"))
		if !looks {
			w.must(err)
			in, err := w.Machine.Container(t.Context(), "ccc-demo")
			w.must(err)
			seen, err := w.Machine.Entries(in.PID, "/workspace", 100)
			w.must(err)
			if !slices.ContainsFunc(seen, func(e kernel.Entry) bool { return e.Name == "id_ed25519" }) {
				t.Errorf("the attack does not work here, so that what follows proves nothing: %+v", seen)
			}
			continue
		}
		w.refused(err, api.KindDegraded, "attest")
		w.nothing()
	}
}

// Files that come and go while a session is attested are no reason to refuse it.
func TestAttestToleratesABusyProject(t *testing.T) {
	w := newWorld(t)
	busy := filepath.Join(w.Project, "busy")
	looks := 0
	w.Machine.Step = func(step string) error {
		if step == "Entries.before" {
			w.must(os.WriteFile(busy, []byte("x"), 0o600))
		}
		if step == "Entries.after" {
			if looks++; looks == 1 {
				// Gone again before the project is compared with what was seen.
				w.must(os.Remove(busy))
			}
		}
		return nil
	}
	w.create("demo")
	if looks < 2 {
		t.Errorf("only %d looks: the file was not in the way", looks)
	}
}

// What becomes of the project after the session was started is no reason to doubt
// the session: editors save by putting a new file in the place of the old one.
func TestAProjectThatChangesUnderASessionIsNoFault(t *testing.T) {
	w := newWorld(t)
	w.create("demo")
	w.Machine.Step = func(step string) error {
		if step == "Entries.before" {
			t.Error("the view is looked at long after it was made")
		}
		return nil
	}
	file := filepath.Join(w.Project, "README")
	w.must(os.WriteFile(file+".new", []byte("saved\n"), 0o600))
	w.must(os.Rename(file+".new", file))
	if s, err := w.Core.Show(t.Context(), api.RefRequest{Ref: "demo"}); err != nil || len(s.Posture) == 0 {
		t.Errorf("%+v, %v", s, err)
	}
}

// A session that ends while it is looked at is shown as ended.
func TestShowOfASessionThatEndsMeanwhile(t *testing.T) {
	w := newWorld(t)
	s := w.create("demo")
	ended := false
	w.Machine.Step = func(step string) error {
		if step != "Process.before" || ended {
			return nil
		}
		ended = true
		return errors.Join(os.ErrNotExist, w.Machine.Engine.StopContainer(t.Context(), "ccc-demo", 0))
	}
	got, err := w.Core.Show(t.Context(), api.RefRequest{Ref: "demo"})
	if err != nil || got.ID != s.ID || got.Status != api.StatusStopped || len(got.Posture) > 0 || !ended {
		t.Errorf("%+v, %v", got, err)
	}
}
