package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/audit"
)

// childVar makes the test binary play one of the parts in children instead of
// running the tests; its value is the part and its arguments.
const childVar = "CCC_TEST_AUDIT_CHILD"

// children are the parts that a test needs another process for.
var children = map[string]func(args []string) error{
	"append":  childAppend,
	"forever": childForever,
	"fsize":   childFileSize,
	"nospace": childNoSpace,
	"nosync":  childNoSync,
}

func TestMain(m *testing.M) {
	part := strings.Fields(os.Getenv(childVar))
	if len(part) == 0 {
		os.Exit(m.Run())
	}
	if err := children[part[0]](part[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// child returns a command that plays a part.
func child(t *testing.T, part ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childVar+"="+strings.Join(part, " "))
	cmd.Stderr = &bytes.Buffer{}
	return cmd
}

// runChild plays a part to its end and returns what it printed.
func runChild(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("child: %v\n%s", err, cmd.Stderr)
	}
	return string(out)
}

// options are those of every test.
func options() audit.Options {
	return audit.Options{Clock: time.Now, Version: "test", Caller: api.Caller{UID: 1000, PID: 7, Client: "cli"}}
}

// open opens a log that the test closes.
func open(t testing.TB, dir string) *audit.Log {
	t.Helper()
	l, err := audit.Open(t.Context(), dir, options())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// note is a record that carries a message.
func note(message string) audit.Record {
	return audit.Record{Action: "test.note", Message: message, Caller: api.Caller{UID: 1000, Client: "cli"}}
}

// fill opens a log in a fresh directory and appends n notes to it.
func fill(t testing.TB, n int) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "audit")
	l := open(t, dir)
	for i := range n {
		if err := l.Append(t.Context(), note(fmt.Sprint("note ", i))); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// content returns the bytes of the log in dir.
func content(t testing.TB, dir string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, audit.DefaultFile))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// childAppend appends N notes that begin with the given word.
func childAppend(args []string) error {
	n, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	l, err := audit.Open(context.Background(), args[0], options())
	if err != nil {
		return err
	}
	for i := range n {
		if err := l.Append(context.Background(), note(fmt.Sprint(args[1], " ", i))); err != nil {
			return err
		}
	}
	return l.Close()
}

// childForever appends until it is killed, and prints each note's text once it
// was acknowledged.
func childForever(args []string) error {
	l, err := audit.Open(context.Background(), args[0], options())
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		text := fmt.Sprint(args[1], " ", i)
		if err := l.Append(context.Background(), note(text+strings.Repeat(" long", i%700))); err != nil {
			return err
		}
		fmt.Println(text)
	}
}

// appendUntilError appends long notes until one fails, and returns how many did
// not and the error.
func appendUntilError(l *audit.Log) (int, error) {
	for i := range 1000 {
		if err := l.Append(context.Background(), note(strings.Repeat("x", 3000))); err != nil {
			return i, err
		}
	}
	return 1000, errors.New("no append failed")
}

// mustRefuse checks that err is the error of a log that cannot be written, and
// that the log stays shut although mend made writing possible again.
func mustRefuse(l *audit.Log, err error, mend func() error) error {
	e, ok := errors.AsType[*api.Error](err)
	if !ok || e.Kind != api.KindUnavailable || e.Hint == "" {
		return fmt.Errorf("got %w, want an unavailable error with a hint", err)
	}
	if err := mend(); err != nil {
		return err
	}
	before, err := os.Stat(l.Path())
	if err != nil {
		return err
	}
	if err := l.Append(context.Background(), note("again")); api.KindOf(err) != api.KindUnavailable {
		return fmt.Errorf("an append after the failure: %w", err)
	}
	after, err := os.Stat(l.Path())
	if err != nil {
		return err
	}
	if before.Size() != after.Size() {
		return errors.New("the refused append wrote something")
	}
	return nil
}

// childFileSize appends under a file size limit until it is reached.
func childFileSize(args []string) error {
	signal.Ignore(syscall.SIGXFSZ)
	l, err := audit.Open(context.Background(), args[0], options())
	if err != nil {
		return err
	}
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		return err
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 10000, Max: old.Max}); err != nil {
		return err
	}
	n, err := appendUntilError(l)
	fmt.Println(n)
	return mustRefuse(l, err, func() error { return unix.Setrlimit(unix.RLIMIT_FSIZE, &old) })
}

// childNoSpace, in mount and user namespaces of its own, appends on a file
// system of 16 KiB until it is full, makes room, and opens the log again.
func childNoSpace(args []string) error {
	if err := unix.Mount("tmpfs", args[0], "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=16k"); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	dir, ballast := filepath.Join(args[0], "audit"), filepath.Join(args[0], "ballast")
	l, err := audit.Open(context.Background(), dir, options())
	if err != nil {
		return err
	}
	if err := os.WriteFile(ballast, make([]byte, 4096), 0o600); err != nil {
		return err
	}
	n, err := appendUntilError(l)
	if !errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("got %w, want ENOSPC", err)
	}
	if err := mustRefuse(l, err, func() error { return nil }); err != nil {
		return err
	}
	if _, err := audit.Open(context.Background(), dir, options()); api.KindOf(err) != api.KindUnavailable {
		return fmt.Errorf("open on a full file system: %w", err)
	}
	if err := unix.Mount("", args[0], "", unix.MS_REMOUNT|unix.MS_NOSUID|unix.MS_NODEV, "size=1m"); err != nil {
		return fmt.Errorf("remount: %w", err)
	}
	if _, err := audit.Open(context.Background(), dir, options()); err != nil {
		return err
	}
	report, err := audit.VerifyDir(context.Background(), dir, "")
	if err != nil {
		return err
	}
	// log.begin, the notes that were acknowledged, log.recovered.
	if want := uint64(n + 2); report.Records != want {
		return fmt.Errorf("%d records, want %d", report.Records, want)
	}
	return nil
}

// childNoSync appends while every fdatasync fails with EIO, as a broken disk
// makes it.
func childNoSync(args []string) error {
	l, err := audit.Open(context.Background(), args[0], options())
	if err != nil {
		return err
	}
	if err := failFdatasync(); err != nil {
		return err
	}
	err = l.Append(context.Background(), note("lost"))
	if !errors.Is(err, unix.EIO) {
		return fmt.Errorf("got %w, want EIO", err)
	}
	return mustRefuse(l, err, func() error { return nil })
}
