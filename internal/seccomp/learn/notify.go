package learn

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/seccomp"
	"github.com/ccc-dev/ccc/internal/seccomp/calls"
)

// notification is struct seccomp_notif of the kernel (linux/seccomp.h).
type notification struct {
	id    uint64
	pid   uint32
	flags uint32
	nr    int32
	arch  uint32
	ip    uint64
	args  [6]uint64
}

// response is struct seccomp_notif_resp. There is a flag with which the kernel
// goes on with the call; it is not used here, and is not even named.
type response struct {
	id    uint64
	val   int64
	errno int32
	flags uint32
}

// ask waits for the next call at a notification descriptor. It returns false
// when there are no more: the last process with the filter has ended, or
// something is to be read from stop.
func ask(fd, stop int, n *notification) (bool, error) {
	for {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(stop), Events: unix.POLLIN}}
		_, err := unix.Poll(fds, -1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("wait for system calls: %w", err)
		}
		if fds[1].Revents != 0 || fds[0].Revents&unix.POLLIN == 0 {
			return false, nil
		}
		// The kernel wants to find zeros.
		*n = notification{}
		switch err := ioctl(fd, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(n)); { //nolint:gosec // the kernel reads and writes it within the call
		case err == nil:
			return true, nil
		case !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.ENOENT):
			// ENOENT: a signal took the caller away meanwhile.
			return false, fmt.Errorf("receive a system call: %w", err)
		}
	}
}

// deny answers a call with an errno. It returns false if the caller is not
// waiting any more.
func deny(fd int, id uint64, errno unix.Errno) bool {
	r := response{id: id, errno: -int32(errno)}
	return ioctl(fd, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&r)) == nil //nolint:gosec // the kernel reads and writes it within the call
}

// waiting tells whether the caller is still the process that made the call: what
// was read of it by its number until now was then its own.
func waiting(fd int, id uint64) bool {
	return ioctl(fd, unix.SECCOMP_IOCTL_NOTIF_ID_VALID, unsafe.Pointer(&id)) == nil //nolint:gosec // the kernel reads and writes it within the call
}

func ioctl(fd int, request uintptr, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}

// names are the calls of this machine by number.
func names() map[int32]string {
	all := map[int32]string{}
	for _, name := range calls.Names(runtime.GOARCH) {
		if nr, ok := calls.Number(runtime.GOARCH, name); ok {
			all[int32(nr)] = name
		}
	}
	return all
}

// auditArch returns the kernel's number of an architecture (linux/audit.h).
func auditArch(goarch string) uint32 {
	if goarch == "arm64" {
		return unix.AUDIT_ARCH_AARCH64
	}
	return unix.AUDIT_ARCH_X86_64
}

// call returns what was called. It has no name if it came through the table of
// another architecture, or is one that nobody has heard of.
func (n *notification) call(names map[int32]string) seccomp.Call {
	c := seccomp.Call{Arch: seccomp.Native(runtime.GOARCH), Args: n.args}
	if n.arch != auditArch(runtime.GOARCH) {
		c.Arch = specs.Arch("")
		return c
	}
	c.Name = names[n.nr]
	return c
}

// program returns the name of the program that a thread belongs to, as the
// program itself chooses it (proc_pid_comm(5)).
func program(tid uint32) string {
	pid := strconv.FormatUint(uint64(tid), 10)
	if status, err := os.ReadFile("/proc/" + pid + "/status"); err == nil {
		for line := range bytes.Lines(status) {
			if tgid, ok := bytes.CutPrefix(line, []byte("Tgid:")); ok {
				pid = string(bytes.TrimSpace(tgid))
			}
		}
	}
	comm, err := os.ReadFile("/proc/" + pid + "/comm")
	if err != nil {
		return ""
	}
	return string(bytes.TrimSuffix(comm, []byte("\n")))
}
