package config

import (
	"fmt"
	"strings"

	"github.com/ccc-dev/ccc/internal/api"
)

// nearest returns the hint for an unknown word: the known one that is nearest
// to it, or how to see them all if none is near.
func nearest(word string, known []string) string {
	best := Nearest(word, known)
	if best == "" {
		return "run `ccc config show` for what there is"
	}
	return "did you mean " + best + "?"
}

// Nearest returns the known word that an unknown one was probably meant to be;
// empty if none is near. The word may be anything, of any length.
func Nearest(word string, known []string) string {
	best, least := "", len(word)/3+2
	// A word of any length may come in; the distance costs its square.
	if len(word) <= 128 {
		for _, k := range known {
			if d := distance(word, k); d < least {
				best, least = k, d
			}
		}
	}
	return best
}

// distance is the number of bytes to insert, remove or replace to get from a to
// b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// quote renders untrusted text for a message: escaped, and cut to fit a line.
func quote(s string) string {
	const most = 64
	if len(s) > most {
		return fmt.Sprintf("%s… (%d bytes)", strings.TrimSuffix(fmt.Sprintf("%+q", s[:most]), `"`)+`"`, len(s))
	}
	return fmt.Sprintf("%+q", s)
}

// at returns err as an error about the key at the place, keeping its kind and
// hint.
func at(o Origin, name string, err error) error {
	e := &api.Error{Kind: api.KindOf(err), Msg: o.String() + ": " + name, Err: err}
	r := api.ReportOf(err)
	e.Rule, e.Hint = r.Rule, r.Hint
	return e
}
