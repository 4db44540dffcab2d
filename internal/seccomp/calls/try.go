package calls

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Entry is the way into the kernel that a probe takes.
type Entry string

// The ways in. The last two are those of other system call tables on the same
// processor; a filter that knows only the first table sees other calls there.
const (
	// Native is the ordinary way.
	Native Entry = ""
	// X32 is the ordinary instruction with the bit of the x32 table set.
	X32 Entry = "x32"
	// Int80 is the 32-bit way into an x86 kernel.
	Int80 Entry = "int80"
)

// x32Bit marks a number of the x32 table (arch/x86/include/uapi/asm/unistd.h).
const x32Bit = 0x40000000

// Probe is a call to try. Its arguments are numbers alone, chosen so that a
// kernel that is reached refuses for a reason of its own, or does something that
// ends with the process.
type Probe struct {
	// ID names the probe: the case of the security design that it belongs to, and
	// a word.
	ID string
	// Call is the system call; for [Int80] and [X32], the one whose number there
	// is tried.
	Call string
	// Args are its arguments.
	Args [6]uint64
	// Entry is the way in.
	Entry Entry
	// Kernel are the answers of a kernel that is reached by a process that has no
	// capabilities: errno names, or "ok".
	Kernel []string
}

// Here tells whether this machine has the probe's call and its way in.
func (p Probe) Here() bool {
	_, ok := p.number()
	return ok
}

func (p Probe) number() (int, bool) {
	if p.Entry != Native && runtime.GOARCH != "amd64" {
		return 0, false
	}
	if p.Entry == Int80 {
		// The number of getpid in the 32-bit table, the one call that is tried.
		return 20, p.Call == "getpid"
	}
	nr, ok := native(p.Call)
	if p.Entry == X32 {
		nr |= x32Bit
	}
	return nr, ok
}

// patience is how long a probe may take. None blocks; one that does all the same
// must not hold up the rest.
const patience = 10 * time.Second

// Try makes the call in a process of its own and returns the answer: "ok", the
// name of an errno, the name of the signal that ended the process, or "timeout".
// The process is a copy of this one with a single thread, because a filter may
// kill just the thread that calls, and because a process with several threads
// cannot enter a new user namespace.
//
// Try is for programs that do little else: the copy has only one of their
// threads.
func (p Probe) Try() (string, error) {
	nr, ok := p.number()
	if !ok {
		return "", fmt.Errorf("probe %s: there is no %s on %s", p.ID, p.Call, runtime.GOARCH)
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return "", fmt.Errorf("probe %s: %w", p.ID, err)
	}
	defer unix.Close(pipe[0])
	pid, err := fork(p.Entry == Int80, uintptr(nr), p.Args, uintptr(pipe[1]))
	_ = unix.Close(pipe[1])
	if err != nil {
		return "", fmt.Errorf("probe %s: fork: %w", p.ID, err)
	}
	late := !readable(pipe[0])
	if late {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	var status unix.WaitStatus
	for {
		if _, err = unix.Wait4(pid, &status, 0, nil); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	switch {
	case err != nil:
		return "", fmt.Errorf("probe %s: wait: %w", p.ID, err)
	case late:
		return "timeout", nil
	case status.Signaled():
		return unix.SignalName(status.Signal()), nil
	}
	return answer(p, pipe[0])
}

// readable waits until there is something to read, be it the end.
func readable(fd int) bool {
	deadline := int(patience / time.Millisecond)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, deadline) //nolint:gosec // a file descriptor is small
		if !errors.Is(err, unix.EINTR) {
			return n > 0
		}
	}
}

// answer reads what the child reported.
func answer(p Probe, fd int) (string, error) {
	var buf [8]byte
	n, err := unix.Read(fd, buf[:])
	if err == nil && n != len(buf) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return "", fmt.Errorf("probe %s: read the answer: %w", p.ID, err)
	}
	errno := syscall.Errno(binary.NativeEndian.Uint64(buf[:]))
	if errno == 0 {
		return "ok", nil
	}
	if name := unix.ErrnoName(errno); name != "" {
		return name, nil
	}
	return fmt.Sprintf("errno %d", uint64(errno)), nil
}

// fork makes a copy of the process, which makes the call, writes the errno to
// the pipe and exits. Between the copy's first and last instruction there are
// only system calls: nothing allocates, blocks or calls the scheduler, whose
// other threads are not there.
//
//go:norace
func fork(legacy bool, nr uintptr, args [6]uint64, out uintptr) (int, error) {
	var report [1]uint64
	a, b, c := uintptr(args[0]), uintptr(args[1]), uintptr(args[2])
	d, e, f := uintptr(args[3]), uintptr(args[4]), uintptr(args[5])
	pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	if pid != 0 {
		return int(pid), nil
	}
	var got uintptr
	if legacy {
		got = int80(nr)
		// The kernel returns a negated errno, in 32 bits.
		if r := int32(got); r < 0 { //nolint:gosec // the register has 32 bits
			errno = syscall.Errno(-r)
		}
	} else {
		got, _, errno = syscall.RawSyscall6(nr, a, b, c, d, e, f)
	}
	// A call that made another copy returns in both, with 0 in the newer.
	if errno != 0 || nr != unix.SYS_CLONE || got != 0 {
		report[0] = uint64(errno)
		_, _, _ = syscall.RawSyscall(unix.SYS_WRITE, out, uintptr(unsafe.Pointer(&report[0])), 8) //nolint:gosec // an ordinary write would need the scheduler
	}
	for {
		_, _, _ = syscall.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
}
