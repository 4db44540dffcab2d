package session_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/session/sessiontest"
)

// ownLevel writes a level of the user's own that names a filter of the user's
// own, and makes the core look there.
func (w *world) ownLevel(filter string) {
	w.Helper()
	level := "limits: {memory: 1g, cpus: '1', pids: '9', nofile: '99', tmp: 1m, ttl: 1h, idle: 1h}\nworkspaces: [overlay]\nseccomp: mine\n"
	for file, text := range map[string]string{"profiles/own.yaml": level, "seccomp/mine.yaml": filter} {
		file = filepath.Join(w.Home, file)
		w.must(errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600)))
	}
	own := w.Core.Levels[0]
	own.FS, own.Dir = os.DirFS(w.Home), "profiles"
	w.Core.Levels = append(w.Core.Levels, own)
}

// A session of a level with a filter of the user's own gets that filter, is held
// to it, and keeps it when the file is gone. What may not be added makes none.
func TestSessionsWithAFilterOfTheUsersOwn(t *testing.T) {
	w := newWorld(t)
	req := w.request("demo")
	req.Level = "own"
	for filter, want := range map[string]api.Kind{
		"allow: [{call: unshare, reason: please}]\n":      api.KindDenied,
		"base: debug\nallow: [{call: bpf, reason: x}]\n":  api.KindDenied,
		"base: stock\nallow: [{call: mbind, reason: x}]":  api.KindNotFound,
		"defaultAction: SCMP_ACT_ALLOW\n":                 api.KindInvalid,
		"allow: [{call: mbind, reason: x}]\nbase: mine\n": api.KindNotFound,
	} {
		w.ownLevel(filter)
		_, err := w.Core.Create(t.Context(), sessiontest.Caller(), req)
		if api.KindOf(err) != want || !strings.Contains(err.Error(), "mine.yaml") {
			t.Errorf("%q: %v", filter, err)
		}
		w.nothing()
	}
	w.ownLevel("allow: [{call: mbind, reason: numactl}]\n")
	s, err := w.Core.Create(t.Context(), sessiontest.Caller(), req)
	w.must(err)
	if c := control(s.Posture, "seccomp"); c.State != api.StateEnforced || !strings.Contains(c.Detail, "agent and mbind") {
		t.Errorf("%+v", c)
	}
	w.must(os.RemoveAll(filepath.Join(w.Home, "seccomp")))
	w.must(w.Core.Stop(t.Context(), sessiontest.Caller(), api.StopRequest{Ref: "demo"}))
	_, err = w.Core.Start(t.Context(), sessiontest.Caller(), api.RefRequest{Ref: "demo"})
	w.must(err)
	// A runtime that got one call more is not believed.
	w.Machine.Instance = func(in *engine.Instance) {
		if in.Spec != nil {
			own := *in.Spec.Linux.Seccomp
			own.Syscalls = append(own.Syscalls[:len(own.Syscalls):len(own.Syscalls)], specs.LinuxSyscall{Names: []string{"bpf"}, Action: specs.ActAllow})
			in.Spec.Linux.Seccomp = &own
		}
	}
	_, err = w.Core.Show(t.Context(), api.RefRequest{Ref: "demo"})
	w.refused(err, api.KindDegraded, "attest")
}

func control(p api.Posture, name string) api.Control {
	for _, c := range p {
		if c.Name == name {
			return c
		}
	}
	return api.Control{}
}

func (w *world) learn(ctx context.Context, argv ...string) (api.Learned, string, error) {
	var out bytes.Buffer
	req := api.LearnRequest{Create: w.request(""), Argv: argv}
	l, err := w.Core.Learn(ctx, sessiontest.Caller(), req, api.Streams{Out: &out, Err: &out})
	return l, out.String(), err
}

// A workload runs in a session like any other, whose filter is the granted one
// with a listener in front; afterwards there is nothing.
func TestLearn(t *testing.T) {
	w := newWorld(t)
	watched := 0
	w.Machine.Instance = func(in *engine.Instance) {
		if in.Spec == nil {
			return
		}
		filter := in.Spec.Linux.Seccomp
		// Who connects and says nothing holds nobody up.
		if c, err := net.Dial("unix", filter.ListenerPath); err != nil {
			t.Errorf("nobody listens: %v", err)
		} else {
			t.Cleanup(func() { _ = c.Close() })
		}
		for _, s := range filter.Syscalls {
			if s.Action == specs.ActErrno {
				t.Errorf("%v are denied without being asked about", s.Names)
			}
		}
		watched++
	}
	l, out, err := w.learn(t.Context(), "sh", "-c", "echo hello; exit 3")
	w.must(err)
	if l.Exited.Code != 3 || out != "hello\n" || l.Level != "standard" || l.Filter != "agent" || len(l.Denied) > 0 || l.Proposal != "" {
		t.Errorf("%+v, %q", l, out)
	}
	if watched == 0 {
		t.Error("no filter was seen")
	}
	w.nothing()
	w.paired()
	var actions []string
	for _, r := range w.records() {
		if r.Grant != nil || r.Action != "session.create" {
			actions = append(actions, r.Action)
		}
	}
	if got := fmt.Sprint(actions); !strings.Contains(got, "session.create session.exec session.exec session.remove") {
		t.Errorf("recorded %v", got)
	}
	if left, err := os.ReadDir(w.Core.Sockets); err != nil || len(left) > 0 {
		t.Errorf("sockets are left: %v, %v", left, err)
	}
	_, _, err = w.learn(t.Context())
	w.refused(err, api.KindInvalid, "input")
	if r := w.last("profile.learn"); r.Decision != "deny" {
		t.Errorf("%+v", r)
	}
}

// A filter without the listener is not the one that was asked for: what runs
// under it would not be seen.
func TestLearnRefusesAFilterWithoutListener(t *testing.T) {
	w := newWorld(t)
	w.Machine.Instance = func(in *engine.Instance) {
		if in.Spec != nil {
			own := *in.Spec.Linux.Seccomp
			own.ListenerPath = ""
			in.Spec.Linux.Seccomp = &own
		}
	}
	_, _, err := w.learn(t.Context(), "true")
	w.refused(err, api.KindDegraded, "attest")
	w.nothing()
}

// Whatever goes wrong, or whoever goes away: nothing stays.
func TestLearnLeavesNothing(t *testing.T) {
	for name, sabotage := range map[string]func(w *world, cancel func()) func(step string) error{
		"a fault while it is made": func(*world, func()) func(string) error {
			return func(step string) error {
				if step == "StartContainer.before" {
					return errFault
				}
				return nil
			}
		},
		"a fault while it runs": func(*world, func()) func(string) error {
			return func(step string) error {
				if step == "Exec.before" {
					return errFault
				}
				return nil
			}
		},
		"an interruption while it is made": func(_ *world, cancel func()) func(string) error {
			return func(step string) error {
				if step == "CreateContainer.before" {
					cancel()
				}
				return nil
			}
		},
		"an interruption while it runs": func(_ *world, cancel func()) func(string) error {
			return func(step string) error {
				if step == "Exec.before" {
					cancel()
				}
				return nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			w.Machine.Step = sabotage(w, cancel)
			_, _, err := w.learn(ctx, "sleep", "60")
			if err == nil {
				t.Error("no error")
			}
			w.Machine.Step = nil
			w.nothing()
			if left, err := os.ReadDir(w.Core.Sockets); err == nil && len(left) > 0 {
				t.Errorf("sockets are left: %v", left)
			}
		})
	}
}

// A workload that was interrupted has no end of its own to tell of.
func TestLearnInterrupted(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	w.Machine.Step = func(step string) error {
		if step == "Exec.after" {
			cancel()
		}
		return nil
	}
	l, _, err := w.learn(ctx, "sleep", "infinity")
	if api.KindOf(err) != api.KindInterrupted {
		t.Errorf("got %v", err)
	}
	if !l.Interrupted {
		t.Errorf("%+v", l)
	}
	w.nothing()
}
