package session_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/audit"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/guest"
	"github.com/ccc-dev/ccc/internal/guest/observe"
	"github.com/ccc-dev/ccc/internal/session/sessiontest"
)

// reporting is an engine in whose sessions the probe reports what the test says.
type reporting struct {
	*sessiontest.Machine
	// document is what it prints, code its exit code.
	document []byte
	code     int
	// more is printed after the end of its input.
	more []byte
	// got is what was executed, released whether the input came to its end.
	got      engine.Process
	released bool
}

func (e *reporting) Exec(ctx context.Context, _ string, p engine.Process, s api.Streams) (int, error) {
	e.got = p
	if _, err := s.Out.Write(e.document); err != nil {
		return 0, err
	}
	if len(e.document) == 0 {
		return e.code, nil
	}
	if _, err := io.Copy(io.Discard, s.In); err != nil {
		return 0, err
	}
	e.released = true
	if len(e.more) > 0 {
		if _, err := s.Out.Write(e.more); err != nil {
			return 0, err
		}
	}
	return e.code, ctx.Err()
}

func TestVerify(t *testing.T) {
	w := newWorld(t)
	s := w.create("demo")
	report, err := os.ReadFile("../verify/testdata/report.json")
	w.must(err)
	e := &reporting{Machine: w.Machine, document: append(bytes.ReplaceAll(report, []byte("\n"), nil), '\n')}
	w.Core.Engine = e
	v, err := w.Core.Verify(t.Context(), sessiontest.Caller(), api.VerifyRequest{Ref: "demo"})
	w.must(err)
	if v.Session.Name != "demo" || v.Session.ID != s.ID || v.Version != "v1.0.0" || len(v.Controls) < 40 {
		t.Errorf("%+v", v)
	}
	// The report is of another session: much of it does not fit this one, but what
	// was granted alike does.
	for id, want := range map[string]api.Verdict{
		"attestation": api.VerdictPass, "seccomp-namespaces": api.VerdictPass, "capabilities": api.VerdictPass, "landlock": api.VerdictPass,
		"init-file": api.VerdictFail, "lsm": api.VerdictMissing,
	} {
		i := slices.IndexFunc(v.Controls, func(c api.Checked) bool { return c.ID == id })
		if i < 0 || v.Controls[i].Verdict != want {
			t.Errorf("%s: want %s: %+v", id, want, v.Controls[max(i, 0)])
		}
	}
	argv := strings.Join(e.got.Argv, " ")
	if !strings.HasPrefix(argv, guest.Path+" exec --announce --write /workspace") || !strings.Contains(argv, " -- /.ccc/init probe --connect unix:@ccc-canary-") || e.got.Dir != "/workspace" {
		t.Errorf("the probe runs by another way than commands: %s", argv)
	}
	if !e.released {
		t.Error("the probe was not told that it was looked at")
	}
	r := w.last("session.verify")
	if r.Result != audit.ResultOK || r.Session.Name != "demo" || !strings.Contains(string(r.Detail), `"init-file"`) {
		t.Errorf("record %+v %s", r, r.Detail)
	}
	w.paired()
}

// A host that sees another session than the one that was granted says so first.
func TestVerifyAttests(t *testing.T) {
	w := newWorld(t)
	w.create("demo")
	report, err := os.ReadFile("../verify/testdata/report.json")
	w.must(err)
	w.Core.Engine = &reporting{Machine: w.Machine, document: append(bytes.ReplaceAll(report, []byte("\n"), nil), '\n')}
	w.Machine.Instance = func(in *engine.Instance) {
		if in.Spec != nil {
			in.Spec.Linux.Seccomp.DefaultAction = "SCMP_ACT_ALLOW"
		}
	}
	v, err := w.Core.Verify(t.Context(), sessiontest.Caller(), api.VerifyRequest{Ref: "demo"})
	w.must(err)
	if c := v.Controls[0]; c.ID != "attestation" || c.Verdict != api.VerdictFail || !strings.Contains(c.Seen, "seccomp") {
		t.Errorf("%+v", c)
	}
}

// Whatever a hostile session prints in place of a report is an error in bounded
// time and size, and is recorded.
func TestVerifyHostileReports(t *testing.T) {
	w := newWorld(t)
	w.create("demo")
	for name, e := range map[string]*reporting{
		"nothing":          {},
		"an exit code":     {code: 125},
		"no JSON":          {document: []byte("all is well\n")},
		"a verdict":        {document: []byte(`{"format":1,"verdict":"pass"}` + "\n")},
		"another format":   {document: []byte(`{"format":9}` + "\n")},
		"an endless line":  {document: bytes.Repeat([]byte("x"), observe.MaxSize+1)},
		"something behind": {document: []byte(`{"format":1}` + "\n"), more: []byte("{}\n")},
		"a late failure":   {document: []byte(`{"format":1}` + "\n"), code: 1},
	} {
		t.Run(name, func(t *testing.T) {
			e.Machine = w.Machine
			w.Core.Engine = e
			_, err := w.Core.Verify(t.Context(), sessiontest.Caller(), api.VerifyRequest{Ref: "demo"})
			w.refused(err, api.KindDegraded, "verify.probe")
			if r := w.last("session.verify"); r.Result != audit.ResultError {
				t.Errorf("record %+v", r)
			}
		})
	}
	w.paired()
}

// A probe that prints nothing and does not end does not hold the caller.
func TestVerifyInterrupted(t *testing.T) {
	w := newWorld(t)
	w.create("demo")
	ctx, cancel := context.WithCancel(t.Context())
	w.Core.Engine = &hanging{Machine: w.Machine, began: cancel}
	_, err := w.Core.Verify(ctx, sessiontest.Caller(), api.VerifyRequest{Ref: "demo"})
	if api.KindOf(err) != api.KindInterrupted {
		t.Errorf("error %v", err)
	}
	w.paired()
}

// hanging is an engine whose commands never end by themselves.
type hanging struct {
	*sessiontest.Machine
	began func()
}

func (e *hanging) Exec(ctx context.Context, _ string, _ engine.Process, _ api.Streams) (int, error) {
	e.began()
	<-ctx.Done()
	return 0, ctx.Err()
}

func TestVerifyRefusals(t *testing.T) {
	w := newWorld(t)
	w.create("demo")
	w.create("stopped")
	w.must(w.Core.Stop(t.Context(), sessiontest.Caller(), api.StopRequest{Ref: "stopped"}))
	w.Core.Engine = &reporting{Machine: w.Machine, document: []byte("must not be asked\n")}
	for name, c := range map[string]struct {
		ref  api.Ref
		kind api.Kind
		rule string
	}{
		"no session": {"", api.KindInvalid, "input"}, "unknown session": {"nosuch", api.KindNotFound, "session.unknown"},
		"stopped": {"stopped", api.KindConflict, "session.state"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.Core.Verify(t.Context(), sessiontest.Caller(), api.VerifyRequest{Ref: c.ref})
			w.refused(err, c.kind, c.rule)
			if r := w.last("session.verify"); r.Decision != audit.Deny {
				t.Errorf("record %+v", r)
			}
		})
	}
	// Where the log cannot be written nothing is run.
	w.Core.Engine = &hanging{Machine: w.Machine, began: func() { t.Error("the probe ran") }}
	log, err := audit.Open(t.Context(), filepath.Join(t.TempDir(), "audit"), audit.Options{Clock: w.clock.read, Version: "test", Caller: sessiontest.Caller()})
	w.must(err)
	w.must(log.Close())
	w.Core.Audit = log
	if _, err := w.Core.Verify(t.Context(), sessiontest.Caller(), api.VerifyRequest{Ref: "demo"}); err == nil {
		t.Error("verified without a record")
	}
}
