package sessiontest

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Inside implements [session.Kernel]: what is run in a container is, to this
// kernel, its first process.
func (m *Machine) Inside(first, _ int) (pid int, err error) {
	err = m.around("Inside", func() error {
		if _, ok := m.instance(first); !ok {
			return unix.ESRCH
		}
		pid = first
		return nil
	})
	return pid, err
}

// Namespaces implements [session.Kernel]: every container has its own.
func (m *Machine) Namespaces(pid int) (all map[string]string, err error) {
	err = m.around("Namespaces", func() error {
		if _, ok := m.instance(pid); pid != 0 && !ok {
			return unix.ESRCH
		}
		all = map[string]string{}
		for _, name := range []string{"cgroup", "ipc", "mnt", "net", "pid", "user", "uts"} {
			all[name] = fmt.Sprintf("%s:[%d]", name, 4026531835+pid)
		}
		return nil
	})
	return all, err
}
