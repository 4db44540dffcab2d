package seccomp

import (
	"fmt"
	"slices"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/seccomp/calls"
)

// Call is a system call as a filter sees it.
type Call struct {
	// Arch is the architecture whose table the call goes through.
	Arch specs.Arch
	// Name is the call; the empty name is a call that nobody has heard of.
	Name string
	// Args are the arguments, as registers hold them.
	Args [6]uint64
}

// Verdict is what a filter does with a call.
type Verdict struct {
	// Action is what it does.
	Action specs.LinuxSeccompAction
	// Errno is what the caller sees if Action is [specs.ActErrno].
	Errno syscall.Errno
}

// Allowed tells whether the kernel gets the call.
func (v Verdict) Allowed() bool { return v.Action == specs.ActAllow }

// String renders a verdict in one word: "allow", "kill", or the name of an errno.
func (v Verdict) String() string {
	switch v.Action {
	case specs.ActAllow:
		return "allow"
	case specs.ActKill, specs.ActKillThread, specs.ActKillProcess:
		return "kill"
	case specs.ActErrno:
		return unix.ErrnoName(v.Errno)
	}
	return string(v.Action)
}

// Evaluate returns what a filter made from the profile does with the call. It
// reads a profile as the runtimes do:
//
//   - a call through the table of an architecture that the profile does not name
//     kills the caller (libseccomp's default for them);
//   - a call that the architecture does not have falls to the default, whatever
//     rules name it;
//   - a rule applies if all its conditions hold, and without conditions always.
//
// It returns an error where runtimes could differ, because the order of rules
// would matter: two rules with different actions that both apply, a rule without
// conditions beside one with some for the same call, and a rule with two
// conditions on the same argument, which crun and runc take for two rules. No
// shipped profile has any of these.
func Evaluate(p *specs.LinuxSeccomp, c Call) (Verdict, error) {
	if !slices.Contains(p.Architectures, c.Arch) {
		return Verdict{Action: specs.ActKillThread}, nil
	}
	def := verdict(p.DefaultAction, p.DefaultErrnoRet)
	if _, ok := calls.Number(goarch(c.Arch), c.Name); !ok {
		return def, nil
	}
	var found *Verdict
	bare, conditional := false, false
	for _, s := range p.Syscalls {
		if !slices.Contains(s.Names, c.Name) {
			continue
		}
		bare = bare || len(s.Args) == 0
		conditional = conditional || len(s.Args) > 0
		applies, err := holds(s.Args, c.Args)
		if err != nil {
			return Verdict{}, fmt.Errorf("seccomp rule for %s: %w", c.Name, err)
		}
		if !applies {
			continue
		}
		v := verdict(s.Action, s.ErrnoRet)
		if found != nil && *found != v {
			return Verdict{}, fmt.Errorf("seccomp rules for %s%x say both %v and %v", c.Name, c.Args, *found, v)
		}
		found = &v
	}
	if bare && conditional {
		return Verdict{}, fmt.Errorf("seccomp rules for %s are with and without conditions", c.Name)
	}
	if found == nil {
		return def, nil
	}
	return *found, nil
}

// verdict is an action with its errno, which is EPERM unless given.
func verdict(a specs.LinuxSeccompAction, errno *uint) Verdict {
	v := Verdict{Action: a}
	if a == specs.ActErrno {
		v.Errno = unix.EPERM
		if errno != nil {
			v.Errno = syscall.Errno(*errno)
		}
	}
	return v
}

// holds tells whether all conditions hold.
func holds(conds []specs.LinuxSeccompArg, args [6]uint64) (bool, error) {
	all := true
	var seen [6]bool
	for _, c := range conds {
		if c.Index > 5 || seen[c.Index] {
			return false, fmt.Errorf("there is no argument %d, or it is named twice", c.Index)
		}
		seen[c.Index] = true
		ok, err := compare(c, args[c.Index])
		if err != nil {
			return false, err
		}
		all = all && ok
	}
	return all, nil
}

// compare is one condition: seccomp_rule_add(3) on 64 bits.
func compare(c specs.LinuxSeccompArg, arg uint64) (bool, error) {
	switch c.Op {
	case specs.OpEqualTo:
		return arg == c.Value, nil
	case specs.OpNotEqual:
		return arg != c.Value, nil
	case specs.OpLessThan:
		return arg < c.Value, nil
	case specs.OpLessEqual:
		return arg <= c.Value, nil
	case specs.OpGreaterEqual:
		return arg >= c.Value, nil
	case specs.OpGreaterThan:
		return arg > c.Value, nil
	case specs.OpMaskedEqual:
		return arg&c.Value == c.ValueTwo, nil
	}
	return false, fmt.Errorf("unknown comparison %q", c.Op)
}

// goarch returns Go's name of an architecture whose calls are known.
func goarch(a specs.Arch) string {
	switch a {
	case specs.ArchX86_64:
		return "amd64"
	case specs.ArchAARCH64:
		return "arm64"
	}
	return ""
}

// Native returns the runtime specification's name of an architecture by Go's
// name of it, and the empty name for one that no profile is made for.
func Native(arch string) specs.Arch {
	for _, a := range []specs.Arch{specs.ArchX86_64, specs.ArchAARCH64} {
		if goarch(a) == arch {
			return a
		}
	}
	return ""
}

// Judge returns what a filter made from the profile does with a probe on an
// architecture, by Go's name of it.
func Judge(p *specs.LinuxSeccomp, arch string, probe calls.Probe) (Verdict, error) {
	c := Call{Arch: Native(arch), Name: probe.Call, Args: probe.Args}
	switch probe.Entry {
	case calls.Int80:
		c.Arch = specs.ArchX86
	case calls.X32:
		c.Arch = specs.ArchX32
	}
	return Evaluate(p, c)
}
