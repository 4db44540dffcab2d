package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/audit"
)

// entries reads a whole log, which must be good.
func entries(t testing.TB, log []byte) []audit.Entry {
	t.Helper()
	var all []audit.Entry
	for e, err := range audit.Read(bytes.NewReader(log)) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func TestAnActIsRecordedBeforeAndAfter(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "ccc", "audit")
	now := time.Date(2026, 11, 1, 10, 0, 0, 5, time.FixedZone("", 3600))
	o := options()
	o.Clock = func() time.Time { now = now.Add(time.Second); return now }
	o.Uptime = func() time.Duration { return 42 * time.Second }
	l, err := audit.Open(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	who := api.Caller{UID: 1000, User: "ann", PID: 99, Client: "cli", ClientVersion: "1"}
	base := audit.Record{Op: "0123456789abcdef", Action: "session.create", Caller: who, Session: audit.Subject{Name: "web"}}
	begin := base
	begin.Grant, begin.Args = json.RawMessage(`{"memory":"4g"}`), audit.ArgsOf([]string{"ls", "-l"})
	op, err := l.Begin(t.Context(), begin)
	if err != nil {
		t.Fatal(err)
	}
	made := audit.Subject{ID: "aabbccddeeff", Name: "web"}
	if err := op.End(t.Context(), audit.Outcome{Session: made, Posture: json.RawMessage(`[]`)}); err != nil {
		t.Fatal(err)
	}
	if err := l.Deny(t.Context(), base, fmt.Errorf("create: %w", api.Deniedf("project.protected", "choose another", "no"))); err != nil {
		t.Fatal(err)
	}

	begin.Phase, begin.Decision = audit.PhaseBegin, audit.Allow
	end := audit.Record{Op: base.Op, Action: base.Action, Phase: audit.PhaseEnd, Caller: who, Session: made, Result: audit.ResultOK, DurationMS: 2000, Posture: json.RawMessage(`[]`)}
	deny := base
	deny.Phase, deny.Decision, deny.Rule, deny.Result, deny.Kind, deny.Message = audit.PhaseEnd, audit.Deny, "project.protected", audit.ResultError, "denied", "create: no"
	var got []audit.Record
	for i, e := range entries(t, content(t, dir)) {
		if e.Version != 1 || e.Seq != uint64(i+1) || e.Uptime != 42*time.Second || e.Time.Location() != time.UTC || e.Time.Nanosecond() != 5 {
			t.Errorf("entry %d: %+v", i, e)
		}
		got = append(got, e.Record)
	}
	if diff := cmp.Diff([]audit.Record{begin, end, deny}, got[1:]); diff != "" {
		t.Error(diff)
	}
	if got[0].Action != audit.ActionBegin || got[0].Caller != o.Caller {
		t.Errorf("first record: %+v", got[0])
	}
}

func TestALogIsPrivate(t *testing.T) {
	dir := fill(t, 0)
	for path, want := range map[string]os.FileMode{dir: 0o700 | os.ModeDir, filepath.Join(dir, audit.DefaultFile): 0o600} {
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode() != want {
			t.Errorf("%s has mode %v, want %v", path, st.Mode(), want)
		}
	}
}

func TestOpenContinues(t *testing.T) {
	dir := fill(t, 2)
	before := content(t, dir)
	l := open(t, dir)
	if got := content(t, dir); !bytes.Equal(got, before) {
		t.Errorf("opening a log changed it: %s", got[len(before):])
	}
	if err := l.Append(t.Context(), note("after")); err != nil {
		t.Fatal(err)
	}
	if got := content(t, dir); !bytes.HasPrefix(got, before) || len(entries(t, got)) != 4 {
		t.Errorf("the log does not continue:\n%s", got)
	}
}

// A06: whatever a caller sends, a record is one line of harmless characters.
func TestARecordIsOneHarmlessLine(t *testing.T) {
	const nasty = "a\nb\r\x00\x1b]0;x\a\u2028\u2029\u202e\u200b\x7f\u0085\ufeff\xff\U000e0001\"\\"
	l := open(t, filepath.Join(t.TempDir(), "audit"))
	// As JSON a caller may hand in the same characters unescaped.
	detail := "{\n\"k\": \"\u2028\u202e\x7f\U000e0001\xff\"\n}"
	r := audit.Record{
		Op: "0123456789abcdef", Action: "session.create", Phase: audit.PhaseEnd, Rule: nasty, Kind: nasty, Message: nasty,
		Session: audit.Subject{ID: nasty, Name: nasty}, Caller: api.Caller{User: nasty, Client: nasty, ClientVersion: nasty},
		Args: &audit.Args{SHA256: nasty}, Grant: json.RawMessage(detail), Posture: json.RawMessage(detail), Detail: json.RawMessage(detail),
	}
	// The attack without the control: the text makes lines of its own.
	if naive := fmt.Sprintf("session %s refused\n", nasty); strings.Count(naive, "\n") < 2 {
		t.Fatal("the text is harmless by itself")
	}
	if err := l.Append(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	log := content(t, filepath.Dir(l.Path()))
	lines := strings.Split(strings.TrimSuffix(string(log), "\n"), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines, want 2:\n%q", len(lines), log)
	}
	for _, line := range lines {
		if api.Printable(line) != line {
			t.Errorf("the line is not printable: %q", line)
		}
		if !json.Valid([]byte(line)) {
			t.Errorf("the line is not JSON: %q", line)
		}
	}
	got := entries(t, log)[1].Record
	if want := api.Printable(nasty); got.Session.Name != want || got.Message != want || got.Caller.Client != want {
		t.Errorf("got %+v, want %q", got, want)
	}
	// JSON values keep their meaning, but for bytes that are not UTF-8.
	var value struct{ K string }
	if err := json.Unmarshal(got.Detail, &value); err != nil || value.K != "\u2028\u202e\x7f\U000e0001\ufffd" {
		t.Errorf("detail is %q (%v)", value.K, err)
	}
}

func TestLongFieldsAreCut(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "audit"))
	for _, long := range []string{strings.Repeat("\"", 1<<20), strings.Repeat("é", 1<<20), strings.Repeat("\x00", 1<<20), strings.Repeat("€", 1365) + "xy", "\xff" + strings.Repeat("\u2028", 9000)} {
		r := audit.Record{
			Op: "0123456789abcdef", Action: "session.create", Phase: audit.PhaseEnd, Rule: long, Kind: long, Message: long,
			Session: audit.Subject{ID: api.ID(long), Name: long}, Caller: api.Caller{User: long, Client: long, ClientVersion: long},
			Args: &audit.Args{SHA256: long}, Result: audit.Result(long),
			Detail: json.RawMessage(`"` + strings.Repeat("x", 32<<10-2) + `"`),
		}
		if err := l.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		all := entries(t, content(t, filepath.Dir(l.Path())))
		e := all[len(all)-1]
		if len(e.Raw) >= 64<<10 {
			t.Errorf("a record of %d bytes", len(e.Raw))
		}
		for _, s := range []string{e.Record.Rule, e.Record.Message, e.Record.Session.Name, e.Record.Caller.Client} {
			if len(s) > 4096 || !strings.HasSuffix(s, "…") {
				t.Errorf("a field of %d bytes that ends in %q", len(s), s[len(s)-8:])
			}
		}
		if len(e.Record.Detail) != 32<<10 {
			t.Errorf("the detail has %d bytes", len(e.Record.Detail))
		}
	}
	exact := strings.Repeat("x", 4096)
	if err := l.Append(t.Context(), note(exact)); err != nil {
		t.Fatal(err)
	}
	all := entries(t, content(t, filepath.Dir(l.Path())))
	if got := all[len(all)-1].Record.Message; got != exact {
		t.Errorf("a message that fits was changed: %d bytes, %q", len(got), got[4000:])
	}
}

func TestWhatCannotBeRecordedIsNotBegun(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "audit"))
	huge := json.RawMessage(`"` + strings.Repeat("x", 20<<10) + `"`)
	r := audit.Record{Op: "0123456789abcdef", Action: "session.create", Grant: huge, Detail: huge}
	if _, err := l.Begin(t.Context(), r); api.KindOf(err) != api.KindInvalid {
		t.Errorf("begin: %v", err)
	}
	// A refusal is recorded whatever was asked.
	if err := l.Deny(t.Context(), r, errors.New("no")); err != nil {
		t.Fatal(err)
	}
	all := entries(t, content(t, filepath.Dir(l.Path())))
	if len(all) != 2 {
		t.Fatalf("%d records, want 2", len(all))
	}
	want := fmt.Sprintf(`{"omitted_bytes":%d,"sha256":"`, len(huge))
	if got := string(all[1].Record.Grant); !strings.HasPrefix(got, want) {
		t.Errorf("grant is %.100s", got)
	}
}

func TestMistakesOfTheProgramAreErrors(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "audit"))
	before := content(t, filepath.Dir(l.Path()))
	for name, r := range map[string]audit.Record{
		"no action":        {},
		"bad action":       {Action: "Session Create"},
		"phase without op": {Action: "a", Phase: audit.PhaseBegin},
		"op not hex":       {Action: "a", Phase: audit.PhaseBegin, Op: "../../../../etc"},
		"unknown phase":    {Action: "a", Phase: "middle", Op: "0123456789"},
		"unknown decision": {Action: "a", Decision: "maybe"},
		"detail not JSON":  {Action: "a", Detail: json.RawMessage(`{"a":`)},
		"detail two lines": {Action: "a", Detail: json.RawMessage("1}\n{\"v\":1")},
	} {
		if err := l.Append(t.Context(), r); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if got := content(t, filepath.Dir(l.Path())); !bytes.Equal(before, got) {
		t.Errorf("something was written: %s", got)
	}
	// None of these is a failure of the log.
	if err := l.Append(t.Context(), note("fine")); err != nil {
		t.Error(err)
	}
}

func TestArgvDigest(t *testing.T) {
	// printf 'ls\0-l\0' | sha256sum
	const want = "c4cda919c7c25a49afb34dd20298822f55d716b013a9ff65d3d43e4fd32dbac7"
	if n, sha := audit.ArgvDigest([]string{"ls", "-l"}); n != 2 || sha != want {
		t.Errorf("got %d %s", n, sha)
	}
	_, a := audit.ArgvDigest([]string{"ab", "c"})
	_, b := audit.ArgvDigest([]string{"a", "bc"})
	if a == b {
		t.Error("two commands have one digest")
	}
}

func TestWaitingForTheLockEnds(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "audit"))
	holder, err := os.OpenFile(l.Path(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	if err := unix.Flock(int(holder.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	err = l.Append(ctx, note("never"))
	if api.KindOf(err) != api.KindUnavailable || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if err := unix.Flock(int(holder.Fd()), unix.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	// The one that gave up holds nothing, and the log is not broken.
	if err := l.Append(t.Context(), note("now")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(holder.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if got := len(entries(t, content(t, filepath.Dir(l.Path())))); got != 2 {
		t.Errorf("%d records, want 2", got)
	}
}

func TestALogThatWentAwayIsNoticed(t *testing.T) {
	for name, harm := range map[string]func(path string) error{
		"removed":        os.Remove,
		"emptied":        func(path string) error { return os.Truncate(path, 0) },
		"replaced empty": func(path string) error { return errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o600)) },
		"damaged": func(path string) error {
			b, err := os.ReadFile(path)
			b[len(b)-100] ^= 1
			return errors.Join(err, os.WriteFile(path, b, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := open(t, fill(t, 1))
			if err := harm(l.Path()); err != nil {
				t.Fatal(err)
			}
			e, ok := errors.AsType[*api.Error](l.Append(t.Context(), note("on")))
			if !ok || e.Kind != api.KindUnavailable || e.Hint == "" {
				t.Errorf("got %v", e)
			}
		})
	}
}

func TestADamagedEndIsNotBuiltUpon(t *testing.T) {
	dir := fill(t, 1)
	log := content(t, dir)
	log[len(log)-100] ^= 1
	if err := os.WriteFile(filepath.Join(dir, audit.DefaultFile), log, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.Open(t.Context(), dir, options()); api.KindOf(err) != api.KindUnavailable {
		t.Errorf("got %v", err)
	}
	if got := content(t, dir); !bytes.Equal(got, log) {
		t.Errorf("the evidence was changed: %q", got)
	}
}

// While an append waits for the lock, the log may be moved away and another put
// in its place; what was locked is then no longer the log.
func TestALogReplacedWhileWaitingIsNotWritten(t *testing.T) {
	l := open(t, fill(t, 1))
	old, err := os.OpenFile(l.Path(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if err := unix.Flock(int(old.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- l.Append(t.Context(), note("on")) }()
	awaitWaiter(t, old)
	log := content(t, filepath.Dir(l.Path()))
	fresh := l.Path() + ".new"
	if err := errors.Join(os.WriteFile(fresh, log, 0o600), os.Rename(fresh, l.Path()), unix.Flock(int(old.Fd()), unix.LOCK_UN), <-done); err != nil {
		t.Fatal(err)
	}
	if st, err := old.Stat(); err != nil || st.Size() != int64(len(log)) {
		t.Errorf("the old file was written: %v %v", st, err)
	}
	if got := len(entries(t, content(t, filepath.Dir(l.Path())))); got != 3 {
		t.Errorf("%d records, want 3", got)
	}
}

// awaitWaiter returns when somebody waits for the lock on f (proc(5),
// /proc/locks: waiters are marked "->").
func awaitWaiter(t *testing.T, f *os.File) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	inode := fmt.Sprintf(":%d ", st.Ino)
	for t.Context().Err() == nil {
		b, err := os.ReadFile("/proc/locks")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			if strings.Contains(line, "->") && strings.Contains(line, inode) {
				return
			}
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("nobody waited")
}
