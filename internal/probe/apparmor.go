package probe

import (
	"fmt"
	"strings"

	"github.com/ccc-dev/ccc/internal/apparmor"
	"github.com/ccc-dev/ccc/internal/engine"
)

// mendProfile is the command that loads the profile; root has to run it.
const mendProfile = "sudo ccc profile install"

// AppArmor returns findings about the AppArmor profile of sessions: whether it
// could be loaded, will be at the next start, and is.
func AppArmor(s apparmor.Status) []Finding {
	if s.Kernel == apparmor.No {
		return []Finding{warn("kernel", "boot with apparmor=1 security=apparmor, on a distribution that has it", "has no AppArmor, or it is switched off; other walls do not depend on it")}
	}
	all := []Finding{ok("kernel", "AppArmor is on")}
	if s.Kernel == apparmor.Unknown {
		all[0] = warn("kernel", "mount -t securityfs none /sys/kernel/security", "unknown: it does not say whether AppArmor is on")
	}
	if s.Parser == "" {
		all = append(all, warn("parser", "sudo apt-get install apparmor", "there is no apparmor_parser"))
	} else {
		all = append(all, ok("parser", "%s, policy ABI %s", s.Parser, s.ABI))
	}
	if s.Installed == apparmor.Yes {
		all = append(all, ok("file", "%s is what ccc ships", apparmor.File))
	} else {
		all = append(all, warn("file", mendProfile, "%s", s.Why))
	}
	return append(all, loaded(s), version(s))
}

// loaded says which profiles the kernel has.
func loaded(s apparmor.Status) Finding {
	var missing, lax, unknown []string
	for _, l := range s.Profiles {
		switch {
		case l.Loaded == apparmor.Unknown:
			unknown = append(unknown, l.Profile)
		case l.Loaded == apparmor.No:
			missing = append(missing, l.Profile)
		case l.Mode != "enforce":
			lax = append(lax, l.Profile+" is in mode "+l.Mode)
		}
	}
	switch {
	case len(unknown) > 0:
		return warn("loaded", mendProfile, "unknown: the kernel does not show its profiles to you")
	case len(missing) > 0:
		return warn("loaded", mendProfile, "the kernel does not have %s", strings.Join(missing, ", "))
	case len(lax) > 0:
		return warn("loaded", mendProfile, "%s", strings.Join(lax, ", "))
	}
	return ok("loaded", "%d profiles, enforcing", len(s.Profiles))
}

// version says whether what the kernel has is what ccc ships.
func version(s apparmor.Status) Finding {
	switch s.Current {
	case apparmor.Yes:
		return ok("version", "what is loaded is what ccc ships")
	case apparmor.No:
		return warn("version", mendProfile, "what is loaded is not what this version of ccc ships")
	}
	return warn("version", mendProfile, "unknown: the kernel does not say, or more than one version was loaded")
}

// lsm says whether a security module confines sessions.
func (h Host) lsm(info engine.Host) Finding {
	const check = "security module"
	if info.SELinux {
		return ok(check, "SELinux")
	}
	s := h.AppArmor.Status()
	if s.InForce() {
		return ok(check, "AppArmor, with the profile that ccc ships")
	}
	for _, f := range AppArmor(s) {
		// The file matters at the next start only, and may be another package's.
		if f.Verdict != OK && f.Check != "file" {
			return warn(check, f.Mend, "%s", fmt.Sprintf("AppArmor confines no session: %s: %s", f.Check, f.Detail))
		}
	}
	return warn(check, mendProfile, "AppArmor confines no session")
}
