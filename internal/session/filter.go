package session

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ccc-dev/ccc/internal/policy"
	"github.com/ccc-dev/ccc/internal/profile"
	"github.com/ccc-dev/ccc/internal/seccomp"
)

// filterNamed returns the system call filter that a level names: a shipped one,
// or one of the user's own. A file cannot take a shipped filter's name.
func (c *Core) filterNamed(name string) (profile.Filter, error) {
	if slices.ContainsFunc(seccomp.Variants(), func(v seccomp.Variant) bool { return v.Name == name }) {
		return profile.Filter{Name: name, Base: name}, nil
	}
	return profile.FindFilter(name, c.Filters)
}

// filter returns the system call filter of a session. It is made from the terms
// alone: what was granted does not change with a file.
func (c *Core) filter(t policy.Terms) ([]byte, error) {
	filter, err := seccomp.Filter(t.Seccomp, t.SeccompAllow)
	if err != nil || c.watch == nil {
		return filter, err
	}
	return c.watch(t, filter)
}

// filterName says which filter that is.
func filterName(t policy.Terms) string {
	switch n := len(t.SeccompAllow); n {
	case 0:
		return t.Seccomp
	case 1:
		return t.Seccomp + " and " + t.SeccompAllow[0]
	default:
		return fmt.Sprintf("%s and %d calls more: %s", t.Seccomp, n, strings.Join(t.SeccompAllow, ", "))
	}
}
