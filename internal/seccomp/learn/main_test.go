package learn_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// partVar makes the test binary be a workload: it puts a filter on itself that
// asks about a few calls, hands the descriptor to a listener as an OCI runtime
// does, and makes the calls. Its value is the path of the socket.
const partVar = "CCC_TEST_LEARN_SOCKET"

func TestMain(m *testing.M) {
	socket := os.Getenv(partVar)
	if socket == "" {
		os.Exit(m.Run())
	}
	if err := workload(socket); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// asked are the calls that the workload's filter asks about.
var asked = []uint32{unix.SYS_SET_MEMPOLICY, unix.SYS_UNSHARE, unix.SYS_SOCKET, unix.SYS_SPLICE, unix.SYS_GETUID, unix.SYS_IOCTL, unix.SYS_PERSONALITY, unix.SYS_MKNODAT, unix.SYS_SETSOCKOPT}

// filter returns the classic BPF program: ask about those, allow the rest.
func filter() []unix.SockFilter {
	const load, jump, answer = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	prog := []unix.SockFilter{{Code: load}}
	for i, nr := range asked {
		prog = append(prog, unix.SockFilter{Code: jump, K: nr, Jt: uint8(len(asked) - i)})
	}
	return append(prog, unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_ALLOW}, unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_USER_NOTIF})
}

func workload(path string) error {
	// A filter belongs to a thread.
	runtime.LockOSThread()
	socket, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return err
	}
	prog := filter()
	fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&fprog)))
	if errno != 0 {
		return fmt.Errorf("set a filter: %w", errno)
	}
	if _, _, err := socket.WriteMsgUnix([]byte(`{"ociVersion":"1.0"}`), unix.UnixRights(int(fd)), nil); err != nil {
		return err
	}
	if err := unix.Close(int(fd)); err != nil {
		return err
	}
	// A process that wants to answer itself, and so let its calls through: there
	// is one listener and no second (seccomp(2)), and a filter of its own that asks
	// nobody, or allows, takes nothing from this one.
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&fprog))); errno != unix.EBUSY {
		return fmt.Errorf("a second listener: %w", errno)
	}
	allow := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}}
	fprog = unix.SockFprog{Len: uint16(len(allow)), Filter: &allow[0]}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&fprog))); errno != 0 {
		return fmt.Errorf("a filter that allows: %w", errno)
	}
	return answers()
}

// answers makes the calls and prints what came back, a line each; after a line
// of input, the first of them again.
func answers() error {
	out := json.NewEncoder(os.Stdout)
	call := func(name string, nr uintptr, args ...uintptr) error {
		a := [6]uintptr{}
		copy(a[:], args)
		_, _, errno := unix.RawSyscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
		return out.Encode(map[string]string{name: unix.ErrnoName(errno)})
	}
	for range 3 {
		if err := call("set_mempolicy", unix.SYS_SET_MEMPOLICY); err != nil {
			return err
		}
	}
	// Signals interrupt a call that waits for its answer.
	signals := make(chan os.Signal, 100)
	signal.Notify(signals, unix.SIGUSR1)
	tid := unix.Gettid()
	end := time.Now().Add(50 * time.Millisecond)
	go func() {
		for time.Now().Before(end) {
			_ = unix.Tgkill(os.Getpid(), tid, unix.SIGUSR1)
		}
	}()
	for time.Now().Before(end) {
		_, _, errno := unix.RawSyscall(unix.SYS_SPLICE, 0, 0, 0)
		if errno != unix.EINVAL && errno != unix.EINTR {
			return fmt.Errorf("splice while signals come: %w", errno)
		}
	}
	for _, c := range []struct {
		name string
		nr   uintptr
		args []uintptr
	}{
		{"unshare", unix.SYS_UNSHARE, []uintptr{unix.CLONE_NEWUSER | unix.CLONE_NEWNET}},
		{"socket", unix.SYS_SOCKET, []uintptr{unix.AF_VSOCK, unix.SOCK_STREAM, 0}},
		{"netlink", unix.SYS_SOCKET, []uintptr{unix.AF_NETLINK, unix.SOCK_RAW | unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER}},
		// The upper half of a request is not the kernel's, and not the filter's.
		{"ioctl", unix.SYS_IOCTL, []uintptr{0, 1<<32 | unix.TIOCSTI}},
		{"personality", unix.SYS_PERSONALITY, []uintptr{0x400000}},
		{"mknodat", unix.SYS_MKNODAT, []uintptr{0, 0, unix.S_IFBLK | 0o600}},
		{"setsockopt", unix.SYS_SETSOCKOPT, []uintptr{0, unix.SOL_TCP, unix.TCP_ULP}},
		// The profile allows this one: to be asked about it is a fault.
		{"getuid", unix.SYS_GETUID, nil},
	} {
		if err := call(c.name, c.nr, c.args...); err != nil {
			return err
		}
	}
	if _, err := os.Stdin.Read(make([]byte, 1)); err != nil && !strings.Contains(err.Error(), "EOF") {
		return err
	}
	return call("after", unix.SYS_SET_MEMPOLICY)
}
