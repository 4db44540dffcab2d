package verify

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/guest/observe"
)

// evidence is the input with what is often asked of it.
type evidence struct {
	Input
	mounts []mount
	// table is what the filter in force does with each probe, and why that is not
	// known where it is not.
	table    []expectation
	tableErr error
}

// mount is a line of the session's own mountinfo.
type mount struct{ root, point string }

// parseMounts reads what is wanted of a mountinfo (proc_pid_mountinfo(5)).
func parseMounts(info string) []mount {
	var all []mount
	for line := range strings.Lines(info) {
		if f := strings.Fields(line); len(f) > 4 {
			all = append(all, mount{root: f[3], point: f[4]})
		}
	}
	return all
}

// status returns a field of a process's status as it was seen inside.
func (e *evidence) status(file, key string) (string, bool) {
	for line := range strings.Lines(e.Report.Texts[file].Data) {
		if v, ok := strings.CutPrefix(line, key+":"); ok {
			return strings.TrimSpace(v), true
		}
	}
	return "", false
}

// answer returns what an attempt came to.
func (e *evidence) answer(verb, object string) (string, bool) {
	a, ok := e.Report.Tries[observe.Key(verb, object)]
	return a, ok
}

// state returns a control of the posture.
func (e *evidence) state(name string) api.Control {
	i := slices.IndexFunc(e.Posture, func(c api.Control) bool { return c.Name == name })
	if i < 0 {
		return api.Control{Name: name, State: api.StateMissing, Detail: "not in the posture"}
	}
	return e.Posture[i]
}

// writable tells whether the session may write to a path.
func (e *evidence) writable(p string) bool {
	for _, b := range e.Want.Binds {
		if !b.Writable && beneath(p, b.Target) {
			return false
		}
	}
	return slices.ContainsFunc(e.Write, func(w string) bool { return beneath(p, w) })
}

// beneath tells whether a path is dir or lies below it.
func beneath(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/")
}

// tally collects what a control came to.
type tally struct {
	good         int
	bad, unknown []string
}

// expect notes whether something is as it must be.
func (t *tally) expect(ok bool, format string, args ...any) {
	if ok {
		t.good++
		return
	}
	t.bad = append(t.bad, fmt.Sprintf(format, args...))
}

// unsure notes that something could not be told.
func (t *tally) unsure(format string, args ...any) {
	t.unknown = append(t.unknown, fmt.Sprintf(format, args...))
}

// result returns the verdict; seen is what to say if all is well.
func (t *tally) result(seen string, args ...any) result {
	switch {
	case len(t.bad) > 0:
		return result{verdict: api.VerdictFail, seen: some(t.bad)}
	case len(t.unknown) > 0:
		return result{verdict: api.VerdictUnknown, seen: some(t.unknown), hint: "run it again; a session whose probes are disturbed is not to be trusted"}
	case t.good == 0:
		return result{verdict: api.VerdictUnknown, seen: "nothing was tried"}
	}
	return result{verdict: api.VerdictPass, seen: fmt.Sprintf(seen, args...)}
}

// some returns the first few of a list.
func some(list []string) string {
	const most = 4
	if n := len(list); n > most {
		return strings.Join(list[:most], "; ") + fmt.Sprintf("; and %d more", n-most)
	}
	return strings.Join(list, "; ")
}

// refusals are the answers of a kernel that refuses a path, or has none.
func refused(answer string) bool {
	return slices.Contains([]string{"EACCES", "EPERM", "EROFS", "ENOENT", "ENOTDIR", "ENXIO", "ELOOP", "EINVAL", "EIO", "ENODEV", "EBUSY", "ETXTBSY"}, answer)
}

// both calls look with what the host read of each of the two processes.
func (e *evidence) both(t *tally, look func(who string, s Sight)) {
	look("the first process", e.First)
	if e.Probe == nil {
		t.unsure("the host did not find the probe")
		return
	}
	look("a command", *e.Probe)
}

// clean returns a path as it is compared.
func clean(p string) string { return path.Clean("/" + p) }
