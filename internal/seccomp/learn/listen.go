// Package learn watches what a workload calls and the filter denies, and
// proposes the smallest addition to the filter that is harmless.
//
// The workload runs under [seccomp.Watched] of its profile: where the profile
// denies, the kernel asks the [Listener], and the listener answers with the errno
// that the profile would have given. It never lets a call through, whatever the
// call is: what it sees are numbers in registers, and what they point to could be
// changed after a look at it. So a workload that is watched finds exactly the
// walls of one that is not, and its errors.
//
// The package starts no container and writes no file but its socket.
package learn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/private"
	"github.com/ccc-dev/ccc/internal/seccomp"
)

// maxPath is the longest path of a socket (unix(7)).
const maxPath = 107

// Listener answers the calls of processes that run under a watched profile.
type Listener struct {
	profile []byte
	parsed  *specs.LinuxSeccomp
	names   map[int32]string
	socket  *net.UnixListener
	// dir is the socket's directory, lock a lock on it.
	dir   string
	lock  *os.File
	tally tally

	// stop is a pipe; what is waited for ends when its writing end is closed.
	stop, stopped *os.File
	running       sync.WaitGroup
	mu            sync.Mutex
	errs          []error
	// open are the connections of runtimes that have not said all; nil once the
	// listener is closed.
	open map[*net.UnixConn]bool
}

// Listen makes a socket in a new directory below dir, which is created if need
// be and must belong to the calling user alone, and begins to answer whoever is
// sent there by an OCI runtime. profile is the one that gives the answers. Close
// must be called.
func Listen(ctx context.Context, dir string, profile []byte) (*Listener, error) {
	parsed, err := seccomp.Parse(profile)
	if err != nil {
		return nil, err
	}
	// The directory keeps others away: whoever connects is believed.
	root, err := private.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("listen for system calls: %w", err)
	}
	if err := errors.Join(sweep(dir), root.Close()); err != nil {
		return nil, fmt.Errorf("listen for system calls: %w", err)
	}
	own, err := os.MkdirTemp(dir, "s")
	if err != nil {
		return nil, fmt.Errorf("listen for system calls: %w", err)
	}
	l := &Listener{profile: profile, parsed: parsed, names: names(), dir: own, tally: newTally(), open: map[*net.UnixConn]bool{}}
	if err := l.listen(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("listen for system calls: %w", err), os.RemoveAll(own))
	}
	return l, nil
}

func (l *Listener) listen(ctx context.Context) error {
	path := l.Socket()
	if len(path) > maxPath {
		return &api.Error{Kind: api.KindUnavailable, Msg: "the path " + api.Printable(path) + " is too long for a socket", Hint: "use a shorter XDG_RUNTIME_DIR"}
	}
	var err error
	if l.lock, err = lock(l.dir); err != nil {
		return err
	}
	var lc net.ListenConfig
	socket, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return errors.Join(err, l.lock.Close())
	}
	if l.stopped, l.stop, err = os.Pipe(); err != nil {
		return errors.Join(err, socket.Close(), l.lock.Close())
	}
	l.socket = socket.(*net.UnixListener)
	l.running.Go(l.accept)
	return nil
}

// lock locks a directory, which the kernel unlocks when its owner dies, and fails
// if somebody else has the lock.
func lock(dir string) (*os.File, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// sweep removes what listeners that were killed have left. A directory without a
// socket may be one whose owner has not locked it yet.
func sweep(dir string) error {
	all, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, d := range all {
		left := filepath.Join(dir, d.Name())
		if _, err := os.Lstat(filepath.Join(left, "s")); err != nil {
			continue
		}
		if l, err := lock(left); err == nil {
			if err := errors.Join(os.RemoveAll(left), l.Close()); err != nil {
				return err
			}
		}
	}
	return nil
}

// Socket returns the path of the socket, for [seccomp.Watched].
func (l *Listener) Socket() string { return filepath.Join(l.dir, "s") }

// Close ends the listening and removes the socket and its directory. Processes
// that still run under the watched profile get ENOSYS from then on. It returns
// what went wrong while it listened, too.
func (l *Listener) Close() error {
	err := errors.Join(l.socket.Close(), l.stop.Close())
	l.mu.Lock()
	open := l.open
	l.open = nil
	l.mu.Unlock()
	for c := range open {
		err = errors.Join(err, c.Close())
	}
	l.running.Wait()
	return errors.Join(err, l.stopped.Close(), os.RemoveAll(l.dir), l.lock.Close(), errors.Join(l.errs...))
}

// Denied returns what was called and denied so far, all of it once the listener
// was closed: what may be added first, then by how often it was called. What came too late to be told apart from
// other calls is counted in more.
func (l *Listener) Denied() (all []api.DeniedCall, more int) { return l.tally.denied(l.profile) }

// failed keeps an error for Close.
func (l *Listener) failed(err error) {
	if err == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errs = append(l.errs, err)
}

// accept takes the notification descriptors that a runtime sends: one for a
// container's first process, and one for each that is run in it later.
func (l *Listener) accept() {
	for {
		c, err := l.socket.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			l.failed(fmt.Errorf("accept a runtime: %w", err))
			return
		}
		// One that says nothing must not keep the others waiting.
		l.running.Go(func() { l.failed(l.serve(c)) })
	}
}

// serve receives descriptors and answers the calls that come by them.
func (l *Listener) serve(c *net.UnixConn) error {
	l.mu.Lock()
	closed := l.open == nil
	if !closed {
		l.open[c] = true
	}
	l.mu.Unlock()
	if closed {
		return c.Close()
	}
	fds, err := receive(c)
	l.mu.Lock()
	closed = l.open == nil
	delete(l.open, c)
	l.mu.Unlock()
	if closed {
		// Close has closed it, which is why nothing came.
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
		return nil
	}
	for _, fd := range fds {
		l.running.Go(func() { l.failed(l.answer(fd)) })
	}
	return errors.Join(err, c.Close())
}

// receive reads the descriptors that come with one message. What the message
// says of the container is not needed.
func receive(c *net.UnixConn) ([]int, error) {
	text, oob := make([]byte, 64<<10), make([]byte, 1<<10)
	_, n, _, _, err := c.ReadMsgUnix(text, oob)
	if err != nil {
		return nil, fmt.Errorf("read what the runtime sends: %w", err)
	}
	messages, err := syscall.ParseSocketControlMessage(oob[:n])
	if err != nil {
		return nil, fmt.Errorf("read what the runtime sends: %w", err)
	}
	var all []int
	for _, m := range messages {
		if fds, err := syscall.ParseUnixRights(&m); err == nil {
			all = append(all, fds...)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("the runtime sent no descriptor")
	}
	for _, fd := range all {
		unix.CloseOnExec(fd)
	}
	return all, nil
}

// answer answers the calls of one filter until nobody has it any more.
func (l *Listener) answer(fd int) error {
	defer unix.Close(fd)
	for {
		var n notification
		more, err := ask(fd, int(l.stopped.Fd()), &n)
		if !more || err != nil {
			return err
		}
		c := n.call(l.names)
		errno, known := seccomp.ErrnoAnswer(l.parsed, c)
		name := program(n.pid)
		own := waiting(fd, n.id)
		if !deny(fd, n.id, errno) || !own {
			// A signal interrupted the call, and it will be made again.
			continue
		}
		l.tally.add(c, errno, name)
		if !known {
			l.failed(fmt.Errorf("the kernel asks about %s%x, which the profile does not deny; it was denied all the same", c.Name, c.Args))
		}
	}
}
