package session_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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
	"github.com/ccc-dev/ccc/internal/engine/fake"
	"github.com/ccc-dev/ccc/internal/image"
	"github.com/ccc-dev/ccc/internal/policy"
	"github.com/ccc-dev/ccc/internal/session/sessiontest"
)

// exec runs a command in a session.
func (w *world) exec(req api.ExecRequest) (exited api.Exited, stdout, stderr string, err error) {
	w.Helper()
	var out, errs bytes.Buffer
	exited, err = w.Core.Exec(w.Context(), sessiontest.Caller(), req, api.Streams{Out: &out, Err: &errs})
	return exited, out.String(), errs.String(), err
}

func TestExec(t *testing.T) {
	w := newWorld(t)
	w.create("demo")
	exited, stdout, stderr, err := w.exec(api.ExecRequest{
		Ref: "demo", Argv: []string{"sh", "-c", `echo "$WORD"; echo stray-word >&2; exit 7`}, Env: []api.EnvVar{{Key: "WORD", Value: "secret-word"}},
	})
	w.must(err)
	if exited.Code != 7 || stdout != "secret-word\n" || stderr != "stray-word\n" {
		t.Errorf("%+v, %q, %q", exited, stdout, stderr)
	}
	r := w.last("session.exec")
	n, sum := audit.ArgvDigest([]string{"sh", "-c", `echo "$WORD"; echo stray-word >&2; exit 7`})
	if r.Result != audit.ResultOK || string(r.Detail) != `{"code":7}` || r.Session.Name != "demo" {
		t.Errorf("end %+v", r)
	}
	records := w.records()
	if begin := records[len(records)-2]; begin.Args == nil || *begin.Args != (audit.Args{N: n, SHA256: sum}) {
		t.Errorf("begin %+v", begin)
	}
	log, err := os.ReadFile(w.Log.Path())
	w.must(err)
	for _, word := range []string{"secret-word", "stray-word", "WORD"} {
		if bytes.Contains(log, []byte(word)) {
			t.Errorf("the audit log has %q of a command", word)
		}
	}
	if _, stdout, _, err = w.exec(api.ExecRequest{Ref: "demo", Argv: []string{"pwd"}}); err != nil || stdout != "/workspace\n" {
		t.Errorf("directory %q, %v", stdout, err)
	}
	if _, stdout, _, err = w.exec(api.ExecRequest{Ref: "demo", Argv: []string{"pwd"}, Dir: "/tmp"}); err != nil || stdout != "/tmp\n" {
		t.Errorf("directory %q, %v", stdout, err)
	}
	for argv, code := range map[string]int{"nosuch": 127, "/etc/passwd": 126, "true": 0, "false": 1} {
		if exited, _, _, err = w.exec(api.ExecRequest{Ref: "demo", Argv: []string{argv}}); err != nil || exited.Code != code {
			t.Errorf("%s: %+v, %v", argv, exited, err)
		}
	}
	w.paired()
}

func TestExecTimeLimit(t *testing.T) {
	w := newWorld(t)
	w.create("demo")
	exited, _, _, err := w.exec(api.ExecRequest{Ref: "demo", Argv: []string{"sleep", "infinity"}, Timeout: api.Duration(20 * time.Millisecond)})
	if err != nil || exited != (api.Exited{Code: 124, TimedOut: true}) {
		t.Errorf("%+v, %v", exited, err)
	}
	if r := w.last("session.exec"); string(r.Detail) != `{"code":124,"timed_out":true}` {
		t.Errorf("record %+v", r)
	}
	w.paired()
}

// What the kernel ends for want of memory is told of the command in whose time it
// was, in the record, and of the session.
func TestExecOutOfMemory(t *testing.T) {
	w := newWorld(t)
	w.create("demo")
	kills := int64(2)
	w.Machine.Kills = func() int64 { kills++; return kills }
	exited, _, _, err := w.exec(api.ExecRequest{Ref: "demo", Argv: []string{"sh", "-c", "exit 137"}})
	if err != nil || exited != (api.Exited{Code: 137, OOMKilled: true}) {
		t.Errorf("%+v, %v", exited, err)
	}
	if r := w.last("session.exec"); string(r.Detail) != `{"code":137,"oom_killed":true}` {
		t.Errorf("record %+v", r)
	}
	if s, err := w.Core.Show(t.Context(), api.RefRequest{Ref: "demo"}); err != nil || !s.OOMKilled {
		t.Errorf("%+v, %v", s, err)
	}
	// What was before is not this command's.
	w.Machine.Kills = func() int64 { return kills }
	if exited, _, _, err = w.exec(api.ExecRequest{Ref: "demo", Argv: []string{"true"}}); err != nil || exited != (api.Exited{}) {
		t.Errorf("%+v, %v", exited, err)
	}
}

func TestExecInterrupted(t *testing.T) {
	w := newWorld(t)
	w.create("demo")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	_, err := w.Core.Exec(ctx, sessiontest.Caller(), api.ExecRequest{Ref: "demo", Argv: []string{"sleep", "infinity"}}, api.Streams{})
	if api.KindOf(err) != api.KindInterrupted {
		t.Errorf("error %v", err)
	}
	if r := w.last("session.exec"); r.Result != audit.ResultError || r.Kind != "interrupted" {
		t.Errorf("record %+v", r)
	}
	w.paired()
}

func TestExecRefusals(t *testing.T) {
	w := newWorld(t)
	w.create("demo")
	w.create("stopped")
	w.must(w.Core.Stop(t.Context(), sessiontest.Caller(), api.StopRequest{Ref: "stopped"}))
	run := []string{"true"}
	for name, c := range map[string]struct {
		req  api.ExecRequest
		kind api.Kind
		rule string
	}{
		"no session":      {api.ExecRequest{Argv: run}, api.KindInvalid, "input"},
		"unknown session": {api.ExecRequest{Ref: "nosuch", Argv: run}, api.KindNotFound, "session.unknown"},
		"stopped":         {api.ExecRequest{Ref: "stopped", Argv: run}, api.KindConflict, "session.state"},
		"no command":      {api.ExecRequest{Ref: "demo"}, api.KindInvalid, "input"},
		"empty command":   {api.ExecRequest{Ref: "demo", Argv: []string{""}}, api.KindInvalid, "input"},
		"NUL":             {api.ExecRequest{Ref: "demo", Argv: []string{"echo", "a\x00b"}}, api.KindInvalid, "input"},
		"1 MB":            {api.ExecRequest{Ref: "demo", Argv: []string{"echo", strings.Repeat("x", 1<<20)}}, api.KindInvalid, "input"},
		"relative dir":    {api.ExecRequest{Ref: "demo", Argv: run, Dir: "src"}, api.KindInvalid, "input"},
		"unclean dir":     {api.ExecRequest{Ref: "demo", Argv: run, Dir: "/workspace/../etc"}, api.KindInvalid, "input"},
		"newline in dir":  {api.ExecRequest{Ref: "demo", Argv: run, Dir: "/work\nspace"}, api.KindInvalid, "input.text"},
		"1 MB dir":        {api.ExecRequest{Ref: "demo", Argv: run, Dir: "/" + strings.Repeat("x", 1<<20)}, api.KindInvalid, "input.text"},
		"many variables":  {api.ExecRequest{Ref: "demo", Argv: run, Env: make([]api.EnvVar, 65)}, api.KindInvalid, "input"},
	} {
		t.Run(name, func(t *testing.T) {
			at := world{t, w.World, w.clock}
			check, before := at.unchanged(), len(w.records())
			_, _, _, err := at.exec(c.req)
			at.refused(err, c.kind, c.rule)
			check()
			if len(err.Error()) > 1000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			if n := len(w.records()) - before; n != 1 {
				t.Errorf("%d records", n)
			}
			if r := at.last("session.exec"); r.Decision != audit.Deny || r.Rule != c.rule {
				t.Errorf("record %+v", r)
			}
		})
	}
}

func TestStopStartRestart(t *testing.T) {
	w := newWorld(t)
	made := w.create("demo")
	file := filepath.Join(w.Core.Dirs.Upper(made.ID), "new")
	w.must(os.WriteFile(file, []byte("work"), 0o600))
	for range 2 {
		w.must(w.Core.Stop(t.Context(), sessiontest.Caller(), api.StopRequest{Ref: "demo"}))
		s, err := w.Core.Show(t.Context(), api.RefRequest{Ref: "demo"})
		if err != nil || s.Status != api.StatusStopped || s.ExitCode == nil || len(s.Posture) > 0 {
			t.Errorf("stopped: %+v, %v", s, err)
		}
	}
	for range 2 {
		s, err := w.Core.Start(t.Context(), sessiontest.Caller(), api.RefRequest{Ref: "demo"})
		if err != nil || s.Status != api.StatusRunning || s.ID != made.ID || !cmp.Equal(s.Posture, made.Posture) || s.Expires != made.Expires {
			t.Errorf("started: %+v, %v", s, err)
		}
	}
	s, err := w.Core.Restart(t.Context(), sessiontest.Caller(), api.StopRequest{Ref: "demo"})
	if err != nil || s.Status != api.StatusRunning || len(s.Posture) == 0 {
		t.Errorf("restarted: %+v, %v", s, err)
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "work" {
		t.Errorf("what the session changed is gone: %q, %v", data, err)
	}
	var actions []string
	for _, r := range w.records() {
		if r.Phase == audit.PhaseEnd {
			actions = append(actions, r.Action)
		}
	}
	want := []string{"session.create", "session.stop", "session.stop", "session.start", "session.start", "session.restart"}
	if !slices.Equal(actions, want) {
		t.Errorf("recorded %q", actions)
	}
	w.paired()
}

// A session is held to its grant, and to what is allowed today.
func TestStartRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*world)
		kind   api.Kind
		rule   string
	}{
		"project replaced": {func(w *world) {
			w.must(os.Rename(w.Project, w.Project+".was"))
			w.must(os.Mkdir(w.Project, 0o700))
		}, api.KindDenied, "project.moved"},
		"project is a link now": {func(w *world) {
			w.must(os.Rename(w.Project, w.Project+".was"))
			w.must(os.Symlink(w.Project+".was", w.Project))
		}, api.KindDenied, "project.moved"},
		"project gone": {func(w *world) { w.must(os.Rename(w.Project, w.Project+".was")) }, api.KindDenied, "project.moved"},
		"mount replaced": {func(w *world) {
			w.must(os.Rename(filepath.Join(w.Home, "data"), filepath.Join(w.Home, "data.was")))
			w.must(os.Mkdir(filepath.Join(w.Home, "data"), 0o700))
		}, api.KindDenied, "project.moved"},
		"expired": {func(w *world) { w.clock.advance(8 * time.Hour) }, api.KindDenied, "session.expired"},
		"ceiling lowered": {func(w *world) {
			w.Core.Ceilings = append(w.Core.Ceilings, policy.Ceiling{Source: "policy.yaml", Limits: api.Limits{Memory: 1 << 30}, Lines: map[string]int{"ceiling.limits.memory": 3}})
		}, api.KindDenied, "ceiling.limits.memory"},
		"level not allowed any more": {func(w *world) {
			w.Core.Ceilings = append(w.Core.Ceilings, policy.Ceiling{Source: "policy.yaml", Levels: []api.Level{"strict"}})
		}, api.KindDenied, "ceiling.profiles"},
		"project not allowed any more": {func(w *world) {
			w.Core.Ceilings = append(w.Core.Ceilings, policy.Ceiling{Source: "policy.yaml", Projects: []string{"/srv"}})
		}, api.KindDenied, "ceiling.projects.allow"},
		"mount not allowed any more": {func(w *world) { w.Core.Ground.Own = append(w.Core.Ground.Own, filepath.Join(w.Home, "data")) }, api.KindDenied, "mount.own"},
		"mount not listed any more":  {func(w *world) { w.Core.Ceilings = nil }, api.KindDenied, "mounts.allow"},
		"mounts bounded since": {func(w *world) {
			w.Core.Ceilings = append(w.Core.Ceilings, policy.Ceiling{Source: "policy.yaml", Mounts: []string{}})
		}, api.KindDenied, "ceiling.mounts.allow"},
	} {
		for _, running := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s running %v", name, running), func(t *testing.T) {
				w := newWorld(t)
				_, err := w.Core.Create(t.Context(), sessiontest.Caller(), withData(w))
				w.must(err)
				if !running {
					w.must(w.Core.Stop(t.Context(), sessiontest.Caller(), api.StopRequest{Ref: "demo"}))
				}
				c.change(w)
				if running {
					_, err = w.Core.Restart(t.Context(), sessiontest.Caller(), api.StopRequest{Ref: "demo"})
				} else {
					_, err = w.Core.Start(t.Context(), sessiontest.Caller(), api.RefRequest{Ref: "demo"})
				}
				w.refused(err, c.kind, c.rule)
				in, err := w.Machine.Container(t.Context(), "ccc-demo")
				if err != nil || in.State != engine.InstanceExited {
					t.Errorf("the session is %s, %v", in.State, err)
				}
				w.paired()
				w.must(removeAll(w))
				w.nothing()
			})
		}
	}
}

func TestListAndFind(t *testing.T) {
	w := newWorld(t)
	ids := []string{"aaaaaaaaaaaa", "aaaabbbbbbbb", "cccccccccccc"}
	next := 0
	w.Core.Random = func(n int) string {
		if n == 6 {
			next++
			return ids[next-1]
		}
		return sessiontest.Random(n)
	}
	for _, name := range []api.Name{"zeta", "alpha", "aaaa"} {
		w.create(name)
		w.clock.advance(time.Second)
	}
	all, err := w.Core.List(t.Context())
	w.must(err)
	var names []api.Name
	for _, s := range all {
		names = append(names, s.Name)
		if s.Status != api.StatusRunning || len(s.Posture) > 0 {
			t.Errorf("listed %+v", s)
		}
	}
	if !slices.Equal(names, []api.Name{"zeta", "alpha", "aaaa"}) {
		t.Errorf("listed in the order %q", names)
	}
	for ref, want := range map[api.Ref]api.Name{"zeta": "zeta", "aaaaaaaaaaaa": "zeta", "aaaab": "alpha", "c": "aaaa", "cccc": "aaaa", "aaaa": "aaaa"} {
		s, err := w.Core.Show(t.Context(), api.RefRequest{Ref: ref})
		if err != nil || s.Name != want {
			t.Errorf("%s is %s, want %s: %v", ref, s.Name, want, err)
		}
	}
	_, err = w.Core.Show(t.Context(), api.RefRequest{Ref: "aaa"})
	w.refused(err, api.KindConflict, "session.ambiguous")
	for _, ref := range []api.Ref{"zet", "nosuch", "d", "aaaaaaaaaaaaa"} {
		_, err = w.Core.Show(t.Context(), api.RefRequest{Ref: ref})
		w.refused(err, api.KindNotFound, "session.unknown")
	}
	for prefix, want := range map[string][]string{"": {"aaaa", "alpha", "zeta"}, "a": {"aaaa", "aaaaaaaaaaaa", "aaaabbbbbbbb", "alpha"}, "x": nil} {
		if got := w.Core.Names(t.Context(), prefix); !slices.Equal(got, want) {
			t.Errorf("names with %q: %q, want %q", prefix, got, want)
		}
	}
	if n := len(w.records()); n != 6 {
		t.Errorf("%d records: reading leaves none", n)
	}
}

func TestRemove(t *testing.T) {
	w := newWorld(t)
	one, two := w.create("one"), w.create("two")
	w.create("three")
	done, err := w.Core.Remove(t.Context(), sessiontest.Caller(), api.RemoveRequest{Refs: []api.Ref{"one", "nosuch", api.Ref(two.ID)}})
	w.must(err)
	want := api.Removed{Sessions: []api.Brief{{ID: one.ID, Name: "one"}, {ID: two.ID, Name: "two"}}, Missing: []api.Ref{"nosuch"}}
	if d := cmp.Diff(want, done); d != "" {
		t.Errorf("removed (-want +got):\n%s", d)
	}
	all, err := w.Core.List(t.Context())
	if err != nil || len(all) != 1 || all[0].Name != "three" {
		t.Errorf("%+v, %v", all, err)
	}
	w.must(removeAll(w))
	w.nothing()
	w.must(removeAll(w))
	for _, req := range []api.RemoveRequest{{}, {Refs: []api.Ref{"x"}, All: true}} {
		_, err := w.Core.Remove(t.Context(), sessiontest.Caller(), req)
		w.refused(err, api.KindInvalid, "input")
	}
	w.paired()
	if entries, err := os.ReadDir(w.Project); err != nil || len(entries) != 4 {
		t.Errorf("the project has suffered: %v, %v", entries, err)
	}
}

// What several remove at the same time is gone in the end, and nobody is told of
// anything but a conflict.
func TestRemoveAtOnce(t *testing.T) {
	w := newWorld(t)
	for range 5 {
		w.create("demo")
		var group sync.WaitGroup
		errs := make([]error, 6)
		for i := range errs {
			group.Go(func() {
				_, errs[i] = w.Core.Remove(t.Context(), sessiontest.Caller(), api.RemoveRequest{Refs: []api.Ref{"demo"}})
			})
		}
		group.Wait()
		removed := 0
		for _, err := range errs {
			if err == nil {
				removed++
				continue
			}
			w.refused(err, api.KindConflict, "session.busy")
		}
		if removed == 0 {
			t.Error("nobody removed it")
		}
		w.nothing()
	}
	w.paired()
}

// A removal that fails is gone on with by the next command.
func TestRemoveGoesOnAfterAFault(t *testing.T) {
	count := 0
	for n := 0; ; n++ {
		w := newWorld(t)
		w.create("demo")
		seen := 0
		w.Machine.Step = func(string) error {
			if seen++; seen > n {
				return errFault
			}
			return nil
		}
		_, err := w.Core.Remove(t.Context(), sessiontest.Caller(), api.RemoveRequest{Refs: []api.Ref{"demo"}})
		w.Machine.Step = nil
		if seen <= n {
			w.must(err)
			w.nothing()
			break
		}
		count++
		if err == nil {
			t.Errorf("step %d: no error", n)
		}
		_, err = w.Core.Remove(t.Context(), sessiontest.Caller(), api.RemoveRequest{Refs: []api.Ref{"demo"}})
		w.must(err)
		w.nothing()
	}
	if count < 6 {
		t.Errorf("only %d steps", count)
	}
}

func TestWaitAndLogs(t *testing.T) {
	w := newWorld(t)
	w.create("demo")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := w.Core.Wait(ctx, api.RefRequest{Ref: "demo"}); err == nil {
		t.Error("a running session was not waited for")
	}
	w.must(w.Core.Stop(t.Context(), sessiontest.Caller(), api.StopRequest{Ref: "demo"}))
	exited, err := w.Core.Wait(t.Context(), api.RefRequest{Ref: "demo"})
	if err != nil || exited != (api.Exited{}) {
		t.Errorf("%+v, %v", exited, err)
	}
	w.must(w.Core.Logs(t.Context(), api.LogsRequest{Ref: "demo", Tail: 3, Since: api.Duration(time.Hour)}, api.Streams{}))
	_, err = w.Core.Wait(t.Context(), api.RefRequest{Ref: "nosuch"})
	w.refused(err, api.KindNotFound, "session.unknown")
	err = w.Core.Logs(t.Context(), api.LogsRequest{Ref: "nosuch"}, api.Streams{})
	w.refused(err, api.KindNotFound, "session.unknown")
}

// A session whose life is over ends by itself, and says why it did.
func TestWaitForTheEndOfLife(t *testing.T) {
	w := newWorld(t)
	w.create("demo")
	// The fake has no ccc-init that would end it in time: what does is the
	// engine's monitor, a little later.
	w.clock.advance(8*time.Hour + time.Minute)
	exited, err := w.Core.Wait(t.Context(), api.RefRequest{Ref: "demo"})
	if err != nil || exited != (api.Exited{Code: 124, TimedOut: true}) {
		t.Errorf("%+v, %v", exited, err)
	}
}

func TestPrune(t *testing.T) {
	w := newWorld(t)
	short := w.request("short")
	short.Limits.TTL = api.Duration(time.Hour)
	expired, err := w.Core.Create(t.Context(), sessiontest.Caller(), short)
	w.must(err)
	stopped := w.create("stopped")
	w.must(w.Core.Stop(t.Context(), sessiontest.Caller(), api.StopRequest{Ref: "stopped"}))
	w.create("running")
	w.must(w.Machine.CreateVolume(t.Context(), engine.Volume{Name: "ccc-0123456789ab-home", Labels: map[string]string{engine.LabelSchema: "1", engine.LabelID: "0123456789ab"}}))
	w.must(w.Machine.CreateVolume(t.Context(), engine.Volume{Name: "somebody-elses"}))
	w.must(w.Core.Dirs.Make("ba9876543210"))
	w.clock.advance(2 * time.Hour)
	if s, err := w.Core.Show(t.Context(), api.RefRequest{Ref: "short"}); err != nil || s.Status != api.StatusExpired {
		t.Errorf("%+v, %v", s, err)
	}
	leftovers := []string{"volume ccc-0123456789ab-home", "directory ba9876543210"}
	check := w.unchanged()
	for _, c := range []struct {
		req  api.PruneRequest
		want api.Pruned
	}{
		{api.PruneRequest{DryRun: true}, api.Pruned{Sessions: []api.Brief{{ID: expired.ID, Name: "short"}}, Leftovers: leftovers, DryRun: true}},
		{api.PruneRequest{}, api.Pruned{Sessions: []api.Brief{{ID: expired.ID, Name: "short"}}, Leftovers: leftovers}},
		{api.PruneRequest{}, api.Pruned{Sessions: []api.Brief{}, Leftovers: []string{}}},
		{api.PruneRequest{OlderThan: api.Duration(3 * time.Hour)}, api.Pruned{Sessions: []api.Brief{}, Leftovers: []string{}}},
		{api.PruneRequest{OlderThan: api.Duration(2 * time.Hour)}, api.Pruned{Sessions: []api.Brief{{ID: stopped.ID, Name: "stopped"}}, Leftovers: []string{}}},
	} {
		got, err := w.Core.Prune(t.Context(), sessiontest.Caller(), c.req)
		w.must(err)
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%+v (-want +got):\n%s", c.req, d)
		}
		if c.req.DryRun {
			check()
		}
	}
	left, err := w.Left()
	w.must(err)
	// The running session's container, volume and directories, and a volume that
	// is none of ours.
	if len(left) != 5 || !slices.Contains(left, "volumes/somebody-elses.json") {
		t.Errorf("left %q", left)
	}
	w.paired()
}

// A prune beside a creation must not take what is being made for leftovers.
func TestPruneSparesWhatIsBeingMade(t *testing.T) {
	w := newWorld(t)
	other, err := sessiontest.Open(t.Context(), w.Dir, w.clock.read)
	w.must(err)
	t.Cleanup(func() { w.must(other.Close()) })
	prunes := 0
	w.Machine.Step = func(string) error {
		prunes++
		done, err := other.Core.Prune(t.Context(), sessiontest.Caller(), api.PruneRequest{})
		if err != nil || len(done.Sessions)+len(done.Leftovers) > 0 {
			t.Errorf("pruned %+v, %v", done, err)
		}
		return nil
	}
	w.create("demo")
	if prunes < fewestSteps {
		t.Errorf("only %d prunes", prunes)
	}
}

// Whoever can talk to the engine can make containers with any labels. They must
// not make ccc touch anything but that container.
func TestForgedLabels(t *testing.T) {
	grantOf := func(w *world, name string) string {
		in, err := w.Machine.Container(w.Context(), "ccc-"+name)
		w.must(err)
		return in.Labels[engine.LabelGrant]
	}
	for name, forge := range map[string]func(w *world, victim api.Session) map[string]string{
		"schema only":     func(*world, api.Session) map[string]string { return map[string]string{engine.LabelSchema: "1"} },
		"unknown schema":  func(*world, api.Session) map[string]string { return map[string]string{engine.LabelSchema: "99"} },
		"no grant":        func(*world, api.Session) map[string]string { return labels("forged", "0123456789ab", "") },
		"grant not JSON":  func(*world, api.Session) map[string]string { return labels("forged", "0123456789ab", "{") },
		"id is a path":    func(*world, api.Session) map[string]string { return labels("forged", "../../../x", "{}") },
		"the victim's id": func(_ *world, v api.Session) map[string]string { return labels("forged", string(v.ID), "{}") },
		"victim's grant": func(w *world, v api.Session) map[string]string {
			return labels("forged", string(v.ID), grantOf(w, "victim"))
		},
		"victim's labels": func(w *world, v api.Session) map[string]string {
			return labels("victim", string(v.ID), grantOf(w, "victim"))
		},
		"empty everything": func(*world, api.Session) map[string]string { return labels("", "", "") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			victim := w.create("victim")
			w.must(os.WriteFile(filepath.Join(w.Core.Dirs.Upper(victim.ID), "work"), nil, 0o600))
			img, err := w.Machine.Image(t.Context(), image.DefaultName)
			w.must(err)
			_, err = w.Machine.CreateContainer(t.Context(), forgedContainer(img.ID, forge(w, victim)))
			w.must(err)
			w.must(w.Machine.StartContainer(t.Context(), "ccc-forged"))
			check := w.unchanged()
			if _, err := w.Core.List(t.Context()); err != nil {
				t.Errorf("list: %v", err)
			}
			for _, ref := range []api.Ref{"forged", "0123456789ab", "0123"} {
				if _, err := w.Core.Show(t.Context(), api.RefRequest{Ref: ref}); err == nil {
					t.Errorf("%s is shown as if all were well", ref)
				}
				if _, _, _, err := w.exec(api.ExecRequest{Ref: ref, Argv: []string{"true"}}); err == nil {
					t.Errorf("%s is executed in", ref)
				}
			}
			check()
			if _, _, _, err := w.exec(api.ExecRequest{Ref: "victim", Argv: []string{"true"}}); err != nil {
				t.Errorf("the victim cannot be used any more: %v", err)
			}
			// Broken or not, everything can be removed.
			if err := removeAll(w); err != nil {
				t.Errorf("rm --all: %v", err)
			}
			w.nothing()
		})
	}
}

func labels(name, id, grant string) map[string]string {
	return map[string]string{engine.LabelSchema: "1", engine.LabelName: name, engine.LabelID: id, engine.LabelGrant: grant}
}

func forgedContainer(imageID string, labels map[string]string) engine.Container {
	return engine.Container{
		Name: "ccc-forged", Image: imageID, Argv: []string{"sleep", "infinity"}, Env: map[string]string{"PATH": "/bin"}, Dir: "/",
		UID: 1000, GID: 1000, Memory: 1 << 20, CPUs: 100, PIDs: 10, Timeout: time.Hour, Labels: labels,
	}
}

// Removing a container that says it is another session's must not take that
// session's files away.
func TestRemoveOfAForgedContainerSparesTheVictim(t *testing.T) {
	w := newWorld(t)
	victim := w.create("victim")
	work := filepath.Join(w.Core.Dirs.Upper(victim.ID), "work")
	w.must(os.WriteFile(work, nil, 0o600))
	img, err := w.Machine.Image(t.Context(), image.DefaultName)
	w.must(err)
	_, err = w.Machine.CreateContainer(t.Context(), forgedContainer(img.ID, labels("forged", string(victim.ID), "{}")))
	w.must(err)
	_, err = w.Core.Remove(t.Context(), sessiontest.Caller(), api.RemoveRequest{Refs: []api.Ref{"forged"}})
	w.must(err)
	if _, err := os.Stat(work); err != nil {
		t.Errorf("the victim's work is gone: %v", err)
	}
	if s, err := w.Core.Show(t.Context(), api.RefRequest{Ref: "victim"}); err != nil || s.Status != api.StatusRunning {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := w.Machine.Container(t.Context(), "ccc-forged"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the forged container is there still: %v", err)
	}
}

// An image decides nothing: what it asks the engine for is refused where an
// engine would act on it.
func TestCreateRefusesAnImageThatReachesTheHost(t *testing.T) {
	w := newWorld(t)
	id, err := w.Machine.ImportImage(t.Context(), fake.Rootfs(), engine.ImportOptions{Name: "localhost/evil:1"})
	w.must(err)
	for name, c := range map[string]struct {
		spoil func(*engine.Image)
		rule  string
	}{
		"all variables of the host": {func(i *engine.Image) { i.Env = []string{"*"} }, "image.env"},
		"one of them":               {func(i *engine.Image) { i.Env = []string{"AWS_SECRET_ACCESS_KEY"} }, "image.env"},
		"a seccomp profile":         {func(i *engine.Image) { i.Labels = map[string]string{"io.containers.seccomp.profile": "{}"} }, "image.label"},
		"a hook of crun":            {func(i *engine.Image) { i.Annotations = map[string]string{"run.oci.hooks": "x"} }, "image.annotation"},
		"a directory above":         {func(i *engine.Image) { i.WorkingDir = "/../x" }, "image.workdir"},
	} {
		t.Run(name, func(t *testing.T) {
			at := world{t, w.World, w.clock}
			w.Core.Engine = spoiled{w.Machine, id, c.spoil}
			defer func() { w.Core.Engine = w.Machine }()
			check := at.unchanged()
			req := at.request("demo")
			req.Image = "localhost/evil:1"
			_, err := w.Core.Create(t.Context(), sessiontest.Caller(), req)
			at.refused(err, api.KindDenied, c.rule)
			check()
			if r := at.last("session.create"); r.Decision != audit.Deny || r.Rule != c.rule {
				t.Errorf("record %+v", r)
			}
		})
	}
}

// spoiled is an engine with an image that asks for something.
type spoiled struct {
	engine.Engine
	id    string
	spoil func(*engine.Image)
}

func (s spoiled) Image(ctx context.Context, ref string) (engine.Image, error) {
	img, err := s.Engine.Image(ctx, ref)
	if img.ID == s.id {
		s.spoil(&img)
	}
	return img, err
}
