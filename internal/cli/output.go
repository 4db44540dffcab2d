package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"text/template"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/probe"
	"github.com/ccc-dev/ccc/internal/session"
)

// printJSON prints a result as indented JSON.
func (r *run) printJSON(v any) error {
	enc := json.NewEncoder(r.Out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// printError prints each failure of a joined error with its hint.
func (r *run) printError(err error, asJSON bool) {
	for _, e := range flatten(err) {
		report := api.ReportOf(e)
		// What was given may be repeated in them, however long it was.
		report.Message, report.Hint = shorten(report.Message, maxTold), shorten(report.Hint, maxTold)
		if asJSON {
			// An encoder of strings cannot fail, and a stderr that is gone has
			// no reader.
			_ = json.NewEncoder(r.Err).Encode(struct {
				Error api.Report `json:"error"`
			}{report})
			continue
		}
		r.say("error: %s", report.Message)
		if report.Hint != "" {
			r.say("hint: %s", report.Hint)
		}
	}
}

// maxTold bounds, in bytes, what is told of an error and its hint each.
const maxTold = 700

// flatten returns the errors that a join holds.
func flatten(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, flatten(e)...)
	}
	return all
}

// say prints a line of talk. A stderr that is gone has no reader.
func (r *run) say(format string, args ...any) {
	_, _ = fmt.Fprintf(r.Err, "ccc: "+format+"\n", args...)
}

// progress prints a line of talk unless --quiet.
func (r *run) progress(format string, args ...any) {
	if !r.global.Quiet {
		r.say(format, args...)
	}
}

// table prints rows below a header: aligned on a terminal, tab-separated and
// without header elsewhere, so that `cut` and `awk` can read them.
func (r *run) table(header []string, rows [][]string) error {
	if r.Terminal == nil {
		return writeRows(r.Out, rows)
	}
	return aligned(r.Out, header, rows)
}

// aligned writes rows below a header in columns.
func aligned(w io.Writer, header []string, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if err := writeRows(tw, append([][]string{header}, rows...)); err != nil {
		return err
	}
	return tw.Flush()
}

// writeRows writes rows with a tab between cells, each cell made harmless.
func writeRows(w io.Writer, rows [][]string) error {
	for _, row := range rows {
		for i := range row {
			row[i] = api.Printable(row[i])
		}
		if _, err := fmt.Fprintln(w, strings.Join(row, "\t")); err != nil {
			return err
		}
	}
	return nil
}

// printFormat prints each item through a Go template, one line each.
func printFormat[T any](r *run, format string, items []T) error {
	t, err := template.New("format").Option("missingkey=error").Parse(format)
	if err != nil {
		return api.Invalidf("for example --format '{{.Name}}'", "--format: %s", strings.TrimPrefix(err.Error(), "template: ")).By("input.format")
	}
	for _, item := range items {
		var b strings.Builder
		if err := t.Execute(&b, item); err != nil {
			return api.Invalidf("run with --json to see the fields", "--format: %s", strings.TrimPrefix(err.Error(), "template: ")).By("input.format")
		}
		if _, err := fmt.Fprintln(r.Out, api.Printable(b.String())); err != nil {
			return err
		}
	}
	return nil
}

// posture prints a session's controls, the weak ones first in words.
func (r *run) posture(p api.Posture) error {
	rows := make([][]string, len(p))
	for i, c := range p {
		rows[i] = []string{string(c.State), c.Name, c.Detail}
	}
	return r.states([]string{"STATE", "CONTROL", "DETAIL"}, rows)
}

// colours are those of the words that a table of states begins its rows with:
// green for what holds, yellow for what half does, red for what does not.
var colours = map[string]string{
	string(api.StateEnforced): "32", string(api.StateFallback): "33", string(api.StateMissing): "31",
	string(probe.OK): "32", string(probe.Warn): "33", string(probe.Fail): "31",
	"pass": "32", "unknown": "31",
	string(probe.Yes): "32", string(probe.No): "31", string(probe.Fixed): "32", string(probe.Affected): "31",
}

// states prints a table whose rows begin with a state, in colour on a terminal.
// The columns are laid out first: escape sequences have no width.
func (r *run) states(header []string, rows [][]string) error {
	if r.Terminal == nil || r.global.NoColor || r.NoColor {
		return r.table(header, rows)
	}
	var laid strings.Builder
	if err := aligned(&laid, header, rows); err != nil {
		return err
	}
	for line := range strings.Lines(laid.String()) {
		word, rest, _ := strings.Cut(line, " ")
		if c := colours[word]; c != "" {
			line = "\x1b[" + c + "m" + word + "\x1b[0m " + rest
		}
		if _, err := io.WriteString(r.Out, line); err != nil {
			return err
		}
	}
	return nil
}

// left renders how much of a session's life is left.
func left(s api.Session, now time.Time) string {
	if s.Status == api.StatusBroken {
		return "-"
	}
	d := session.Expires(s, now)
	if d == 0 {
		return "none"
	}
	return api.Duration(d.Truncate(time.Minute)).String()
}
