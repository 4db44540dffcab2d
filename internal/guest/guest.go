// Package guest is the agreement between ccc on the host and ccc-init inside a
// session: where things lie there, how ccc-init is called, what its exit codes
// mean, and the file that says when a session ends. Package program is the side
// that runs inside.
//
// It must stay free of everything heavy, for both sides link it, and must not
// touch the machine but for the one file that it writes.
package guest

import (
	"slices"
	"strconv"
	"time"
)

// Where things lie inside a session. Both are mounted read-only.
const (
	// Dir holds all that ccc brings into a session.
	Dir = "/.ccc"
	// Path is ccc-init. AppArmor attaches a profile to this very name.
	Path = "/.ccc/init"
	// SessionDir is the directory that the host keeps for the session; the life
	// file is in it. The directory is mounted, not the file, for the host
	// replaces the file.
	SessionDir = "/.ccc/session"
)

// The exit codes of ccc-init. Any other is that of the command that it became.
const (
	// ExitStopped says that the session's first process was asked to end. A stop
	// that was asked for is no failure, hence not 143.
	ExitStopped = 0
	// ExitIdle says that the session was without work for too long.
	ExitIdle = 123
	// ExitLifetime says that the session's lifetime is over.
	ExitLifetime = 124
	// ExitRefused says that ccc-init could not do what it was asked to, and
	// therefore did nothing.
	ExitRefused = 125
	// ExitNotExecutable says that the command was found and cannot be run.
	ExitNotExecutable = 126
	// ExitNotFound says that there is no such command.
	ExitNotFound = 127
)

// Grace is how long processes have between the request to end and the end by
// force. It is below the ten seconds that Podman waits for a first process.
const Grace = 3 * time.Second

// The Landlock ABIs that matter, see landlock(7). What a kernel reaches is in
// between, or nothing.
const (
	// LandlockOldest is the first that is used. The one before it forbids every
	// rename from one directory to another, which no build survives.
	LandlockOldest = 2
	// LandlockFull is the one at which all that ccc-init restricts is
	// restricted; those above it would restrict what sessions need.
	LandlockFull = 5
)

// The modes of ccc-init and the flags they take.
const (
	ModePID1   = "pid1"
	ModeExec   = "exec"
	ModeReport = "report"
	// ModeProbe tries the session's walls from inside, see package observe.
	ModeProbe = "probe"
	// FlagSession takes the directory of the life file.
	FlagSession = "--session"
	// FlagWrite takes a path beneath which may be written; it may be repeated.
	FlagWrite = "--write"
	// FlagProcesses takes the limit of processes.
	FlagProcesses = "--processes"
	// FlagRequire takes the Landlock ABI below which ccc-init refuses.
	FlagRequire = "--require-landlock"
	// FlagAnnounce tells the first process that somebody came, so that the idle
	// clock starts anew. It may only be used where ccc-init is that process.
	FlagAnnounce = "--announce"
	// FlagConnect takes the address of a socket of the host that the probe is to
	// try, as "unix:PATH" or "unix:@NAME"; it may be repeated.
	FlagConnect = "--connect"
	// EndOfFlags stands before the command.
	EndOfFlags = "--"
)

// Bounds are what ccc-init holds itself and every command to.
type Bounds struct {
	// Write are the absolute paths beneath which commands may write. ccc-init
	// refuses if one of them is not there.
	Write []string
	// Processes is how many processes and threads the session may have
	// (RLIMIT_NPROC, getrlimit(2)); zero leaves what there is. It is set from
	// inside: the kernel counts it in each user namespace, and takes the limit
	// of the process that made one as the most for all that lie below. Set by the
	// OCI runtime, it would bound all sessions of a user together.
	Processes uint64
	// Landlock is the Landlock ABI below which a command is refused; zero takes
	// what there is. The first process takes what there is in any case.
	Landlock int
}

// PID1Argv returns the command of a session's first process, which finds its
// life file in SessionDir.
func PID1Argv(b Bounds) []string {
	b.Landlock = 0
	return append([]string{Path, ModePID1, FlagSession, SessionDir}, b.flags()...)
}

// ExecArgv returns the command that runs argv inside a session whose first
// process is ccc-init, within bounds. It fails with ExitRefused where they cannot
// be set.
func ExecArgv(b Bounds, argv []string) []string {
	return slices.Concat([]string{Path, ModeExec, FlagAnnounce}, b.flags(), []string{EndOfFlags}, argv)
}

// ReportArgv returns the command that prints what is in force for the commands
// of ExecArgv with the same bounds: it runs through the shim itself.
func ReportArgv(b Bounds) []string {
	return ExecArgv(b, []string{Path, ModeReport})
}

// ProbeArgv returns the command that tries the session's walls, held like the
// commands of ExecArgv with the same bounds. sockets are addresses of the host's
// own sockets to try beside the usual ones.
func ProbeArgv(b Bounds, sockets []string) []string {
	argv := []string{Path, ModeProbe}
	for _, s := range sockets {
		argv = append(argv, FlagConnect, s)
	}
	return ExecArgv(b, argv)
}

func (b Bounds) flags() []string {
	flags := make([]string, 0, 2*len(b.Write)+4)
	for _, w := range b.Write {
		flags = append(flags, FlagWrite, w)
	}
	if b.Processes > 0 {
		flags = append(flags, FlagProcesses, strconv.FormatUint(b.Processes, 10))
	}
	if b.Landlock > 0 {
		flags = append(flags, FlagRequire, strconv.Itoa(b.Landlock))
	}
	return flags
}
