package session

import (
	"cmp"
	"context"
	"errors"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/policy"
	"github.com/ccc-dev/ccc/internal/seccomp"
	"github.com/ccc-dev/ccc/internal/seccomp/learn"
)

// Learn runs a workload in a session of its own and returns what it called and
// the system call filter denied. The session is made, used and removed like any
// other, under the same walls: its filter asks where it would have denied, and
// gets the same answer (see package learn). What the workload prints goes to s.
//
// Nothing is left behind. A workload that was interrupted has made calls, too:
// then there are a result and an error of kind [api.KindInterrupted].
func (c *Core) Learn(ctx context.Context, caller api.Caller, req api.LearnRequest, s api.Streams) (api.Learned, error) {
	if err := req.Validate(); err != nil {
		return api.Learned{}, c.Refused(ctx, caller, "profile.learn", err)
	}
	req.Create.Name = cmp.Or(req.Create.Name, api.Name("learn-"+c.Random(3)))
	w := watcher{dir: c.Sockets}
	watching := *c
	watching.watch = func(t policy.Terms, filter []byte) ([]byte, error) { return w.watch(ctx, t, filter) }
	made, err := watching.Create(ctx, caller, req.Create)
	if err != nil {
		return api.Learned{}, errors.Join(err, w.close())
	}
	exited, err := watching.Exec(ctx, caller, api.ExecRequest{Ref: api.Ref(made.ID), Argv: req.Argv, Timeout: req.Timeout}, s)
	cut := api.KindOf(err) == api.KindInterrupted
	err = errors.Join(err, undo(ctx, []func(context.Context) error{
		func(context.Context) error { return w.close() },
		// First of all: while a process lives, somebody has to answer it.
		func(ctx context.Context) error {
			_, err := watching.Remove(ctx, caller, api.RemoveRequest{Refs: []api.Ref{api.Ref(made.ID)}})
			return err
		},
	}))
	learned := w.learned(req, exited)
	learned.Interrupted = cut
	return learned, err
}

// watcher has the listener of a workload. It is opened when the filter is known,
// which is when the session is made.
type watcher struct {
	dir      string
	terms    policy.Terms
	listener *learn.Listener
}

// watch returns the filter with the listener in front of it. Asked again about
// the same session, to attest it, it returns the same.
func (w *watcher) watch(ctx context.Context, t policy.Terms, filter []byte) ([]byte, error) {
	if w.listener == nil {
		l, err := learn.Listen(ctx, w.dir, filter)
		if err != nil {
			return nil, err
		}
		w.listener, w.terms = l, t
	}
	return seccomp.Watched(filter, w.listener.Socket())
}

func (w *watcher) close() error {
	if w.listener == nil {
		return nil
	}
	return w.listener.Close()
}

// learned returns the result. The listener is closed.
func (w *watcher) learned(req api.LearnRequest, exited api.Exited) api.Learned {
	l := api.Learned{Level: w.terms.Level, Filter: filterName(w.terms), Exited: exited}
	l.Denied, l.More = w.listener.Denied()
	l.Proposal = learn.Propose(learn.Basis{Base: w.terms.Seccomp, Added: w.terms.SeccompAllow}, req.Argv, l.Denied)
	return l
}
