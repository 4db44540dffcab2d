package learn

import (
	"cmp"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/seccomp"
)

// most is how many different calls are told apart. A workload could make
// millions of different ones, and what is remembered of them is our memory.
const most = 500

// key tells calls apart.
type key struct {
	name, args string
	answer     unix.Errno
}

// seen is what is known of the calls of one key.
type seen struct {
	// first is the first of them.
	first   seccomp.Call
	program string
	count   int
}

// tally counts calls. It may be used concurrently.
type tally struct {
	mu   *sync.Mutex
	seen map[key]*seen
	more *int
}

func newTally() tally { return tally{mu: new(sync.Mutex), seen: map[key]*seen{}, more: new(int)} }

// add counts a call that was answered.
func (t tally) add(c seccomp.Call, answer unix.Errno, program string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := key{c.Name, words(c), answer}
	if s := t.seen[k]; s != nil {
		s.count++
		return
	}
	if len(t.seen) == most {
		*t.more++
		return
	}
	t.seen[k] = &seen{first: c, program: program, count: 1}
}

// denied returns what was counted, judged.
func (t tally) denied(profile []byte) ([]api.DeniedCall, int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]api.DeniedCall, 0, len(t.seen))
	for k, s := range t.seen {
		d := api.DeniedCall{Call: cmp.Or(k.name, "unknown"), Args: k.args, Answer: unix.ErrnoName(k.answer), Count: s.count, Program: api.Printable(s.program)}
		judge(&d, profile, s.first)
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b api.DeniedCall) int {
		return cmp.Or(cmp.Compare(a.Advice, b.Advice), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Call, b.Call), cmp.Compare(a.Args, b.Args))
	})
	return all, *t.more
}

// judge says why a call is denied and what to do about it. What nobody has found
// harmless is never to be added.
func judge(d *api.DeniedCall, profile []byte, c seccomp.Call) {
	d.Advice = api.AdviceNever
	if r, err := seccomp.ReasonFor(profile, c); err == nil {
		d.Reason, d.CVEs = r.Text, r.CVEs
	}
	d.Reason = cmp.Or(d.Reason, "the profile does not know the call, and what it does not know it denies")
	if add, ok := seccomp.MayAdd(c.Name); ok {
		d.Advice, d.Why = api.AdviceAdd, add.Why
		return
	}
	d.Instead = seccomp.Instead(c)
}
