package api

import (
	"regexp"
	"sync"
)

// Syntax returns a function that tells whether a whole string matches the
// regular expression and has at most so many bytes. The expression is compiled
// at its first use, and the length is not part of it: a program that checks
// three strings should not pay for the automata of thirty. The function may be
// called concurrently.
func Syntax(most int, expr string) func(string) bool {
	compiled := sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(?:` + expr + `)$`) })
	return func(s string) bool { return len(s) <= most && compiled().MatchString(s) }
}
