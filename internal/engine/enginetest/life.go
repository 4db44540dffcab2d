package enginetest

import (
	"context"
	"errors"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
)

func lifeCases() []testCase {
	return []testCase{
		{"start runs the container", func(r *rig) {
			id := r.start()
			if i := r.inspect(id); i.State != engine.InstanceRunning || i.Started.IsZero() {
				r.Errorf("%+v", i)
			}
			r.must(r.e.StartContainer(r.Context(), id))
		}},
		{"start of nothing is not found", func(r *rig) {
			r.wantKind(r.e.StartContainer(r.Context(), unique()), api.KindNotFound)
		}},
		{"stop ends it by SIGTERM and can be repeated", func(r *rig) {
			id := r.ready()
			r.must(r.e.StopContainer(r.Context(), id, 20*time.Second))
			if i := r.inspect(id); i.State != engine.InstanceExited || i.ExitCode != 128+15 {
				r.Errorf("%s with %d", i.State, i.ExitCode)
			}
			r.must(r.e.StopContainer(r.Context(), id, time.Second))
			r.must(r.e.StartContainer(r.Context(), id))
			if i := r.inspect(id); i.State != engine.InstanceRunning {
				r.Errorf("%s after another start", i.State)
			}
		}},
		{"stop ends what ignores SIGTERM by SIGKILL", func(r *rig) {
			id := r.start("sh", "-c", `trap "" TERM; echo ready; sleep infinity`)
			r.eventually("ready", func() bool { out, _ := r.logs(id, engine.LogOptions{}); return out == "ready\n" })
			r.must(r.e.StopContainer(r.Context(), id, time.Second))
			if i := r.inspect(id); i.State != engine.InstanceExited || i.ExitCode != 128+9 {
				r.Errorf("%s with %d", i.State, i.ExitCode)
			}
		}},
		{"stop of what never ran is no error", func(r *rig) {
			id := r.create(r.wanted())
			r.must(r.e.StopContainer(r.Context(), id, time.Second))
			if i := r.inspect(id); i.State != engine.InstanceCreated {
				r.Errorf("%s", i.State)
			}
		}},
		{"stop of nothing is not found", func(r *rig) {
			r.wantKind(r.e.StopContainer(r.Context(), unique(), time.Second), api.KindNotFound)
		}},
		{"remove ends and removes and can be repeated", func(r *rig) {
			c := r.wanted()
			id := r.create(c)
			r.must(r.e.StartContainer(r.Context(), id))
			r.must(r.e.RemoveContainer(r.Context(), id))
			r.gone(id)
			r.gone(c.Name)
			r.must(r.e.RemoveContainer(r.Context(), id))
			r.must(r.e.RemoveContainer(r.Context(), c.Name))
		}},
		{"wait returns the exit code", func(r *rig) {
			id := r.start("sh", "-c", "exit 3")
			for range 2 {
				if code, err := r.e.WaitContainer(r.Context(), id); err != nil || code != 3 {
					r.Errorf("%d, %v", code, err)
				}
			}
			if i := r.inspect(id); i.State != engine.InstanceExited || i.ExitCode != 3 || i.OOMKilled {
				r.Errorf("%+v", i)
			}
		}},
		{"wait ends with the container", func(r *rig) {
			id := r.ready()
			type result struct {
				code int
				err  error
			}
			done := make(chan result, 1)
			go func() {
				code, err := r.e.WaitContainer(r.Context(), id)
				done <- result{code, err}
			}()
			r.must(r.e.StopContainer(r.Context(), id, 20*time.Second))
			if got := <-done; got.err != nil || got.code != 128+15 {
				r.Errorf("%+v", got)
			}
		}},
		{"wait ends with its context", func(r *rig) {
			id := r.start()
			ctx, cancel := context.WithTimeout(r.Context(), 100*time.Millisecond)
			defer cancel()
			_, err := r.e.WaitContainer(ctx, id)
			if !errors.Is(err, context.DeadlineExceeded) {
				r.Errorf("%v", err)
			}
		}},
		{"wait for nothing is not found", func(r *rig) {
			_, err := r.e.WaitContainer(r.Context(), unique())
			r.wantKind(err, api.KindNotFound)
		}},
		{"a container ends when its time is up", func(r *rig) {
			c := r.wanted()
			c.Timeout = time.Second
			id := r.create(c)
			r.must(r.e.StartContainer(r.Context(), id))
			_, err := r.e.WaitContainer(r.Context(), id)
			r.must(err)
			if i := r.inspect(id); i.State != engine.InstanceExited || i.ExitCode == 0 {
				r.Errorf("%s with %d", i.State, i.ExitCode)
			}
		}},
		{"a first process that is not there ends the container", func(r *rig) {
			for _, command := range []string{"no-such-command", "/no/such/command", "/etc/passwd"} {
				id := r.start(command)
				if code, err := r.e.WaitContainer(r.Context(), id); err != nil || code == 0 {
					r.Errorf("%s: %d, %v", command, code, err)
				}
				if _, errs := r.logs(id, engine.LogOptions{}); errs == "" {
					r.Errorf("%s: nobody said why", command)
				}
			}
		}},
		{"a working directory that is not there is an error of start", func(r *rig) {
			c := r.wanted()
			c.Dir = "/missing"
			id := r.create(c)
			if err := r.e.StartContainer(r.Context(), id); err == nil {
				r.Error("it was started")
			}
			if i := r.inspect(id); i.State == engine.InstanceRunning {
				r.Errorf("%s", i.State)
			}
		}},
		{"an overlay of what is not there does not run", func(r *rig) {
			c := r.wanted()
			dir := r.TempDir()
			c.Overlays = []engine.Overlay{{Lower: dir + "/lower", Upper: dir + "/upper", Work: dir + "/work", Target: "/mnt"}}
			r.cleanup(func(ctx context.Context) error { return r.e.RemoveContainer(ctx, c.Name) })
			id, err := r.e.CreateContainer(r.Context(), c)
			if err == nil {
				err = r.e.StartContainer(r.Context(), id)
			}
			if err == nil {
				r.Error("it was started")
			}
		}},
		{"the configuration outlives the run", func(r *rig) {
			id := r.start("true")
			_, err := r.e.WaitContainer(r.Context(), id)
			r.must(err)
			if r.inspect(id).Spec == nil {
				r.Error("there is no configuration of the last run")
			}
		}},
		{"an ended context is seen before anything is done", func(r *rig) {
			ctx, cancel := context.WithCancel(r.Context())
			cancel()
			c := r.wanted()
			_, err := r.e.CreateContainer(ctx, c)
			r.wantKind(err, api.KindInterrupted)
			if !errors.Is(err, context.Canceled) {
				r.Errorf("%v does not wrap the context's error", err)
			}
			r.gone(c.Name)
		}},
	}
}
