package audit_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/audit"
)

// A04: processes and goroutines write at once; all records are there, each
// writer's in its order, in one chain.
func TestManyWritersMakeOneChain(t *testing.T) {
	const writers, each = 8, 150
	dir := filepath.Join(t.TempDir(), "audit")
	var wg sync.WaitGroup
	for w := range writers {
		cmd := child(t, "append", dir, fmt.Sprint("process-", w), strconv.Itoa(each))
		wg.Go(func() {
			if err := cmd.Run(); err != nil {
				t.Errorf("%v\n%s", err, cmd.Stderr)
			}
		})
	}
	l := open(t, dir)
	for w := range 2 {
		wg.Go(func() {
			for i := range each {
				if err := l.Append(t.Context(), note(fmt.Sprint("goroutine-", w, " ", i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	next := map[string]int{}
	all := entries(t, content(t, dir))
	for _, e := range all[1:] {
		writer, number, _ := strings.Cut(e.Record.Message, " ")
		if number != strconv.Itoa(next[writer]) {
			t.Fatalf("record %d of %s is number %s, want %d", e.Seq, writer, number, next[writer])
		}
		next[writer]++
	}
	if want := (writers+2)*each + 1; len(all) != want || len(next) != writers+2 {
		t.Errorf("%d records of %d writers, want %d of %d", len(all), len(next), want, writers+2)
	}
}

// A03: the last line is cut at every byte, as a crash in the middle of a write
// may leave it.
func TestATornLineIsSetAside(t *testing.T) {
	dir := fill(t, 2)
	log := content(t, dir)
	start := bytes.LastIndexByte(log[:len(log)-1], '\n') + 1
	path := filepath.Join(dir, audit.DefaultFile)
	for size := start + 1; size < len(log); size++ {
		if err := errors.Join(os.WriteFile(path, log[:size], 0o600), os.RemoveAll(path+".torn")); err != nil {
			t.Fatal(err)
		}
		l := open(t, dir)
		if err := l.Append(t.Context(), note("on")); err != nil {
			t.Fatal(err)
		}
		all := entries(t, content(t, dir))
		if len(all) != 4 || all[2].Record.Action != audit.ActionRecovered || all[3].Record.Message != "on" {
			t.Fatalf("cut to %d: %+v", size, all)
		}
		if want := fmt.Sprintf(`{"bytes":%d,`, size-start); !strings.HasPrefix(string(all[2].Record.Detail), want) {
			t.Errorf("cut to %d: detail %s", size, all[2].Record.Detail)
		}
		torn, err := os.ReadFile(path + ".torn")
		if err != nil || !bytes.Equal(torn, append(log[start:size:size], '\n')) {
			t.Fatalf("cut to %d: torn file %q (%v)", size, torn, err)
		}
	}
}

// Another process may be killed while this one has the log open.
func TestATornLineIsSetAsideByAnAppend(t *testing.T) {
	dir := fill(t, 1)
	l := open(t, dir)
	f, err := os.OpenFile(l.Path(), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// What a lost page leaves is zeros.
	if _, err := f.Write(make([]byte, 5000)); err != nil {
		t.Fatal(err)
	}
	if err := l.Append(t.Context(), note("on")); err != nil {
		t.Fatal(err)
	}
	all := entries(t, content(t, dir))
	if len(all) != 4 || all[2].Record.Action != audit.ActionRecovered {
		t.Errorf("got %+v", all)
	}
}

func TestATornFirstLineBeginsAnew(t *testing.T) {
	dir := fill(t, 0)
	path := filepath.Join(dir, audit.DefaultFile)
	if err := os.Truncate(path, 40); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
	if all := entries(t, content(t, dir)); len(all) != 1 || all[0].Record.Action != audit.ActionBegin {
		t.Errorf("got %+v", all)
	}
}

func TestJunkIsNotTakenForATornLine(t *testing.T) {
	dir := fill(t, 1)
	path := filepath.Join(dir, audit.DefaultFile)
	junk := bytes.Repeat([]byte("x"), 200<<10)
	if err := os.WriteFile(path, append(content(t, dir), junk...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.Open(t.Context(), dir, options()); api.KindOf(err) != api.KindUnavailable {
		t.Errorf("got %v", err)
	}
}

func TestALogThatReachesItsSizeLimitRefuses(t *testing.T) {
	dir := fill(t, 0)
	n, err := strconv.Atoi(strings.TrimSpace(runChild(t, child(t, "fsize", dir))))
	if err != nil {
		t.Fatal(err)
	}
	// The write was cut short: the next to come recovers.
	if log := content(t, dir); len(log) != 10000 || log[len(log)-1] == '\n' {
		t.Fatalf("the log has %d bytes and ends in %q", len(log), log[len(log)-1])
	}
	open(t, dir)
	all := entries(t, content(t, dir))
	if len(all) != n+2 || all[n+1].Record.Action != audit.ActionRecovered {
		t.Errorf("%d records for %d acknowledged", len(all), n)
	}
}

func TestAFullFileSystemRefuses(t *testing.T) {
	cmd := child(t, "nospace", t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
	runChild(t, cmd)
}

func TestAFailedSyncRefuses(t *testing.T) {
	dir := fill(t, 0)
	runChild(t, child(t, "nosync", dir))
	// What was written but not synced is a good record all the same.
	if _, err := audit.VerifyDir(t.Context(), dir, ""); err != nil {
		t.Error(err)
	}
}

// A03: writers are killed at any moment; no record that was acknowledged is
// lost.
func TestKilledWritersLoseNothing(t *testing.T) {
	const rounds, most = 25, 40
	dir := filepath.Join(t.TempDir(), "audit")
	acknowledged := map[string]bool{}
	for round := range rounds {
		cmd := child(t, "forever", dir, fmt.Sprint("round-", round))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// Reading some lines first makes each kill hit another moment.
		var got bytes.Buffer
		for buf := make([]byte, 16); bytes.Count(got.Bytes(), []byte("\n")) <= round*most/rounds; {
			n, err := out.Read(buf)
			if err != nil {
				t.Fatalf("%v\n%s", err, cmd.Stderr)
			}
			got.Write(buf[:n])
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if _, err := got.ReadFrom(out); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		lines := strings.Split(got.String(), "\n")
		for _, line := range lines[:len(lines)-1] {
			acknowledged[line] = true
		}
	}
	open(t, dir)
	for _, e := range entries(t, content(t, dir)) {
		text, _, _ := strings.Cut(e.Record.Message, " long")
		delete(acknowledged, text)
	}
	if len(acknowledged) > 0 {
		t.Errorf("acknowledged and lost: %v", acknowledged)
	}
}

// readChars is how many bytes this process has read so far (proc(5), rchar).
func readChars(t testing.TB) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if _, err := fmt.Sscanf(string(b), "rchar: %d", &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// grow makes the log one of a gigabyte: a hole in the middle, its last record
// at the end.
func grow(t testing.TB, dir string) {
	t.Helper()
	const size = 1 << 30
	log := content(t, dir)
	last := log[bytes.LastIndexByte(log[:len(log)-1], '\n'):]
	path := filepath.Join(dir, audit.DefaultFile)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(last, size-int64(len(last))); err != nil {
		t.Fatal(err)
	}
}

func TestALongLogIsNotReadToAppend(t *testing.T) {
	dir := fill(t, 1)
	grow(t, dir)
	before := readChars(t)
	l := open(t, dir)
	if err := l.Append(t.Context(), note("on")); err != nil {
		t.Fatal(err)
	}
	if got := readChars(t) - before; got > 64<<10 {
		t.Errorf("%d bytes were read", got)
	}
}

func BenchmarkAppend(b *testing.B) {
	l := open(b, filepath.Join(b.TempDir(), "audit"))
	for b.Loop() {
		if err := l.Append(b.Context(), note("benchmark")); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendToGigabyte(b *testing.B) {
	dir := fill(b, 1)
	grow(b, dir)
	l := open(b, dir)
	for b.Loop() {
		if err := l.Append(b.Context(), note("benchmark")); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	log := content(b, fill(b, 1000))
	b.SetBytes(int64(len(log)))
	for b.Loop() {
		if _, err := audit.Verify(bytes.NewReader(log)); err != nil {
			b.Fatal(err)
		}
	}
}
