package session_test

import (
	"context"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/audit"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/image"
	"github.com/ccc-dev/ccc/internal/kernel"
	"github.com/ccc-dev/ccc/internal/session/sessiontest"
)

// fewestSteps is how many calls of engine and kernel a creation makes at least,
// each counted before and after: a test that goes through all of them must not
// pass because it found none.
const fewestSteps = 12

// operations are what is interrupted at every step.
var operations = map[string]func(*world, context.Context) error{
	"create overlay": func(w *world, ctx context.Context) error {
		_, err := w.Core.Create(ctx, sessiontest.Caller(), w.request("demo"))
		return err
	},
	"create bind": func(w *world, ctx context.Context) error {
		req := w.request("demo")
		req.Workspace = api.WorkspaceBind
		_, err := w.Core.Create(ctx, sessiontest.Caller(), req)
		return err
	},
}

// steps returns the steps of an operation that nothing disturbs.
func steps(t *testing.T, do func(*world, context.Context) error) []string {
	t.Helper()
	w := newWorld(t)
	var all []string
	w.Machine.Step = func(step string) error {
		all = append(all, step)
		return nil
	}
	w.must(do(w, t.Context()))
	if len(all) < fewestSteps {
		t.Fatalf("only %d steps: %q", len(all), all)
	}
	return all
}

// atEach runs a test for each step of an operation, with a world in which the
// hook is called when that step is reached, and the steps after it.
func atEach(t *testing.T, do func(*world, context.Context) error, test func(w *world, arm func(func(first bool) error))) {
	t.Helper()
	for n, name := range steps(t, do) {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			seen := 0
			test(w, func(hook func(first bool) error) {
				w.Machine.Step = func(string) error {
					seen++
					if seen <= n {
						return nil
					}
					return hook(seen == n+1)
				}
			})
			w.Machine.Step = nil
			if seen <= n {
				t.Fatalf("step %d was never reached", n)
			}
		})
	}
}

// A creation that fails at any step leaves nothing.
func TestCreateUndoesAfterEveryFault(t *testing.T) {
	for name, do := range operations {
		t.Run(name, func(t *testing.T) {
			atEach(t, do, func(w *world, arm func(func(bool) error)) {
				arm(func(first bool) error {
					if first {
						return errFault
					}
					return nil
				})
				if err := do(w, w.Context()); err == nil {
					w.Error("no error")
				}
				w.nothing()
				w.paired()
				// The fault was the engine's, and passed: the same request works.
				w.must(do(w, w.Context()))
			})
		})
	}
}

// An engine that fails for good cannot be made to clean up either. What is left
// then is found and removed by the next command, once it works again.
func TestCreateIsUndoneLaterIfItCannotBeNow(t *testing.T) {
	for name, do := range operations {
		t.Run(name, func(t *testing.T) {
			atEach(t, do, func(w *world, arm func(func(bool) error)) {
				arm(func(bool) error { return errFault })
				if err := do(w, w.Context()); err == nil {
					w.Error("no error")
				}
				w.Machine.Step = nil
				if _, err := w.Core.List(w.Context()); err != nil {
					w.Error(err)
				}
				w.nothing()
				w.must(do(w, w.Context()))
			})
		})
	}
}

// What one session has left and cannot be removed is no reason to refuse the
// others. It is recorded each time, prune tells of it, and it goes once it can.
func TestLeftoversDoNotBlockOtherSessions(t *testing.T) {
	w := newWorld(t)
	w.create("other")
	s := w.create("demo")
	img, err := w.Machine.Image(t.Context(), image.DefaultName)
	w.must(err)
	user := forgedContainer(img.ID, nil)
	user.Homes = []engine.Home{{Volume: "ccc-" + string(s.ID) + "-home", Target: "/mnt"}}
	_, err = w.Machine.CreateContainer(t.Context(), user)
	w.must(err)
	if _, err := w.Core.Remove(t.Context(), sessiontest.Caller(), api.RemoveRequest{Refs: []api.Ref{"demo"}}); api.KindOf(err) != api.KindConflict {
		t.Errorf("removed although its volume is in use: %v", err)
	}
	if all, err := w.Core.List(t.Context()); err != nil || len(all) != 1 {
		t.Errorf("list: %+v, %v", all, err)
	}
	if r := w.last("session.reclaim"); r.Result != audit.ResultError || r.Session.ID != s.ID {
		t.Errorf("record %+v", r)
	}
	if _, _, _, err := w.exec(api.ExecRequest{Ref: "other", Argv: []string{"true"}}); err != nil {
		t.Errorf("exec: %v", err)
	}
	w.create("third")
	if _, err := w.Core.Prune(t.Context(), sessiontest.Caller(), api.PruneRequest{}); api.KindOf(err) != api.KindConflict {
		t.Errorf("prune does not tell: %v", err)
	}
	w.must(w.Machine.RemoveContainer(t.Context(), user.Name))
	if _, err := w.Core.Prune(t.Context(), sessiontest.Caller(), api.PruneRequest{}); err != nil {
		t.Error(err)
	}
	w.must(removeAll(w))
	w.nothing()
	w.paired()
}

// An engine goes on with a creation whose client was killed. What it makes after
// the next command has begun is found by that command all the same.
func TestReclaimWaitsForTheEngine(t *testing.T) {
	for _, settle := range []time.Duration{0, 10 * time.Second} {
		w := newWorld(t)
		w.Core.Clock, w.Core.Settle = time.Now, settle
		img, err := w.Machine.Image(t.Context(), image.DefaultName)
		w.must(err)
		intent, err := w.Core.Intents.Begin("0123456789ab", "demo")
		w.must(err)
		w.must(intent.Asks(time.Now()))
		w.must(intent.Abandon())
		looks, made := 0, false
		w.Machine.Step = func(step string) error {
			if step == "Container.before" {
				looks++
			}
			// Asked for in vain a few times, it is there.
			if looks == 3 && !made {
				made = true
				late := forgedContainer(img.ID, labels("demo", "0123456789ab", ""))
				late.Name = "ccc-demo"
				_, err := w.Machine.Engine.CreateContainer(t.Context(), late)
				return err
			}
			return nil
		}
		_, err = w.Core.List(t.Context())
		w.must(err)
		w.Machine.Step = nil
		if settle == 0 {
			// Nobody waited: the container would have come after the command.
			if made {
				t.Errorf("%d looks", looks)
			}
			continue
		}
		if !made {
			t.Errorf("the container was asked for %d times only", looks)
		}
		w.nothing()
	}
	// One that was killed before it asked, or long ago, is not waited for.
	w := newWorld(t)
	w.Core.Clock, w.Core.Settle = time.Now, time.Hour
	for id, asked := range map[api.ID]time.Time{"0123456789ab": {}, "ba9876543210": time.Now().Add(-2 * time.Hour)} {
		intent, err := w.Core.Intents.Begin(id, "demo")
		w.must(err)
		if !asked.IsZero() {
			w.must(intent.Asks(asked))
		}
		w.must(intent.Abandon())
	}
	_, err := w.Core.List(t.Context())
	w.must(err)
	w.nothing()
}

// A caller that goes away at any step leaves nothing, unless the session was
// made before that was noticed.
func TestCreateUndoesAfterEveryCancel(t *testing.T) {
	for name, do := range operations {
		t.Run(name, func(t *testing.T) {
			interrupted := 0
			atEach(t, do, func(w *world, arm func(func(bool) error)) {
				ctx, cancel := context.WithCancel(w.Context())
				defer cancel()
				arm(func(bool) error {
					cancel()
					return nil
				})
				err := do(w, ctx)
				w.paired()
				if err == nil {
					w.must(removeAll(w))
					w.nothing()
					return
				}
				interrupted++
				if api.KindOf(err) != api.KindInterrupted {
					w.Errorf("error of kind %v: %v", api.KindOf(err), err)
				}
				w.nothing()
			})
			if interrupted < fewestSteps/2 {
				t.Errorf("only %d creations were interrupted", interrupted)
			}
		})
	}
}

// A failed start of a session that has run before must not lose its files.
func TestStartKeepsTheSessionAfterEveryFault(t *testing.T) {
	all := 0
	for n := 0; ; n++ {
		w := newWorld(t)
		s := w.create("demo")
		w.must(w.Core.Stop(t.Context(), sessiontest.Caller(), api.StopRequest{Ref: "demo"}))
		seen := 0
		w.Machine.Step = func(string) error {
			if seen++; seen == n+1 {
				return errFault
			}
			return nil
		}
		_, err := w.Core.Start(t.Context(), sessiontest.Caller(), api.RefRequest{Ref: "demo"})
		w.Machine.Step = nil
		if seen <= n {
			w.must(err)
			break
		}
		all++
		if err == nil {
			t.Errorf("step %d: no error", n)
		}
		got, err := w.Core.Show(t.Context(), api.RefRequest{Ref: "demo"})
		if err != nil || got.ID != s.ID || got.Status != api.StatusStopped {
			t.Errorf("step %d: %+v, %v", n, got, err)
		}
	}
	if all < 8 {
		t.Errorf("only %d steps", all)
	}
}

// lies are what the kernel or the OCI configuration may say of a container that
// is not what was asked for. Each must end the session.
var lies = map[string]struct {
	facts    func(*kernel.Facts)
	instance func(*engine.Instance)
	// names is what the error must name.
	names string
}{
	"new privileges":        {facts: func(f *kernel.Facts) { f.NoNewPrivs = false }, names: "NoNewPrivs"},
	"a bounding capability": {facts: func(f *kernel.Facts) { f.CapBounding = 1 << 21 }, names: "CapBnd"},
	"an effective one":      {facts: func(f *kernel.Facts) { f.CapEffective = 1 }, names: "CapEff"},
	"no seccomp":            {facts: func(f *kernel.Facts) { f.Seccomp = 0 }, names: "Seccomp"},
	"strict seccomp":        {facts: func(f *kernel.Facts) { f.Seccomp = 1 }, names: "Seccomp"},
	"root outside":          {facts: func(f *kernel.Facts) { f.UID = 0 }, names: "Uid"},
	"the host's users":      {facts: func(f *kernel.Facts) { f.UserNamespace = false }, names: "user namespace"},
	"a network interface":   {facts: func(f *kernel.Facts) { f.NetworkInterfaces = []string{"tap0"} }, names: "network"},
	"a writable root":       {facts: func(f *kernel.Facts) { f.Mounts[0].Options = []string{"rw"} }, names: "root mount"},
	"no root mount":         {facts: func(f *kernel.Facts) { f.Mounts = f.Mounts[1:] }, names: "root mount"},
	"a second root mount": {facts: func(f *kernel.Facts) {
		f.Mounts = append(f.Mounts, kernel.Mount{Point: "/", Type: "tmpfs", Options: []string{"rw"}})
	}, names: "root mount"},
	"no workspace": {facts: func(f *kernel.Facts) { f.Mounts = without(f.Mounts, "/workspace") }, names: "workspace"},
	"another lower directory": {facts: func(f *kernel.Facts) {
		at(f.Mounts, "/workspace").SuperOptions = []string{"lowerdir=/etc"}
	}, names: "workspace"},
	"a bind for an overlay": {facts: func(f *kernel.Facts) { at(f.Mounts, "/workspace").Type = "ext4" }, names: "workspace"},
	"a mount on top of the workspace": {facts: func(f *kernel.Facts) {
		f.Mounts = append(f.Mounts, kernel.Mount{Point: "/workspace", Type: "ext4"})
	}, names: "workspace"},
	"another first process":               {facts: func(f *kernel.Facts) { at(f.Mounts, "/.ccc/init").Ino++ }, names: "mount /.ccc/init"},
	"a first process that can be written": {facts: func(f *kernel.Facts) { at(f.Mounts, "/.ccc/init").Options = []string{"rw"} }, names: "mount /.ccc/init"},
	"no first process":                    {facts: func(f *kernel.Facts) { f.Mounts = without(f.Mounts, "/.ccc/init") }, names: "mount /.ccc/init"},
	"the life of another":                 {facts: func(f *kernel.Facts) { at(f.Mounts, "/.ccc/session").Ino++ }, names: "mount /.ccc/session"},
	"a life of its own":                   {facts: func(f *kernel.Facts) { at(f.Mounts, "/.ccc/session").Options = []string{"rw"} }, names: "mount /.ccc/session"},
	"no limit of processes":               {facts: func(f *kernel.Facts) { f.Processes = nil }, names: "Max processes"},
	"more processes":                      {facts: func(f *kernel.Facts) { *f.Processes++ }, names: "Max processes"},
	"another file mounted":                {facts: func(f *kernel.Facts) { at(f.Mounts, "/data").Ino++ }, names: "mount /data"},
	"another device":                      {facts: func(f *kernel.Facts) { at(f.Mounts, "/data").Dev++ }, names: "mount /data"},
	"no configuration":                    {instance: func(i *engine.Instance) { i.Spec = nil }, names: "configuration"},
	"another filter": {instance: func(i *engine.Instance) {
		i.Spec.Linux.Seccomp.Syscalls = append(i.Spec.Linux.Seccomp.Syscalls, specs.LinuxSyscall{Names: []string{"unshare"}, Action: specs.ActAllow})
	}, names: "unshare"},
	"a filter of names only": {instance: func(i *engine.Instance) { i.Spec.Linux.Seccomp.DefaultAction = specs.ActLog }, names: "seccomp"},
	"new privileges asked":   {instance: func(i *engine.Instance) { i.Spec.Process.NoNewPrivileges = false }, names: "no-new-privileges"},
	"a writable root asked": {instance: func(i *engine.Instance) {
		i.Spec.Root.Readonly = false
	}, names: "root"},
	"a variable of the host": {instance: func(i *engine.Instance) {
		i.Spec.Process.Env = append(i.Spec.Process.Env, "AWS_SECRET_ACCESS_KEY=canary-value")
	}, names: "AWS_SECRET_ACCESS_KEY"},
}

func without(mounts []kernel.Mount, point string) []kernel.Mount {
	var kept []kernel.Mount
	for _, m := range mounts {
		if m.Point != point {
			kept = append(kept, m)
		}
	}
	return kept
}

func at(mounts []kernel.Mount, point string) *kernel.Mount {
	for i := range mounts {
		if mounts[i].Point == point {
			return &mounts[i]
		}
	}
	return &kernel.Mount{}
}
