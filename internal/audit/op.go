package audit

import (
	"context"
	"encoding/json"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
)

// Op is an act that was recorded as begun.
type Op struct {
	log   *Log
	begun Record
	start time.Time
}

// Outcome is how an act ended.
type Outcome struct {
	// Session replaces that of the begin, where the act made it.
	Session Subject
	// Err is why it failed; nil if it did not.
	Err error
	// Posture and Detail are as in [Record].
	Posture, Detail json.RawMessage
}

// Begin records that an allowed act is about to be done, and returns when that
// is on disk. If it returns an error the act must not be done. The record needs
// Op, Action and Caller; its phase and decision are set here.
func (l *Log) Begin(ctx context.Context, r Record) (*Op, error) {
	r.Phase, r.Decision, r.Result = PhaseBegin, Allow, ""
	op := &Op{log: l, begun: r, start: l.o.Clock()}
	if err := l.Append(ctx, r); err != nil {
		return nil, err
	}
	return op, nil
}

// End records how the act ended. It must be called once, with a context that
// outlives the caller's cancel. If it returns an error, what the act made
// should be unmade.
func (o *Op) End(ctx context.Context, out Outcome) error {
	b := o.begun
	r := Record{Op: b.Op, Action: b.Action, Phase: PhaseEnd, Caller: b.Caller, Session: b.Session, Posture: out.Posture, Detail: out.Detail}
	if out.Session != (Subject{}) {
		r.Session = out.Session
	}
	r.DurationMS = o.log.o.Clock().Sub(o.start).Milliseconds()
	return o.log.Append(ctx, ended(r, out.Err))
}

// Deny records, in one record, that an act was refused, whether by policy or
// because the request was not valid. The record needs Op, Action and Caller;
// the rest is taken from the refusal.
func (l *Log) Deny(ctx context.Context, r Record, refusal error) error {
	r.Phase, r.Decision = PhaseEnd, Deny
	return l.Append(ctx, ended(r, refusal))
}

// ended fills in the result.
func ended(r Record, err error) Record {
	r.Result = ResultOK
	if err == nil {
		return r
	}
	report := api.ReportOf(err)
	r.Result, r.Rule, r.Kind, r.Message = ResultError, report.Rule, report.Kind.String(), report.Message
	return r
}
