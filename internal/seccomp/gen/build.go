package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	base "go.podman.io/common/pkg/seccomp"
	"golang.org/x/sys/unix"
)

// profile is a profile in the making.
type profile struct {
	arch  arch
	rules []rule
}

// rule is one rule, with the reason for it. Of the rules of a row only the first
// has the reason.
type rule struct {
	specs.LinuxSyscall
	Comment string `json:"comment,omitempty"`
}

// Build makes the profile of a variant for an architecture.
//
// A call that no row mentions and that the base does not know gets ENOSYS, the
// default: a C library that is newer than the profile, or than the host's filter
// library, then does what it does on an older kernel. EPERM as the default breaks
// programs: where libseccomp has not heard of fchmodat2 it drops the rule that
// allows it, and tar cannot unpack a symbolic link any more. What rows deny they
// deny by name, so that a person reads "operation not permitted" and not
// "function not implemented".
func Build(variant string, a arch, numbers Numbers) (*profile, error) {
	from, err := resolve(base.DefaultProfile(), a)
	if err != nil {
		return nil, err
	}
	p := &profile{arch: a}
	var removed []rule
	for _, r := range Removals() {
		if len(r.In) > 0 && !slices.Contains(r.In, variant) {
			continue
		}
		rules, err := p.remove(r, from, numbers)
		if err != nil {
			return nil, fmt.Errorf("row %v: %w", r.Calls, err)
		}
		removed = append(removed, rules...)
	}
	if left := slices.Sorted(maps.Keys(from.filtered)); len(left) > 0 {
		return nil, fmt.Errorf("the base profile filters the arguments of %v, and no row says what to do", left)
	}
	native := numbers[a.goarch]
	p.add(specs.ActAllow, 0, natives(from.allowed, native), "allowed by the profile that this one is made from")
	p.rules = append(p.rules, removed...)
	p.add(specs.ActErrno, unix.EPERM, natives(from.denied, native), "denied by the profile that this one is made from")
	return p, nil
}

// baseline is the base profile for an architecture and no capabilities: the
// calls it allows, those it denies by name, and those whose arguments it filters.
// What is in none of them it answers with ENOSYS.
type baseline struct {
	allowed, denied, filtered map[string]bool
}

// resolve reads the base profile as Podman would for a container without
// capabilities.
func resolve(p *base.Seccomp, a arch) (baseline, error) {
	b := baseline{allowed: map[string]bool{}, denied: map[string]bool{}, filtered: map[string]bool{}}
	if p.DefaultAction != base.ActErrno {
		return b, fmt.Errorf("the base profile's default is %s", p.DefaultAction)
	}
	for _, s := range p.Syscalls {
		in, out := s.Includes, s.Excludes
		if len(in.Caps) > 0 || len(in.Arches) > 0 && !slices.Contains(in.Arches, a.goarch) || slices.Contains(out.Arches, a.goarch) {
			continue
		}
		set := b.denied
		switch {
		case len(s.Args) > 0:
			set = b.filtered
		case s.Action == base.ActAllow:
			set = b.allowed
		case s.Action != base.ActErrno:
			return b, fmt.Errorf("the base profile has the action %s", s.Action)
		}
		for _, name := range s.Names {
			set[name] = true
		}
	}
	// The base both allows and denies setns without CAP_SYS_ADMIN: of two things
	// said the stricter one is taken.
	for name := range b.denied {
		delete(b.allowed, name)
	}
	for name := range b.filtered {
		if b.allowed[name] || b.denied[name] {
			return b, fmt.Errorf("the base profile both filters and decides %s", name)
		}
	}
	return b, nil
}

// remove applies a row: its calls are no longer what the base made of them.
func (p *profile) remove(r Removal, from baseline, numbers Numbers) ([]rule, error) {
	var calls []string
	for _, call := range r.Calls {
		if !numbers.has(call) {
			return nil, fmt.Errorf("no architecture has the call %s", call)
		}
		if len(r.args) > 0 && !from.allowed[call] && !from.filtered[call] {
			return nil, fmt.Errorf("the base does not allow %s", call)
		}
		delete(from.allowed, call)
		delete(from.denied, call)
		delete(from.filtered, call)
		if _, ok := numbers[p.arch.goarch][call]; ok {
			calls = append(calls, call)
		}
	}
	if len(calls) == 0 {
		return nil, nil
	}
	comment := r.Reason
	if len(r.CVEs) > 0 {
		comment += " (" + strings.Join(r.CVEs, ", ") + ")"
	}
	q := profile{}
	if len(r.args) == 0 {
		q.add(specs.ActErrno, r.Errno, calls, comment)
		return q.rules, nil
	}
	for i, a := range r.args {
		if i > 0 {
			comment = ""
		}
		action, errno := specs.ActErrno, r.Errno
		if a.allow {
			action, errno = specs.ActAllow, 0
		}
		q.add(action, errno, calls, comment)
		last := &q.rules[len(q.rules)-1]
		for _, c := range a.conds {
			last.Args = append(last.Args, c.spec())
		}
	}
	return q.rules, nil
}

// add appends a rule for the calls, if there are any.
func (p *profile) add(action specs.LinuxSeccompAction, errno syscall.Errno, calls []string, comment string) {
	if len(calls) == 0 {
		return
	}
	r := rule{LinuxSyscall: specs.LinuxSyscall{Names: calls, Action: action}, Comment: comment}
	if action == specs.ActErrno {
		n := uint(errno)
		r.ErrnoRet = &n
	}
	p.rules = append(p.rules, r)
}

// natives returns those of the calls that the architecture has, sorted. The base
// names the calls of all architectures; a name that is not native only makes the
// runtime warn.
func natives(calls map[string]bool, native map[string]int) []string {
	var names []string
	for name := range calls {
		if _, ok := native[name]; ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
