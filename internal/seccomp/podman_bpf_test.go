package seccomp_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/seccomp"
	"github.com/ccc-dev/ccc/internal/seccomp/calls"
)

// program is a filter as the kernel runs it (classic BPF, seccomp(2)).
type program []unix.SockFilter

// readProgram reads the program that crun made for a container.
func readProgram(file string) (program, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if len(data)%8 != 0 || len(data) == 0 {
		return nil, fmt.Errorf("%s has %d bytes", file, len(data))
	}
	var p program
	for i := 0; i < len(data); i += 8 {
		p = append(p, unix.SockFilter{
			Code: binary.NativeEndian.Uint16(data[i:]), Jt: data[i+2], Jf: data[i+3], K: binary.NativeEndian.Uint32(data[i+4:]),
		})
	}
	return p, nil
}

// run returns what the program answers for a call: the value of the return
// instruction that it comes to.
func (p program) run(arch, nr uint32, args [6]uint64) (uint32, error) {
	word := func(offset uint32) uint32 {
		switch {
		case offset == 0:
			return nr
		case offset == 4:
			return arch
		case offset >= 16 && offset < 64 && (offset-16)%8 == 0:
			return uint32(args[(offset-16)/8])
		case offset >= 16 && offset < 64 && (offset-16)%8 == 4:
			return uint32(args[(offset-16)/8] >> 32)
		}
		return 0
	}
	var a uint32
	for pc := 0; pc < len(p); pc++ {
		in := p[pc]
		var jump bool
		switch in.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			a = word(in.K)
			continue
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			a &= in.K
			continue
		case unix.BPF_RET | unix.BPF_K:
			return in.K, nil
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(in.K)
			continue
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			jump = a == in.K
		case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
			jump = a > in.K
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			jump = a >= in.K
		case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			jump = a&in.K != 0
		default:
			return 0, fmt.Errorf("instruction %d: code %#x", pc, in.Code)
		}
		if jump {
			pc += int(in.Jt)
		} else {
			pc += int(in.Jf)
		}
	}
	return 0, errors.New("the program has no end")
}

// encode is the value with which a program returns a verdict.
func encode(v seccomp.Verdict) uint32 {
	switch v.Action {
	case specs.ActAllow:
		return unix.SECCOMP_RET_ALLOW
	case specs.ActErrno:
		return unix.SECCOMP_RET_ERRNO | uint32(v.Errno)
	}
	return unix.SECCOMP_RET_KILL_THREAD
}

// interesting returns values of an argument on all sides of the conditions that
// a profile has for it: what they compare with, one bit away from it, and both
// with junk in the upper half.
func interesting(p *specs.LinuxSeccomp, name string, index uint) []uint64 {
	values := []uint64{0, 1, ^uint64(0)}
	for _, s := range p.Syscalls {
		if !slices.Contains(s.Names, name) {
			continue
		}
		for _, c := range s.Args {
			if c.Index == index {
				values = append(values, c.ValueTwo, c.ValueTwo|^c.Value, c.ValueTwo|1<<32)
				for bit := range 34 {
					values = append(values, c.ValueTwo^1<<bit)
				}
			}
		}
	}
	slices.Sort(values)
	return slices.Compact(values)
}

// The program that the runtime and its filter library made of each profile does
// what Evaluate says, for every call there is and for arguments on all sides of
// every condition: the profile is not read in another way than it is meant.
func TestPodmanFilterProgram(t *testing.T) {
	h := openPodman(t)
	audit := map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}[runtime.GOARCH]
	for _, v := range seccomp.Variants() {
		t.Run(v.Name, func(t *testing.T) {
			id := h.start(t, v.Name)
			p, err := readProgram(filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "crun", id, "seccomp.bpf"))
			if errors.Is(err, fs.ErrNotExist) {
				t.Log("the OCI runtime is not crun, and keeps no program to look at; the probes cover what can be seen from inside")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			profile := shipped(t, runtime.GOARCH, v.Name)
			c := checker{t: t, program: p, profile: profile, audit: audit}
			for _, name := range calls.Names(runtime.GOARCH) {
				c.call(name)
			}
			c.strangers()
			t.Logf("%d instructions, %d calls checked", len(p), c.checked)
			if c.checked < 100_000 {
				t.Error("that is too few")
			}
		})
	}
}

// only returns a profile without the rules for other calls.
func only(p *specs.LinuxSeccomp, name string) *specs.LinuxSeccomp {
	small := *p
	small.Syscalls = nil
	for _, s := range p.Syscalls {
		if slices.Contains(s.Names, name) {
			s.Names = []string{name}
			small.Syscalls = append(small.Syscalls, s)
		}
	}
	return &small
}

// checker compares a program with a profile.
type checker struct {
	t       *testing.T
	program program
	profile *specs.LinuxSeccomp
	audit   uint32
	checked int
}

// same checks one call.
func (c *checker) same(name string, nr uint32, args [6]uint64) bool {
	c.checked++
	v, err := seccomp.Evaluate(c.profile, seccomp.Call{Arch: seccomp.Native(runtime.GOARCH), Name: name, Args: args})
	if err != nil {
		c.t.Fatal(err)
	}
	got, err := c.program.run(c.audit, nr, args)
	if err != nil {
		c.t.Fatal(err)
	}
	if got == encode(v) {
		return true
	}
	// A filter library that is older than a call leaves out the rules for it.
	if nr > 450 && got == unix.SECCOMP_RET_ERRNO|uint32(unix.ENOSYS) {
		c.t.Logf("the filter library does not know %s", name)
		return false
	}
	c.t.Errorf("%s(%#x): the program returns %#x, want %#x (%v)", name, args, got, encode(v), v)
	return false
}

// call checks a call with every combination of the interesting values of its
// arguments, or with a random selection where they are
// too many.
func (c *checker) call(name string) {
	nr, _ := calls.Number(runtime.GOARCH, name)
	whole := c.profile
	c.profile = only(whole, name)
	defer func() { c.profile = whole }()
	var values [6][]uint64
	all := 1
	for i := range values {
		values[i] = interesting(c.profile, name, uint(i))
		all *= len(values[i])
	}
	const most = 10_000
	random := rand.New(rand.NewPCG(uint64(nr), 5))
	for n := range min(all, most) {
		var args [6]uint64
		rest := n
		for i := range args {
			if all > most {
				rest = random.IntN(len(values[i]))
			}
			args[i] = values[i][rest%len(values[i])]
			rest /= len(values[i])
		}
		if !c.same(name, uint32(nr), args) {
			return
		}
	}
}

// strangers checks numbers that are no call, and other tables.
func (c *checker) strangers() {
	known := map[uint32]bool{}
	for _, name := range calls.Names(runtime.GOARCH) {
		nr, _ := calls.Number(runtime.GOARCH, name)
		known[uint32(nr)] = true
	}
	expect := func(arch, nr, want uint32) {
		c.checked++
		if got, err := c.program.run(arch, nr, [6]uint64{}); err != nil || got != want {
			c.t.Errorf("architecture %#x, number %#x: %#x, %v, want %#x", arch, nr, got, err, want)
		}
	}
	for nr := range uint32(2048) {
		if !known[nr] {
			expect(c.audit, nr, unix.SECCOMP_RET_ERRNO|uint32(unix.ENOSYS))
		}
		for _, arch := range []uint32{unix.AUDIT_ARCH_I386, unix.AUDIT_ARCH_ARM, unix.AUDIT_ARCH_PPC64LE} {
			expect(arch, nr, unix.SECCOMP_RET_KILL_THREAD)
		}
		if runtime.GOARCH == "amd64" {
			expect(unix.AUDIT_ARCH_X86_64, nr|0x40000000, unix.SECCOMP_RET_KILL_THREAD)
		}
	}
}
