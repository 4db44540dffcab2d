package podman

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// endMonitors ends what watches over a container that is gone. Podman keeps two
// conmon processes for five minutes after every exec, to tidy up a list that
// goes with the container.
func endMonitors(id string) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return
	}
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil && monitors(pid, id) {
			endMonitor(pid, id)
		}
	}
}

// endMonitor kills a monitor, pinned by a descriptor so that no other process
// that got its number meanwhile is hit. Other users' are the kernel's to refuse.
func endMonitor(pid int, id string) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if monitors(pid, id) {
		// What cannot be ended ends by itself in five minutes.
		_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	}
}

// monitors tells whether a process is a conmon of the container: its arguments
// have the container's identity after -c.
func monitors(pid int, id string) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return false
	}
	args := bytes.Split(data, []byte{0})
	at := slices.IndexFunc(args, func(a []byte) bool { return string(a) == "-c" })
	return filepath.Base(string(args[0])) == "conmon" && at > 0 && at+1 < len(args) && string(args[at+1]) == id
}
