package program

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"golang.org/x/sys/unix"
)

// lastStandard is standard error; what lies above it was left open by mistake.
// A leaked descriptor has been a way out of containers (CVE-2024-21626).
const lastStandard = 2

// closeInherited closes every descriptor that was inherited but for the three
// standard ones. The ones that this process opened itself stay.
func closeInherited() error { return eachInherited(unix.Close) }

// sealInherited sees to it that the next program inherits none but the three
// standard ones. Closing would take those away that the Go runtime uses.
func sealInherited() error {
	err := unix.CloseRange(lastStandard+1, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	if err == nil {
		return nil
	}
	// Before Linux 5.11, or with a filter that does not know the call.
	return eachInherited(func(fd int) error {
		_, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC)
		return err
	})
}

// eachInherited calls do for every descriptor above the standard ones that was
// inherited, which is to say: it is not one to close on exec, for then it would
// be closed already, and all that Go opens are.
func eachInherited(do func(fd int) error) error {
	names, err := list("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("list descriptors: %w", err)
	}
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil || fd <= lastStandard {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if errors.Is(err, unix.EBADF) || err == nil && flags&unix.FD_CLOEXEC != 0 {
			continue
		}
		if err := errors.Join(err, do(fd)); err != nil {
			return fmt.Errorf("descriptor %d: %w", fd, err)
		}
	}
	return nil
}

// list returns the names in a directory. Package os would do it through the
// runtime's poller, which costs descriptors and memory.
func list(dir string) ([]string, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var names []string
	buf := make([]byte, 4096)
	for {
		n, err := unix.ReadDirent(fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return names, err
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}

// read returns the content of a file that is at most limit bytes long; of a
// longer one it returns the first limit bytes and one more.
func read(name string, limit int) ([]byte, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	buf := make([]byte, limit+1)
	for have := 0; ; {
		n, err := unix.Read(fd, buf[have:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		have += n
		if n == 0 || have == len(buf) {
			return buf[:have], nil
		}
	}
}

// reopenNull replaces standard descriptors that are the host's /dev/null by the
// session's own. The engine opens it on the host, where Landlock sees no path
// that leads to it, and a program that opens /dev/stdin again would be refused.
func reopenNull() {
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(null)
	if !isNull(null) {
		return
	}
	for fd := range lastStandard + 1 {
		if isNull(fd) {
			// What fails here stays as it was, which is merely less convenient.
			_ = unix.Dup3(null, fd, 0)
		}
	}
}

func isNull(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == unix.Mkdev(1, 3)
}
