package main_test

import (
	"slices"
	"testing"

	"github.com/ccc-dev/ccc/internal/api"
)

// Where the host can enforce everything but Landlock, which this machine's kernel
// does not have, verification finds every other wall up: AppArmor on the first
// process and on commands, and the limits of the control group.
func TestMachineVerify(t *testing.T) {
	m := newMachine(t)
	for _, workspace := range []string{"overlay", "bind"} {
		m.ok("session", "create", "--name", "demo", "--workspace", workspace)
		r := m.ccc("session", "verify", "demo", "--json")
		v := m.verification(r)
		if r.code != 0 || !v.Holds() {
			t.Errorf("%s: exit code %d, fail %q, unknown %q", workspace, r.code, verdicts(v, api.VerdictFail), verdicts(v, api.VerdictUnknown))
		}
		passed := verdicts(v, api.VerdictPass)
		for _, id := range []string{"lsm", "memory", "cpu", "pids", "kernel-addresses", "capabilities", "seccomp-namespaces", "seccomp-ordinary", "first-process"} {
			if !slices.Contains(passed, id) {
				t.Errorf("%s: %s did not pass", workspace, id)
			}
		}
		for _, c := range v.Controls {
			if c.Verdict != api.VerdictPass {
				t.Logf("%s: %+v", workspace, c)
			}
		}
		m.ok("session", "rm", "--yes", "demo")
	}
	// Without the profile the label is missing, and said to be.
	m.free()
	defer m.confine()
	m.ok("session", "create", "--name", "free")
	r := m.ccc("session", "verify", "free", "--json")
	if v := m.verification(r); r.code != 0 || !slices.Contains(verdicts(v, api.VerdictMissing), "lsm") {
		t.Errorf("without the profile: exit code %d", r.code)
		for _, c := range v.Controls {
			if c.Verdict != api.VerdictPass {
				t.Logf("%+v", c)
			}
		}
	}
}
