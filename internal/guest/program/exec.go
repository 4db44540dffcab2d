package program

import (
	"errors"
	"fmt"
	"runtime"
	"strings"

	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/guest"
)

// defaultPath is where commands are sought if the environment names no places.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// announcement is the signal that tells the first process of somebody's coming.
const announcement = unix.SIGUSR1

// exec becomes the command, confined. It returns only if it cannot.
//
// The command gets what this process got: arguments, environment, limits, umask,
// the three standard descriptors. Of ignored signals only SIGHUP and SIGINT stay
// ignored; the Go runtime handles the others, which makes them the default.
func (p Program) exec(o options) int {
	// What is set on one thread alone is lost if the next call runs on another.
	runtime.LockOSThread()
	if o.announce {
		// Without anybody to hear it, the command runs all the same.
		_ = unix.Kill(1, announcement)
	}
	if err := prepare(o); err != nil {
		return p.refuse(err)
	}
	name := o.command[0]
	file, err := find(name, value(p.Environ, "PATH", defaultPath))
	if err == nil {
		err = unix.Exec(file, o.command, p.Environ)
	}
	return p.failed(name, file, err)
}

// prepare confines this process.
func prepare(o options) error {
	if err := insideRoot(); err != nil {
		return err
	}
	if err := sealInherited(); err != nil {
		return fmt.Errorf("keep descriptors from the command: %w", err)
	}
	reopenNull()
	// The engine has done it, unless somebody called it wrongly.
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	if err := bound(o.processes); err != nil {
		return err
	}
	return confine(o.write, o.require, ll.LandlockRestrictSelf)
}

// bound limits the processes of this user in this user namespace, which is to say
// of the session, for this process and what comes from it. Without privilege the
// limit cannot be raised again.
func bound(processes uint64) error {
	if processes == 0 {
		return nil
	}
	limit := unix.Rlimit{Cur: processes, Max: processes}
	if err := unix.Setrlimit(unix.RLIMIT_NPROC, &limit); err != nil {
		return fmt.Errorf("limit processes to %d: %w", processes, err)
	}
	return nil
}

// insideRoot refuses a working directory outside of the session's root, from
// which every path of the host can be reached (CVE-2024-21626): the kernel
// marks it in what it says of such a directory, see getcwd(3).
func insideRoot() error {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Getcwd(buf)
	if err == nil && n > 0 && buf[0] != '/' {
		return errors.New("the working directory is outside of the session")
	}
	// Other errors, as of a directory that was removed, are the command's.
	return nil
}

// failed says why the command cannot be run and returns the code for it.
func (p Program) failed(name, file string, err error) int {
	switch {
	case errors.Is(err, errNotFound):
		p.say("%s: command not found", shown(name))
		return guest.ExitNotFound
	case errors.Is(err, unix.ENOENT) && unix.Access(file, unix.F_OK) == nil:
		p.say("%s: its interpreter is not there", shown(name))
		return guest.ExitNotExecutable
	case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR):
		p.say("%s: %v", shown(name), err)
		return guest.ExitNotFound
	}
	p.say("%s: %v", shown(name), err)
	return guest.ExitNotExecutable
}

var errNotFound = errors.New("command not found")

// find returns the file of a command: the name itself if it has a slash, else
// the first executable file of that name in the directories of path. Relative
// ones are passed over: they would let what lies in the working directory stand
// in for the system's commands.
func find(name, path string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	missing := errNotFound
	for dir := range strings.SplitSeq(path, ":") {
		if name == "" || name == "." || name == ".." || !strings.HasPrefix(dir, "/") {
			continue
		}
		file := strings.TrimRight(dir, "/") + "/" + name
		err := executable(file)
		if err == nil {
			return file, nil
		}
		if errors.Is(err, unix.EACCES) {
			missing = err
		}
	}
	return "", missing
}

// executable returns nil for a file that this process may execute.
func executable(file string) error {
	var st unix.Stat_t
	if err := unix.Stat(file, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return unix.EISDIR
	}
	return unix.Access(file, unix.X_OK)
}

// value returns a variable of an environment. The first one counts, as it does
// for getenv(3).
func value(environ []string, name, otherwise string) string {
	for _, e := range environ {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			return v
		}
	}
	return otherwise
}
