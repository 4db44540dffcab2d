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

// PID1Argv returns the command of a session's first process, which finds its
// life file in SessionDir. write are the absolute paths beneath which sessions
// may write; the process refuses to start if one of them is not there.
func PID1Argv(write []string) []string {
	return append([]string{Path, ModePID1, FlagSession, SessionDir}, writeFlags(write)...)
}

// ExecArgv returns the command that runs argv inside a session whose first
// process is ccc-init, confined by Landlock to writing beneath write. It fails
// with ExitRefused where the kernel cannot reach the Landlock ABI require; zero
// takes what there is.
func ExecArgv(write []string, require int, argv []string) []string {
	all := append([]string{Path, ModeExec, FlagAnnounce}, writeFlags(write)...)
	if require > 0 {
		all = append(all, FlagRequire, strconv.Itoa(require))
	}
	return slices.Concat(all, []string{EndOfFlags}, argv)
}

// ReportArgv returns the command that prints what is in force for the commands
// of ExecArgv with the same write: it runs through the shim itself.
func ReportArgv(write []string) []string {
	return ExecArgv(write, 0, []string{Path, ModeReport})
}

// ProbeArgv returns the command that tries the session's walls, confined like the
// commands of ExecArgv with the same write and require. sockets are addresses of
// the host's own sockets to try beside the usual ones.
func ProbeArgv(write []string, require int, sockets []string) []string {
	argv := []string{Path, ModeProbe}
	for _, s := range sockets {
		argv = append(argv, FlagConnect, s)
	}
	return ExecArgv(write, require, argv)
}

func writeFlags(write []string) []string {
	flags := make([]string, 0, 2*len(write))
	for _, w := range write {
		flags = append(flags, FlagWrite, w)
	}
	return flags
}
