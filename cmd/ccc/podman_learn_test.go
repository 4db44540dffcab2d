package main_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
)

// clockwork asks for the state of the clock, which is harmless and denied, and for
// a user namespace, which is not harmless. It ends with what the first came to.
const clockwork = `/bin/busybox adjtimex; code=$?; unshare -Ur true && echo ESCAPED; exit $code`

// learned runs `profile learn` and decodes what it prints.
func (l *lab) learned(args ...string) (api.Learned, result) {
	l.Helper()
	r := l.ccc(append([]string{"profile", "learn", "--json"}, args...)...)
	var learned api.Learned
	if err := json.Unmarshal([]byte(r.stdout), &learned); r.code != 0 || err != nil {
		l.Fatalf("%v: %v", r, err)
	}
	return learned, r
}

// calls returns the denied calls by name, and fails the test if one that nobody
// made by mistake is to be added.
func (l *lab) calls(learned api.Learned) map[string]api.DeniedCall {
	l.Helper()
	all := map[string]api.DeniedCall{}
	for _, d := range learned.Denied {
		all[d.Call] = d
		if d.Count < 1 || d.Program == "" || d.Reason == "" || d.Answer == "" {
			l.Errorf("%+v", d)
		}
	}
	if d := all["unshare"]; d.Answer != "EPERM" || d.Args != "CLONE_NEWUSER" || d.Advice != api.AdviceNever || len(d.CVEs) == 0 || d.Instead != "nested" || d.Program != "unshare" {
		l.Errorf("%+v", d)
	}
	return all
}

// noSockets fails the test if a listener has left its socket.
func (l *lab) noSockets() {
	l.Helper()
	if left, err := os.ReadDir(filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "ccc", "learn")); err == nil && len(left) > 0 {
		l.Errorf("left: %v", left)
	}
}

// A workload is denied a harmless call and a dangerous one. Both are seen, both
// are answered as in any session; the first is proposed, and with the proposal
// the workload succeeds, while the second is denied as before.
func TestPodmanLearn(t *testing.T) {
	l := newLab(t)
	l.ok("session", "create", "--name", "plain")
	plain := l.sh("plain", clockwork)
	l.ok("session", "rm", "--yes", "plain")
	if plain.code == 0 || strings.Contains(plain.stdout, "ESCAPED") {
		t.Fatalf("an ordinary session: %v", plain)
	}
	if out := l.podman("run", "--rm", "--network", "none", "--cap-drop", "all", testImage, "/bin/busybox", "adjtimex"); !strings.Contains(out, "return value") {
		t.Errorf("without the filter: %q: this proves nothing", out)
	}

	file := filepath.Join(l.dir, "config", "ccc", "seccomp", "clock.yaml")
	l.must(os.MkdirAll(filepath.Dir(file), 0o700))
	learned, r := l.learned("--output", file, "--", "sh", "-c", clockwork)
	if learned.Exited.Code != plain.code || !strings.Contains(r.stderr, plain.stderr) || strings.Contains(r.stderr, "ESCAPED") {
		t.Errorf("watched: %v\nnot watched: %v", r, plain)
	}
	calls := l.calls(learned)
	d, ok := calls["clock_adjtime"]
	if !ok {
		d = calls["adjtimex"]
	}
	if d.Advice != api.AdviceAdd || d.Answer != "EPERM" || d.Program != "busybox" || d.Why == "" {
		t.Errorf("%+v", learned.Denied)
	}
	l.nothing()
	l.noSockets()
	text, err := os.ReadFile(file)
	l.must(err)
	if string(text) != learned.Proposal || !strings.Contains(learned.Proposal, "call: "+d.Call) || strings.Contains(learned.Proposal, "call: unshare") {
		t.Errorf("proposed: %s", learned.Proposal)
	}

	// A level of the user's own names it.
	level := strings.Replace(l.ok("profile", "show", "level:standard"), "seccomp: agent", "seccomp: clock", 1)
	l.must(os.MkdirAll(filepath.Join(l.dir, "config", "ccc", "profiles"), 0o700))
	l.must(os.WriteFile(filepath.Join(l.dir, "config", "ccc", "profiles", "timed.yaml"), []byte(level), 0o600))
	again, r := l.learned("--profile", "timed", "--", "sh", "-c", clockwork)
	if again.Exited.Code != 0 || again.Proposal != "" || again.Level != "timed" || again.Filter != "agent and "+d.Call || strings.Contains(r.stderr, "ESCAPED") {
		t.Errorf("with the proposal: %+v, %v", again, r)
	}
	if calls := l.calls(again); calls[d.Call].Count != 0 {
		t.Errorf("still denied: %+v", calls)
	}
	l.ok("session", "create", "--name", "timed", "--profile", "timed")
	if r := l.sh("timed", clockwork); r.code != 0 || strings.Contains(r.stdout, "ESCAPED") || !strings.Contains(r.stderr, "unshare") {
		t.Errorf("a session with the proposal: %v", r)
	}
	if r := l.ccc("session", "verify", "timed", "--json"); !l.verification(r).Holds() {
		t.Errorf("its walls: %v", r)
	}
	l.ok("session", "rm", "--yes", "timed")

	// The same file with one call more is refused, and nothing is made.
	l.must(os.WriteFile(file, append(text, "  - {call: unshare, reason: please}\n"...), 0o600))
	if r := l.ccc("session", "create", "--name", "timed", "--profile", "timed"); r.code != 3 || !strings.Contains(r.stderr, "unshare may not be added") || !strings.Contains(r.stderr, file) {
		t.Errorf("a call that may not be added: %v", r)
	}
	l.denied("seccomp.never")
	l.nothing()
	l.ok("audit", "verify")
}

// What many processes call at once is answered, and counted.
func TestPodmanLearnCrowd(t *testing.T) {
	l := newLab(t)
	const script = "i=0; while [ $i -lt 40 ]; do unshare -Ur true 2>/dev/null & i=$((i+1)); done; wait"
	learned, _ := l.learned("--", "sh", "-c", script)
	if d := l.calls(learned)["unshare"]; d.Count != 40 {
		t.Errorf("%+v", d)
	}
	l.nothing()
	l.noSockets()
}

// Ctrl-C at any moment leaves neither a session nor a socket.
func TestPodmanLearnInterrupted(t *testing.T) {
	l := newLab(t)
	start := time.Now()
	l.ok("profile", "learn", "--", "sleep", "0.3")
	took := time.Since(start)
	hit := l.kills(10, syscall.SIGINT, took, func(int) []string { return []string{"profile", "learn", "--", "sleep", "0.3"} }, func(int) {
		if out := l.podman("ps", "--all", "--format", "{{.Names}}"); strings.Contains(out, "learn") {
			t.Errorf("left: %q", out)
		}
		l.nothing()
		l.noSockets()
	})
	if hit < 3 {
		t.Errorf("only %d interrupts came before the end", hit)
	}
}
