package mcpserver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ccc-dev/ccc/internal/probe"
)

func TestProgressComesInOrderAndBeforeItsResult(t *testing.T) {
	h := newHost(t)
	const calls, steps = 40, 5
	release := make(chan struct{})
	h.server.Beat = time.Millisecond
	h.server.Doctor = func(ctx context.Context) []probe.Finding {
		select {
		case <-release:
		case <-ctx.Done():
		}
		return nil
	}
	c := h.connect().initialize("t")
	var answers []chan reply
	for i := range calls {
		_, answer := c.begin("tools/call", args{"name": "doctor", "_meta": args{"progressToken": fmt.Sprint("t", i)}})
		answers = append(answers, answer)
	}
	seen := map[string]int{}
	for full := 0; full < calls; {
		m := <-c.notes
		token := string(m.Params.Token)
		if seen[token]++; seen[token] == steps {
			full++
		}
	}
	close(release)
	for _, a := range answers {
		c.wait(a)
	}
	c.rpc("ping", nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	last, done, told := map[string]float64{}, map[string]bool{}, 0
	for _, m := range c.log {
		if m.Method == "" {
			done[string(m.ID)] = true
			continue
		}
		told++
		token := string(m.Params.Token)
		// The handshake had the first identity.
		var n int
		_, err := fmt.Sscanf(token, `"t%d"`, &n)
		c.must(err)
		if done[fmt.Sprint(n+2)] {
			t.Errorf("progress of %s after its result", token)
		}
		if m.Params.Progress <= last[token] {
			t.Errorf("progress of %s went from %v to %v", token, last[token], m.Params.Progress)
		}
		last[token] = m.Params.Progress
	}
	if told < calls*steps {
		t.Errorf("%d messages of progress, at least %d were sent", told, calls*steps)
	}
}

func TestCancelIsSeenUnderAnyLoad(t *testing.T) {
	h := newHost(t)
	var running, ended atomic.Int64
	h.server.Doctor = func(ctx context.Context) []probe.Finding {
		running.Add(1)
		<-ctx.Done()
		ended.Add(1)
		return nil
	}
	c := h.connect().initialize("t")
	const calls = 300
	var ids []string
	for range calls {
		id, _ := c.begin("tools/call", args{"name": "doctor"})
		ids = append(ids, id)
	}
	// What cannot be cancelled is no reason to stop: other ids, none, nonsense.
	c.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"2"}}`)
	c.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{}}`)
	c.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":99999}}`)
	c.rpc("ping", nil)
	for _, id := range ids {
		c.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":` + id + `}}`)
	}
	c.ok("list_sessions", nil, nil)
	c.rpc("ping", nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.log {
		for _, id := range ids {
			if string(m.ID) == id {
				t.Fatalf("the cancelled call %s was answered", id)
			}
		}
	}
	if running.Load() == 0 || running.Load() != ended.Load() {
		t.Errorf("%d calls ran, %d have ended", running.Load(), ended.Load())
	}
}

func TestEndOfInputEndsTheServer(t *testing.T) {
	for name, block := range map[string]func(context.Context){
		"call that heeds its context": func(ctx context.Context) { <-ctx.Done() },
		// Longer than the server waits.
		"call that does not": func(context.Context) { time.Sleep(1500 * time.Millisecond) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			began := make(chan struct{})
			h.server.Doctor = func(ctx context.Context) []probe.Finding {
				close(began)
				block(ctx)
				return nil
			}
			c := h.connect().initialize("t")
			c.begin("tools/call", args{"name": "doctor"})
			<-began
			c.must(c.in.Close())
			select {
			case err := <-c.end:
				c.end <- err
			case <-time.After(1400 * time.Millisecond):
				t.Error("the server has not ended")
			}
		})
	}
}

func TestACallInFlightMayEndAfterTheInput(t *testing.T) {
	h := newHost(t)
	began, release := make(chan struct{}), make(chan struct{})
	h.server.Doctor = func(context.Context) []probe.Finding {
		close(began)
		<-release
		return nil
	}
	c := h.connect().initialize("t")
	_, answer := c.begin("tools/call", args{"name": "doctor"})
	<-began
	c.must(c.in.Close())
	close(release)
	if m := c.wait(answer); m.Result == nil {
		t.Errorf("%+v", m)
	}
}

func TestALastLineNeedNotEnd(t *testing.T) {
	c := newHost(t).connect().initialize("t")
	answer := make(chan reply, 1)
	c.mu.Lock()
	c.wants[`"last"`] = answer
	c.mu.Unlock()
	_, err := c.in.Write([]byte(`{"jsonrpc":"2.0","id":"last","method":"ping"}`))
	c.must(err)
	c.must(c.in.Close())
	if m := c.wait(answer); m.Result == nil {
		t.Errorf("%+v", m)
	}
}

func TestMalformedMessagesAreAnsweredAndSurvived(t *testing.T) {
	h := newHost(t)
	hold := make(chan struct{})
	h.server.Doctor = func(ctx context.Context) []probe.Finding {
		select {
		case <-hold:
		case <-ctx.Done():
		}
		return nil
	}
	c := h.connect().initialize("t")
	_, held := c.begin("tools/call", args{"name": "doctor"})
	const parse, invalid, unknown, params = -32700, -32600, -32601, -32602
	for _, bad := range []struct {
		line string
		id   string
		code int
	}{
		{"{", "null", parse},
		{"nonsense", "null", parse},
		{`{"jsonrpc":"2.0","id":7,"method":"ping"} {}`, "null", parse},
		{"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"\xff\"}", "null", parse},
		{strings.Repeat("[", 100_000), "null", parse},
		{strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100), "null", parse},
		{`{"jsonrpc":"2.0","id":7,"id":8,"method":"ping"}`, "null", parse},
		{`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"doctor","name":"list_sessions"}}`, "null", parse},
		{`[{"jsonrpc":"2.0","id":7,"method":"ping"}]`, "null", invalid},
		{`"ping"`, "null", invalid},
		{`null`, "null", invalid},
		{`{"jsonrpc":"2.0","id":null,"method":"ping"}`, "null", invalid},
		{`{"jsonrpc":"2.0","id":1.5,"method":"ping"}`, "null", invalid},
		{`{"jsonrpc":"2.0","id":9007199254740993,"method":"ping"}`, "null", invalid},
		{`{"jsonrpc":"2.0","id":{"a":1},"method":"ping"}`, "null", invalid},
		{`{"jsonrpc":"2.0","id":"` + strings.Repeat("x", 1000) + `","method":"ping"}`, "null", invalid},
		{`{"jsonrpc":"1.0","id":70,"method":"ping"}`, "70", invalid},
		{`{"id":71,"method":"ping"}`, "71", invalid},
		{`{"jsonrpc":"2.0","id":72}`, "72", invalid},
		{`{"jsonrpc":"2.0","id":73,"method":5}`, "73", invalid},
		{`{"jsonrpc":"2.0","id":74,"METHOD":"ping"}`, "74", invalid},
		{`{"jsonrpc":"2.0","id":75,"method":"ping","params":[1]}`, "75", invalid},
		{`{"jsonrpc":"2.0","id":76,"method":"ping","result":{}}`, "76", invalid},
		{`{"jsonrpc":"2.0","id":77,"method":"no/such"}`, "77", unknown},
		{`{"jsonrpc":"2.0","id":78,"method":"tools/call","params":{"name":"no_such"}}`, "78", params},
		// The identity of the call that is held.
		{`{"jsonrpc":"2.0","id":2,"method":"ping"}`, "2", invalid},
		{`{"jsonrpc":"2.0","id":79,"method":"ping","pad":"` + strings.Repeat("x", 33<<20) + `"}`, "null", invalid},
	} {
		answer := make(chan reply, 1)
		c.mu.Lock()
		before := c.wants[bad.id]
		c.wants[bad.id] = answer
		c.mu.Unlock()
		c.send(bad.line)
		if m := c.wait(answer); m.Error == nil || m.Error.Code != bad.code || len(m.Error.Message) > 300 {
			t.Errorf("%.80q: %+v, want code %d", bad.line, m.Error, bad.code)
		}
		c.mu.Lock()
		c.wants[bad.id] = before
		c.mu.Unlock()
		c.rpc("ping", nil)
	}
	// Lines that need no answer.
	c.send("")
	c.send(`{"jsonrpc":"2.0","id":80,"result":{}}`)
	c.send(`{"jsonrpc":"2.0","method":"notifications/of/no/kind","params":{}}`)
	close(hold)
	if m := c.wait(held); m.Result == nil {
		t.Errorf("the call that was held: %+v", m)
	}
}

func TestStringAndNumberAreTwoIdentities(t *testing.T) {
	h := newHost(t)
	both := make(chan struct{}, 2)
	h.server.Doctor = func(ctx context.Context) []probe.Finding {
		both <- struct{}{}
		<-ctx.Done()
		return nil
	}
	c := h.connect().initialize("t")
	c.send(`{"jsonrpc":"2.0","id":50,"method":"tools/call","params":{"name":"doctor"}}`)
	c.send(`{"jsonrpc":"2.0","id":"50","method":"tools/call","params":{"name":"doctor"}}`)
	<-both
	<-both
	c.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"50"}}`)
	c.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":50}}`)
}

func TestAPanicIsContained(t *testing.T) {
	h := newHost(t)
	h.server.Doctor = func(context.Context) []probe.Finding { panic("secret detail") }
	c := h.connect().initialize("t")
	_, answer := c.begin("tools/call", args{"name": "doctor"})
	if m := c.wait(answer); m.Error == nil || m.Error.Code != -32603 || strings.Contains(m.Error.Message, "secret") {
		t.Errorf("%+v", m)
	}
	c.ok("list_sessions", nil, nil)
	if !strings.Contains(h.said.String(), "secret detail") {
		t.Error("nobody was told of the panic")
	}
}

// Two hundred calls at once, one of them with 10 MB each way, half of them
// cancelled at some moment.
func TestACrowdOfCalls(t *testing.T) {
	h := newHost(t)
	h.server.Beat = time.Millisecond
	c := h.connect().initialize("t")
	c.ok("create_session", args{"projectPath": h.Project, "sessionName": "crowd"}, nil)
	big := strings.Repeat("0123456789abcde\n", 10<<20/16)
	var wg sync.WaitGroup
	for i := range 200 {
		a := args{"sessionId": "crowd", "command": fmt.Sprintf("echo %d; echo problem >&2; exit %d", i, i%100)}
		if i == 100 {
			a = args{"sessionId": "crowd", "command": "cat", "stdin": big, "maxOutputBytes": 16 << 20}
		}
		id, answer := c.begin("tools/call", args{"name": "execute_command", "arguments": a, "_meta": args{"progressToken": i}})
		if i%2 == 1 {
			if rand.IntN(2) == 0 {
				time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
			}
			c.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":` + id + `}}`)
			continue
		}
		wg.Go(func() {
			r := c.parse(c.wait(answer).Result)
			var out struct {
				Code   int                   `json:"exit_code"`
				Stdout struct{ Text string } `json:"stdout"`
			}
			if err := json.Unmarshal(r.Structured, &out); err != nil || r.IsError {
				t.Errorf("call %d: %s", i, r.text)
				return
			}
			want, code := fmt.Sprintf("%d\n", i), i%100
			if i == 100 {
				want, code = big, 0
			}
			if out.Stdout.Text != want || out.Code != code {
				t.Errorf("call %d: code %d and %d bytes, %.40q", i, out.Code, len(out.Stdout.Text), out.Stdout.Text)
			}
		})
	}
	wg.Wait()
	c.ok("destroy_session", args{"sessionId": "crowd"}, nil)
	left, err := h.Left()
	c.must(err)
	if len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
