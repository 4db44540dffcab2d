package session_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/audit"
	"github.com/ccc-dev/ccc/internal/session/sessiontest"
)

func TestMain(m *testing.M) {
	if code, ran := sessiontest.AsUser(); ran {
		os.Exit(code)
	}
	if part := os.Getenv(childVar); part != "" {
		if err := child(strings.Fields(part)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// clock is a clock that a test sets.
type clock struct{ now time.Time }

func (c *clock) read() time.Time         { return c.now }
func (c *clock) advance(d time.Duration) { c.now = c.now.Add(d) }

// world is a world of the test's own.
type world struct {
	*testing.T
	*sessiontest.World
	clock *clock
}

func newWorld(t *testing.T) *world {
	t.Helper()
	c := &clock{time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}
	w, err := sessiontest.Open(t.Context(), t.TempDir(), c.read)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return &world{t, w, c}
}

// request is the plainest request there is.
func (w *world) request(name api.Name) api.CreateRequest {
	return api.CreateRequest{Project: w.Project, Name: name}
}

// create makes a session that must succeed.
func (w *world) create(name api.Name) api.Session {
	w.Helper()
	s, err := w.Core.Create(w.Context(), sessiontest.Caller(), w.request(name))
	w.must(err)
	return s
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// refused fails the test unless err has the kind and the rule, and a hint.
func (w *world) refused(err error, kind api.Kind, rule string) {
	w.Helper()
	if err == nil {
		w.Fatalf("no error, want one of kind %v by rule %q", kind, rule)
	}
	e, ok := errors.AsType[*api.Error](err)
	if !ok || e.Kind != kind || e.Rule != rule {
		w.Fatalf("got %+v (%v), want kind %v by rule %q", e, err, kind, rule)
	}
	if e.Hint == "" {
		w.Errorf("the error has no hint: %v", err)
	}
}

// nothing fails the test if anything of a session is left.
func (w *world) nothing() {
	w.Helper()
	left, err := w.Left()
	w.must(err)
	if len(left) > 0 {
		w.Errorf("left: %q", left)
	}
}

// records returns the audit log's records; the log must be whole.
func (w *world) records() []audit.Record {
	w.Helper()
	all, err := w.Records(context.Background())
	w.must(err)
	return all
}

// last returns the last record, which must be of the action.
func (w *world) last(action string) audit.Record {
	w.Helper()
	all := w.records()
	if len(all) == 0 || all[len(all)-1].Action != action {
		w.Fatalf("the last record is not one of %s: %+v", action, all)
	}
	return all[len(all)-1]
}

// paired fails the test unless every begin has its end.
func (w *world) paired() {
	w.Helper()
	open := map[string]string{}
	for _, r := range w.records() {
		switch {
		case r.Phase == audit.PhaseBegin:
			open[r.Op] = r.Action
		case r.Phase == audit.PhaseEnd && r.Decision != audit.Deny:
			delete(open, r.Op)
		}
	}
	if len(open) > 0 {
		w.Errorf("acts without an end: %q", slices.Sorted(maps.Values(open)))
	}
}

// unchanged returns a function that fails the test if the world is not as it was.
func (w *world) unchanged() func() {
	w.Helper()
	before, err := w.Snapshot()
	w.must(err)
	return func() {
		w.Helper()
		after, err := w.Snapshot()
		w.must(err)
		if d := cmp.Diff(before, after); d != "" {
			w.Errorf("something was changed (-before +after):\n%s", d)
		}
	}
}
