package probe

import (
	"cmp"
	"math"
	"strconv"
	"strings"
)

// release is a version of a program as its makers count: three numbers, and a
// fourth for what came before that release was finished.
type release [4]int

// finished is the fourth number of a release that is none to be tried out.
const finished = math.MaxInt

// parseRelease reads the first version in a text: of a program's word about
// itself ("crun version 1.8.1"), of a package ("4.3.1+ds1-8+deb12u1",
// "5.2.2-1.fc41"), of a kernel ("6.12.107+deb13-amd64"). What a distribution adds
// behind is not part of it.
func parseRelease(text string) (release, bool) {
	r := release{3: finished}
	i := strings.IndexAny(text, "0123456789")
	for i > 0 && text[i-1] != ' ' && text[i-1] != 'v' {
		// A digit in a name, such as that of a package's architecture.
		next := strings.IndexAny(text[i+1:], "0123456789")
		if next < 0 {
			return r, false
		}
		i += 1 + next
	}
	if i < 0 {
		return r, false
	}
	rest := text[i:]
	parts := 0
	for ; parts < 3; parts++ {
		end := strings.IndexFunc(rest, func(c rune) bool { return c < '0' || c > '9' })
		if end < 0 {
			end = len(rest)
		}
		n, err := strconv.Atoi(rest[:end])
		if err != nil {
			break
		}
		r[parts] = n
		rest = rest[end:]
		if !strings.HasPrefix(rest, ".") {
			parts++
			break
		}
		rest = rest[1:]
	}
	r[3] = before(rest)
	return r, parts >= 2
}

// before reads what marks a version as earlier than the one that it is named
// after.
func before(rest string) int {
	rest = strings.TrimLeft(rest, "-~.")
	if strings.HasPrefix(rest, "dev") {
		return 0
	}
	n, ok := strings.CutPrefix(rest, "rc")
	if !ok {
		return finished
	}
	n = strings.TrimLeft(n, ".-")
	if end := strings.IndexFunc(n, func(c rune) bool { return c < '0' || c > '9' }); end >= 0 {
		n = n[:end]
	}
	number, err := strconv.Atoi(n)
	if err != nil {
		return 0
	}
	return number
}

// compare returns -1, 0 or 1.
func (r release) compare(o release) int {
	for i := range r {
		if c := cmp.Compare(r[i], o[i]); c != 0 {
			return c
		}
	}
	return 0
}

// branch tells whether two releases are of the same branch.
func (r release) branch(o release) bool { return r[0] == o[0] && r[1] == o[1] }

// standing is how a version stands to a flaw, by its number alone.
type standing uint8

const (
	// unclear: the table does not know.
	unclear standing = iota
	// older: the version is below every fix, or of a branch without one.
	older
	// never: the version is older than the flaw.
	never
	// repaired: the version has the fix.
	repaired
)

// stands compares a version with a flaw's.
func (f flaw) stands(v release) standing {
	if since, ok := parseRelease(f.since); ok && v.compare(since) < 0 {
		return never
	}
	if len(f.fixed) == 0 {
		return unclear
	}
	last := release{}
	for _, text := range f.fixed {
		fix, ok := parseRelease(text)
		if !ok {
			return unclear
		}
		if v.branch(fix) {
			if v.compare(fix) >= 0 {
				return repaired
			}
			return older
		}
		last = fix
	}
	switch {
	case f.branches:
		return unclear
	case v.compare(last) >= 0:
		return repaired
	}
	return older
}
