package session_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// changing are the system calls by which a process changes what others see:
// between two of them it does not matter when it dies.
var changing = map[uint64]string{
	unix.SYS_OPENAT: "openat", unix.SYS_MKDIRAT: "mkdirat", unix.SYS_LINKAT: "linkat", unix.SYS_UNLINKAT: "unlinkat",
	unix.SYS_RENAMEAT: "renameat", unix.SYS_RENAMEAT2: "renameat2", unix.SYS_SYMLINKAT: "symlinkat",
	unix.SYS_WRITE: "write", unix.SYS_PWRITE64: "pwrite", unix.SYS_FTRUNCATE: "ftruncate", unix.SYS_FDATASYNC: "fdatasync",
	unix.SYS_FCHMODAT: "fchmodat", unix.SYS_FLOCK: "flock",
}

// tracer runs a process under ptrace(2) and kills it before a system call.
type tracer struct {
	pid int
	// at is the call to kill it before, counted from 1 once it is armed.
	at    int
	armed bool
	calls []string
}

// trace plays a part until it reaches the call, and returns the calls it made
// up to then. All of ptrace belongs to one thread.
func trace(t *testing.T, part, dir string, at int) (calls []string, killed bool) {
	t.Helper()
	type result struct {
		tracer tracer
		killed bool
		err    error
	}
	done := make(chan result, 1)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and with it whatever
		// it still traces.
		runtime.LockOSThread()
		cmd := command(t, part, dir, math.MaxInt)
		cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true, Setpgid: true}
		if err := cmd.Start(); err != nil {
			done <- result{err: err}
			return
		}
		tr := tracer{pid: cmd.Process.Pid, at: at}
		killed, err := tr.run()
		done <- result{tr, killed, errors.Join(err, cmd.Process.Release())}
	}()
	r := <-done
	if errors.Is(r.err, unix.EPERM) {
		t.Skip("ptrace is not permitted here; TestKilledAtEveryStep covers most of this")
	}
	if r.err != nil {
		t.Fatalf("trace %s: %v", part, r.err)
	}
	return r.tracer.calls, r.killed
}

// run follows the process and all its threads to the end.
func (tr *tracer) run() (killed bool, err error) {
	var status unix.WaitStatus
	if _, err := unix.Wait4(tr.pid, &status, unix.WALL, nil); err != nil {
		return false, err
	}
	const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_EXITKILL
	if err := unix.PtraceSetOptions(tr.pid, options); err != nil {
		return false, err
	}
	if err := unix.PtraceSyscall(tr.pid, 0); err != nil {
		return false, err
	}
	for {
		// The threads are of the group that the process leads.
		tid, err := unix.Wait4(-tr.pid, &status, unix.WALL, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return false, err
		}
		switch {
		case status.Exited() || status.Signaled():
			if tid != tr.pid {
				continue
			}
			if status.Exited() && status.ExitStatus() != 0 {
				return false, fmt.Errorf("it exited with %d", status.ExitStatus())
			}
			return status.Signaled(), nil
		case status.Stopped():
			pass := 0
			switch s := status.StopSignal(); s {
			case unix.SIGTRAP | 0x80:
				if tr.reached(tid) {
					if err := unix.Kill(tr.pid, unix.SIGKILL); err != nil {
						return false, err
					}
					continue
				}
			case unix.SIGTRAP, unix.SIGSTOP:
				// A new thread, and the announcement of one.
			default:
				pass = int(s)
			}
			if err := unix.PtraceSyscall(tid, pass); err != nil && !errors.Is(err, unix.ESRCH) {
				return false, err
			}
		}
	}
}

// entered is the beginning of struct ptrace_syscall_info (ptrace(2)).
type entered struct {
	op   uint8
	_    [23]byte
	call uint64
	args [6]uint64
	_    [8]byte
}

// reached tells whether a thread is about to make the call to be killed at.
func (tr *tracer) reached(tid int) bool {
	const getSyscallInfo, entry = 0x420e, 1
	var info entered
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, getSyscallInfo, uintptr(tid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	if errno != 0 || info.op != entry {
		return false
	}
	if info.call == unix.SYS_CHDIR {
		tr.armed = true
	}
	name, changes := changing[info.call]
	if !tr.armed || !changes || !tr.matters(info) {
		return false
	}
	tr.calls = append(tr.calls, name)
	return len(tr.calls) == tr.at
}

// matters leaves out calls that change no file: opening to read, and writing to
// a pipe or to what the Go runtime wakes itself with.
func (tr *tracer) matters(info entered) bool {
	switch info.call {
	case unix.SYS_OPENAT:
		return info.args[2]&(unix.O_CREAT|unix.O_TRUNC|(unix.O_TMPFILE&^unix.O_DIRECTORY)) != 0
	case unix.SYS_WRITE, unix.SYS_PWRITE64:
		target, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", tr.pid, info.args[0]))
		return err == nil && strings.HasPrefix(target, "/") && !strings.HasPrefix(target, "/dev/")
	}
	return true
}

// The same as TestKilledAtEveryStep, with every moment at which a death can make
// a difference: before each system call that changes a file.
func TestKilledBeforeEverySystemCall(t *testing.T) {
	for _, part := range []string{"create", "remove"} {
		t.Run(part, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			prepare(t, part, dir)
			calls, killed := trace(t, part, dir, 0)
			if killed || len(calls) < 20 {
				t.Fatalf("an undisturbed %s made %d calls: %q", part, len(calls), calls)
			}
			for _, need := range []string{"linkat", "write", "fdatasync", "mkdirat", "unlinkat"} {
				if part == "create" && !slices.Contains(calls, need) {
					t.Errorf("no %s among the calls %q", need, calls)
				}
			}
			t.Logf("%d calls", len(calls))
			for at := 1; at <= len(calls); at++ {
				dir := t.TempDir()
				prepare(t, part, dir)
				made, killed := trace(t, part, dir, at)
				if !killed {
					t.Fatalf("call %d of %d was not reached", at, len(calls))
				}
				mended(t, part, dir)
				if t.Failed() {
					t.Fatalf("killed before call %d, %q", at, made)
				}
			}
		})
	}
}
