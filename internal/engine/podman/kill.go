package podman

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"golang.org/x/sys/unix"
)

// killGrace is how long a process has between SIGTERM and SIGKILL.
const (
	killGrace = 500 * time.Millisecond
	killPoll  = 10 * time.Millisecond
)

// kill ends a process that Exec started, with all that it started and that did
// not leave its session: first SIGTERM, then SIGKILL.
//
// Podman has no call for this; closing the connection leaves the process
// running. But with keep-id the processes of a container belong to the calling
// user, who may signal them. It is a matter of hitting the right ones: each is
// pinned by a descriptor (pidfd_open(2)), then seen to be in the container's
// PID namespace, and then signalled through the descriptor, so that a number
// that was given to another process meanwhile does no harm.
//
// It is best effort with a bound on time: if it fails, the process ends with the
// container.
func (e *Engine) kill(ctx context.Context, id, exec string) {
	ctx, cancel := context.WithTimeout(ctx, undoTimeout)
	defer cancel()
	leader := e.execPID(ctx, exec)
	i, err := e.inspect(ctx, id)
	if leader <= 0 || err != nil || i.State.Pid <= 0 {
		return
	}
	inside, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", i.State.Pid))
	if err != nil {
		return
	}
	mine, err := os.Readlink("/proc/self/ns/pid")
	if err != nil || mine == inside {
		return
	}
	f := family{leader: leader, namespace: inside}
	f.signal(unix.SIGTERM)
	for range killGrace / killPoll {
		if len(f.members()) == 0 || !sleep(ctx, killPoll) {
			break
		}
	}
	for f.signal(unix.SIGKILL) > 0 && sleep(ctx, 5*time.Millisecond) {
	}
}

// sleep waits, and tells whether the context still lives.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// execPID returns the process's number on the host, which Podman knows a moment
// after it has started; zero if the process has ended.
func (e *Engine) execPID(ctx context.Context, exec string) int {
	for range 100 {
		state, err := e.execState(ctx, exec)
		if err != nil {
			return 0
		}
		if state.Pid > 0 {
			return state.Pid
		}
		if !sleep(ctx, 20*time.Millisecond) {
			return 0
		}
	}
	return 0
}

// family is a process in a container and what it started.
type family struct {
	leader    int
	namespace string
}

// process is a line of /proc/PID/stat.
type process struct{ pid, parent, session int }

// members returns the living processes of the family: the leader, the members
// of its session, and the descendants of both.
func (f family) members() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var all []process
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			if p, ok := readProcess(pid); ok {
				all = append(all, p)
			}
		}
	}
	found := []int{f.leader}
	for grown := true; grown; {
		grown = false
		for _, p := range all {
			related := p.session == f.leader || slices.Contains(found, p.parent)
			if related && !slices.Contains(found, p.pid) {
				found, grown = append(found, p.pid), true
			}
		}
	}
	return slices.DeleteFunc(found, func(pid int) bool { return !slices.ContainsFunc(all, func(p process) bool { return p.pid == pid }) })
}

// readProcess reads a process from /proc; not one that is dead already.
func readProcess(pid int) (process, bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, false
	}
	// The second field is the program's name in parentheses, and may hold any
	// character (proc(5)).
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 4 || fields[0] == "Z" || fields[0] == "X" {
		return process{}, false
	}
	parent, err1 := strconv.Atoi(fields[1])
	session, err2 := strconv.Atoi(fields[3])
	return process{pid, parent, session}, errors.Join(err1, err2) == nil
}

// signal sends the signal to the members and returns how many took it.
func (f family) signal(s unix.Signal) int {
	n := 0
	for _, pid := range f.members() {
		if f.signalOne(pid, s) == nil {
			n++
		}
	}
	return n
}

func (f family) signalOne(pid int, s unix.Signal) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	namespace, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
	if err != nil {
		return err
	}
	if namespace != f.namespace {
		return fmt.Errorf("process %d is not in the container", pid)
	}
	// If this fails, the process has ended since the descriptor was opened, and
	// what was read may be another's.
	return unix.PidfdSendSignal(fd, s, nil, 0)
}

// lostContainer explains why a process's state is not there any more: with its
// container gone, that is the better answer.
func lostContainer(id string, err error) error {
	if api.KindOf(err) != api.KindNotFound {
		return err
	}
	return &api.Error{Kind: api.KindConflict, Msg: fmt.Sprintf("container %s was removed while the process ran", id), Err: err}
}
