package seccomp

import (
	"regexp"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Reason is why a profile denies a call.
type Reason struct {
	// Text is the sentence that stands beside the rule.
	Text string `json:"text"`
	// CVEs are the known vulnerabilities that needed the call.
	CVEs []string `json:"cves,omitempty"`
}

// String renders the reason as it stands in a profile.
func (r Reason) String() string {
	if len(r.CVEs) == 0 {
		return r.Text
	}
	return r.Text + " (" + strings.Join(r.CVEs, ", ") + ")"
}

// cves is what ends the comment of a rule with known vulnerabilities.
var cves = regexp.MustCompile(`^(.*) \((CVE-[^()]*)\)$`)

// ReasonFor returns why the profile denies the call, in the words of the rule
// that does. A call that it allows, or that only its default denies, has no
// reason. Without arguments that meet any rule, the first rule that denies the
// call by name gives its reason.
func ReasonFor(profile []byte, c Call) (Reason, error) {
	f, err := read(profile)
	if err != nil {
		return Reason{}, err
	}
	comment, byName := "", ""
	var row []string
	for _, s := range f.Syscalls {
		// Only the first rule of a row has the comment.
		if s.Comment != "" || !slices.Equal(row, s.Names) {
			comment, row = s.Comment, s.Names
		}
		if s.Action == specs.ActAllow || !slices.Contains(s.Names, c.Name) {
			continue
		}
		if byName == "" {
			byName = comment
		}
		if ok, err := holds(s.Args, c.Args); err != nil || ok {
			return reason(comment), err
		}
	}
	return reason(byName), nil
}

func reason(comment string) Reason {
	m := cves.FindStringSubmatch(comment)
	if m == nil {
		return Reason{Text: comment}
	}
	return Reason{Text: m[1], CVEs: strings.Split(m[2], ", ")}
}

// Instead names the shipped variant that allows the call, the first one that
// does, and returns the empty name if none does.
func Instead(c Call) string {
	for _, v := range Variants() {
		p, err := Expected(v.Name)
		if err != nil {
			continue
		}
		if verdict, err := Evaluate(p, c); err == nil && verdict.Allowed() {
			return v.Name
		}
	}
	return ""
}
