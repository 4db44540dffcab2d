package session_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/guest"
	"github.com/ccc-dev/ccc/internal/session/sessiontest"
)

// life returns what a session was told.
func (w *world) life(s api.Session) guest.Life {
	w.Helper()
	text, err := os.ReadFile(guest.LifeFile(w.Core.Guest.Dir(s.ID)))
	w.must(err)
	l, err := guest.ParseLife(text)
	w.must(err)
	return l
}

// A session is told its life before it starts, and a restart never gives it more:
// not when its wall clock was set back, and not when the boot clock was.
func TestALifeIsNeverLonger(t *testing.T) {
	w := newWorld(t)
	up := 1000 * time.Hour
	w.Core.Guest.Boottime = func() time.Duration { return up }
	s := w.create("demo")
	if got, want := w.life(s), (guest.Life{Deadline: 1008 * time.Hour, Idle: time.Hour, Warn: 5 * time.Minute}); got != want {
		t.Fatalf("life %+v, want %+v", got, want)
	}
	restart := func() {
		t.Helper()
		_, err := w.Core.Restart(t.Context(), sessiontest.Caller(), api.StopRequest{Ref: "demo"})
		w.must(err)
	}
	up += 3 * time.Hour
	w.clock.advance(-365 * 24 * time.Hour)
	restart()
	if got := w.life(s).Deadline; got != 1008*time.Hour {
		t.Errorf("the clock was set back a year: ends at %v instead of 1008h", got)
	}
	// The wall clock says that less is left than the boot clock does.
	w.clock.advance(365*24*time.Hour + 5*time.Hour)
	restart()
	if got := w.life(s).Deadline; got != 1006*time.Hour {
		t.Errorf("three hours are left: ends at %v instead of 1006h", got)
	}
	// After a reboot the directory is empty and the clock begins anew.
	w.must(os.RemoveAll(w.Core.Guest.Dir(s.ID)))
	w.must(w.Core.Stop(t.Context(), sessiontest.Caller(), api.StopRequest{Ref: "demo"}))
	w.must(os.MkdirAll(w.Core.Guest.Dir(s.ID), 0o700))
	up = time.Minute
	_, err := w.Core.Start(t.Context(), sessiontest.Caller(), api.RefRequest{Ref: "demo"})
	w.must(err)
	if got := w.life(s).Deadline; got != 3*time.Hour+time.Minute {
		t.Errorf("after a reboot: ends at %v instead of 3h1m", got)
	}
}

// Every command begins as the file that the session was made with. One that was
// replaced on the host since is not run.
func TestAnotherInitIsNotRun(t *testing.T) {
	w := newWorld(t)
	w.create("demo")
	if _, _, _, err := w.exec(api.ExecRequest{Ref: "demo", Argv: []string{"true"}}); err != nil {
		t.Fatalf("with the right one: %v", err)
	}
	kept, err := filepath.Glob(filepath.Join(w.Core.Guest.Programs, "*"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("copies %q, %v", kept, err)
	}
	w.must(os.WriteFile(kept[0]+".new", []byte("#!/bin/evil"), 0o500)) //nolint:gosec // a program
	w.must(os.Rename(kept[0]+".new", kept[0]))
	_, _, _, err = w.exec(api.ExecRequest{Ref: "demo", Argv: []string{"true"}})
	w.refused(err, api.KindDenied, "init.changed")
	// Started again it would run the replaced one: the copy is made good first.
	_, err = w.Core.Restart(t.Context(), sessiontest.Caller(), api.StopRequest{Ref: "demo"})
	w.must(err)
	if content, err := os.ReadFile(kept[0]); err != nil || string(content) != "ccc-init" {
		t.Errorf("the copy is %q, %v", content, err)
	}
	w.paired()
}

// An upgrade does not change what a session runs below; without its copy it is
// not started.
func TestASessionKeepsItsInit(t *testing.T) {
	w := newWorld(t)
	s := w.create("demo")
	w.must(os.WriteFile(w.Init(), []byte("ccc-init, newer"), 0o700)) //nolint:gosec // a program
	w.create("later")
	kept, err := filepath.Glob(filepath.Join(w.Core.Guest.Programs, "*"))
	if err != nil || len(kept) != 2 {
		t.Fatalf("copies %q, %v", kept, err)
	}
	_, err = w.Core.Restart(t.Context(), sessiontest.Caller(), api.StopRequest{Ref: "demo"})
	w.must(err)
	done, err := w.Core.Prune(t.Context(), sessiontest.Caller(), api.PruneRequest{})
	if err != nil || len(done.Leftovers) > 0 {
		t.Errorf("pruned %+v, %v", done, err)
	}
	w.must(w.Core.Stop(t.Context(), sessiontest.Caller(), api.StopRequest{Ref: "demo"}))
	for _, k := range kept {
		w.must(os.Remove(k))
	}
	_, err = w.Core.Start(t.Context(), sessiontest.Caller(), api.RefRequest{Ref: "demo"})
	w.refused(err, api.KindUnavailable, "init.changed")
	if s, err = w.Core.Show(t.Context(), api.RefRequest{Ref: "demo"}); err != nil || s.Status != api.StatusStopped {
		t.Errorf("%+v, %v", s, err)
	}
}

// The copy of an older version goes with the last session that has it.
func TestPruneRemovesOldInits(t *testing.T) {
	w := newWorld(t)
	w.create("demo")
	w.must(os.WriteFile(w.Init(), []byte("ccc-init, newer"), 0o700)) //nolint:gosec // a program
	_, err := w.Core.Remove(t.Context(), sessiontest.Caller(), api.RemoveRequest{Refs: []api.Ref{"demo"}})
	w.must(err)
	w.create("later")
	done, err := w.Core.Prune(t.Context(), sessiontest.Caller(), api.PruneRequest{})
	if err != nil || len(done.Leftovers) != 1 || !strings.HasPrefix(done.Leftovers[0], "ccc-init ") {
		t.Errorf("pruned %+v, %v", done, err)
	}
	if kept, _ := filepath.Glob(filepath.Join(w.Core.Guest.Programs, "*")); len(kept) != 1 {
		t.Errorf("copies %q", kept)
	}
}

// Nothing is written before the record of it is, the copy of ccc-init neither.
func TestNoRecordNoCopy(t *testing.T) {
	w := newWorld(t)
	breakLog(w)
	if _, err := w.Core.Create(t.Context(), sessiontest.Caller(), w.request("demo")); err == nil {
		t.Error("made without a record")
	}
	if kept, err := os.ReadDir(w.Core.Guest.Programs); err == nil && len(kept) > 0 {
		t.Errorf("copies %v", kept)
	}
}

// What a killed writer has left goes too, once nobody can be writing it.
func TestPruneRemovesHalfACopy(t *testing.T) {
	w := newWorld(t)
	w.create("demo")
	half := filepath.Join(w.Core.Guest.Programs, strings.Repeat("a", 64)+".HALF")
	w.must(os.WriteFile(half, nil, 0o600))
	w.must(os.Chtimes(half, w.clock.now, w.clock.now))
	for _, age := range []time.Duration{0, 2 * time.Hour} {
		w.clock.advance(age)
		_, err := w.Core.Prune(t.Context(), sessiontest.Caller(), api.PruneRequest{})
		w.must(err)
		if _, err := os.Lstat(half); (err == nil) != (age == 0) {
			t.Errorf("after %v: %v", age, err)
		}
	}
}

// What is no ccc-init is not mounted into anything.
func TestNoInitNoSession(t *testing.T) {
	for name, c := range map[string]struct {
		change func(w *world) error
		rule   string
	}{
		"none":      {func(w *world) error { return os.Remove(w.Init()) }, "init.missing"},
		"empty":     {func(w *world) error { return os.Truncate(w.Init(), 0) }, ""},
		"too large": {func(w *world) error { return os.Truncate(w.Init(), 5<<20) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.must(c.change(w))
			_, err := w.Core.Create(t.Context(), sessiontest.Caller(), w.request("demo"))
			e, ok := errors.AsType[*api.Error](err)
			if err == nil || c.rule != "" && (!ok || e.Rule != c.rule || e.Hint == "") {
				t.Errorf("got %v", err)
			}
			w.nothing()
		})
	}
}

// The posture says what the kernel's Landlock is worth.
func TestLandlockInThePosture(t *testing.T) {
	for abi, want := range map[int]api.State{0: api.StateMissing, 1: api.StateMissing, 2: api.StateFallback, 4: api.StateFallback, 5: api.StateEnforced, 7: api.StateEnforced} {
		w := newWorld(t)
		w.Machine.ABI = abi
		for _, c := range w.create("demo").Posture {
			if c.Name == "landlock" && c.State != want {
				t.Errorf("ABI %d: %+v, want %s", abi, c, want)
			}
		}
	}
}

// The reason why a session's last run ended is shown.
func TestEnding(t *testing.T) {
	for _, c := range []struct {
		code int
		oom  bool
		want api.Ending
	}{
		{0, false, api.EndedStopped}, {123, false, api.EndedIdle}, {124, false, api.EndedLifetime}, {-1, false, api.EndedLifetime},
		{137, true, api.EndedMemory}, {137, false, api.EndedFailed}, {125, false, api.EndedFailed},
	} {
		w := newWorld(t)
		w.create("demo")
		w.must(w.Core.Stop(t.Context(), sessiontest.Caller(), api.StopRequest{Ref: "demo"}))
		w.Machine.Instance = func(i *engine.Instance) { i.ExitCode, i.OOMKilled = c.code, c.oom }
		if s, err := w.Core.Show(t.Context(), api.RefRequest{Ref: "demo"}); err != nil || s.Ended != c.want {
			t.Errorf("%d, %v: %q, %v, want %q", c.code, c.oom, s.Ended, err, c.want)
		}
	}
}
