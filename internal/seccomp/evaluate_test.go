package seccomp_test

import (
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ccc-dev/ccc/internal/seccomp"
)

// rule makes one rule of a profile.
func rule(action specs.LinuxSeccompAction, name string, conds ...specs.LinuxSeccompArg) specs.LinuxSyscall {
	return specs.LinuxSyscall{Names: []string{name}, Action: action, Args: conds}
}

func cond(index uint, op specs.LinuxSeccompOperator, value, two uint64) specs.LinuxSeccompArg {
	return specs.LinuxSeccompArg{Index: index, Op: op, Value: value, ValueTwo: two}
}

func native(rules ...specs.LinuxSyscall) *specs.LinuxSeccomp {
	return &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Architectures: []specs.Arch{specs.ArchX86_64}, Syscalls: rules}
}

func TestEvaluate(t *testing.T) {
	errno := uint(22)
	denied := specs.LinuxSyscall{Names: []string{"splice"}, Action: specs.ActErrno, ErrnoRet: &errno}
	const big = 1<<32 | 7
	for name, c := range map[string]struct {
		profile *specs.LinuxSeccomp
		arch    specs.Arch
		call    string
		arg     uint64
		want    string
	}{
		"a rule":                     {native(rule(specs.ActAllow, "read")), "", "read", 0, "allow"},
		"the default":                {native(rule(specs.ActAllow, "read")), "", "write", 0, "EPERM"},
		"an errno":                   {native(denied), "", "splice", 0, "EINVAL"},
		"an unknown call":            {native(rule(specs.ActAllow, "no_such_call")), "", "no_such_call", 0, "EPERM"},
		"a call of another machine":  {native(rule(specs.ActAllow, "socketcall")), "", "socketcall", 0, "EPERM"},
		"a foreign table":            {native(rule(specs.ActAllow, "read")), specs.ArchX86, "read", 0, "kill"},
		"another foreign table":      {native(rule(specs.ActAllow, "read")), specs.ArchX32, "read", 0, "kill"},
		"kill":                       {native(rule(specs.ActKillProcess, "read")), "", "read", 0, "kill"},
		"another action":             {native(rule(specs.ActNotify, "read")), "", "read", 0, "SCMP_ACT_NOTIFY"},
		"EQ":                         {native(rule(specs.ActAllow, "read", cond(0, specs.OpEqualTo, 7, 0))), "", "read", 7, "allow"},
		"EQ sees the upper half":     {native(rule(specs.ActAllow, "read", cond(0, specs.OpEqualTo, 7, 0))), "", "read", big, "EPERM"},
		"NE sees the upper half":     {native(rule(specs.ActAllow, "read", cond(0, specs.OpNotEqual, 7, 0))), "", "read", big, "allow"},
		"LT":                         {native(rule(specs.ActAllow, "read", cond(0, specs.OpLessThan, 7, 0))), "", "read", 7, "EPERM"},
		"LE":                         {native(rule(specs.ActAllow, "read", cond(0, specs.OpLessEqual, 7, 0))), "", "read", 7, "allow"},
		"GE":                         {native(rule(specs.ActAllow, "read", cond(0, specs.OpGreaterEqual, 7, 0))), "", "read", 7, "allow"},
		"GT":                         {native(rule(specs.ActAllow, "read", cond(0, specs.OpGreaterThan, 7, 0))), "", "read", 7, "EPERM"},
		"MASKED_EQ":                  {native(rule(specs.ActAllow, "read", cond(0, specs.OpMaskedEqual, 0xffffffff, 7))), "", "read", big, "allow"},
		"MASKED_EQ, other bits":      {native(rule(specs.ActAllow, "read", cond(0, specs.OpMaskedEqual, 5, 5))), "", "read", 6, "EPERM"},
		"one condition of two fails": {native(rule(specs.ActAllow, "read", cond(0, specs.OpEqualTo, 7, 0), cond(1, specs.OpEqualTo, 1, 0))), "", "read", 7, "EPERM"},
		"two rules of one mind":      {native(rule(specs.ActAllow, "read"), rule(specs.ActAllow, "read")), "", "read", 0, "allow"},
	} {
		arch := c.arch
		if arch == "" {
			arch = specs.ArchX86_64
		}
		got, err := seccomp.Evaluate(c.profile, seccomp.Call{Arch: arch, Name: c.call, Args: [6]uint64{c.arg}})
		if err != nil || got.String() != c.want {
			t.Errorf("%s: %v, %v, want %s", name, got, err, c.want)
		}
	}
}

// Where runtimes could differ there is no verdict.
func TestEvaluateRefusesToGuess(t *testing.T) {
	for name, p := range map[string]*specs.LinuxSeccomp{
		"two actions":               native(rule(specs.ActAllow, "read"), rule(specs.ActKill, "read")),
		"two actions by conditions": native(rule(specs.ActAllow, "read", cond(0, specs.OpGreaterEqual, 5, 0)), rule(specs.ActErrno, "read", cond(0, specs.OpEqualTo, 7, 0))),
		"with and without":          native(rule(specs.ActAllow, "read"), rule(specs.ActAllow, "read", cond(0, specs.OpEqualTo, 7, 0))),
		"one argument twice":        native(rule(specs.ActAllow, "read", cond(0, specs.OpGreaterEqual, 5, 0), cond(0, specs.OpLessThan, 9, 0))),
		"a seventh argument":        native(rule(specs.ActAllow, "read", cond(6, specs.OpEqualTo, 0, 0))),
		"an unknown comparison":     native(rule(specs.ActAllow, "read", cond(0, "SCMP_CMP_LIKE", 0, 0))),
	} {
		if v, err := seccomp.Evaluate(p, seccomp.Call{Arch: specs.ArchX86_64, Name: "read", Args: [6]uint64{7}}); err == nil {
			t.Errorf("%s: %v", name, v)
		}
	}
}
