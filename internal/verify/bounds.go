package verify

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/guest"
)

// bounds are the controls of what a session may use up.
func bounds() []check {
	return []check{
		{"lifetime", "R07", "the session ends by itself, in the time that was granted", "inside", judgeLifetime},
		{"pids", "R01 R11", "a limit on processes, by a control group or for the session's user", "both", judgePIDs},
		{"memory", "R02 R11", "a control group limits memory", "host", func(e *evidence) result { return judgeGroup(e, "memory", e.First.Facts.Cgroup.Memory, e.Want.Memory) }},
		{"cpu", "R03 R11", "a control group limits processor time", "host", func(e *evidence) result { return judgeGroup(e, "cpu", e.First.Facts.Cgroup.CPUs, e.Want.CPUs) }},
		{"rlimits", "R04", "the resource limits that were granted, or less", "inside", judgeRlimits},
		{"tmp-size", "F09", "file systems in memory have the sizes that were granted, or less", "host", judgeTmpfs},
	}
}

func judgeLifetime(e *evidence) result {
	text := e.Report.Texts[guest.LifeFile(guest.SessionDir)]
	life, err := guest.ParseLife([]byte(text.Data))
	if err != nil {
		return result{verdict: api.VerdictFail, seen: fmt.Sprintf("the file that says when it ends: %v %s", err, text.Err)}
	}
	var t tally
	left := life.Deadline - e.Boottime
	t.expect(left <= e.Terms.Limits.TTL.Std(), "%s are left, %s were granted", left.Round(time.Second), e.Terms.Limits.TTL)
	t.expect(left > 0, "its time was over %s ago", (-left).Round(time.Second))
	return t.result("%s are left", left.Round(time.Second))
}

// judgePIDs knows two ways: the control group, and RLIMIT_NPROC, which counts the
// processes of one user in one user namespace.
func judgePIDs(e *evidence) result {
	var t tally
	if max := e.First.Facts.Cgroup.PIDs; max != nil && *max <= e.Want.PIDs {
		t.good++
		return t.result("%d by a control group", *max)
	}
	l, ok := e.Report.Limits["NPROC"]
	if !ok {
		t.unsure("RLIMIT_NPROC is not in the report")
	}
	t.expect(l.Hard >= 0 && l.Hard <= e.Want.PIDs, "RLIMIT_NPROC is %s, granted are %d", bound(l.Hard), e.Want.PIDs)
	return t.result("%d by RLIMIT_NPROC; no control group limits it", l.Hard)
}

// judgeGroup holds a limit of the control group against the granted one. Where
// the host has none to give, the posture says so.
func judgeGroup(e *evidence, name string, got *int64, want int64) result {
	if got == nil && e.Terms.Require == "" && e.state(name).State == api.StateMissing {
		return result{verdict: api.VerdictMissing, seen: "no control group limits it", hint: "ccc doctor"}
	}
	var t tally
	t.expect(got != nil && *got <= want, "%s, granted are %d", limitOf(got), want)
	return t.result("%s", limitOf(got))
}

func limitOf(n *int64) string {
	if n == nil {
		return "no limit"
	}
	return strconv.FormatInt(*n, 10)
}

func bound(n int64) string {
	if n < 0 {
		return "unlimited"
	}
	return strconv.FormatInt(n, 10)
}

func judgeRlimits(e *evidence) result {
	var t tally
	var seen []string
	for _, name := range slices.Sorted(maps.Keys(e.Want.Rlimits)) {
		l, ok := e.Report.Limits[name]
		if !ok {
			t.unsure("RLIMIT_%s is not in the report", name)
			continue
		}
		t.expect(l.Hard >= 0 && uint64(l.Hard) <= e.Want.Rlimits[name], "RLIMIT_%s is %s, granted are %d", name, bound(l.Hard), e.Want.Rlimits[name])
		seen = append(seen, fmt.Sprintf("%s %s", name, bound(l.Hard)))
	}
	return t.result("%s", strings.Join(seen, ", "))
}

func judgeTmpfs(e *evidence) result {
	var t tally
	var seen []string
	sizes := map[string]int64{"/dev/shm": e.Want.ShmSize}
	for _, m := range e.Want.Tmpfs {
		sizes[m.Target] = m.Size
	}
	for _, at := range slices.Sorted(maps.Keys(sizes)) {
		m := mountAt(e.First.Facts, at)
		if m == nil {
			t.expect(false, "%s is not there", at)
			continue
		}
		size, ok := tmpfsSize(m.SuperOptions)
		t.expect(m.Type == "tmpfs" && ok && size <= sizes[at], "%s has %s", at, strings.Join(m.SuperOptions, ","))
		seen = append(seen, at+" "+api.Bytes(size).String())
	}
	return t.result("%s", strings.Join(seen, ", "))
}

// tmpfsSize reads the option that the kernel shows of a tmpfs (tmpfs(5)).
func tmpfsSize(options []string) (int64, bool) {
	for _, o := range options {
		if v, ok := strings.CutPrefix(o, "size="); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(v, "k"), 10, 64)
			return n << 10, err == nil && strings.HasSuffix(v, "k")
		}
	}
	return 0, false
}
