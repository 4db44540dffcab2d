package program

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/guest"
)

// report prints what is in force for this very process, one "key value" a line:
//
//	version V             this build
//	landlock_kernel N     the kernel's Landlock ABI, 0 for none
//	landlock_applied N    the ABI that exec reaches on this kernel, 0 for none
//	outside_writes W      "denied" or "allowed", by trying
//	pid1 P                "ok" if the first process is ccc-init, else "other"
//	no_new_privs 0|1      see prctl(2)
//	seccomp N             2 is a filter, see seccomp(2)
//	lsm L                 the label of AppArmor or SELinux, "none" without
func (p Program) report() int {
	status, err := read("/proc/self/status", 1<<16)
	if err != nil {
		return p.refuse(fmt.Errorf("read the own status: %w", err))
	}
	abi := kernelABI()
	for _, line := range [][2]string{
		{"version", p.Version()},
		{"landlock_kernel", fmt.Sprint(abi)},
		{"landlock_applied", fmt.Sprint(reach(abi))},
		{"outside_writes", outsideWrites()},
		{"pid1", firstProcess()},
		{"no_new_privs", statusField(status, "NoNewPrivs")},
		{"seccomp", statusField(status, "Seccomp")},
		{"lsm", label()},
	} {
		if _, err := fmt.Fprintln(p.Out, line[0], line[1]); err != nil {
			return p.refuse(fmt.Errorf("print the report: %w", err))
		}
	}
	return 0
}

// outsideWrites tries what Landlock denies and nothing else does: a process may
// write its own name, and the name lies beneath none of the paths.
func outsideWrites() string {
	fd, err := unix.Open("/proc/self/comm", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		unix.Close(fd)
		return "allowed"
	}
	if errors.Is(err, unix.EACCES) {
		return "denied"
	}
	return "unknown: " + err.Error()
}

// firstProcess looks at the first process's arguments, the one thing of it that
// is not hidden from the session.
func firstProcess() string {
	args, err := read("/proc/1/cmdline", 1<<12)
	if err == nil && bytes.HasPrefix(args, []byte(guest.Path+"\x00"+guest.ModePID1+"\x00")) {
		return "ok"
	}
	return "other"
}

func statusField(status []byte, key string) string {
	for line := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(line, key+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}

func label() string {
	text, err := read("/proc/self/attr/current", 1<<12)
	l := strings.TrimRight(string(text), "\x00\n ")
	if err != nil || l == "" {
		return "none"
	}
	return shown(l)
}
