package cli

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/probe"
)

// checklist prints the answers and the verdicts on known vulnerabilities.
func (r *run) checklist(c probe.Checklist) error {
	if r.global.JSON {
		return r.printJSON(c)
	}
	items := make([][]string, len(c.Items))
	for i, item := range c.Items {
		evidence := item.Evidence
		for _, l := range item.Lacks {
			evidence = append(evidence, "not in this version of ccc: "+l)
		}
		items[i] = []string{string(item.Answer), item.Item, strings.Join(evidence, "; ")}
	}
	if err := r.states([]string{"ANSWER", "ITEM", "EVIDENCE"}, items); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(r.Out); err != nil {
		return err
	}
	flaws := make([][]string, len(c.Flaws))
	for i, f := range c.Flaws {
		flaws[i] = []string{string(f.Exposure), f.CVE, f.Component, f.About, f.Evidence, cmp.Or(f.Guard, "nothing")}
	}
	if err := r.states([]string{"EXPOSURE", "CVE", "IN", "WHAT", "EVIDENCE", "WHAT CCC DOES ABOUT IT"}, flaws); err != nil {
		return err
	}
	for _, item := range c.Items {
		if item.Mend != "" {
			r.say("hint: %s: %s", item.Item, api.Printable(item.Mend))
		}
	}
	r.tellFlaws(c.Flaws)
	return nil
}

// tellFlaws says how many flaws there are, and which of them nothing is done about.
func (r *run) tellFlaws(flaws []probe.Flaw) {
	count := map[probe.Exposure]int{}
	for _, f := range flaws {
		count[f.Exposure]++
		if f.Exposure == probe.Affected && f.Guard == "" {
			r.say("hint: %s: update %s", f.CVE, f.Component)
		}
	}
	r.progress("known vulnerabilities: %d affected, %d unknown, %d fixed, %d not applicable; what ccc does about each holds whatever the version",
		count[probe.Affected], count[probe.Undecided], count[probe.Fixed], count[probe.NotApplicable])
}
