package mcpserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
)

// The bounds of a connection. A client that exceeds them is told so.
const (
	// maxCalls is how many requests may be in flight, and maxPending how many
	// bytes they may hold.
	maxCalls   = 1024
	maxPending = 128 << 20
	// maxRunning is how many tools run at once; the others wait.
	maxRunning = 64
	// grace is how long calls in flight may go on after the end of the input,
	// and patience how long the server waits for those it then cancelled. A
	// client kills a server that does not end; together they stay below a second.
	grace    = 350 * time.Millisecond
	patience = 450 * time.Millisecond
)

// errClientCancel is why a call ends that its client has cancelled, errEnding
// why one ends because the server does.
var (
	errClientCancel = errors.New("cancelled by the client")
	errEnding       = errors.New("the server ends")
)

// handler answers one request, given as the message handler of mcp-go wants it.
// The answer to a notification is nil.
type handler func(ctx context.Context, c *call, raw json.RawMessage) mcp.JSONRPCMessage

// conn is one client on a pair of streams.
type conn struct {
	in     *frames
	out    io.Writer
	handle handler
	log    *slog.Logger

	client client
	slots  chan struct{}
	calls  sync.WaitGroup

	mu      sync.Mutex
	flight  map[string]*call
	pending int

	write sync.Mutex
	// broken is the first error of writing; nothing is written after it.
	broken error
}

func newConn(in io.Reader, out io.Writer, log *slog.Logger, h handler) *conn {
	return &conn{
		in: newFrames(in, maxFrame), out: out, handle: h, log: log,
		slots: make(chan struct{}, maxRunning), flight: map[string]*call{},
	}
}

// frame is what was read: a line, or why there is none.
type frame struct {
	line []byte
	err  error
}

// serve answers messages until the input ends or ctx does, then ends what is in
// flight. It returns nil after the end of the input.
//
// The reader is left behind in its read when ctx ends: closing the input, or the
// end of the process, ends it.
func (c *conn) serve(ctx context.Context) error {
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	lines, done := make(chan frame), make(chan struct{})
	defer close(done)
	go c.read(lines, done)
	for {
		select {
		case <-ctx.Done():
			cancel(errEnding)
			c.wait(patience + grace)
			return context.Cause(ctx)
		case f := <-lines:
			if f.err == nil {
				c.receive(work, f.line)
				continue
			}
			if errors.Is(f.err, errFrameTooLong) {
				c.answer(refusal(&badMessage{code: mcp.INVALID_REQUEST, msg: fmt.Sprintf("a message of more than %d bytes is not read", maxFrame)}))
				continue
			}
			return c.finish(ctx, cancel, f.err)
		}
	}
}

// read passes frames on until there are no more or nobody wants them.
func (c *conn) read(lines chan<- frame, done <-chan struct{}) {
	for {
		line, err := c.in.next()
		select {
		case lines <- frame{line, err}:
		case <-done:
			return
		}
		if err != nil && !errors.Is(err, errFrameTooLong) {
			return
		}
	}
}

// finish gives the calls in flight a moment after the end of the input, then
// ends them.
func (c *conn) finish(ctx context.Context, cancel context.CancelCauseFunc, err error) error {
	stop := context.AfterFunc(ctx, func() { cancel(errEnding) })
	defer stop()
	if !c.wait(grace) {
		cancel(errEnding)
		c.wait(patience)
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return fmt.Errorf("read from the client: %w", err)
}

// wait waits until no call is in flight, at most so long, and tells whether that
// came true.
func (c *conn) wait(most time.Duration) bool {
	none := make(chan struct{})
	go func() {
		c.calls.Wait()
		close(none)
	}()
	select {
	case <-none:
		return true
	case <-time.After(most):
		return false
	}
}

// receive takes one message. It never waits for a call: the cancel of one has to
// be read while it runs.
func (c *conn) receive(ctx context.Context, line []byte) {
	if len(line) == 0 {
		return
	}
	m, bad := parse(line)
	if bad != nil {
		c.answer(refusal(bad))
		return
	}
	switch {
	case m.method == "":
		// An answer, and nothing was asked.
	case m.key == "":
		c.notified(m)
	default:
		c.begin(ctx, m, len(line))
	}
}

// notified takes a notification.
func (c *conn) notified(m message) {
	if m.method != string(mcp.MethodNotificationCancelled) {
		// Nothing that a client may tell changes what this server does.
		return
	}
	var params struct {
		ID json.RawMessage `json:"requestId"`
	}
	if json.Unmarshal(m.params, &params) != nil || len(params.ID) == 0 {
		return
	}
	key, err := idKey(params.ID)
	if err != nil {
		return
	}
	c.mu.Lock()
	running := c.flight[key]
	c.mu.Unlock()
	// The handshake cannot be cancelled.
	if running != nil && running.method != string(mcp.MethodInitialize) {
		running.cancel(errClientCancel)
	}
}

// begin starts a request. Its cancel is known before anything else is read.
func (c *conn) begin(ctx context.Context, m message, size int) {
	ctx, cancel := context.WithCancelCause(ctx)
	k := &call{conn: c, message: m, size: size, cancel: cancel, ctx: ctx}
	if bad := c.register(k); bad != nil {
		cancel(nil)
		c.answer(refusal(bad))
		return
	}
	k.peer = c.client.peer(k)
	if m.method == string(mcp.MethodInitialize) {
		// What comes after it is about the client that it names.
		c.process(k)
		return
	}
	go c.process(k)
}

// register notes a call in flight, unless there is one with its identity or too
// much in flight already.
func (c *conn) register(k *call) *badMessage {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flight[k.key] != nil {
		return &badMessage{id: k.id, code: mcp.INVALID_REQUEST, msg: "a request with this id is in flight"}
	}
	if len(c.flight) >= maxCalls || c.pending+k.size > maxPending {
		return &badMessage{id: k.id, code: mcp.INTERNAL_ERROR, msg: "too much is in flight: wait for answers before asking more"}
	}
	c.flight[k.key] = k
	c.pending += k.size
	c.calls.Add(1)
	return nil
}

// process runs a call to its end and answers it, unless its client no longer
// wants an answer.
func (c *conn) process(k *call) {
	defer c.calls.Done()
	answer := c.turn(k)
	k.close()
	c.mu.Lock()
	delete(c.flight, k.key)
	c.pending -= k.size
	c.mu.Unlock()
	cancelled := errors.Is(context.Cause(k.ctx), errClientCancel)
	k.cancel(nil)
	if cancelled || answer == nil {
		return
	}
	c.flush(k)
	c.answer(answer)
}

// turn runs a call when it is its turn. Only tools wait for one.
func (c *conn) turn(k *call) mcp.JSONRPCMessage {
	if k.method == string(mcp.MethodToolsCall) {
		select {
		case c.slots <- struct{}{}:
			defer func() { <-c.slots }()
		case <-k.ctx.Done():
			return refusal(&badMessage{id: k.id, code: mcp.INTERNAL_ERROR, msg: "the server ends"})
		}
	}
	return c.run(k.ctx, k)
}

// run calls the handler and contains its panics.
func (c *conn) run(ctx context.Context, k *call) (answer mcp.JSONRPCMessage) {
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("a request failed in an unforeseen way", "method", k.method, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			answer = refusal(&badMessage{id: k.id, code: mcp.INTERNAL_ERROR, msg: "internal error"})
		}
	}()
	raw, err := k.forward()
	if err != nil {
		return refusal(&badMessage{id: k.id, code: mcp.INVALID_REQUEST, msg: "the message cannot be read"})
	}
	return c.handle(ctx, k, raw)
}

// flush writes the notifications that the message handler has queued for a call.
func (c *conn) flush(k *call) {
	for {
		select {
		case n := <-k.peer.notes:
			c.answer(n)
		default:
			return
		}
	}
}

// answer writes one message. A client that no longer reads has no use for the
// rest.
func (c *conn) answer(m any) {
	data, err := json.Marshal(m)
	if err != nil {
		c.log.Error("an answer cannot be written as JSON", "error", err.Error())
		return
	}
	c.write.Lock()
	defer c.write.Unlock()
	c.put(data)
}

// put writes one line; the caller holds the lock.
func (c *conn) put(data []byte) {
	if c.broken != nil {
		return
	}
	if _, c.broken = c.out.Write(append(data, '\n')); c.broken != nil {
		c.log.Warn("the client no longer reads", "error", c.broken.Error())
	}
}

// refusal is the protocol error for a message.
func refusal(b *badMessage) mcp.JSONRPCMessage {
	id := b.id
	if id == nil {
		id = json.RawMessage("null")
	}
	return struct {
		JSONRPC string                  `json:"jsonrpc"`
		ID      json.RawMessage         `json:"id"`
		Error   mcp.JSONRPCErrorDetails `json:"error"`
	}{mcp.JSONRPC_VERSION, id, mcp.NewJSONRPCErrorDetails(b.code, b.msg, nil)}
}
