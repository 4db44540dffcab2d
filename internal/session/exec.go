package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/audit"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/guest"
	"github.com/ccc-dev/ccc/internal/policy"
	"github.com/ccc-dev/ccc/internal/spec"
)

// exitTimedOut is the exit code of a command whose time was up, as that of
// timeout(1).
const exitTimedOut = 124

// Exec runs a command in a running session and returns how it ended. The
// command is killed when ctx ends or its time is up. An exit code other than
// zero is a result, not an error.
func (c *Core) Exec(ctx context.Context, caller api.Caller, req api.ExecRequest, s api.Streams) (api.Exited, error) {
	var exited api.Exited
	a := c.newAct(caller, "session.exec")
	a.rec.Session.Name = string(req.Ref)
	if err := req.Validate(); err != nil {
		return exited, a.refused(ctx, err)
	}
	a.rec.Args = audit.ArgsOf(req.Argv)
	in, err := c.reach(ctx, req.Ref)
	if err != nil {
		return exited, a.refused(ctx, err)
	}
	a.about(idOf(in), nameOf(in))
	if err := runnable(in); err != nil {
		return exited, a.refused(ctx, err)
	}
	t, err := c.shimmed(in)
	if err != nil {
		return exited, a.refused(ctx, err)
	}
	if err := a.allowed(ctx, nil); err != nil {
		return exited, err
	}
	req.Argv = guest.ExecArgv(c.bounds(t), req.Argv)
	exited, err = c.exec(ctx, in, req, s)
	a.out.Detail = encode(exited)
	return exited, a.ended(ctx, err)
}

// runnable refuses a session in which nothing can be run.
func runnable(in engine.Instance) error {
	if _, err := termsOf(in); err != nil {
		return err
	}
	if in.State == engine.InstanceRunning {
		return nil
	}
	state := string(in.State)
	if in.State == engine.InstanceExited || in.State == engine.InstanceCreated {
		state = string(api.StatusStopped)
	}
	return &api.Error{
		Kind: api.KindConflict, Rule: "session.state",
		Msg:  fmt.Sprintf("session %q is %s", nameOf(in), state),
		Hint: "ccc session start " + string(nameOf(in)),
	}
}

// shimmed returns the terms of a session in which ccc-init is the file that it
// was made with. Every command begins as that program: it confines itself before
// it becomes the command.
func (c *Core) shimmed(in engine.Instance) (policy.Terms, error) {
	t, err := termsOf(in)
	if err != nil {
		return t, err
	}
	dev, ino, err := c.Kernel.Identity(in.PID, guest.Path)
	if err != nil {
		return t, fmt.Errorf("look at ccc-init in the session: %w", err)
	}
	var kept unix.Stat_t
	if err := unix.Lstat(c.Guest.Program(t.Init), &kept); err != nil || kept.Dev != dev || kept.Ino != ino {
		return t, api.Deniedf("init.changed", "ccc session restart "+string(t.Name),
			"ccc-init in session %q is not the file that it was made with", t.Name)
	}
	return t, nil
}

// bounds returns what a session's commands are held to on this kernel.
func (c *Core) bounds(t policy.Terms) guest.Bounds {
	b := spec.Bounds(t)
	b.Landlock = c.landlock()
	return b
}

// landlock returns the Landlock ABI that the commands of a session must reach:
// all that this kernel can do and that ccc-init uses.
func (c *Core) landlock() int {
	abi := c.Kernel.Landlock()
	if abi < guest.LandlockOldest {
		return 0
	}
	return min(abi, guest.LandlockFull)
}

// exec runs the command under its time limit.
func (c *Core) exec(ctx context.Context, in engine.Instance, req api.ExecRequest, s api.Streams) (api.Exited, error) {
	run, cancel := ctx, context.CancelFunc(func() {})
	if req.Timeout > 0 {
		run, cancel = context.WithTimeout(ctx, req.Timeout.Std())
	}
	defer cancel()
	env := map[string]string{}
	for _, e := range req.Env {
		env[e.Key] = e.Value
	}
	before := c.Kernel.OOMKills(in.PID)
	code, err := c.Engine.Exec(run, in.ID, engine.Process{
		Argv: req.Argv, Env: env, Dir: cmp.Or(req.Dir, spec.WorkDir), TTY: req.TTY, Stdin: req.Interactive,
	}, s)
	if err != nil && ctx.Err() == nil && errors.Is(run.Err(), context.DeadlineExceeded) {
		return api.Exited{Code: exitTimedOut, TimedOut: true}, nil
	}
	if err != nil {
		return api.Exited{}, interrupted(ctx, fmt.Errorf("exec: %w", err))
	}
	return api.Exited{Code: code, OOMKilled: c.Kernel.OOMKills(in.PID) > before}, nil
}

// Logs copies what the session's first process printed. It is a read and
// leaves no record.
func (c *Core) Logs(ctx context.Context, req api.LogsRequest, s api.Streams) error {
	in, err := c.reach(ctx, req.Ref)
	if err != nil {
		return err
	}
	o := engine.LogOptions{Follow: req.Follow, Tail: int(req.Tail)}
	if req.Since > 0 {
		o.Since = c.Clock().Add(-req.Since.Std())
	}
	return interrupted(ctx, c.Engine.Logs(ctx, in.ID, o, s.Out, s.Err))
}
