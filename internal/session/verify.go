package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/guest"
	"github.com/ccc-dev/ccc/internal/guest/observe"
	"github.com/ccc-dev/ccc/internal/policy"
	"github.com/ccc-dev/ccc/internal/spec"
	"github.com/ccc-dev/ccc/internal/verify"
)

// verifyTime is the longest that the probes of a session may take. They take one
// or two seconds; a session that is busy, or hostile, must not hold the caller up.
const verifyTime = 2 * time.Minute

// Verify tries every wall of a running session from inside, by the way that any
// command takes, and holds what was met, and what the host reads of the session
// and of the probe itself, against the grant. Controls that do not hold are a
// result, not an error; it fails if the session cannot be tried at all.
func (c *Core) Verify(ctx context.Context, caller api.Caller, req api.VerifyRequest) (api.Verification, error) {
	var v api.Verification
	a := c.newAct(caller, "session.verify")
	a.rec.Session.Name = string(req.Ref)
	if err := req.Validate(); err != nil {
		return v, a.refused(ctx, err)
	}
	in, err := c.reach(ctx, req.Ref)
	if err != nil {
		return v, a.refused(ctx, err)
	}
	a.about(idOf(in), nameOf(in))
	if err := runnable(in); err != nil {
		return v, a.refused(ctx, err)
	}
	// A program that is not ours would report what it likes.
	if _, err := c.shimmed(in); err != nil {
		return v, a.refused(ctx, err)
	}
	if err := a.allowed(ctx, nil); err != nil {
		return v, err
	}
	v, err = c.verify(ctx, caller, in)
	a.out.Detail = encode(outcome(v))
	return v, a.ended(ctx, interrupted(ctx, err))
}

// outcome is what the audit log keeps of a verification: how many controls, and
// the names of those that do not hold.
func outcome(v api.Verification) any {
	o := struct {
		Pass    int      `json:"pass"`
		Missing int      `json:"missing"`
		Fail    []string `json:"fail,omitempty"`
		Unknown []string `json:"unknown,omitempty"`
	}{Pass: v.Count(api.VerdictPass), Missing: v.Count(api.VerdictMissing)}
	for _, control := range v.Controls {
		switch control.Verdict {
		case api.VerdictFail:
			o.Fail = append(o.Fail, control.ID)
		case api.VerdictUnknown:
			o.Unknown = append(o.Unknown, control.ID)
		case api.VerdictPass, api.VerdictMissing:
		}
	}
	return o
}

func (c *Core) verify(ctx context.Context, caller api.Caller, in engine.Instance) (api.Verification, error) {
	want, t, err := c.granted(in)
	if err != nil {
		return api.Verification{}, err
	}
	input := verify.Input{
		Terms: t, Want: want, Write: spec.Writable(t), Landlock: c.Kernel.Landlock(), Arch: runtime.GOARCH, Boottime: c.Guest.Boottime(),
	}
	input.Posture, input.Attested = c.attest(ctx, want, in, t)
	if input.Attested != nil && api.ReportOf(input.Attested).Rule != "attest" {
		return api.Verification{}, input.Attested
	}
	if input.Own, err = c.Kernel.Namespaces(0); err != nil {
		return api.Verification{}, err
	}
	first, err := c.sight(in.PID)
	if err != nil {
		return api.Verification{}, fmt.Errorf("look at the first process: %w", err)
	}
	input.First = *first
	if input.Init.Dev, input.Init.Ino, err = c.Kernel.Identity(in.PID, guest.Path); err != nil {
		return api.Verification{}, err
	}
	sockets, closeAll, err := c.canaries(caller.UID)
	if err != nil {
		return api.Verification{}, err
	}
	defer closeAll()
	input.Sockets = sockets
	if err := c.probe(ctx, in, t, &input); err != nil {
		return api.Verification{}, err
	}
	return api.Verification{Session: briefOf(in), Version: api.Printable(input.Report.Version), Controls: verify.Judge(input)}, nil
}

// sight reads what the host can see of a process.
func (c *Core) sight(pid int) (*verify.Sight, error) {
	f, err := c.Kernel.Process(pid, nil)
	if err != nil {
		return nil, err
	}
	namespaces, err := c.Kernel.Namespaces(pid)
	return &verify.Sight{Facts: f, Namespaces: namespaces}, err
}

// canaries listens on a socket whose name belongs to the host's network namespace,
// so that there is at least one for certain that must be out of reach, and names
// those where the user's services usually listen. None of the names tells a
// session anything.
func (c *Core) canaries(uid int) (addresses []string, closeAll func(), err error) {
	name := "@ccc-canary-" + c.Random(8)
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: name})
	if err != nil {
		return nil, nil, fmt.Errorf("listen for the session: %w", err)
	}
	addresses = []string{"unix:" + name}
	run := "/run/user/" + strconv.Itoa(uid)
	for _, s := range []string{"bus", "podman/podman.sock", "gnupg/S.gpg-agent", "keyring/ssh", "pipewire-0", "systemd/private", "wayland-0"} {
		addresses = append(addresses, "unix:"+run+"/"+s)
	}
	return addresses, func() { _ = listener.Close() }, nil
}

// probe runs the probes inside and looks at them from outside while they run.
func (c *Core) probe(ctx context.Context, in engine.Instance, t policy.Terms, input *verify.Input) error {
	ctx, cancel := context.WithTimeout(ctx, verifyTime)
	defer cancel()
	stdin, release := io.Pipe()
	defer release.Close()
	doc := &document{done: func(line []byte) error {
		defer release.Close()
		var err error
		if input.Report, err = verify.Decode(line); err != nil {
			return err
		}
		// The probe waits for the end of its input.
		if pid, err := c.Kernel.Inside(in.PID, input.Report.PID); err == nil {
			input.Probe, _ = c.sight(pid)
		}
		return nil
	}}
	var talk capped
	argv := guest.ProbeArgv(c.bounds(t), input.Sockets)
	code, err := c.Engine.Exec(ctx, in.ID, engine.Process{Argv: argv, Dir: spec.WorkDir, Stdin: true}, api.Streams{In: stdin, Out: doc, Err: &talk})
	switch {
	case doc.err != nil:
		err = doc.err
	case err == nil && code != 0:
		err = fmt.Errorf("the probe ended with code %d: %s", code, api.Printable(talk.String()))
	case err == nil && !doc.whole:
		err = errors.New("the probe reported nothing")
	}
	if err != nil {
		return &api.Error{
			Kind: api.KindDegraded, Rule: "verify.probe", Msg: "the session cannot be tried", Err: err,
			Hint: "run it again; if it does not change, end the session: ccc session rm " + string(nameOf(in)),
		}
	}
	return nil
}

// document takes a single line of limited length and hands it on.
type document struct {
	done func(line []byte) error

	mu    sync.Mutex
	buf   bytes.Buffer
	whole bool
	err   error
}

// Write takes a piece of the line. What comes after the line is an error, as is a
// line that is too long: it ends the exec.
func (d *document) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return 0, d.err
	}
	d.buf.Write(p)
	switch {
	case d.whole || d.buf.Len() > observe.MaxSize:
		d.err = fmt.Errorf("the report is longer than a line of %d bytes", observe.MaxSize)
	case bytes.HasSuffix(p, []byte("\n")):
		d.whole = true
		d.err = d.done(d.buf.Bytes())
	}
	if d.err != nil {
		return 0, d.err
	}
	return len(p), nil
}

// capped keeps the beginning of what is written to it.
type capped struct{ bytes.Buffer }

func (c *capped) Write(p []byte) (int, error) {
	const most = 1 << 10
	c.Buffer.Write(p[:min(len(p), max(0, most-c.Len()))])
	return len(p), nil
}
