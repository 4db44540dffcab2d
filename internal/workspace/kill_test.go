package workspace_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/workspace"
)

// victimVar tells the test binary to be a process that is killed at a step.
const victimVar = "CCC_TEST_VICTIM"

// part is what such a process does.
type part struct {
	Project, Upper, Root string
	Since                time.Time
	Undo                 bool
	// Step is the number of the step at which it kills itself; none if zero.
	Step int
}

// victim does its part until it is killed.
func victim(text string) int {
	var p part
	err := json.Unmarshal([]byte(text), &p)
	n := 0
	l := workspace.Ledger{Root: p.Root, Step: func(string) {
		if n++; n == p.Step {
			_ = unix.Kill(os.Getpid(), unix.SIGKILL)
			select {}
		}
	}}
	const id = "0123456789ab"
	project, resolveErr := workspace.Resolve("project", p.Project, "/")
	if err = errors.Join(err, resolveErr); err == nil && p.Undo {
		_, _, err = l.Undo(context.Background(), id, project, false)
	} else if err == nil {
		layer := workspace.Layer{Project: project, Upper: p.Upper, Since: p.Since, Bounds: workspace.DefaultBounds()}
		if layer.Known, err = l.Known(id); err == nil {
			var changes []api.Change
			if changes, err = layer.Scan(context.Background()); err == nil {
				err = l.Apply(context.Background(), id, layer, changes)
			}
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// killed runs a part in a process of its own and tells whether it was killed.
func (s *scene) killed(p part) bool {
	s.Helper()
	p.Project, p.Upper, p.Root, p.Since = s.project, s.upper, s.ledger.Root, s.layer.Since
	text, err := json.Marshal(p)
	must(s.T, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victimVar+"="+string(text))
	out, err := cmd.CombinedOutput()
	if err == nil {
		return false
	}
	exited, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exited.ExitCode() >= 0 {
		s.Fatalf("step %d: %v: %s", p.Step, err, out)
	}
	return true
}

// recover does what the next command does first.
func (s *scene) recover() {
	s.Helper()
	cut, err := s.ledger.CutShort()
	must(s.T, err)
	for _, id := range cut {
		strange, err := s.ledger.Recover(s.Context(), id)
		if err != nil || len(strange) > 0 {
			s.Fatalf("recovered: %v, left %q", err, strange)
		}
	}
	if cut, err = s.ledger.CutShort(); err != nil || len(cut) > 0 {
		s.Fatalf("still cut short: %v, %v", cut, err)
	}
}

// At whatever step an apply or an undo is killed, the next command finds the
// project as it was before or as it is after, nothing left over, and can go on.
func TestKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	steps := 0
	for seed := range uint64(3) {
		s, lower, view := random(t, 30_000+seed)
		// Where there is something to undo that must survive.
		s.take(api.ApplyRequest{All: true})
		s.undo()
		changes := s.scan()
		for _, undo := range []bool{false, true} {
			before, after := lower, view
			if undo {
				before, after = view, lower
			}
			for step := 1; ; step++ {
				if undo {
					s.take(api.ApplyRequest{All: true})
				}
				s.holds(before, fmt.Sprintf("seed %d, undo %v, before step %d", seed, undo, step))
				dead := s.killed(part{Undo: undo, Step: step})
				s.recover()
				now := read(t, s.project)
				if cmp.Equal(now, before) == cmp.Equal(now, after) {
					t.Fatalf("seed %d, undo %v, killed at step %d: neither before nor after:\n%s", seed, undo, step, cmp.Diff(before, now))
				}
				if cmp.Equal(now, view) {
					s.undo()
				}
				s.holds(lower, "undone")
				if diff := cmp.Diff(changes, s.scan()); diff != "" {
					t.Fatalf("seed %d, undo %v, killed at step %d: the layer tells something else:\n%s", seed, undo, step, diff)
				}
				if !dead {
					break
				}
				steps++
			}
		}
	}
	if steps < 100 {
		t.Errorf("only %d kills", steps)
	}
}

// What the host writes into a file while an apply that was killed lies half done
// stays.
func TestHostEditsBetweenKillAndRecovery(t *testing.T) {
	t.Parallel()
	kept := 0
	for seed := range uint64(2) {
		s, _, view := random(t, 40_000+seed)
		for step := 1; s.killed(part{Step: step}); step++ {
			var wrote string
			for p, n := range read(t, s.project) {
				if n.Kind == api.FileRegular && view[p].Kind == api.FileRegular && filepath.Base(p)[0] != '.' {
					wrote = p
				}
			}
			file := filepath.Join(s.project, wrote)
			if wrote != "" {
				must(t, os.Remove(file))
				must(t, os.WriteFile(file, []byte("the host's"), 0o600))
			}
			cut, err := s.ledger.CutShort()
			must(t, err)
			for _, id := range cut {
				_, err := s.ledger.Recover(t.Context(), id)
				must(t, err)
			}
			if wrote != "" {
				if data, err := os.ReadFile(file); err != nil || string(data) != "the host's" {
					t.Fatalf("seed %d, step %d: the host's %s is %q, %v", seed, step, wrote, data, err)
				}
				kept++
			}
			again, _, _ := random(t, 40_000+seed)
			s = again
		}
	}
	if kept < 10 {
		t.Errorf("only %d edits", kept)
	}
}
