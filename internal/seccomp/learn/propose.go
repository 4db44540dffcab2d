package learn

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/seccomp"
)

// Basis is the filter that a workload ran under: a shipped one, and what was
// added to it.
type Basis struct {
	Base  string
	Added []string
}

// Propose returns the file of a filter that allows what the workload was denied
// and may be allowed, and nothing more; the empty string if that is nothing. The
// file is for package profile to read.
func Propose(b Basis, workload []string, denied []api.DeniedCall) string {
	type entry struct{ call, why, heard string }
	var add []entry
	for _, d := range denied {
		if d.Advice != api.AdviceAdd || slices.ContainsFunc(add, func(e entry) bool { return e.call == d.Call }) {
			continue
		}
		times := "once"
		if d.Count > 1 {
			times = fmt.Sprintf("%d times", d.Count)
		}
		add = append(add, entry{d.Call, d.Why, fmt.Sprintf("called %s, first by %s, and answered %s", times, d.Program, d.Answer)})
	}
	if len(add) == 0 {
		return ""
	}
	var f strings.Builder
	fmt.Fprintf(&f, "# Proposed by `ccc profile learn`. Put it into ~/.config/ccc/seccomp/NAME.yaml, and name\n# it in a level of your own: ~/.config/ccc/profiles/LEVEL.yaml, `seccomp: NAME`.\n")
	fmt.Fprintf(&f, "description: %s\nbase: %s\nallow:\n", quote("what "+shorten(strings.Join(workload, " "))+" called beyond "+b.Base), b.Base)
	for _, name := range b.Added {
		was, _ := seccomp.MayAdd(name)
		fmt.Fprintf(&f, "  - call: %s\n    reason: %s\n", name, quote(was.Why))
	}
	for _, e := range add {
		// What the workload says of itself is a comment of one line, quoted.
		fmt.Fprintf(&f, "  # %s\n  - call: %s\n    reason: %s\n", quote(e.heard), e.call, quote(e.why))
	}
	return f.String()
}

// shorten cuts a command that is too long for a line.
func shorten(s string) string {
	const longest = 60
	if len(s) <= longest {
		return s
	}
	return strings.ToValidUTF8(s[:longest], "") + "…"
}

// quote renders a text of the workload's as a scalar of YAML that is one line
// whatever is in it: in double quotes YAML knows all of Go's escapes (YAML 1.2,
// 5.7), and ASCII alone leaves nothing to be read in two ways.
func quote(s string) string { return strconv.QuoteToASCII(api.Printable(s)) }
