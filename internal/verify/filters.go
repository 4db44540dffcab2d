package verify

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/policy"
	"github.com/ccc-dev/ccc/internal/seccomp"
	"github.com/ccc-dev/ccc/internal/seccomp/calls"
)

// filters are the controls of the system call filter: one for its being there,
// and one for each group of probes.
func filters() []check {
	all := []check{{"seccomp", "S06", "a filter for the first process and for every command", "both", judgeFilter}}
	for _, g := range []struct{ id, cases, group, expected string }{
		{"seccomp-namespaces", "S01", "S01", "no way to a new namespace, no capability in one"},
		{"seccomp-sockets", "S02", "S02", "no socket but of the families on the list"},
		{"seccomp-high-bits", "S03", "S03", "bits that the kernel drops make no difference"},
		{"seccomp-other-tables", "S04", "S04", "no call through the table of another architecture"},
		{"seccomp-primitives", "S05 S07", "S07", "io_uring, userfaultfd, BPF, perf, keyrings, tracing and other processes' memory as the profile says"},
		{"seccomp-mounts", "S08", "S08", "no mount, by the old calls or the new"},
		{"seccomp-host", "S07", "host", "nothing that concerns the whole machine"},
		{"seccomp-ordinary", "S12", "use", "what programs need reaches the kernel"},
	} {
		all = append(all, check{g.id, g.cases + " S06", g.expected, "inside", func(e *evidence) result { return judgeCalls(e, g.group) }})
	}
	return all
}

// filterMode is the mode of a process with a system call filter (seccomp(2)).
const filterMode = 2

func judgeFilter(e *evidence) result {
	var t tally
	e.both(&t, func(who string, s Sight) {
		t.expect(s.Facts.Seccomp == filterMode, "the mode of %s is %d", who, s.Facts.Seccomp)
	})
	for _, file := range []string{"/proc/self/status", "/proc/1/status"} {
		mode, _ := e.status(file, "Seccomp")
		t.expect(mode == fmt.Sprint(filterMode), "Seccomp of %s is %q", file, mode)
	}
	return t.result("the filter %s", e.Terms.Seccomp)
}

// expectation is what a probe is to meet.
type expectation struct {
	id string
	// answers are the right ones.
	answers []string
	// stricter tells that a refusal is right, too: what the filter lets through may
	// be refused by a security module, which is not worse; but what ordinary
	// programs need has to work.
	stricter bool
}

// golden returns what each probe meets under the filter that was granted.
func golden(t policy.Terms, arch string) ([]expectation, error) {
	filter, err := seccomp.Filter(t.Seccomp, t.SeccompAllow)
	if err != nil {
		return nil, err
	}
	profile, err := seccomp.Parse(filter)
	if err != nil {
		return nil, err
	}
	var all []expectation
	for _, p := range calls.Probes() {
		if _, ok := calls.Number(arch, p.Call); !ok || arch != "amd64" && p.Entry != calls.Native {
			continue
		}
		v, err := seccomp.Judge(profile, arch, p)
		if err != nil {
			return nil, err
		}
		want := expectation{id: p.ID, answers: []string{v.String()}, stricter: v.Allowed() && !strings.HasPrefix(p.ID, "use/")}
		switch want.answers[0] {
		case "allow":
			// A kernel may be too old for a call, or built without it.
			want.answers = append(slices.Clone(p.Kernel), "ENOSYS")
		case "kill":
			want.answers = []string{"SIGSYS"}
			if p.Entry == calls.Int80 {
				// A kernel without 32-bit programs kills with another signal, or takes
				// the number for one of its own table, where the filter has judged it.
				want.answers = append(want.answers, "SIGSEGV", "EBADF")
			}
		}
		all = append(all, want)
	}
	return all, nil
}

// judgeCalls holds the answers to a group of probes against what the profile in
// force does with them.
func judgeCalls(e *evidence, group string) result {
	if e.tableErr != nil {
		return result{verdict: api.VerdictUnknown, seen: e.tableErr.Error()}
	}
	var t tally
	for _, want := range e.table {
		if !strings.HasPrefix(want.id, group+"/") {
			continue
		}
		got, tried := e.Report.Calls[want.id]
		if !tried || got == "timeout" || strings.HasPrefix(got, "error") {
			t.unsure("%s: %q", want.id, got)
			continue
		}
		right := slices.Contains(want.answers, got) || want.stricter && (got == "EACCES" || got == "EPERM")
		t.expect(right, "%s answers %s, not %s", want.id, got, strings.Join(want.answers, " or "))
	}
	return t.result("%d calls answer as the table of %s says", t.good, e.Terms.Seccomp)
}
