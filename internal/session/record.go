package session

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/audit"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/policy"
)

// act is one operation as the audit log sees it: a begin record before and an
// end record after, or a single record of its refusal.
type act struct {
	log *audit.Log
	rec audit.Record
	op  *audit.Op
	out audit.Outcome
}

// newAct returns an act that has recorded nothing yet.
func (c *Core) newAct(caller api.Caller, action string) *act {
	return &act{log: c.Audit, rec: audit.Record{Op: c.Random(8), Action: action, Caller: caller}}
}

// about names the session that the act is about.
func (a *act) about(id api.ID, name api.Name) {
	a.rec.Session = audit.Subject{ID: id, Name: string(name)}
}

// allowed records that the act is going to happen. When it returns an error,
// nothing may happen.
func (a *act) allowed(ctx context.Context, g *policy.Grant) error {
	if g != nil {
		a.rec.Grant = encode(g.Terms())
	}
	op, err := a.log.Begin(ctx, a.rec)
	a.op = op
	return err
}

// ended records how the act went and returns err, joined with the failure to
// record it. It outlives the caller's cancel: an act that was interrupted is
// recorded too.
func (a *act) ended(ctx context.Context, err error) error {
	if logErr := a.end(ctx, err); logErr != nil {
		return errors.Join(err, logErr)
	}
	return err
}

// end records how the act went, and returns the failure to record it.
func (a *act) end(ctx context.Context, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	a.out.Err = err
	return a.op.End(ctx, a.out)
}

// Refused records a request that a front end turned down before it became one,
// such as an argument that does not parse. It returns err, joined with the
// failure to record it.
func (c *Core) Refused(ctx context.Context, caller api.Caller, action string, err error) error {
	return c.newAct(caller, action).refused(ctx, err)
}

// Record does something that is no operation on a session, such as building an
// image, between its two records. about is what it is done to, a value that
// marshals to JSON and holds no secret. When the first record cannot be written
// nothing is done.
func (c *Core) Record(ctx context.Context, caller api.Caller, action string, about any, do func() error) error {
	a := c.newAct(caller, action)
	a.rec.Detail = encode(about)
	if err := a.allowed(ctx, nil); err != nil {
		return err
	}
	return a.ended(ctx, interrupted(ctx, do()))
}

// refused records that the act will not happen and returns err, joined with
// the failure to record it.
func (a *act) refused(ctx context.Context, err error) error {
	if logErr := a.log.Deny(context.WithoutCancel(ctx), a.rec, err); logErr != nil {
		return errors.Join(err, logErr)
	}
	return err
}

// encode renders a value of our own types, which always marshal.
func encode(v any) json.RawMessage {
	data, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return data
}

// on runs an operation on one existing session between its two records.
func (c *Core) on(ctx context.Context, caller api.Caller, action string, ref api.Ref, do func(engine.Instance) error) error {
	a := c.newAct(caller, action)
	a.rec.Session.Name = string(ref)
	in, err := c.reach(ctx, ref)
	if err != nil {
		return a.refused(ctx, err)
	}
	return a.on(ctx, in, do)
}

// on runs an operation on a session that was found.
func (a *act) on(ctx context.Context, in engine.Instance, do func(engine.Instance) error) error {
	a.about(idOf(in), nameOf(in))
	if err := a.allowed(ctx, nil); err != nil {
		return err
	}
	return a.ended(ctx, do(in))
}

// reach checks a reference, finishes what was cut short, and finds the session.
func (c *Core) reach(ctx context.Context, ref api.Ref) (engine.Instance, error) {
	if err := (api.RefRequest{Ref: ref}).Validate(); err != nil {
		return engine.Instance{}, err
	}
	if err := c.Reclaim(ctx); err != nil {
		return engine.Instance{}, err
	}
	return c.find(ctx, ref)
}
