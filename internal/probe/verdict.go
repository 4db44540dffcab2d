package probe

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ccc-dev/ccc/internal/engine"
)

// Exposure says how an installed component stands to a known vulnerability.
type Exposure string

// The exposures.
const (
	// Affected: it has it.
	Affected Exposure = "affected"
	// Fixed: it had it, and has the fix, by its version or by the distribution's
	// own list of changes.
	Fixed Exposure = "fixed"
	// NotApplicable: the component is not in use, is older than the flaw, or was
	// built without the code.
	NotApplicable Exposure = "not applicable"
	// Undecided: it could not be told, for example because the distribution may
	// have taken over the fix without changing the version.
	Undecided Exposure = "unknown"
)

// Flaw is the verdict on one known vulnerability.
type Flaw struct {
	CVE       string   `json:"cve"`
	Component string   `json:"component"`
	About     string   `json:"about"`
	Exposure  Exposure `json:"exposure"`
	// Evidence says what the verdict rests on.
	Evidence string `json:"evidence"`
	// Guard says what ccc does about it whatever version is there; empty if
	// nothing.
	Guard string `json:"guard,omitempty"`
	// Source is where the fixed versions come from.
	Source string `json:"source"`
}

// installed is a component as it was found.
type installed struct {
	// version is what it says of itself; empty if it is not in use.
	version string
	// pkg is the distribution's name and version of its package; empty if it came
	// in none.
	pkg string
	// changes is the package's list of changes, as far as it could be read.
	changes string
	// options are what a kernel was built with; nil if that is not known.
	options map[string]bool
	// absent says why there is nothing to judge.
	absent string
}

// judge returns the verdict on a flaw. It is a pure function.
func (f flaw) judge(in installed) Flaw {
	v := Flaw{CVE: f.cve, Component: f.component, About: f.about, Guard: f.guard, Source: f.source}
	if why := f.missingFrom(in); why != "" {
		v.Exposure, v.Evidence = NotApplicable, why
		return v
	}
	version, ok := parseRelease(in.version)
	if !ok {
		v.Exposure, v.Evidence = Undecided, fmt.Sprintf("the version %q cannot be read", in.version)
		return v
	}
	fixes := strings.Join(f.fixed, ", ")
	switch f.stands(version) {
	case never:
		v.Exposure, v.Evidence = NotApplicable, fmt.Sprintf("%s is older than the flaw, which came with %s", short(in.version), f.since)
	case repaired:
		v.Exposure, v.Evidence = Fixed, fmt.Sprintf("%s has the fix of %s", short(in.version), fixes)
	case older:
		v.Exposure, v.Evidence = Affected, fmt.Sprintf("%s is below %s", short(in.version), fixes)
	case unclear:
		v.Exposure, v.Evidence = Undecided, fmt.Sprintf("%s: no fixed version of this branch is known to ccc", short(in.version))
	}
	if (v.Exposure == Affected || v.Exposure == Undecided) && in.pkg != "" {
		v.backport(f, in)
	}
	return v
}

// missingFrom says why a component does not have the code that the flaw is in;
// empty if it may.
func (f flaw) missingFrom(in installed) string {
	switch {
	case in.absent != "":
		return in.absent
	case f.option != "" && in.options != nil && !in.options[f.option]:
		return "this kernel was built without " + f.option
	case f.feature != "" && strings.Contains(in.version, "+SECCOMP") && !strings.Contains(in.version, f.feature):
		// A runtime lists what it was built with behind its version.
		return "this " + f.component + " was built without " + strings.TrimPrefix(f.feature, "+")
	}
	return ""
}

// backport takes into account that distributions fix packages without changing
// the version that their makers gave them.
func (v *Flaw) backport(f flaw, in installed) {
	if strings.HasPrefix(f.cve, "CVE-") && strings.Contains(in.changes, f.cve) {
		v.Exposure, v.Evidence = Fixed, "the changes of "+in.pkg+" name it"
		return
	}
	v.Exposure = Undecided
	v.Evidence += "; whoever built " + in.pkg + " may have taken over the fix"
	if in.changes != "" {
		v.Evidence += ", whose changes do not name it"
	}
}

// short cuts what a program says of its version.
func short(s string) string {
	const most = 60
	s = firstLine(s)
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// components finds what is installed.
func (h Host) components(ctx context.Context, info engine.Host) map[string]installed {
	podman := installed{version: info.EngineVersion, pkg: h.Package(ctx, "podman")}
	conmon := installed{version: info.Conmon, pkg: known(info.ConmonPackage)}
	all := map[string]installed{inPodman: podman, inConmon: conmon}
	for _, name := range []string{inCrun, inRunc} {
		if info.Runtime == name {
			all[name] = installed{version: info.RuntimeInfo, pkg: known(info.RuntimePackage)}
			continue
		}
		all[name] = installed{absent: fmt.Sprintf("containers are run by %s", info.Runtime)}
	}
	kernel := installed{version: info.Kernel, options: h.options(info.Kernel)}
	if !plainKernel(info.Kernel) {
		kernel.pkg = "kernel " + info.Kernel
	}
	all[inKernel] = kernel
	for name, in := range all {
		if in.pkg == "" {
			continue
		}
		pkg := name
		if name == inKernel {
			pkg = "linux-image-" + info.Kernel
		}
		in.changes = h.Changes(ctx, pkg)
		all[name] = in
	}
	return all
}

// known returns a package's name, empty for the engine's word for none.
func known(pkg string) string {
	if strings.EqualFold(pkg, "unknown") || strings.HasPrefix(pkg, "dpkg-query") {
		return ""
	}
	return pkg
}

// plainKernel tells whether a kernel's release is one of the kernel's own makers,
// without anything that whoever built it has added.
func plainKernel(name string) bool {
	return name != "" && strings.Trim(name, "0123456789.") == "" || strings.Contains(name, "-rc") && strings.Trim(name, "0123456789.-rc") == ""
}

// options reads what the running kernel was built with, from where distributions
// put that; nil if it is nowhere. It is not asked by trying, for that would load
// modules.
func (h Host) options(kernel string) map[string]bool {
	for _, file := range []string{"/boot/config-" + kernel, "/lib/modules/" + kernel + "/config", "/usr/lib/modules/" + kernel + "/config"} {
		data, err := h.ReadFile(file)
		if err != nil || !strings.Contains(string(data), "CONFIG_") {
			continue
		}
		all := map[string]bool{}
		for line := range strings.Lines(string(data)) {
			name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
			if ok && strings.HasPrefix(name, "CONFIG_") && (value == "y" || value == "m") {
				all[name] = true
			}
		}
		return all
	}
	return nil
}

// flaws returns the verdict on every known vulnerability of what is installed.
func (h Host) flaws(ctx context.Context, info engine.Host) []Flaw {
	components := h.components(ctx, info)
	all := make([]Flaw, 0, len(flaws))
	for _, f := range flaws {
		all = append(all, f.judge(components[f.component]))
	}
	// There is none of conmon in the table, and that has to be seen.
	if !slices.ContainsFunc(flaws, func(f flaw) bool { return f.component == inConmon }) {
		c := components[inConmon]
		all = append(all, Flaw{
			CVE: "-", Component: inConmon, About: "no vulnerability of it is known to ccc", Exposure: NotApplicable,
			Evidence: strings.TrimSpace(short(c.version) + " " + c.pkg), Source: advisories,
		})
	}
	return all
}
