package podman

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/containers/podman/v5/pkg/bindings"
)

// execConfig is what Podman is told of a process. It has no user and no
// privileges: the process always has the container's own.
type execConfig struct {
	AttachStdin, AttachStdout, AttachStderr bool
	Tty                                     bool
	Cmd                                     []string
	Env                                     []string
	WorkingDir                              string
	DetachKeys                              string
}

// neverDetach is a sequence of keys that nobody types. Podman looks for such a
// sequence in the input of every process, terminal or not, and ends the
// connection when it meets it; it cannot be turned off, and the default, ctrl-p
// ctrl-q, is common in binary data.
var neverDetach = strings.Repeat("ctrl-@,", 31) + "ctrl-_"

// execState is what Podman says of a process.
type execState struct {
	Running  bool
	Pid      int
	ExitCode int
}

// Exec implements [engine.Processes]. When the caller's streams cannot be
// written the process is killed as if the context had ended. A goroutine that
// reads the caller's input lives until that read returns.
func (e *Engine) Exec(ctx context.Context, id string, p engine.Process, s api.Streams) (int, error) {
	if err := checkRef("container", id); err != nil {
		return 0, err
	}
	if err := p.Check(); err != nil {
		return 0, err
	}
	exec, err := e.createExec(ctx, id, p, s)
	if err != nil {
		return 0, err
	}
	a := attached{Engine: e, container: id, exec: exec}
	if err := a.attach(ctx, p, s); err != nil {
		return 0, err
	}
	defer a.conn.Close()
	err = a.stream(ctx, p, s)
	if ctx.Err() != nil {
		return 0, ended(ctx)
	}
	if err != nil {
		// Not the code of what was killed: Podman does not know it while it is
		// held up by output that nobody reads.
		return 0, err
	}
	return a.exitCode(ctx)
}

// attached is a process of Exec with the connection that its streams go over.
type attached struct {
	*Engine
	container, exec string
	conn            net.Conn
	output          *bufio.Reader
}

func (e *Engine) createExec(ctx context.Context, id string, p engine.Process, s api.Streams) (string, error) {
	config := execConfig{
		AttachStdin: p.Stdin && s.In != nil, AttachStdout: true, AttachStderr: true, Tty: p.TTY,
		Cmd: p.Argv, WorkingDir: p.Dir, DetachKeys: neverDetach,
	}
	for _, name := range slices.Sorted(maps.Keys(p.Env)) {
		config.Env = append(config.Env, name+"="+p.Env[name])
	}
	var made struct{ Id string }
	err := e.do(ctx, call{method: http.MethodPost, path: "/containers/%s/exec", args: []string{id}, json: config, again: true}, &made)
	return made.Id, err
}

// attach starts the process and takes the connection over. The start itself is not given up halfway, or
// nobody would know whether there is a process to be killed; it has the time of
// a call, and after the context's end that of a clean-up.
func (a *attached) attach(ctx context.Context, p engine.Process, s api.Streams) error {
	start := map[string]any{"Detach": false, "Tty": p.TTY}
	if p.TTY && s.Resize != nil {
		select {
		case size := <-s.Resize:
			start["h"], start["w"] = size.Rows, size.Cols
		case <-ctx.Done():
			return ended(ctx)
		}
	}
	body, err := json.Marshal(start)
	if err != nil {
		return err
	}
	url := fmt.Sprintf("http://d/v%s/libpod/exec/%s/start", apiVersion, a.exec)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header = http.Header{"Content-Type": {"application/json"}, "Connection": {"Upgrade"}, "Upgrade": {"tcp"}}
	if a.conn, err = a.dial(ctx); err != nil {
		return a.unanswered(ctx, err)
	}
	if a.output, err = a.upgrade(ctx, a.conn, request); err != nil {
		return errors.Join(err, a.conn.Close())
	}
	return nil
}

// upgrade sends the request and reads the answer up to where the streams begin.
func (e *Engine) upgrade(ctx context.Context, conn net.Conn, request *http.Request) (*bufio.Reader, error) {
	done := make(chan struct{})
	defer close(done)
	go func() {
		wait := time.NewTimer(e.timeout)
		defer wait.Stop()
		select {
		case <-ctx.Done():
			wait.Reset(undoTimeout)
			select {
			case <-wait.C:
				conn.Close()
			case <-done:
			}
		case <-wait.C:
			conn.Close()
		case <-done:
		}
	}()
	if err := request.Write(conn); err != nil {
		return nil, e.unanswered(ctx, err)
	}
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, request)
	if err != nil {
		return nil, e.unanswered(ctx, err)
	}
	if response.StatusCode != http.StatusSwitchingProtocols && response.StatusCode != http.StatusOK {
		defer response.Body.Close()
		return nil, e.refused(ctx, &bindings.APIResponse{Response: response, Request: request})
	}
	return reader, nil
}

// stream copies the streams until the process has closed its own, or has been
// killed because the context ended or its output could not be delivered.
func (a *attached) stream(ctx context.Context, p engine.Process, s api.Streams) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if p.Stdin && s.In != nil {
		go copyInput(a.conn, s.In)
	}
	if p.TTY && s.Resize != nil {
		go a.resize(ctx, a.exec, s.Resize)
	}
	copied := make(chan error, 1)
	go func() {
		if p.TTY {
			out := s.Out
			if out == nil {
				out = io.Discard
			}
			_, err := io.Copy(out, a.output)
			copied <- err
			return
		}
		copied <- demultiplex(a.output, s.Out, s.Err)
	}()
	select {
	case err := <-copied:
		if err == nil {
			return nil
		}
		a.kill(context.WithoutCancel(ctx), a.container, a.exec)
		return &api.Error{Kind: api.KindInterrupted, Msg: "the process was ended: its output could not be delivered", Err: err}
	case <-ctx.Done():
	}
	a.kill(context.WithoutCancel(ctx), a.container, a.exec)
	// What the process printed last is still on its way; a consumer that does
	// not read any more must not hold up the end.
	select {
	case <-copied:
	case <-time.After(drainTimeout):
	}
	return nil
}

// drainTimeout bounds the delivery of a killed process's last output.
const drainTimeout = time.Second

// copyInput passes the caller's input on, and its end, which the process must
// see for itself while its output still comes.
func copyInput(conn net.Conn, in io.Reader) {
	// An error means that the process is gone, which the output tells.
	_, _ = io.Copy(conn, in)
	if c, ok := conn.(*net.UnixConn); ok {
		_ = c.CloseWrite()
	}
}

// resize passes changes of the terminal's size on.
func (e *Engine) resize(ctx context.Context, exec string, sizes <-chan api.Size) {
	for {
		select {
		case size, open := <-sizes:
			if !open {
				return
			}
			query := url.Values{"h": {strconv.Itoa(int(size.Rows))}, "w": {strconv.Itoa(int(size.Cols))}}
			// A size that does not arrive is corrected by the next.
			_ = e.do(ctx, call{method: http.MethodPost, path: "/exec/%s/resize", args: []string{exec}, query: query}, nil)
		case <-ctx.Done():
			return
		}
	}
}

func (e *Engine) execState(ctx context.Context, exec string) (execState, error) {
	var state execState
	err := e.do(ctx, call{method: http.MethodGet, path: "/exec/%s/json", args: []string{exec}}, &state)
	return state, err
}

// exitCode waits until Podman knows that the process has ended, which is shortly
// after its streams have, and returns its code.
func (a *attached) exitCode(ctx context.Context) (int, error) {
	limited, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		state, err := a.execState(limited, a.exec)
		if err != nil {
			return 0, lostContainer(a.container, err)
		}
		if !state.Running {
			return state.ExitCode, nil
		}
		select {
		case <-limited.Done():
			// It closed its streams but runs on, or the connection was lost.
			a.kill(context.WithoutCancel(ctx), a.container, a.exec)
			return 0, a.unanswered(ctx, errors.New("the process closed its streams and did not end"))
		case <-time.After(wait):
		}
	}
}
