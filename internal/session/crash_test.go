package session_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/audit"
	"github.com/ccc-dev/ccc/internal/session/sessiontest"
)

// childVar makes the test binary play one of the parts in children instead of
// running the tests; its value is the part, the world's directory and the step
// at which the process kills itself.
const childVar = "CCC_TEST_SESSION_CHILD"

// parts are what a process is killed in.
var parts = map[string]func(context.Context, *sessiontest.World) error{
	"create": func(ctx context.Context, w *sessiontest.World) error {
		_, err := w.Core.Create(ctx, sessiontest.Caller(), api.CreateRequest{Project: w.Project, Name: "demo"})
		return err
	},
	"bind": func(ctx context.Context, w *sessiontest.World) error {
		_, err := w.Core.Create(ctx, sessiontest.Caller(), api.CreateRequest{Project: w.Project, Name: "demo", Workspace: api.WorkspaceBind})
		return err
	},
	"remove": func(ctx context.Context, w *sessiontest.World) error {
		_, err := w.Core.Remove(ctx, sessiontest.Caller(), api.RemoveRequest{Refs: []api.Ref{"demo"}})
		return err
	},
	"prune": func(ctx context.Context, w *sessiontest.World) error {
		_, err := w.Core.Prune(ctx, sessiontest.Caller(), api.PruneRequest{OlderThan: 1})
		return err
	},
	"list": func(ctx context.Context, w *sessiontest.World) error {
		_, err := w.Core.List(ctx)
		return err
	},
}

// child plays a part: PART DIR STEP. It prints how many steps it took.
func child(args []string) error {
	step, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	count, armed := 0, false
	tick := func() {
		if !armed {
			return
		}
		if count++; count == step {
			// Not os.Exit: nothing may be told or tidied.
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	// The clock is read between the steps of engine and kernel too, by the log
	// before each record and by the core once the directories are there.
	ctx := context.Background()
	w, err := sessiontest.Open(ctx, args[1], func() time.Time {
		tick()
		return time.Now()
	})
	if err != nil {
		return err
	}
	w.Machine.Step = func(string) error {
		tick()
		return nil
	}
	random := w.Core.Random
	w.Core.Random = func(n int) string {
		tick()
		return random(n)
	}
	// A tracer takes this as the sign to begin.
	if err := os.Chdir("/"); err != nil {
		return err
	}
	armed = true
	if err := parts[args[0]](ctx, w); err != nil {
		return err
	}
	fmt.Println(count)
	return nil
}

// command returns the command that plays a part.
func command(t *testing.T, part, dir string, step int) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d", childVar, part, dir, step))
	return cmd
}

// play plays a part and returns what it printed, and whether it was killed.
func play(t *testing.T, part, dir string, step int) (printed string, killed bool) {
	t.Helper()
	cmd := command(t, part, dir, step)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if exited, ok := errors.AsType[*exec.ExitError](err); ok {
		if status, ok := exited.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGKILL {
			return string(out), true
		}
	}
	if err != nil {
		t.Fatalf("%s: %v\n%s", part, err, &errs)
	}
	return string(out), false
}

// prepare makes what a part works on: for a removal a session that has stopped.
func prepare(t *testing.T, part, dir string) {
	t.Helper()
	if part != "remove" && part != "prune" {
		return
	}
	w, err := sessiontest.Open(t.Context(), dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Core.Create(t.Context(), sessiontest.Caller(), api.CreateRequest{Project: w.Project, Name: "demo"})
	err = errors.Join(err, w.Core.Stop(t.Context(), sessiontest.Caller(), api.StopRequest{Ref: "demo"}), w.Close())
	if err != nil {
		t.Fatal(err)
	}
}

// mended checks that the next command finds and removes what a killed process
// has left half made, and that the log tells of it.
func mended(t *testing.T, part, dir string) {
	t.Helper()
	w := sessiontest.Places(dir)
	half, err := w.Left()
	if err != nil {
		t.Fatal(err)
	}
	play(t, "list", dir, math.MaxInt)
	left, err := w.Left()
	if err != nil {
		t.Fatal(err)
	}
	// A removal that had not begun leaves the session whole, and nothing else.
	if whole := len(left) == 4 && part != "create" && part != "bind"; whole {
		play(t, "remove", dir, math.MaxInt)
		if left, err = w.Left(); err != nil {
			t.Fatal(err)
		}
	}
	if len(left) > 0 {
		t.Errorf("left half made: %q, after the next command: %q", half, left)
	}
	records, err := w.Records(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ended, reclaimed := map[string]bool{}, false
	for _, r := range records {
		ended[r.Op] = ended[r.Op] || r.Phase == audit.PhaseEnd
		reclaimed = reclaimed || r.Action == "session.reclaim" && r.Result == audit.ResultOK
	}
	for _, r := range records {
		if !ended[r.Op] && r.Action != "session."+part && r.Action != "session.create" && r.Action != part {
			t.Errorf("an act of the command after has no end: %+v", r)
		}
	}
	intent := false
	for _, l := range half {
		intent = intent || strings.HasPrefix(l, "making/")
	}
	if intent != reclaimed {
		t.Errorf("left half made: %q; recorded as reclaimed: %v", half, reclaimed)
	}
}

// A process that is killed at any step leaves nothing that the next command does
// not find.
func TestKilledAtEveryStep(t *testing.T) {
	for _, part := range []string{"create", "remove", "prune"} {
		t.Run(part, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			prepare(t, part, dir)
			printed, killed := play(t, part, dir, math.MaxInt)
			count, err := strconv.Atoi(strings.TrimSpace(printed))
			if err != nil || killed || count <= 10 {
				t.Fatalf("an undisturbed %s took %q steps, %v", part, printed, err)
			}
			t.Logf("%d steps", count)
			for step := 1; step <= count; step++ {
				dir := t.TempDir()
				prepare(t, part, dir)
				if _, killed := play(t, part, dir, step); !killed {
					t.Fatalf("step %d of %d was not reached", step, count)
				}
				mended(t, part, dir)
			}
		})
	}
}

// Without the intent nobody would know of a creation that was cut short: what
// the next command relies on is nothing that it could have guessed.
func TestKilledWithoutAnIntentIsNotFound(t *testing.T) {
	dir := t.TempDir()
	printed, _ := play(t, "create", dir, math.MaxInt)
	count, err := strconv.Atoi(strings.TrimSpace(printed))
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	// The last step reads the clock for the record of the end.
	if _, killed := play(t, "create", dir, count); !killed {
		t.Fatal("not killed")
	}
	w := sessiontest.Places(dir)
	if err := os.RemoveAll(w.Runtime); err != nil {
		t.Fatal(err)
	}
	play(t, "list", dir, math.MaxInt)
	if left, err := w.Left(); err != nil || len(left) == 0 {
		t.Errorf("left %q, %v: the kill left nothing, so that the other tests prove nothing", left, err)
	}
}
