package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Inside returns the process on the host that has the number inside in the PID
// namespace of the process first. Nobody inside can choose the number that
// another process has there. The error is [fs.ErrNotExist] if there is none.
func (r Reader) Inside(first, inside int) (int, error) {
	proc := or(r.Proc, "/proc")
	space, err := os.Readlink(filepath.Join(proc, strconv.Itoa(first), "ns", "pid"))
	if err != nil {
		return 0, err
	}
	names, err := os.ReadDir(proc)
	if err != nil {
		return 0, err
	}
	for _, n := range names {
		pid, err := strconv.Atoi(n.Name())
		if err != nil || innermost(filepath.Join(proc, n.Name(), "status")) != inside {
			continue
		}
		// Of somebody else's process the link cannot be read: then it is none of
		// the session's.
		if own, err := os.Readlink(filepath.Join(proc, n.Name(), "ns", "pid")); err == nil && own == space {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("process %d in the namespace of process %d: %w", inside, first, fs.ErrNotExist)
}

// innermost returns a process's number in its own PID namespace, see NSpid in
// proc_pid_status(5); 0 if the process is gone.
func innermost(status string) int {
	data, err := os.ReadFile(status)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if list, ok := strings.CutPrefix(line, "NSpid:"); ok {
			numbers := strings.Fields(list)
			if len(numbers) == 0 {
				return 0
			}
			n, _ := strconv.Atoi(numbers[len(numbers)-1])
			return n
		}
	}
	return 0
}

// Namespaces returns what the links in /proc/PID/ns lead to, by name: two
// processes are in the same namespace if these are equal (namespaces(7)). The
// process 0 is the caller.
func (r Reader) Namespaces(pid int) (map[string]string, error) {
	who := "self"
	if pid != 0 {
		who = strconv.Itoa(pid)
	}
	all := map[string]string{}
	for _, name := range []string{"cgroup", "ipc", "mnt", "net", "pid", "user", "uts"} {
		link, err := os.Readlink(filepath.Join(or(r.Proc, "/proc"), who, "ns", name))
		if errors.Is(err, unix.ENOENT) && pid == 0 {
			// A kernel without that kind of namespace.
			continue
		}
		if err != nil {
			return nil, err
		}
		all[name] = link
	}
	return all, nil
}
