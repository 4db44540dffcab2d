package calls_test

import (
	"slices"
	"testing"

	"github.com/ccc-dev/ccc/internal/seccomp/calls"
)

func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		goarch, name string
		want         int
		ok           bool
	}{
		{"amd64", "read", 0, true}, {"arm64", "read", 63, true}, {"amd64", "clone3", 435, true}, {"arm64", "clone3", 435, true},
		{"amd64", "open", 2, true}, {"arm64", "open", -1, false}, {"amd64", "socketcall", 0, false}, {"riscv64", "read", -1, false}, {"amd64", "", 0, false},
		{"arm64", "newfstatat", 79, true}, {"amd64", "_sysctl", 156, true}, {"amd64", "write", 1, true}, {"amd64", "accept", 43, true},
	} {
		if nr, ok := calls.Number(c.goarch, c.name); ok != c.ok || ok && nr != c.want {
			t.Errorf("Number(%s, %s) = %d, %v", c.goarch, c.name, nr, ok)
		}
	}
	for _, goarch := range []string{"amd64", "arm64"} {
		names := calls.Names(goarch)
		if len(names) < 300 || !slices.IsSorted(names) {
			t.Errorf("%s: %d names", goarch, len(names))
		}
		seen := map[int]string{}
		for _, name := range names {
			nr, ok := calls.Number(goarch, name)
			if !ok || seen[nr] != "" {
				t.Errorf("%s: %s is %d, %v, like %q", goarch, name, nr, ok, seen[nr])
			}
			seen[nr] = name
		}
	}
	if names := calls.Names("riscv64"); len(names) > 0 {
		t.Errorf("riscv64: %v", names)
	}
}

// Every probe is of a call that some machine has, and says enough to judge it.
func TestProbesAreWhole(t *testing.T) {
	for _, p := range calls.Probes() {
		_, amd64 := calls.Number("amd64", p.Call)
		_, arm64 := calls.Number("arm64", p.Call)
		if !amd64 && !arm64 {
			t.Errorf("%s: nobody has %s", p.ID, p.Call)
		}
	}
}

// Without a filter the kernel answers, in a process that is not this one.
func TestTry(t *testing.T) {
	for _, c := range []struct {
		probe calls.Probe
		want  string
	}{
		{calls.Probe{Call: "getpid"}, "ok"},
		{calls.Probe{Call: "close", Args: [6]uint64{^uint64(0)}}, "EBADF"},
		{calls.Probe{Call: "clone", Args: [6]uint64{17}}, "ok"},
		{calls.Probe{Call: "kill", Args: [6]uint64{0x7ffffffe}}, "ESRCH"},
		{calls.Probe{Call: "mprotect", Args: [6]uint64{1}}, "EINVAL"},
	} {
		if got, err := c.probe.Try(); err != nil || got != c.want {
			t.Errorf("%s%x: %s, %v, want %s", c.probe.Call, c.probe.Args, got, err, c.want)
		}
	}
	if got, err := (calls.Probe{Call: "no_such_call"}).Try(); err == nil {
		t.Errorf("no such call: %s", got)
	}
	if (calls.Probe{Call: "no_such_call"}).Here() {
		t.Error("this machine has no_such_call")
	}
	// One that ends its process without an answer is not taken for a good one.
	if got, err := (calls.Probe{Call: "exit"}).Try(); err == nil {
		t.Errorf("exit: %s", got)
	}
}
