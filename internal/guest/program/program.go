// Package program is ccc-init: the first process of every session, the shim in
// front of every command that runs in one, and the report on what confines it.
//
// It runs inside, next to code that nobody trusts, as the same user. So it takes
// nothing from the session but process times, holds no secret, listens nowhere,
// and starts nothing but the command that it becomes. It must stay small: each
// session keeps one in memory, and each command waits for one to start.
//
// Landlock: a command may read and execute everywhere, and write only beneath
// the paths it is given. Two things that Landlock could restrict are left free,
// because each command gets a domain of its own, and a restriction would part
// the commands of one session from each other: signals (the second terminal
// could not end the server that the first one started) and Unix sockets,
// abstract (ABI 6) or in the file system (ABI 9). The session's PID namespace,
// network namespace and mounts keep those inside already. TCP is free as well:
// the session's only network device is the loopback of its own. What Landlock
// cannot restrict at all, modes, owners, times and extended attributes of files,
// is left to the mounts, which are read-only or the session's own.
package program

import (
	"fmt"
	"io"
	"strconv"

	"github.com/ccc-dev/ccc/internal/guest"
	"github.com/ccc-dev/ccc/internal/guest/observe"
)

// Program is one run of ccc-init. All fields are required.
type Program struct {
	// Args are the arguments without the program's name.
	Args []string
	// Environ is the environment of the command to become.
	Environ []string
	// Out takes the report, Err what is said to people.
	Out, Err io.Writer
	// Log takes what the first process says. It must not wait for a reader.
	Log io.Writer
	// Version tells the version of this build. It is asked only for a report.
	Version func() string
}

// Main runs ccc-init and returns its exit code (see package guest). It does not
// return if it became another command.
func (p Program) Main() int {
	o, err := parse(p.Args)
	if err != nil {
		return p.refuse(err)
	}
	switch o.mode {
	case guest.ModePID1:
		return p.pid1(o)
	case guest.ModeExec:
		return p.exec(o)
	case guest.ModeProbe:
		return p.probe(o)
	default:
		return p.report()
	}
}

// probe tries the session's walls.
func (p Program) probe(o options) int {
	probe := observe.Probe{Args: o.connect, Environ: p.Environ, Version: p.Version(), Landlock: kernelABI(), Out: p.Out}
	if err := probe.Run(); err != nil {
		return p.refuse(err)
	}
	return 0
}

// refuse says why nothing was done.
func (p Program) refuse(err error) int {
	p.say("error: %v", err)
	return guest.ExitRefused
}

// say writes one line, which nobody may be there to read.
func (p Program) say(format string, args ...any) { say(p.Err, format, args...) }

func say(w io.Writer, format string, args ...any) {
	_, _ = fmt.Fprintf(w, "ccc-init: "+format+"\n", args...)
}

// shown returns a name that came from outside as one that is safe to print.
func shown(name string) string {
	const most = 200
	if len(name) > most {
		name = name[:most] + "..."
	}
	if q := strconv.Quote(name); q[1:len(q)-1] != name {
		return q
	}
	return name
}
