package podman

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/containers/podman/v5/pkg/bindings"
	"github.com/containers/podman/v5/pkg/errorhandling"
)

// apiVersion is the version of the API that is spoken: the oldest that has all
// that is needed, so that every newer Podman understands it.
const apiVersion = "4.0.0"

// maxAnswer bounds an answer that is held in memory. The longest is a list of
// containers, about 2 KiB each.
const maxAnswer = 64 << 20

// maxRefusal bounds the text of a refusal.
const maxRefusal = 64 << 10

// transport makes every failure to get an answer look like an answer.
//
// [bindings.Connection.DoRequest] repeats a request that failed, up to three
// times, whatever its method, and sleeps up to 600 ms meanwhile without looking
// at the context: a POST could be executed twice, and a dead socket or a
// cancelled call would take 600 ms to say so. It never sees a failure from this.
type transport struct{ base http.RoundTripper }

// RoundTrip implements [http.RoundTripper]; its error is always nil. The failure
// travels as the body.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := t.base.RoundTrip(r)
	if err == nil {
		return response, nil
	}
	return &http.Response{
		Status: "599 no answer", StatusCode: 599, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: failure{err}, Request: r,
	}, nil
}

// failure is the body of an answer that never came.
type failure struct{ err error }

func (f failure) Read([]byte) (int, error) { return 0, f.err }
func (f failure) Close() error             { return nil }

// newConnection returns a connection whose requests go over dial.
func newConnection(socket string, dial func(context.Context) (net.Conn, error)) *bindings.Connection {
	base := &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		DisableCompression: true,
		IdleConnTimeout:    30 * time.Second,
	}
	return &bindings.Connection{
		URI: &url.URL{Scheme: "unix", Path: socket},
		Client: &http.Client{
			Transport: transport{base},
			// An engine has no reason to send its client elsewhere.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// call is one request.
type call struct {
	method string
	// path is the endpoint with a %s for each of args, which are escaped.
	path  string
	args  []string
	query url.Values
	// json, if not nil, is sent as the body; else body is.
	json any
	body io.Reader
	// again tells that a POST may be sent again when the engine went away
	// instead of answering. All other methods may.
	again bool
}

// send sends the request and returns the answer, whatever its status. The
// caller closes the answer's body.
func (e *Engine) send(ctx context.Context, c call) (*bindings.APIResponse, error) {
	header := http.Header{"Api-Version": {apiVersion}}
	body := c.body
	if c.json != nil {
		data, err := json.Marshal(c.json)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		body = bytes.NewReader(data)
		header.Set("Content-Type", "application/json")
	}
	response, err := e.conn.DoRequest(ctx, body, c.method, c.path, c.query, header, c.args...)
	if err != nil {
		return nil, err
	}
	if f, failed := response.Body.(failure); failed {
		return nil, f.err
	}
	return response, nil
}

// do sends a request, waits at most the engine's call timeout, and decodes the
// answer into out unless that is nil.
func (e *Engine) do(ctx context.Context, c call, out any) error {
	return e.doWithin(ctx, e.timeout, c, out)
}

// dropAttempts bounds how often a call is made to an engine that goes away. It
// does: Podman 4.3 crashes about once in a thousand containers when several are
// made at a time. Systemd or dial bring it back.
const dropAttempts = 3

// doWithin is do with a timeout of the caller's.
func (e *Engine) doWithin(ctx context.Context, timeout time.Duration, c call, out any) error {
	for attempt := 1; ; attempt++ {
		err := e.doOnce(ctx, timeout, c, out)
		repeatable := c.method != http.MethodPost || c.again
		if !dropped(err) || !repeatable || attempt == dropAttempts || !sleep(ctx, time.Duration(attempt)*50*time.Millisecond) {
			return err
		}
	}
}

func (e *Engine) doOnce(ctx context.Context, timeout time.Duration, c call, out any) error {
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	response, err := e.send(limited, c)
	if err != nil {
		return e.unanswered(ctx, err)
	}
	defer response.Body.Close()
	if !response.IsSuccess() && response.StatusCode != http.StatusNotModified {
		return e.refused(ctx, response)
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(out); err != nil {
		return e.unanswered(ctx, fmt.Errorf("read answer: %w", err))
	}
	return nil
}

// unanswered classifies the error of a request that got no answer. ctx is the
// caller's context, not the limited one.
func (e *Engine) unanswered(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ended(ctx)
	}
	// The connection itself was refused, see dial.
	if refusal, ok := errors.AsType[*api.Error](err); ok {
		return refusal
	}
	msg := "podman does not answer"
	if errors.Is(err, context.DeadlineExceeded) {
		msg = fmt.Sprintf("podman did not answer within %v", e.timeout)
	}
	return &api.Error{Kind: api.KindUnavailable, Msg: msg, Hint: "run `ccc doctor`", Err: err}
}

// ended is the error of a call whose context ended.
func ended(ctx context.Context) error {
	kind := api.KindInterrupted
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		kind = api.KindUnavailable
	}
	return &api.Error{Kind: kind, Msg: "podman's answer was not waited for", Err: ctx.Err()}
}

// causes are the errors of libpod that have a kind. Podman 4 sends some of them
// with status 500, so that the status alone does not tell.
var causes = map[string]api.Kind{
	"no such container":              api.KindNotFound,
	"no such volume":                 api.KindNotFound,
	"no such image":                  api.KindNotFound,
	"image not known":                api.KindNotFound,
	"no such exec session":           api.KindNotFound,
	"no such file or directory":      api.KindNotFound,
	"that name is already in use":    api.KindConflict,
	"container already exists":       api.KindConflict,
	"volume already exists":          api.KindConflict,
	"volume is being used":           api.KindConflict,
	"image is in use by a container": api.KindConflict,
	"image used by a container":      api.KindConflict,
	"container state improper":       api.KindConflict,
}

// refused turns an answer that is a refusal into an error.
func (e *Engine) refused(ctx context.Context, response *bindings.APIResponse) error {
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(response.Body, maxRefusal), response.Body}
	err := response.Process(nil)
	model, ok := errors.AsType[*errorhandling.ErrorModel](err)
	if !ok {
		return e.unanswered(ctx, err)
	}
	kind, known := causes[model.Because]
	if !known {
		kind = kindOfStatus(response.StatusCode)
	}
	return &api.Error{Kind: kind, Msg: "podman: " + model.Message}
}

func kindOfStatus(code int) api.Kind {
	switch code {
	case http.StatusNotFound:
		return api.KindNotFound
	case http.StatusConflict:
		return api.KindConflict
	case http.StatusBadRequest:
		return api.KindInvalid
	case http.StatusServiceUnavailable:
		return api.KindUnavailable
	}
	return api.KindInternal
}
