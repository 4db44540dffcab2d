package mcpserver

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/mark3labs/mcp-go/mcp"
)

// call is one request in flight.
type call struct {
	message
	conn *conn
	// size is how long its message was, in bytes.
	size int
	// ctx ends when the call is cancelled or the server ends; cancel ends it.
	ctx    context.Context
	cancel context.CancelCauseFunc
	peer   *peer

	mu     sync.Mutex
	closed bool
	// steps is the progress told last.
	steps float64
}

// close ends the call's right to tell progress: what comes after an answer
// belongs to nothing.
func (k *call) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
}

// tell sends progress of a call whose client asked for it, before anything that
// is sent later. total is zero if it is not known. Progress must grow (MCP,
// "Progress"): a value that does not is raised.
func (k *call) tell(done, total float64, text string) {
	token := progressToken(k.params)
	if token == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || k.ctx.Err() != nil {
		return
	}
	if done <= k.steps {
		done = k.steps + 1
	}
	k.steps = done
	params := map[string]any{"progressToken": token, "progress": done, "message": text}
	if total >= done {
		params["total"] = total
	}
	k.conn.answer(map[string]any{"jsonrpc": mcp.JSONRPC_VERSION, "method": mcp.MethodNotificationProgress, "params": params})
}

// client is what a connection knows of its other end.
type client struct {
	mu    sync.Mutex
	info  mcp.Implementation
	caps  mcp.ClientCapabilities
	ready bool
}

// peer returns the session that mcp-go sees while it handles a call.
func (c *client) peer(k *call) *peer {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &peer{client: c, call: k, info: c.info, caps: c.caps, notes: make(chan mcp.JSONRPCNotification, 16)}
}

// peer is a session as mcp-go wants one, of one call alone: in the newest
// revision every request says for itself who sends it. Its methods may be called
// concurrently.
type peer struct {
	client *client
	call   *call
	notes  chan mcp.JSONRPCNotification

	mu   sync.Mutex
	info mcp.Implementation
	caps mcp.ClientCapabilities
}

// Initialize marks the handshake as done.
func (p *peer) Initialize() {
	p.client.mu.Lock()
	defer p.client.mu.Unlock()
	p.client.ready = true
}

// Initialized tells whether the handshake is done.
func (p *peer) Initialized() bool {
	p.client.mu.Lock()
	defer p.client.mu.Unlock()
	return p.client.ready
}

// NotificationChannel takes what is sent before the call's answer.
func (p *peer) NotificationChannel() chan<- mcp.JSONRPCNotification { return p.notes }

// SessionID names the one session of a stdio connection.
func (p *peer) SessionID() string { return "stdio" }

// GetClientInfo returns what the client says of itself.
func (p *peer) GetClientInfo() mcp.Implementation {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.info
}

// SetClientInfo notes what the client says of itself: for the whole connection
// if it says so in the handshake, else for this call.
func (p *peer) SetClientInfo(info mcp.Implementation) {
	p.mu.Lock()
	p.info = info
	p.mu.Unlock()
	if p.call.method == string(mcp.MethodInitialize) {
		p.client.mu.Lock()
		defer p.client.mu.Unlock()
		p.client.info = info
	}
}

// GetClientCapabilities returns what the client can do.
func (p *peer) GetClientCapabilities() mcp.ClientCapabilities {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.caps
}

// SetClientCapabilities notes what the client can do, as SetClientInfo does.
func (p *peer) SetClientCapabilities(caps mcp.ClientCapabilities) {
	p.mu.Lock()
	p.caps = caps
	p.mu.Unlock()
	if p.call.method == string(mcp.MethodInitialize) {
		p.client.mu.Lock()
		defer p.client.mu.Unlock()
		p.client.caps = caps
	}
}

// There are no resources yet: nothing can be subscribed to.

// SubscribeToResource does nothing.
func (p *peer) SubscribeToResource(string) {}

// UnsubscribeFromResource does nothing.
func (p *peer) UnsubscribeFromResource(string) {}

// SubscribedResources returns nothing.
func (p *peer) SubscribedResources() []string { return nil }

// IsSubscribedToResource returns false.
func (p *peer) IsSubscribedToResource(string) bool { return false }

// progressToken returns the token of a request that wants progress, as it was
// written; nil if it does not.
func progressToken(params json.RawMessage) json.RawMessage {
	var p struct {
		Meta struct {
			Token json.RawMessage `json:"progressToken"`
		} `json:"_meta"`
	}
	if json.Unmarshal(params, &p) != nil || len(p.Meta.Token) == 0 {
		return nil
	}
	if _, err := idKey(p.Meta.Token); err != nil {
		return nil
	}
	return p.Meta.Token
}
