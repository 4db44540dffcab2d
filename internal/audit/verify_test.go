package audit_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/audit"
)

// badAt verifies a log that must be bad and returns the number of its first bad
// record.
func badAt(t testing.TB, log []byte) uint64 {
	t.Helper()
	report, err := audit.Verify(bytes.NewReader(log))
	if report.Bad == nil || api.KindOf(err) != api.KindInvalid {
		t.Fatalf("got %+v, %v; want a bad record", report, err)
	}
	if report.Bad.Why == "" || report.Records != report.Bad.Line-1 {
		t.Errorf("report %+v with %+v", report, *report.Bad)
	}
	return report.Bad.Seq
}

// A01, first part: no byte of a log can be changed.
func TestEveryChangedByteIsFound(t *testing.T) {
	log := content(t, fill(t, 4))
	if report, err := audit.Verify(bytes.NewReader(log)); err != nil || report.Records != 5 {
		t.Fatalf("before: %+v, %v", report, err)
	}
	tried := 0
	for i := range log {
		want := uint64(bytes.Count(log[:i], []byte("\n")) + 1)
		for _, to := range []byte{log[i] ^ 1, log[i] ^ 0x20, log[i] ^ 0x80, 0, '\n', ' ', '0', '"'} {
			if to == log[i] {
				continue
			}
			bad := slices.Clone(log)
			bad[i] = to
			if got := badAt(t, bad); got != want {
				t.Fatalf("byte %d changed from %q to %q: found at %d, want %d", i, log[i], to, got, want)
			}
			tried++
		}
	}
	if tried < 7*len(log) {
		t.Errorf("only %d changes of %d bytes were tried", tried, len(log))
	}
}

// A01, second part: no record can be removed, moved, repeated or inserted; and
// what the chain cannot show is said.
func TestEveryChangedOrderIsFound(t *testing.T) {
	const n = 7
	log := content(t, fill(t, n-1))
	lines := bytes.SplitAfter(log, []byte("\n"))[:n]
	foreign := bytes.SplitAfter(content(t, fill(t, n-1)), []byte("\n"))[:n]
	join := func(parts ...[][]byte) []byte { return bytes.Join(slices.Concat(parts...), nil) }
	for i := range n {
		at := uint64(i + 1)
		if i < n-1 {
			if got := badAt(t, join(lines[:i], lines[i+1:])); got != at {
				t.Errorf("record %d removed: found at %d", at, got)
			}
		}
		if got := badAt(t, join(lines[:i+1], lines[i:])); got != at+1 {
			t.Errorf("record %d repeated: found at %d", at, got)
		}
		if i > 0 {
			if got := badAt(t, join(lines[:i], foreign[i:])); got != at {
				t.Errorf("another log from record %d: found at %d", at, got)
			}
		}
		for j := i + 1; j < n; j++ {
			swapped := slices.Clone(lines)
			swapped[i], swapped[j] = lines[j], lines[i]
			if got := badAt(t, join(swapped)); got != at {
				t.Errorf("records %d and %d swapped: found at %d", at, j+1, got)
			}
			if got := badAt(t, join(lines[:i], lines[j:j+1], lines[i:])); got != at {
				t.Errorf("record %d inserted before %d: found at %d", j+1, at, got)
			}
		}
		for _, junk := range []string{"\n", "{}\n", " \n", strings.Repeat("x", 70000) + "\n"} {
			if got := badAt(t, join(lines[:i], [][]byte{[]byte(junk)}, lines[i:])); got != at {
				t.Errorf("%.10q inserted before %d: found at %d", junk, at, got)
			}
		}
	}
}

func TestACutEndIsNotFoundAndTheReportSaysSo(t *testing.T) {
	log := content(t, fill(t, 3))
	whole, err := audit.Verify(bytes.NewReader(log))
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(log, []byte("\n"))
	cut, err := audit.Verify(bytes.NewReader(bytes.Join(lines[:3], nil)))
	if err != nil || cut.Records != 3 {
		t.Fatalf("got %+v, %v", cut, err)
	}
	if cut.Hash == whole.Hash {
		t.Error("the last hash does not tell a cut log from a whole one")
	}
	if len(cut.Unproven) == 0 || !strings.Contains(cut.Unproven[0], "cut off the end") {
		t.Errorf("unproven: %q", cut.Unproven)
	}
}

// golden is a log that was written by the first version of the format.
func golden(t testing.TB) []byte {
	t.Helper()
	log, err := os.ReadFile(filepath.Join("testdata", "v1.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// Logs are kept for years: one that was written once must verify for ever.
func TestOldLogsStayReadable(t *testing.T) {
	report, err := audit.Verify(bytes.NewReader(golden(t)))
	if err != nil || report.Records != 4 || report.File != "9c39489e5c77175e1bfb4f8a32d4cf24" {
		t.Errorf("got %+v, %v", report, err)
	}
	who := api.Caller{UID: 1000, User: "ann", PID: 99, Client: "cli", ClientVersion: "v0.1.0"}
	web := audit.Subject{ID: "aabbccddeeff", Name: "web"}
	want := []audit.Record{
		{
			Op: "0123456789abcdef", Action: "session.exec", Phase: audit.PhaseBegin, Caller: who, Session: web, Decision: audit.Allow,
			Args: audit.ArgsOf([]string{"ls", "-l"}), Grant: json.RawMessage(`{"timeout":"1m"}`),
		},
		{
			Op: "0123456789abcdef", Action: "session.exec", Phase: audit.PhaseEnd, Caller: who, Session: web, Result: audit.ResultOK, DurationMS: 2000,
			Posture: json.RawMessage(`[{"name":"seccomp","state":"enforced"}]`), Detail: json.RawMessage(`{"code":0}`),
		},
		{
			Op: "fedcba9876543210", Action: "session.create", Phase: audit.PhaseEnd, Caller: who, Session: audit.Subject{Name: `a\u000ab`},
			Decision: audit.Deny, Rule: "project.protected", Result: audit.ResultError, Kind: "denied", Message: "project /etc is protected",
		},
	}
	var got []audit.Record
	for _, e := range entries(t, golden(t))[1:] {
		got = append(got, e.Record)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// rehash gives each line of a log the hashes that its bytes call for, which
// needs no secret.
func rehash(log string) []byte {
	prev := strings.Repeat("0", 64)
	var out []byte
	for line := range strings.Lines(log) {
		covered := line[:strings.LastIndex(line, `,"prev":"`)] + `,"prev":"` + prev + `"`
		prev = fmt.Sprintf("%x", sha256.Sum256([]byte(covered)))
		out = append(out, covered+`,"hash":"`+prev+"\"}\n"...)
	}
	return out
}

// Whoever may write the file can write all of it anew: the report says so, and
// what keeps its form even so is checked even so.
func TestALogWrittenAnew(t *testing.T) {
	log := string(content(t, fill(t, 3)))
	if got := rehash(log); string(got) != log {
		t.Fatalf("rehash does not know the format:\n%s\n%s", log, got)
	}
	report, err := audit.Verify(bytes.NewReader(rehash(strings.Replace(log, "note 1", "note X", 1))))
	if err != nil || !slices.ContainsFunc(report.Unproven, func(s string) bool { return strings.Contains(s, "written anew") }) {
		t.Errorf("got %+v, %v", report, err)
	}
	for _, c := range []struct {
		from, to string
		want     uint64
	}{
		{`"seq":3,`, `"seq":4,`, 3},
		{`"seq":1,`, `"seq":2,`, 1},
		{`{"v":1,"seq":2,`, `{"v":2,"seq":2,`, 2},
		{`"message":"note 1"`, `"message":`, 3},
		{`"message":"note 1"`, `"ts":"yesterday"`, 3},
		{audit.ActionBegin, "log.begun", 1},
		{`"previous":null`, `"previous":{"seq":0,"hash":"` + strings.Repeat("1", 64) + `"}`, 1},
	} {
		if got := badAt(t, rehash(strings.Replace(log, c.from, c.to, 1))); got != c.want {
			t.Errorf("%s for %s: found at %d, want %d", c.to, c.from, got, c.want)
		}
	}
}

// A file may continue another: its first record says where that one ended.
func TestALogThatContinuesAnother(t *testing.T) {
	zero := strings.Repeat("0", 64)
	log := strings.Replace(string(content(t, fill(t, 0))), `"previous":null`, `"previous":{"seq":41,"hash":"`+zero+`"}`, 1)
	log = strings.Replace(log, `"seq":1,`, `"seq":42,`, 1)
	report, err := audit.Verify(bytes.NewReader(rehash(log)))
	if err != nil || report.First != 42 || report.Last != 42 {
		t.Errorf("got %+v, %v", report, err)
	}
}

func TestEveryCutLineIsFound(t *testing.T) {
	log := content(t, fill(t, 2))
	for size := range log {
		if size > 0 && log[size-1] == '\n' {
			continue
		}
		want := uint64(bytes.Count(log[:size], []byte("\n")) + 1)
		if got := badAt(t, log[:size]); got != want {
			t.Errorf("cut to %d bytes: found at %d, want %d", size, got, want)
		}
	}
}

func TestReport(t *testing.T) {
	dir := fill(t, 3)
	all := entries(t, content(t, dir))
	got, err := audit.VerifyDir(t.Context(), dir, "")
	if err != nil {
		t.Fatal(err)
	}
	last := all[len(all)-1]
	if got.Records != 4 || got.First != 1 || got.Last != 4 || got.Hash != last.Hash || !got.Since.Equal(all[0].Time) || !got.Until.Equal(last.Time) || len(got.File) != 32 {
		t.Errorf("got %+v", got)
	}
}

func TestVerifyDirRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, err := audit.VerifyDir(t.Context(), dir, ""); api.KindOf(err) != api.KindNotFound {
		t.Errorf("no log: %v", err)
	}
	link := filepath.Join(t.TempDir(), audit.DefaultFile)
	if err := os.Symlink(filepath.Join(fill(t, 1), audit.DefaultFile), link); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.VerifyDir(t.Context(), filepath.Dir(link), ""); api.KindOf(err) != api.KindUnavailable {
		t.Errorf("a link: %v", err)
	}
	if _, err := audit.VerifyDir(t.Context(), filepath.Dir(dir), filepath.Base(dir)); err == nil {
		t.Error("a directory was verified")
	}
}

func TestAReaderThatFailsIsNotABadLog(t *testing.T) {
	log := content(t, fill(t, 3))
	broken := errors.New("disk on fire")
	report, err := audit.Verify(io.MultiReader(bytes.NewReader(log), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) || report.Bad != nil {
		t.Errorf("got %+v, %v", report, err)
	}
	if report, err := audit.Verify(iotest.OneByteReader(bytes.NewReader(log))); err != nil || report.Records != 4 {
		t.Errorf("byte by byte: %+v, %v", report, err)
	}
}

func TestReadEndsWhenTheCallerDoes(t *testing.T) {
	n := 0
	for _, err := range audit.Read(bytes.NewReader(content(t, fill(t, 3)))) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 2 {
			break
		}
	}
	if n != 2 {
		t.Errorf("read %d records", n)
	}
}

// FuzzVerify looks for a text that is taken for a log, or that breaks the
// reader, other than the log it is made from.
func FuzzVerify(f *testing.F) {
	log := golden(f)
	f.Add(log)
	f.Add([]byte("\n"))
	f.Add([]byte(fmt.Sprintf(`{"v":1,"seq":1,"prev":"%064d","hash":"%064d"}`+"\n", 0, 0)))
	f.Fuzz(func(t *testing.T, text []byte) {
		report, err := audit.Verify(bytes.NewReader(text))
		if (err == nil) != (report.Bad == nil) {
			t.Fatalf("%+v, %v", report, err)
		}
		if err == nil && !bytes.HasPrefix(log, text) {
			t.Fatalf("taken for a log: %q", text)
		}
	})
}
