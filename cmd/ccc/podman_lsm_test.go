package main_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/apparmor"
)

// Case S15, on whatever kernel this is: what does not confine a session is said
// to be missing, with the reason, and refused where it is required.
func TestPodmanPostureSaysWhyNothingConfines(t *testing.T) {
	l := newLab(t)
	host := (apparmor.Host{}).Status()
	var s api.Session
	out := l.ok("session", "create", "--json")
	l.must(json.Unmarshal([]byte(out), &s))
	i := slices.IndexFunc(s.Posture, func(c api.Control) bool { return c.Name == "lsm" })
	if i < 0 {
		t.Fatalf("%+v", s.Posture)
	}
	c := s.Posture[i]
	t.Logf("AppArmor in the kernel: %s, its profile in force: %v; the posture says %s: %s", host.Kernel, host.InForce(), c.State, c.Detail)
	switch {
	case host.InForce() && c.State != api.StateEnforced:
		t.Error("the profile is in force, and does not confine the session")
	case host.InForce() || c.State == api.StateFallback:
		return
	case c.State != api.StateMissing:
		t.Errorf("%+v", c)
	case host.Kernel == apparmor.No && !strings.Contains(c.Detail, "the kernel has no AppArmor"),
		host.Kernel == apparmor.Yes && !strings.Contains(c.Detail, "ccc profile"):
		t.Errorf("%+v", c)
	}
	r := l.ccc("session", "create", "--name", "required", "--require", "fallback")
	if r.code != api.KindDegraded.ExitCode() || !strings.Contains(r.stderr, "lsm is missing") {
		t.Errorf("%v", r)
	}
	if all := l.records(); all[len(all)-1].Rule != "require.fallback" {
		t.Errorf("the record is %+v", all[len(all)-1])
	}
}
