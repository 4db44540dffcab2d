package fake

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/guest"
	"golang.org/x/sys/unix"
)

// event is something that a container's first process prints, so long after its
// start.
type event struct {
	After  time.Duration
	Stderr bool
	Text   []byte
}

// plan works out what a container's first process will do. It has no input and
// nothing to wait for but time, so that it can be run beforehand.
func plan(c engine.Container, files map[string]engine.File) (run, error) {
	var r run
	clock := time.Duration(0)
	p := newProgram(c, files)
	p.stdin = bufio.NewReader(strings.NewReader(""))
	p.stdout = writer(func(text []byte) {
		r.Events = append(r.Events, event{After: clock, Text: bytes.Clone(text)})
	})
	p.stderr = writer(func(text []byte) {
		r.Events = append(r.Events, event{After: clock, Stderr: true, Text: bytes.Clone(text)})
	})
	p.wait = func(d time.Duration) error {
		if d < 0 {
			return errKilled
		}
		clock += d
		return nil
	}
	p.processes = func() []string { return []string{processLine(1, c.UID, c.Argv)} }
	if _, code := p.find(c.Argv[0]); code != 0 {
		// The init starts, says so, and ends.
		_, err := p.complain(code, "ERROR (init): failed to exec %s", c.Argv[0])
		r.Code = 1
		return r, err
	}
	code, err := p.run(c.Argv)
	r.Code, r.After, r.Stubborn, r.Graceful = code, clock, p.stubborn, p.graceful
	if err != nil {
		r.After = -1
	}
	return r, nil
}

// enterable tells whether a path is a directory in a container, as far as it is
// known: what is mounted may hold anything.
func enterable(c engine.Container, files map[string]engine.File, dir string) bool {
	targets := []string{"/proc", "/sys", "/dev"}
	for _, b := range c.Binds {
		targets = append(targets, b.Target)
	}
	for _, o := range c.Overlays {
		targets = append(targets, o.Target)
	}
	for _, h := range c.Homes {
		targets = append(targets, h.Target)
	}
	for _, t := range c.Tmpfs {
		targets = append(targets, t.Target)
	}
	for _, t := range targets {
		if dir == t || strings.HasPrefix(dir, t+"/") {
			return true
		}
	}
	f, ok := follow(files, dir)
	return ok && f.Mode.IsDir()
}

// newProgram returns a program with the surroundings that a container gives it.
func newProgram(c engine.Container, files map[string]engine.File) *program {
	env := maps.Clone(c.Env)
	if env == nil {
		env = map[string]string{}
	}
	env["HOSTNAME"] = c.Hostname
	return &program{
		guest: slices.ContainsFunc(c.Binds, func(b engine.Bind) bool { return b.Target == guest.Path }),
		files: files, env: env, dir: c.Dir, uid: c.UID, gid: c.GID, hostname: c.Hostname,
		size: func() (api.Size, bool) { return api.Size{}, false },
	}
}

// writer is a function as an [io.Writer] that never fails.
type writer func([]byte)

func (w writer) Write(p []byte) (int, error) {
	w(p)
	return len(p), nil
}

func processLine(pid int, uid uint32, argv []string) string {
	return fmt.Sprintf("%5d %-8d %s %s", pid, uid, "0:00", strings.Join(argv, " "))
}

// execution is a process of Exec as it is stored while it runs.
type execution struct {
	Container string
	// Owner is the process that interprets it. If it is gone, so is this.
	Owner int
	Argv  []string
}

// running lists the processes in a container.
func (e *Engine) running(c container) []string {
	lines := []string{processLine(1, c.Wanted.UID, first(c.Wanted))}
	if c.Wanted.Reap {
		lines = append(lines, processLine(2, c.Wanted.UID, c.Wanted.Argv))
	}
	list, err := all[execution](e, execs)
	if err != nil {
		return lines
	}
	for n, x := range list {
		if x.Container == c.ID && !errors.Is(unix.Kill(x.Owner, 0), unix.ESRCH) {
			lines = append(lines, processLine(n+3, c.Wanted.UID, x.Argv))
		}
	}
	return lines
}

// Exec implements [engine.Processes].
func (e *Engine) Exec(ctx context.Context, id string, p engine.Process, s api.Streams) (code int, err error) {
	if err := p.Check(); err != nil {
		return 0, err
	}
	var c container
	var files map[string]engine.File
	key := newID()
	err = e.change(ctx, "Exec", func() error {
		if c, err = e.find(id); err != nil {
			return err
		}
		if !c.running(e.now()) {
			return conflict("container %q is not running", c.Wanted.Name)
		}
		if files, err = e.files(c.Wanted.Image); err != nil {
			return err
		}
		return put(e, execs, key, execution{Container: c.ID, Owner: os.Getpid(), Argv: p.Argv})
	})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, e.drop(execs, key)) }()
	return e.interpret(ctx, c, files, p, s)
}

// interpret runs a process until it ends, the context ends, or its container
// does.
func (e *Engine) interpret(ctx context.Context, c container, files map[string]engine.File, p engine.Process, s api.Streams) (int, error) {
	alive, kill := context.WithCancel(ctx)
	defer kill()
	go e.watch(alive, kill, c)
	out, errs := orDiscard(s.Out), orDiscard(s.Err)
	prog := newProgram(c.Wanted, files)
	maps.Copy(prog.env, p.Env)
	prog.dir = p.Dir
	prog.wait = func(d time.Duration) error { return waitUntil(alive, d) }
	prog.processes = func() []string { return e.running(c) }
	prog.stdin = bufio.NewReader(strings.NewReader(""))
	if p.Stdin && s.In != nil {
		prog.stdin = bufio.NewReader(s.In)
	}
	if p.TTY {
		prog.size = terminal(alive, s.Resize)
		out = crlf{out}
		errs = out
	}
	prog.stdout, prog.stderr = guarded{alive, out}, guarded{alive, errs}
	type result struct {
		code int
		err  error
	}
	done := make(chan result, 1)
	go func() {
		if !enterable(c.Wanted, files, p.Dir) {
			code, err := prog.complain(codeNotFound, "chdir %s: no such directory", p.Dir)
			done <- result{code, err}
			return
		}
		code, err := prog.run(p.Argv)
		done <- result{code, err}
	}()
	var r result
	select {
	case r = <-done:
	case <-alive.Done():
		// It may be reading the caller's input, which cannot be interrupted.
		r.err = errKilled
	}
	switch {
	case ctx.Err() != nil:
		return 0, ended(ctx)
	case errors.Is(r.err, errKilled):
		return codeKilled, nil
	case r.err != nil:
		return 0, &api.Error{Kind: api.KindInterrupted, Msg: "the process was ended: its output could not be delivered", Err: r.err}
	}
	return r.code, nil
}

// watch ends a process when its container has ended or is in another run.
func (e *Engine) watch(ctx context.Context, kill func(), c container) {
	for pause(ctx) == nil {
		now, err := e.lookup(ctx, c.ID)
		if err != nil || !now.running(e.now()) || len(now.Runs) != len(c.Runs) {
			kill()
			return
		}
	}
}

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

// guarded is a stream that ends with its process.
type guarded struct {
	ctx context.Context
	w   io.Writer
}

func (g guarded) Write(p []byte) (int, error) {
	if g.ctx.Err() != nil {
		return 0, errKilled
	}
	return g.w.Write(p)
}

// crlf is a terminal's output.
type crlf struct{ w io.Writer }

func (c crlf) Write(p []byte) (int, error) {
	if _, err := c.w.Write(bytes.ReplaceAll(p, []byte("\n"), []byte("\r\n"))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// terminal returns a function that tells the size delivered last.
func terminal(ctx context.Context, sizes <-chan api.Size) func() (api.Size, bool) {
	var mu sync.Mutex
	var size api.Size
	if sizes == nil {
		return func() (api.Size, bool) { return size, true }
	}
	// The first is there before the process begins.
	select {
	case size = <-sizes:
	case <-ctx.Done():
	}
	go func() {
		for {
			select {
			case s, open := <-sizes:
				if !open {
					return
				}
				mu.Lock()
				size = s
				mu.Unlock()
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() (api.Size, bool) {
		mu.Lock()
		defer mu.Unlock()
		return size, true
	}
}

// Logs implements [engine.Processes].
func (e *Engine) Logs(ctx context.Context, id string, o engine.LogOptions, stdout, stderr io.Writer) error {
	stdout, stderr = orDiscard(stdout), orDiscard(stderr)
	shown := 0
	for first := true; ; first = false {
		c, err := e.lookup(ctx, id)
		if err != nil {
			return err
		}
		lines := printed(c, e.now(), o.Since)
		if first && o.Tail > 0 {
			shown = max(0, len(lines)-o.Tail)
		}
		for _, l := range lines[min(shown, len(lines)):] {
			w := stdout
			if l.Stderr {
				w = stderr
			}
			if _, err := w.Write(l.Text); err != nil {
				return err
			}
		}
		shown = len(lines)
		if !o.Follow || !c.running(e.now()) {
			return nil
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// printed returns the lines that a container has printed in all its runs.
func printed(c container, now, since time.Time) []event {
	var lines []event
	for _, r := range c.Runs {
		end, _, over := r.end(now, c.Wanted.Timeout)
		for _, ev := range r.Events {
			at := r.Started.Add(ev.After)
			if at.After(now) || over && at.After(end) || at.Before(since) {
				continue
			}
			for _, line := range slices.Collect(bytes.Lines(ev.Text)) {
				lines = append(lines, event{After: ev.After, Stderr: ev.Stderr, Text: line})
			}
		}
	}
	return lines
}
