package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/ccc-dev/ccc/internal/audit"
)

// auditLog prints the last records, all of them for zero: with --json the
// stored lines as they are, otherwise a table.
func (r *run) auditLog(ctx context.Context, tail int) error {
	entries, err := r.lastEntries(ctx, tail)
	if err != nil {
		return err
	}
	if r.global.JSON {
		for _, e := range entries {
			if _, err := fmt.Fprintf(r.Out, "%s\n", e.Raw); err != nil {
				return err
			}
		}
		return nil
	}
	rows := make([][]string, len(entries))
	for i, e := range entries {
		rows[i] = []string{
			fmt.Sprint(e.Seq), e.Time.Format(time.RFC3339), e.Record.Action, string(e.Record.Phase), string(e.Record.Decision),
			e.Record.Session.Name, outcome(e.Record),
		}
	}
	return r.table([]string{"SEQ", "TIME", "ACTION", "PHASE", "DECISION", "SESSION", "OUTCOME"}, rows)
}

// outcome renders how an act ended.
func outcome(r audit.Record) string {
	if r.Result != audit.ResultError {
		return string(r.Result)
	}
	s := r.Kind
	if r.Rule != "" {
		s += " (" + r.Rule + ")"
	}
	return s + ": " + r.Message
}

// lastEntries reads the log and keeps the last records.
func (r *run) lastEntries(ctx context.Context, tail int) ([]audit.Entry, error) {
	c, err := r.Config(r.global)
	if err != nil {
		return nil, err
	}
	log, err := audit.OpenReader(ctx, string(c.Effective.Audit.Dir), string(c.Effective.Audit.File))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	var entries []audit.Entry
	for e, err := range audit.Read(log) {
		if err != nil {
			return entries, err
		}
		entries = append(entries, e)
		if tail > 0 && len(entries) > tail {
			entries = entries[1:]
		}
	}
	return entries, nil
}
