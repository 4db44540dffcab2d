package mcpserver_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/audit"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/mcpserver"
	"github.com/ccc-dev/ccc/internal/probe"
	"github.com/ccc-dev/ccc/internal/session"
	"github.com/ccc-dev/ccc/internal/session/sessiontest"
)

func TestMain(m *testing.M) {
	if code, ran := sessiontest.AsUser(); ran {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// host is a world with a server in it.
type host struct {
	*testing.T
	*sessiontest.World
	server *mcpserver.Server
	said   *strings.Builder
}

func newHost(t *testing.T) *host {
	t.Helper()
	w, err := sessiontest.Open(t.Context(), t.TempDir(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	h := &host{T: t, World: w, said: &strings.Builder{}}
	h.server = newServer(w)
	h.server.Log, h.server.Open = slog.New(slog.NewTextHandler(h.said, nil)), h.open
	return h
}

// newServer returns a server on a world's core.
func newServer(w *sessiontest.World) *mcpserver.Server {
	return &mcpserver.Server{
		Version: "test", Caller: sessiontest.Caller(), Clock: time.Now, Log: slog.New(slog.DiscardHandler),
		Open:   func(context.Context, string) (*session.Core, error) { return w.Core, nil },
		Doctor: func(context.Context) []probe.Finding { return []probe.Finding{{Check: "test", Verdict: probe.OK}} },
		Images: func(ctx context.Context) ([]engine.Image, error) { return w.Machine.ListImages(ctx) },
		Audit:  func(ctx context.Context) (audit.Report, error) { return audit.VerifyDir(ctx, w.State+"/audit", "") },
	}
}

// open returns the world's core, with a log of its own where the server closes it.
func (h *host) open(ctx context.Context, project string) (*session.Core, error) {
	core := *h.Core
	if project == "" {
		return &core, nil
	}
	log, err := audit.Open(ctx, h.State+"/audit", audit.Options{Clock: time.Now, Version: "test", Caller: sessiontest.Caller()})
	core.Audit = log
	return &core, err
}

func (h *host) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// client drives a server as a client on the other end of two pipes would.
type client struct {
	*host
	in  *io.PipeWriter
	end chan error

	mu    sync.Mutex
	next  int
	wants map[string]chan reply
	notes chan reply
	// log is every message in the order in which they came.
	log []reply
	eof chan struct{}
}

// reply is a message of the server's.
type reply struct {
	JSONRPC string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Method  string          `json:"method"`
	Params  struct {
		Token    json.RawMessage `json:"progressToken"`
		Progress float64         `json:"progress"`
		Message  string          `json:"message"`
	} `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

// result is that of a tool.
type result struct {
	Content []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	} `json:"content"`
	Structured json.RawMessage `json:"structuredContent"`
	IsError    bool            `json:"isError"`
	report     api.Report
	kind, text string
}

// connect starts the server and checks at the end of the test that it ends, and
// that nothing of it goes on.
func (h *host) connect() *client {
	h.Helper()
	before := runtime.NumGoroutine()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	c := &client{host: h, in: inW, end: make(chan error, 1), wants: map[string]chan reply{}, notes: make(chan reply, 100_000), eof: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.WithoutCancel(h.Context()))
	go func() {
		err := h.server.Serve(ctx, inR, outW)
		// A process that ends closes its streams.
		_ = inR.Close()
		_ = outW.Close()
		c.end <- err
	}()
	go c.read(outR)
	h.Cleanup(func() {
		_ = inW.Close()
		select {
		case err := <-c.end:
			if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, io.ErrClosedPipe) {
				h.Errorf("the server ended with %v", err)
			}
		case <-time.After(10 * time.Second):
			h.Error("the server does not end")
		}
		cancel()
		<-c.eof
		for range 500 {
			if runtime.NumGoroutine() <= before {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		stack := make([]byte, 1<<20)
		h.Errorf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), stack[:runtime.Stack(stack, true)])
	})
	return c
}

// read takes what the server writes: nothing but messages.
func (c *client) read(r io.Reader) {
	defer close(c.eof)
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			if len(line) > 0 {
				c.Errorf("half a message: %.100q", line)
			}
			return
		}
		var m reply
		if err := json.Unmarshal(line, &m); err != nil || m.JSONRPC != "2.0" {
			c.Errorf("not a message: %.200q", line)
			continue
		}
		c.mu.Lock()
		c.log = append(c.log, m)
		want := c.wants[string(m.ID)]
		c.mu.Unlock()
		if want != nil {
			want <- m
		} else {
			c.notes <- m
		}
	}
}

// send writes one line.
func (c *client) send(line string) {
	c.Helper()
	if _, err := io.WriteString(c.in, line+"\n"); err != nil {
		c.Fatal(err)
	}
}

// begin sends a request and returns its id and where its answer comes.
func (c *client) begin(method string, params any) (id string, answer chan reply) {
	c.Helper()
	raw, err := json.Marshal(params)
	c.must(err)
	answer = make(chan reply, 2)
	c.mu.Lock()
	c.next++
	id = fmt.Sprint(c.next)
	c.wants[id] = answer
	c.mu.Unlock()
	c.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":%q,"params":%s}`, id, method, raw))
	return id, answer
}

// wait returns an answer.
func (c *client) wait(answer chan reply) reply {
	c.Helper()
	select {
	case m := <-answer:
		return m
	case <-time.After(30 * time.Second):
		stack := make([]byte, 1<<20)
		c.Fatalf("no answer\n%s", stack[:runtime.Stack(stack, true)])
		return reply{}
	}
}

// rpc sends a request and returns its result, which must not be a protocol error.
func (c *client) rpc(method string, params any) json.RawMessage {
	c.Helper()
	_, answer := c.begin(method, params)
	m := c.wait(answer)
	if m.Error != nil {
		c.Fatalf("%s: %d %s", method, m.Error.Code, m.Error.Message)
	}
	return m.Result
}

// args are the arguments of a tool.
type args = map[string]any

// initialize does the handshake under a name.
func (c *client) initialize(name string) *client {
	c.Helper()
	c.rpc("initialize", args{"protocolVersion": "2025-11-25", "capabilities": args{}, "clientInfo": args{"name": name, "version": "1.2.3"}})
	c.send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	return c
}

// tool calls a tool.
func (c *client) tool(name string, a any) result {
	c.Helper()
	return c.parse(c.rpc("tools/call", args{"name": name, "arguments": a}))
}

// parse reads the result of a tool.
func (c *client) parse(raw json.RawMessage) result {
	c.Helper()
	var r result
	c.must(json.Unmarshal(raw, &r))
	for _, p := range r.Content {
		r.text += p.Text
	}
	if r.IsError {
		var e struct {
			Error struct{ Kind, Rule, Message, Hint string }
		}
		c.must(json.Unmarshal(r.Structured, &e))
		r.kind = e.Error.Kind
		r.report = api.Report{Rule: e.Error.Rule, Message: e.Error.Message, Hint: e.Error.Hint}
	}
	return r
}

// ok calls a tool that must not fail and reads its structured result.
func (c *client) ok(name string, a any, into any) result {
	c.Helper()
	r := c.tool(name, a)
	if r.IsError {
		c.Fatalf("%s: %s", name, r.text)
	}
	if into != nil {
		c.must(json.Unmarshal(r.Structured, into))
	}
	return r
}

// fails calls a tool that must fail by the rule.
func (c *client) fails(rule, name string, a any) result {
	c.Helper()
	r := c.tool(name, a)
	if !r.IsError || r.report.Rule != rule || r.report.Hint == "" || r.kind == "" {
		c.Errorf("%s %.200v: %+.400v, want an error by rule %s with a hint", name, a, r, rule)
	}
	return r
}
