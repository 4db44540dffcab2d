package main

import specs "github.com/opencontainers/runtime-spec/specs-go"

// cond is a condition on one argument of a system call: argument & mask ==
// value. Both are 32 bits wide and the upper half of the argument is never
// looked at, for the kernel does not look at it either: what is filtered here
// are ints and unsigned ints, and a filter that compared all 64 bits could be
// passed with a junk upper half that the kernel then drops (CVE-2019-7303). The
// same goes for the flags of clone, which the kernel cuts to 32 bits.
type cond struct {
	arg         uint
	mask, value uint32
}

// is is the condition that the low 32 bits of an argument are the value.
func is(arg uint, value uint32) cond { return cond{arg: arg, mask: 0xffffffff, value: value} }

// masked is the condition that the masked bits of an argument are the value.
func masked(arg uint, mask, value uint32) cond { return cond{arg: arg, mask: mask, value: value} }

// outside returns conditions of which exactly one holds if argument & mask is
// none of the values, and none holds if it is one.
//
// A filter can only say "equal under a mask". libseccomp's NE, LT and GT compare
// 64 bits, and two conditions on one argument cannot be joined in a rule: crun
// and runc take such a rule apart and let either do. So the complement of some
// values is spelled out: walk the bits of the mask from the highest down; values
// that agree in the bits so far form a group; where a group has only one
// continuation, an argument with the other one is outside. For k values and b
// bits these are at most k*b conditions. They are disjoint, so that nothing
// depends on the order in which a filter tries them.
func outside(arg uint, mask uint32, values ...uint32) []cond {
	return walk(arg, mask, 31, cond{arg: arg}, values)
}

// walk does the work of outside for the bits from bit down; at is the condition
// that leads to the group.
func walk(arg uint, mask uint32, bit int, at cond, group []uint32) []cond {
	for ; bit >= 0 && mask&(1<<bit) == 0; bit-- {
	}
	if bit < 0 {
		return nil
	}
	var conds []cond
	for _, want := range []uint32{0, 1 << bit} {
		next := cond{arg: arg, mask: at.mask | 1<<bit, value: at.value | want}
		var rest []uint32
		for _, v := range group {
			if v&(1<<bit) == want {
				rest = append(rest, v)
			}
		}
		if len(rest) == 0 {
			conds = append(conds, next)
			continue
		}
		conds = append(conds, walk(arg, mask, bit-1, next, rest)...)
	}
	return conds
}

// argRule allows or denies a call whose arguments meet all conditions.
type argRule struct {
	conds []cond
	allow bool
}

// allow and deny return one rule for each of the last conditions, each joined
// with those before.
func allow(last []cond, before ...cond) []argRule { return rules(true, last, before) }
func deny(last []cond, before ...cond) []argRule  { return rules(false, last, before) }

func rules(allow bool, last, before []cond) []argRule {
	var all []argRule
	for _, c := range last {
		all = append(all, argRule{conds: append(append([]cond{}, before...), c), allow: allow})
	}
	return all
}

// denyValues denies a call if argument & mask is one of the values.
func denyValues(arg uint, mask uint32, values ...uint32) []argRule {
	var bad []cond
	for _, v := range values {
		bad = append(bad, masked(arg, mask, v))
	}
	return append(deny(bad), allow(outside(arg, mask, values...))...)
}

// denyBits denies a call if the argument has any of the bits.
func denyBits(arg uint, bits uint32) []argRule {
	return append(allow([]cond{masked(arg, bits, 0)}), deny(outside(arg, bits, 0))...)
}

// within joins each condition with one more on other bits of the same argument.
func within(c cond, all []cond) []cond {
	joined := make([]cond, len(all))
	for i, a := range all {
		joined[i] = cond{arg: c.arg, mask: a.mask | c.mask, value: a.value | c.value}
	}
	return joined
}

// spec renders a condition for the OCI runtime: value is the mask, valueTwo what
// the masked argument has to be.
func (c cond) spec() specs.LinuxSeccompArg {
	return specs.LinuxSeccompArg{Index: c.arg, Value: uint64(c.mask), ValueTwo: uint64(c.value), Op: specs.OpMaskedEqual}
}
