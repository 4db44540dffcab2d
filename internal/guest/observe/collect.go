package observe

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/guest"
	"github.com/ccc-dev/ccc/internal/seccomp/calls"
)

// Probe is one run of the probes.
type Probe struct {
	// Args are further addresses to connect to: those of the host's own sockets,
	// which must not be in reach. Each is "unix:PATH" or "unix:@NAME".
	Args []string
	// Environ is the environment.
	Environ []string
	// Version tells the version of this build.
	Version string
	// Landlock is the kernel's Landlock ABI; 0 for none.
	Landlock int
	// Out takes the document.
	Out io.Writer
}

// Run tries everything and writes the document, a single line. Then it waits for
// the end of its standard input, so that whoever reads the document can look at
// the process that made it.
func (p Probe) Run() error {
	// What is harmless for a session's user may not be for root.
	if unix.Geteuid() == 0 {
		return errors.New("the probes are for a session, whose user is never root")
	}
	r, err := p.collect()
	if err != nil {
		return err
	}
	if _, err := p.Out.Write(append(r.encode(), '\n')); err != nil {
		return fmt.Errorf("print the report: %w", err)
	}
	buf := make([]byte, 1)
	for {
		n, err := unix.Read(0, buf)
		if errors.Is(err, unix.EINTR) || n > 0 {
			continue
		}
		return nil
	}
}

func (p Probe) collect() (Report, error) {
	r := Report{
		Format: Format, Version: p.Version, Arch: runtime.GOARCH, PID: unix.Getpid(),
		Texts: map[string]Text{}, Tries: map[string]string{}, Calls: map[string]string{}, Limits: limits(),
		// First, before anything here opens files of its own.
		Descriptors: descriptors(),
		Variables:   variables(p.Environ),
		Landlock:    p.Landlock, Dir: dir(),
	}
	// What Landlock denies and nothing else does, while the file still belongs to
	// this process: a process may write its own name.
	r.Tries[Key("open-write", "/proc/self/comm")] = openWrite("/proc/self/comm")
	// From here on, other processes of the user can neither read nor change what
	// this one remembers.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return r, fmt.Errorf("make the probe unreadable: %w", err)
	}
	for _, name := range texts() {
		r.Texts[name] = read(name)
	}
	for _, name := range []string{"cgroup", "ipc", "mnt", "net", "pid", "user", "uts"} {
		r.Texts["/proc/self/ns/"+name] = link("/proc/self/ns/" + name)
	}
	var st unix.Stat_t
	if unix.Stat(guest.Path, &st) == nil {
		r.Init = Identity{Dev: st.Dev, Ino: st.Ino}
	}
	p.try(&r)
	for _, probe := range calls.Probes() {
		if !probe.Here() {
			continue
		}
		answer, err := probe.Try()
		if err != nil {
			answer = "error: " + err.Error()
		}
		r.Calls[probe.ID] = answer
	}
	return r, nil
}

// texts are the files of the kernel that say what a process is and has.
func texts() []string {
	return []string{
		"/proc/self/status", "/proc/1/status", "/proc/self/mountinfo", "/proc/self/attr/current", "/proc/1/attr/current",
		"/proc/self/uid_map", "/proc/self/gid_map", "/proc/self/cgroup", "/proc/1/cmdline",
		"/proc/net/dev", "/proc/net/route", "/proc/net/ipv6_route", "/proc/net/unix",
		"/etc/resolv.conf", guest.LifeFile(guest.SessionDir),
	}
}

// try makes all attempts but those at system calls.
func (p Probe) try(r *Report) {
	points := mountPoints(r.Texts["/proc/self/mountinfo"].Data)
	p.tryWrites(r, points)
	tryMasks(r)
	tryNodes(r)
	tryNetwork(r)
	p.tryHostSockets(r)
	r.Devices = devices()
	r.Tree = walk(points)
	p.trySetID(r)
}

// word returns what an attempt came to: "ok" or the name of an errno.
func word(err error) string {
	if err == nil {
		return "ok"
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		if name := unix.ErrnoName(errno); name != "" {
			return name
		}
	}
	return "error"
}

// read returns the beginning of a file. It does not wait for one that has
// nothing to give.
func read(name string) Text {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return Text{Err: word(err)}
	}
	defer unix.Close(fd)
	buf := make([]byte, maxText+1)
	have := 0
	for have < len(buf) {
		n, err := unix.Read(fd, buf[have:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil && have == 0 {
			return Text{Err: word(err)}
		}
		if err != nil || n == 0 {
			break
		}
		have += n
	}
	if have > maxText {
		return Text{Data: string(buf[:maxText]), Cut: true}
	}
	return Text{Data: string(buf[:have])}
}

// link returns what a symbolic link says.
func link(name string) Text {
	buf := make([]byte, 4096)
	n, err := unix.Readlink(name, buf)
	if err != nil {
		return Text{Err: word(err)}
	}
	return Text{Data: string(buf[:n])}
}

// dir returns the working directory as the kernel names it, which marks one that
// lies outside of the root (getcwd(3)).
func dir() string {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Getcwd(buf)
	if err != nil || n < 1 {
		return word(err)
	}
	return string(buf[:n-1])
}
