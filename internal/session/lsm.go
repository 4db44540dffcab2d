package session

import (
	"strings"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/apparmor"
	"github.com/ccc-dev/ccc/internal/kernel"
	"github.com/ccc-dev/ccc/internal/policy"
)

// lsmControl says what security module confines the session, by the label that
// the kernel shows for its first process. host is asked only where no label does,
// for the reason.
func lsmControl(f kernel.Facts, t policy.Terms, host func() apparmor.Status) api.Control {
	c := api.Control{Name: "lsm", State: api.StateMissing}
	want := apparmor.For(t.Seccomp, t.Workspace)
	name, mode, _ := strings.Cut(strings.TrimSuffix(f.LSM, ")"), " (")
	got, ours := profileOf(name)
	switch {
	case f.LSM == "":
		c.Detail = unconfined(want, host())
	case !ours:
		c.State, c.Detail = api.StateFallback, "the engine's label "+api.Printable(f.LSM)
	case mode != "enforce":
		c.Detail = "AppArmor's profile " + name + " is loaded in mode " + api.Printable(mode) + ", which denies nothing: sudo ccc profile install"
	case got == want:
		c.State, c.Detail = api.StateEnforced, "AppArmor: "+f.LSM
	case got.Trace || got.Namespaces:
		c.Detail = "AppArmor confines it by " + name + ", which allows more than " + want.Name
	default:
		// The file system that the copies of ccc-init lie on has no attributes.
		c.State, c.Detail = api.StateFallback, "AppArmor: "+f.LSM+", in place of "+want.Name
	}
	return c
}

// profileOf returns the profile of a name, and whether it is one of ours.
func profileOf(name string) (apparmor.Profile, bool) {
	for _, p := range apparmor.Profiles() {
		if p.Name == name {
			return p, true
		}
	}
	return apparmor.Profile{}, false
}

// unconfined says why no module confines a session.
func unconfined(want apparmor.Profile, s apparmor.Status) string {
	const neither = "neither AppArmor nor SELinux confines the session: "
	if s.Kernel != apparmor.Yes {
		return neither + "the kernel has no AppArmor, or it is switched off"
	}
	for _, l := range s.Profiles {
		if l.Profile != want.Name {
			continue
		}
		switch l.Loaded {
		case apparmor.No:
			return neither + "the profile " + want.Name + " is not loaded; run: ccc profile install"
		case apparmor.Yes:
			return neither + "the profile " + want.Name + " is loaded, but was not when the session was started, or was not attached"
		}
	}
	return neither + "whether the profile " + want.Name + " is loaded is unknown; run: ccc profile status"
}

// markOf returns the mark of the copy of ccc-init that a session begins with.
func markOf(t policy.Terms) string { return apparmor.For(t.Seccomp, t.Workspace).Mark }
