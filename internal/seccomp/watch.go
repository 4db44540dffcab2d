package seccomp

import (
	"encoding/json"
	"runtime"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/seccomp/calls"
)

// Watched returns a profile that answers each call as the given one does, but
// leaves every answer that the given one gives by name, or by default to a call
// that there is, to the listener at the socket. Whoever listens there must give
// the answer of [Evaluate]; while nobody does, the kernel answers ENOSYS.
//
// Nothing that the given profile denies is allowed by this one: a rule is
// changed only from "denied" to "ask", and what is asked is not let through by
// the kernel. A filter that a process adds to its own cannot undo that either:
// of two filters that ask, only one may have a listener (seccomp(2)).
func Watched(profile []byte, socket string) ([]byte, error) {
	f, err := read(profile)
	if err != nil {
		return nil, err
	}
	if f.DefaultAction != specs.ActErrno || f.ListenerPath != "" {
		return nil, &api.Error{Msg: "only a profile that denies by default, and has no listener, can be watched"}
	}
	named := map[string]bool{}
	for i := range f.Syscalls {
		s := &f.Syscalls[i]
		for _, n := range s.Names {
			named[n] = true
		}
		if s.Action == specs.ActErrno {
			s.Action, s.ErrnoRet = specs.ActNotify, nil
		}
	}
	// The default itself stays an errno: runtimes refuse one that asks, and a
	// number that nobody has heard of has no name to report.
	rest := slices.DeleteFunc(calls.Names(runtime.GOARCH), func(n string) bool { return named[n] })
	if len(rest) > 0 {
		f.Syscalls = append(f.Syscalls, line{
			LinuxSyscall: specs.LinuxSyscall{Names: rest, Action: specs.ActNotify}, Comment: "left to the default by the watched profile",
		})
	}
	f.ListenerPath = socket
	return json.Marshal(f)
}

// ErrnoAnswer returns the errno with which the profile answers a call that it
// does not allow. For a call that it allows, or cannot decide, that is ENOSYS:
// the answer is for callers who must not be let through in any case.
func ErrnoAnswer(p *specs.LinuxSeccomp, c Call) (unix.Errno, bool) {
	v, err := Evaluate(p, c)
	if err != nil || v.Action != specs.ActErrno {
		return unix.ENOSYS, false
	}
	return v.Errno, true
}
