package seccomp

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ccc-dev/ccc/internal/api"
)

// Compare holds the filter that an OCI runtime got against the one it must have
// got. Neither the order of rules nor that of names, conditions and
// architectures counts; everything else does. The error is a
// [api.KindDegraded] one and names what differs.
func Compare(want, got *specs.LinuxSeccomp) error {
	var bad []string
	differ := func(what, want, got string) {
		if want != got {
			bad = append(bad, fmt.Sprintf("%s is %s instead of %s", what, api.Printable(got), want))
		}
	}
	switch {
	case want == nil:
		return &api.Error{Msg: "seccomp: there is nothing to compare with"}
	case got == nil:
		bad = append(bad, "there is no filter")
	default:
		differ("the default", verdict(want.DefaultAction, want.DefaultErrnoRet).String(), verdict(got.DefaultAction, got.DefaultErrnoRet).String())
		differ("the list of architectures", list(want.Architectures), list(got.Architectures))
		differ("the list of flags", list(want.Flags), list(got.Flags))
		// A listener is asked before the kernel acts, and may let a call through.
		differ("the listener", quote(want.ListenerPath, want.ListenerMetadata), quote(got.ListenerPath, got.ListenerMetadata))
		bad = append(bad, compareRules(want.Syscalls, got.Syscalls)...)
	}
	if len(bad) == 0 {
		return nil
	}
	return &api.Error{
		Kind: api.KindDegraded, Rule: "seccomp.differs",
		Msg:  "the seccomp filter is not the one that was asked for: " + strings.Join(bad, "; "),
		Hint: "run `ccc doctor`; if it finds nothing, please report this",
	}
}

// compareRules names rules that are missing and rules that nobody asked for, the
// first few of each.
func compareRules(want, got []specs.LinuxSyscall) []string {
	const most = 3
	w, g := ruleSet(want), ruleSet(got)
	var bad []string
	for _, side := range []struct {
		what string
		in   []string
		of   []string
	}{{"not asked for", g, w}, {"missing", w, g}} {
		var only []string
		for _, r := range side.in {
			if _, found := slices.BinarySearch(side.of, r); !found {
				only = append(only, api.Printable(r))
			}
		}
		if n := len(only); n > most {
			only = append(only[:most], fmt.Sprintf("and %d more", n-most))
		}
		if len(only) > 0 {
			bad = append(bad, side.what+": "+strings.Join(only, ", "))
		}
	}
	return bad
}

// ruleSet renders each rule for each of its calls, sorted, each once.
func ruleSet(rules []specs.LinuxSyscall) []string {
	var set []string
	for _, r := range rules {
		args := slices.Clone(r.Args)
		slices.SortFunc(args, func(a, b specs.LinuxSeccompArg) int {
			return cmp.Or(cmp.Compare(a.Index, b.Index), cmp.Compare(a.Op, b.Op), cmp.Compare(a.Value, b.Value), cmp.Compare(a.ValueTwo, b.ValueTwo))
		})
		conds := make([]string, len(args))
		for i, a := range args {
			conds[i] = condition(a)
		}
		for _, name := range r.Names {
			set = append(set, fmt.Sprintf("%s(%s) %s", name, strings.Join(conds, " "), verdict(r.Action, r.ErrnoRet)))
		}
	}
	slices.Sort(set)
	return slices.Compact(set)
}

// condition renders a condition so that two are the same if they mean the same.
func condition(a specs.LinuxSeccompArg) string {
	if a.Op == specs.OpMaskedEqual {
		return fmt.Sprintf("arg%d&%#x==%#x", a.Index, a.Value, a.ValueTwo)
	}
	// The second value means nothing to the other comparisons.
	return fmt.Sprintf("arg%d %s %#x", a.Index, strings.TrimPrefix(string(a.Op), "SCMP_CMP_"), a.Value)
}

// list renders a set of words.
func list[T ~string](words []T) string {
	if len(words) == 0 {
		return "empty"
	}
	sorted := slices.Clone(words)
	slices.Sort(sorted)
	sorted = slices.Compact(sorted)
	all := make([]string, len(sorted))
	for i, w := range sorted {
		all[i] = string(w)
	}
	return strings.Join(all, ",")
}

func quote(path, metadata string) string {
	if path == "" && metadata == "" {
		return "none"
	}
	return fmt.Sprintf("%q with %q", path, metadata)
}
