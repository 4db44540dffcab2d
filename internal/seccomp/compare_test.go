package seccomp_test

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/seccomp"
)

// clone copies a filter the way that it travels, as JSON.
func clone(t *testing.T, p *specs.LinuxSeccomp) *specs.LinuxSeccomp {
	t.Helper()
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	c := new(specs.LinuxSeccomp)
	if err := json.Unmarshal(data, c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCompareDoesNotMindTheOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for _, v := range seccomp.Variants() {
		want := shipped(t, "amd64", v.Name)
		got := clone(t, want)
		random.Shuffle(len(got.Syscalls), func(i, j int) { got.Syscalls[i], got.Syscalls[j] = got.Syscalls[j], got.Syscalls[i] })
		for i := range got.Syscalls {
			slices.Reverse(got.Syscalls[i].Names)
			slices.Reverse(got.Syscalls[i].Args)
		}
		// One rule for each call, and no errno where it is the usual one.
		var single []specs.LinuxSyscall
		for _, s := range got.Syscalls {
			for _, name := range s.Names {
				one := s
				one.Names = []string{name}
				if one.ErrnoRet != nil && *one.ErrnoRet == 1 {
					one.ErrnoRet = nil
				}
				single = append(single, one)
			}
		}
		got.Syscalls = single
		if err := seccomp.Compare(want, got); err != nil {
			t.Errorf("%s: %v", v.Name, err)
		}
	}
}

func TestCompareFindsEveryDifference(t *testing.T) {
	errno := func(n uint) *uint { return &n }
	find := func(p *specs.LinuxSeccomp, name string) *specs.LinuxSyscall {
		for i := range p.Syscalls {
			if slices.Contains(p.Syscalls[i].Names, name) {
				return &p.Syscalls[i]
			}
		}
		t.Fatalf("no rule for %s", name)
		return nil
	}
	for name, c := range map[string]struct {
		change func(p *specs.LinuxSeccomp)
		say    string
	}{
		"default":           {func(p *specs.LinuxSeccomp) { p.DefaultAction = specs.ActAllow }, "the default is allow instead of ENOSYS"},
		"default errno":     {func(p *specs.LinuxSeccomp) { p.DefaultErrnoRet = nil }, "the default is EPERM instead of ENOSYS"},
		"log":               {func(p *specs.LinuxSeccomp) { p.DefaultAction = specs.ActLog }, "SCMP_ACT_LOG"},
		"32 bits":           {func(p *specs.LinuxSeccomp) { p.Architectures = append(p.Architectures, specs.ArchX86) }, "SCMP_ARCH_X86,SCMP_ARCH_X86_64 instead of"},
		"no architecture":   {func(p *specs.LinuxSeccomp) { p.Architectures = nil }, "the list of architectures is empty"},
		"flags":             {func(p *specs.LinuxSeccomp) { p.Flags = []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagSpecAllow} }, "SPEC_ALLOW instead of empty"},
		"listener":          {func(p *specs.LinuxSeccomp) { p.ListenerPath = "/tmp/ask\x1b[2J" }, "the listener"},
		"metadata":          {func(p *specs.LinuxSeccomp) { p.ListenerMetadata = "x" }, "the listener"},
		"a call more":       {func(p *specs.LinuxSeccomp) { p.Syscalls[0].Names = append(p.Syscalls[0].Names, "ptrace") }, "not asked for: ptrace() allow"},
		"a call less":       {func(p *specs.LinuxSeccomp) { p.Syscalls[0].Names = p.Syscalls[0].Names[1:] }, "missing: accept() allow"},
		"a rule less":       {func(p *specs.LinuxSeccomp) { p.Syscalls = p.Syscalls[1:] }, "and 247 more"},
		"no rules":          {func(p *specs.LinuxSeccomp) { p.Syscalls = nil }, "missing"},
		"another errno":     {func(p *specs.LinuxSeccomp) { find(p, "splice").ErrnoRet = errno(1) }, "splice() EPERM"},
		"another action":    {func(p *specs.LinuxSeccomp) { find(p, "splice").Action = specs.ActAllow }, "not asked for: splice() allow"},
		"another mask":      {func(p *specs.LinuxSeccomp) { find(p, "clone").Args[0].Value = 1 }, "clone(arg0&0x1==0x0) allow"},
		"another value":     {func(p *specs.LinuxSeccomp) { find(p, "clone").Args[0].ValueTwo = 0x10000000 }, "==0x10000000) allow"},
		"another argument":  {func(p *specs.LinuxSeccomp) { find(p, "clone").Args[0].Index = 1 }, "clone(arg1&"},
		"another operator":  {func(p *specs.LinuxSeccomp) { find(p, "clone").Args[0].Op = specs.OpNotEqual }, "clone(arg0 NE "},
		"without condition": {func(p *specs.LinuxSeccomp) { find(p, "clone").Args = nil }, "clone() allow"},
	} {
		want := shipped(t, "amd64", seccomp.Agent)
		got := clone(t, want)
		c.change(got)
		err := seccomp.Compare(want, got)
		if api.KindOf(err) != api.KindDegraded || !strings.Contains(err.Error(), c.say) || strings.ContainsAny(err.Error(), "\x1b\n") {
			t.Errorf("%s: %v, want %q in it", name, err, c.say)
		}
		if err := seccomp.Compare(got, want); err == nil {
			t.Errorf("%s: not found the other way round", name)
		}
	}
	want := shipped(t, "amd64", seccomp.Agent)
	if err := seccomp.Compare(want, nil); err == nil || !strings.Contains(err.Error(), "there is no filter") {
		t.Errorf("no filter: %v", err)
	}
	if err := seccomp.Compare(nil, nil); err == nil {
		t.Error("nothing was compared with nothing, and found the same")
	}
	for _, v := range []string{seccomp.Debug, seccomp.Nested} {
		if err := seccomp.Compare(want, shipped(t, "amd64", v)); err == nil {
			t.Errorf("%s passes for %s", v, seccomp.Agent)
		}
	}
}
