package program

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"time"
	"unsafe"

	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/guest"
)

// pid1 is the mode of the first process.
func (p Program) pid1(o options) int {
	// Where it is not the first, its signals would reach every process of the
	// user, or of the machine.
	if os.Getpid() != 1 {
		return p.refuse(errors.New("pid1 is for the first process of a session"))
	}
	m := openMachine(o.session)
	if err := harden(o); err != nil {
		return p.refuse(err)
	}
	m.spareThreads()
	return PID1{System: m, Log: p.Log}.Run()
}

// harden makes this process as small and as hard to reach as it can be.
func harden(o options) error {
	// One thread runs Go code at a time: there is nothing to do at once, and
	// threads count against the session's limit.
	runtime.GOMAXPROCS(1)
	const collectOften = 20
	debug.SetGCPercent(collectOften)

	// Commands run as the same user. To them, this takes /proc/1/mem, its
	// descriptors, its environment and ptrace away, and with those the means to
	// make it forget the deadline. What they still can, lower its limits and its
	// priority, ends the session or changes nothing. The host's user still sees it
	// all, for the session's user namespace is theirs; so do Podman and its
	// runtime.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("make the first process unreadable: %w", err)
	}
	if err := closeInherited(); err != nil {
		return err
	}
	// It writes nothing, but what cannot be applied here could not be applied to
	// any command, and a session without it must not start. Landlock wants
	// no_new_privs, which the engine has set, unless it was called wrongly.
	if err := ll.AllThreadsPrctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	if err := bound(o.processes); err != nil {
		return err
	}
	return confine(o.write, o.require, ll.AllThreadsLandlockRestrictSelf)
}

// machine is the System of a real first process.
type machine struct {
	life    string
	sampler Sampler
	timer   *time.Timer
	// One channel for each event, and each holds one: signals that come faster
	// than they are read say nothing new, and none displaces another.
	ended, announced, stop chan os.Signal
}

// openMachine takes over the signals.
func openMachine(session string) *machine {
	m := &machine{
		life:    guest.LifeFile(session),
		sampler: Sampler{Proc: "/proc", Terminals: "/dev/pts", Self: 1},
		timer:   time.NewTimer(time.Hour),
		ended:   make(chan os.Signal, 1), announced: make(chan os.Signal, 1), stop: make(chan os.Signal, 1),
	}
	signal.Notify(m.ended, unix.SIGCHLD)
	signal.Notify(m.announced, announcement)
	signal.Notify(m.stop, unix.SIGTERM, unix.SIGINT)
	// Every other is for nothing but harm: any process of the session may send
	// it, and some end a Go program. SIGURG is how Go interrupts itself.
	for n := unix.Signal(1); n <= lastSignal; n++ {
		switch n {
		case unix.SIGCHLD, announcement, unix.SIGTERM, unix.SIGINT, unix.SIGURG, unix.SIGKILL, unix.SIGSTOP:
		case sigCancel, sigMusl:
			ignore(n)
		default:
			signal.Ignore(n)
		}
	}
	return m
}

// spareThreads has the Go runtime make the threads that it will want sooner or
// later. At the session's limit of processes it could not, and would die of it,
// and the session with it. All in all there are seven: three for handling
// signals, one that runs Go code, one that watches over it, two to spare.
func (m *machine) spareThreads() {
	// The thread that takes signals is taken up for good once it has taken one.
	_ = unix.Kill(os.Getpid(), announcement)
	<-m.announced
	const atOnce = 2
	held := make(chan struct{})
	free := make(chan struct{})
	for range atOnce {
		go func() {
			// A thread that is held is not there for the other.
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			held <- struct{}{}
			<-free
		}()
	}
	for range atOnce {
		<-held
	}
	close(free)
	// The first collection starts what all later ones use.
	runtime.GC()
}

// Signals that x/sys has no names for. The Go runtime keeps the first two out of
// the hands of os/signal, for the C library's sake, and uses 33 itself.
const (
	sigCancel  = unix.Signal(32)
	sigMusl    = unix.Signal(34)
	lastSignal = unix.Signal(64)
)

// ignore has the kernel ignore a signal, see rt_sigaction(2). Signals of the
// session that have no handler do not reach a first process; but the kernel
// looks at that only if the process's first thread does not block the signal,
// as all threads do for moments, and otherwise kills the process.
func ignore(n unix.Signal) {
	type action struct{ handler, flags, restorer, mask uintptr }
	ign := action{handler: 1}
	//nolint:gosec // G103: the call takes an address, and no package wraps it.
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(n), uintptr(unsafe.Pointer(&ign)), 0, 8, 0, 0)
}

func (m *machine) Boottime() time.Duration { return guest.Boottime() }

func (m *machine) Wait(d time.Duration) Event {
	// Of several that are ready, select takes one at random, and a session can
	// see to it that the others always are.
	select {
	case <-m.stop:
		return Stop
	default:
	}
	m.timer.Reset(max(d, 0))
	select {
	case <-m.stop:
		return Stop
	case <-m.announced:
		return Announced
	case <-m.ended:
		return Ended
	case <-m.timer.C:
		return Quiet
	}
}

func (m *machine) Reap(most int) bool {
	for range most {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if pid <= 0 {
			return false
		}
	}
	return true
}

func (m *machine) Kill(s unix.Signal) bool {
	// See pid1. This is looked at twice because of what a mistake would do.
	return os.Getpid() == 1 && unix.Kill(-1, s) == nil
}

func (m *machine) Life() ([]byte, error) {
	const most = 8192
	return read(m.life, most)
}

func (m *machine) Usage() (Usage, error) { return m.sampler.Usage() }

// Messages is a descriptor for what ccc-init says. A message is lost if nobody
// takes it at once: the first process must not wait for a reader with a
// session's end, nor die when there is none.
type Messages int

// Write writes all or nothing of a message. It never fails.
func (m Messages) Write(text []byte) (int, error) {
	ready := []unix.PollFd{{Fd: int32(m), Events: unix.POLLOUT}}
	n, err := unix.Poll(ready, 0)
	// It cannot ask when the session has lowered its limit of descriptors; that
	// should be in the log, and what it says is too little to fill a pipe.
	if err != nil || n == 1 && ready[0].Revents&unix.POLLOUT != 0 {
		// A pipe that is ready takes PIPE_BUF bytes, 4096, see pipe(7).
		_, _ = unix.Write(int(m), text[:min(len(text), 4096)])
	}
	return len(text), nil
}
