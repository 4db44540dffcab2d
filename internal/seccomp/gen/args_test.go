package main

import (
	"math/rand/v2"
	"testing"
)

// The complement is what every argument rule rests on, and it is checked where it
// can be checked for every value there is.
func TestOutsideIsTheComplement(t *testing.T) {
	count := func(conds []cond, v uint32) (n int) {
		for _, c := range conds {
			if v&c.mask == c.value {
				n++
			}
		}
		return n
	}
	check := func(t *testing.T, mask uint32, values []uint32, conds []cond, v uint32) {
		t.Helper()
		want := 1
		for _, bad := range values {
			if v&mask == bad&mask {
				want = 0
			}
		}
		if got := count(conds, v); got != want {
			t.Fatalf("mask %#x, values %#x: %d conditions hold for %#x, want %d", mask, values, got, v, want)
		}
	}
	// Every set of two values of five bits, under two masks.
	for _, mask := range []uint32{0x1f, 0x15} {
		for a := range uint32(32) {
			for b := range uint32(32) {
				conds := outside(0, mask, a, b)
				for v := range uint32(64) {
					check(t, mask, []uint32{a, b}, conds, v)
				}
			}
		}
	}
	// The masks and values in use, for arguments close to them and far away.
	random := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		mask   uint32
		values []uint32
	}{
		{0xffff, []uint32{tiocsti, tioclinux, tiocsetd}}, {0xffffffff, []uint32{0, 8, 0x40000, 0xffffffff}}, {cloneNew, []uint32{0}}, {1, []uint32{1}},
	} {
		conds := outside(0, c.mask, c.values...)
		for _, near := range c.values {
			check(t, c.mask, c.values, conds, near)
			for i := range 32 {
				for j := range 32 {
					check(t, c.mask, c.values, conds, near^1<<i^1<<j)
				}
			}
		}
		for range 100_000 {
			check(t, c.mask, c.values, conds, random.Uint32())
		}
	}
}
