// Package calls knows the kernel's system calls by name and number, and holds a
// list of calls to try ([Probes]) with which one learns from inside a container
// what its filter really lets through.
//
// It is small enough for a program that runs inside a session, and says nothing
// about what ought to be allowed: package seccomp says what a profile does with
// each probe.
package calls

import (
	"runtime"
	"slices"
	"strings"
)

// number is a row of the table: a call, and its number on each architecture.
type number struct {
	name         string
	amd64, arm64 int16
}

// of returns the number on an architecture, by Go's name of it.
func (n number) of(goarch string) int {
	switch goarch {
	case "amd64":
		return int(n.amd64)
	case "arm64":
		return int(n.arm64)
	}
	return -1
}

// Number returns the number of a system call on an architecture (Go's name of
// it), and whether there is one.
func Number(goarch, name string) (int, bool) {
	i, ok := slices.BinarySearchFunc(numbers[:], name, func(n number, name string) int { return strings.Compare(n.name, name) })
	if !ok {
		return 0, false
	}
	nr := numbers[i].of(goarch)
	return nr, nr >= 0
}

// Names returns the names of all system calls of an architecture, sorted.
func Names(goarch string) []string {
	var names []string
	for _, n := range numbers {
		if n.of(goarch) >= 0 {
			names = append(names, n.name)
		}
	}
	return names
}

// native returns the number of a system call on this machine.
func native(name string) (int, bool) { return Number(runtime.GOARCH, name) }
