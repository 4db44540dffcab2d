package workspace

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/ccc-dev/ccc/internal/api"
)

// Select narrows changes to those that the patterns mean; all if there are none.
// A pattern that means nothing is a [api.KindNotFound] error.
func Select(changes []api.Change, patterns []string) ([]api.Change, error) {
	if len(patterns) == 0 {
		return changes, nil
	}
	used := make([]bool, len(patterns))
	var selected []api.Change
	for _, c := range changes {
		take := false
		for i, p := range patterns {
			if match, _ := api.MatchPath(p, c.Path); match {
				used[i], take = true, true
			}
		}
		if take {
			selected = append(selected, c)
		}
	}
	if i := slices.Index(used, false); i >= 0 {
		return nil, &api.Error{
			Kind: api.KindNotFound, Rule: "change.unknown", Msg: fmt.Sprintf("the session changed nothing that %q means", patterns[i]),
			Hint: "ccc session diff --name-only lists what it changed",
		}
	}
	return selected, nil
}

// Choose decides which changes a request takes, and which it leaves and why. It
// is a pure function. What a taken change cannot do without is taken with it: the
// directories that it lies in, and all below a directory that goes.
//
// An unresolved conflict refuses the whole request, and so does a path that was
// named exactly, or that one needs, and cannot be taken.
func Choose(changes []api.Change, r api.ApplyRequest) (taken []api.Change, held []api.Held, err error) {
	selected, err := Select(changes, r.Paths)
	if err != nil {
		return nil, nil, err
	}
	ch := chooser{all: changes, request: r, wanted: map[int]bool{}, held: map[int]api.Held{}}
	for _, c := range selected {
		ch.want(ch.index(c.Path), slices.ContainsFunc(r.Paths, func(p string) bool { _, exact := api.MatchPath(p, c.Path); return exact }))
	}
	if err := ch.judge(); err != nil {
		return nil, nil, err
	}
	for i, c := range changes {
		if h, is := ch.held[i]; is {
			held = append(held, h)
		} else if _, is := ch.wanted[i]; is {
			taken = append(taken, c)
		}
	}
	return taken, held, nil
}

// chooser is one choice under way. Changes go by their index in all.
type chooser struct {
	all     []api.Change
	request api.ApplyRequest
	// wanted tells of each that is wanted whether the request insists on it.
	wanted map[int]bool
	held   map[int]api.Held
}

// index returns the place of a path among the changes, -1 if it has none.
func (ch *chooser) index(p string) int {
	i := sort.Search(len(ch.all), func(i int) bool { return ch.all[i].Path >= p })
	if i < len(ch.all) && ch.all[i].Path == p {
		return i
	}
	return -1
}

// want adds a change and all that it needs.
func (ch *chooser) want(i int, insist bool) {
	if was, is := ch.wanted[i]; is && (was || !insist) {
		return
	}
	ch.wanted[i] = insist
	for _, n := range ch.needs(i) {
		ch.want(n, insist)
	}
}

// needs returns what a change cannot do without.
func (ch *chooser) needs(i int) []int {
	c := ch.all[i]
	var needs []int
	for at := 0; at < len(c.Path); at++ {
		if c.Path[at] != '/' {
			continue
		}
		if p := ch.index(c.Path[:at]); p >= 0 && ch.all[p].New.Kind == api.FileDir && ch.all[p].Old.Kind != api.FileDir {
			needs = append(needs, p)
		}
	}
	if c.Old.Kind == api.FileDir && c.New.Kind != api.FileDir {
		// Not only what follows it in order: "a-b" sorts between "a" and "a/b".
		from := sort.Search(len(ch.all), func(k int) bool { return ch.all[k].Path >= c.Path+"/" })
		for k := from; k < len(ch.all) && strings.HasPrefix(ch.all[k].Path, c.Path+"/"); k++ {
			needs = append(needs, k)
		}
	}
	return needs
}

// judge holds back what may not be taken, and then what needs it.
func (ch *chooser) judge() error {
	var conflicts []string
	for i, c := range ch.all {
		if _, wanted := ch.wanted[i]; !wanted {
			continue
		}
		if shown, is := ch.request.Digests[c.Path]; is && shown != c.Digest {
			return ErrChanged(c.Path)
		}
		why, held := ch.reason(c)
		if !held && c.Conflict != "" && ch.request.Conflicts == api.SideNone {
			conflicts = append(conflicts, api.Printable(c.Path))
		}
		if held {
			ch.held[i] = why
		}
	}
	if err := errConflicts(conflicts); err != nil {
		return err
	}
	ch.spread()
	return ch.insisted()
}

// spread holds back what needs what is held back.
func (ch *chooser) spread() {
	for again := true; again; {
		again = false
		for i := range ch.all {
			_, held := ch.held[i]
			if _, wanted := ch.wanted[i]; !wanted || held {
				continue
			}
			for _, n := range ch.needs(i) {
				if h, is := ch.held[n]; is {
					ch.held[i] = api.Held{Path: ch.all[i].Path, Rule: h.Rule, Reason: "it needs " + api.Printable(h.Path) + ": " + h.Reason, Hint: h.Hint}
					again = true
					break
				}
			}
		}
	}
}

// insisted refuses the request if what it insists on is held back.
func (ch *chooser) insisted() error {
	var first api.Held
	for i := range ch.all {
		h, is := ch.held[i]
		if !is || !ch.wanted[i] || h.Rule == ruleOurs {
			continue
		}
		if named := slices.Contains(ch.request.Paths, h.Path); named || first.Rule == "" {
			first = h
		}
	}
	if first.Rule == "" {
		return nil
	}
	return api.Deniedf(first.Rule, first.Hint, "%s cannot be taken: %s", api.Printable(first.Path), first.Reason)
}

// ruleOurs is not a refusal: the request itself asked for the host's file.
const ruleOurs = "change.ours"

// reason tells why a change is held back, if it is.
func (ch *chooser) reason(c api.Change) (api.Held, bool) {
	h := api.Held{Path: c.Path}
	switch {
	case c.Refused != "":
		h.Rule, h.Reason, h.Hint = "change.refused", c.Refused, "leave it out, or change it in the session"
	case c.Tier == api.TierRuns && !ch.allowed(c):
		h.Rule, h.Reason = "change.runs-by-itself", "a program on the host runs or obeys it without being asked"
		h.Hint = "read it, then add --allow-runs-by-itself " + quoted(c.Path)
	case len(ch.request.Digests) > 0 && ch.request.Digests[c.Path] == "":
		h.Rule, h.Reason, h.Hint = "change.unseen", "nobody has looked at it", "take it too, or leave both"
	case c.Conflict != "" && ch.request.Conflicts == api.SideOurs:
		h.Rule, h.Reason = ruleOurs, "the host's file stays: "+c.Conflict
	default:
		return h, false
	}
	return h, true
}

// allowed tells whether a path that runs by itself has its own yes. A directory
// does nothing by itself: the yes of what is in it is enough.
func (ch *chooser) allowed(c api.Change) bool {
	return slices.ContainsFunc(ch.request.Runs, func(r string) bool {
		return r == c.Path || c.New.Kind == api.FileDir && strings.HasPrefix(r, c.Path+"/")
	})
}

// quoted renders a path for a command line that a person may copy.
func quoted(p string) string {
	if strings.ContainsFunc(p, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+=@%:,", r)
	}) {
		return "'" + strings.ReplaceAll(api.Printable(p), "'", `'\''`) + "'"
	}
	return p
}

// ErrChanged is the error for a file that is no longer what was shown.
func ErrChanged(p string) error {
	return &api.Error{
		Kind: api.KindConflict, Rule: "change.moved", Msg: api.Printable(p) + " is not what it was when it was looked at",
		Hint: "look again with ccc session diff, and stop the session if it does not rest",
	}
}

// errConflicts is the error for files that both the host and the session
// changed, nil if there are none.
func errConflicts(paths []string) error {
	if len(paths) == 0 {
		return nil
	}
	const most = 5
	list, more := paths, ""
	if len(list) > most {
		list, more = list[:most], fmt.Sprintf(" and %d more", len(paths)-most)
	}
	return &api.Error{
		Kind: api.KindConflict, Rule: "change.conflict",
		Msg:  "the host and the session both changed " + strings.Join(list, ", ") + more,
		Hint: "keep the host's with --ours, take the session's with --theirs, or name other paths",
	}
}
