package mcpserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/mark3labs/mcp-go/mcp"
)

// maxDepth bounds how deep a message may be nested.
const maxDepth = 64

// message is one JSON-RPC message that was found to be well formed.
type message struct {
	// id is the request's identity as it was written, and key the same made
	// comparable; both are empty for a notification.
	id  json.RawMessage
	key string
	// method is empty for an answer to a request of ours.
	method string
	params json.RawMessage
}

// badMessage is a message that is answered with a protocol error.
type badMessage struct {
	id   json.RawMessage
	code int
	msg  string
}

func (b *badMessage) Error() string { return b.msg }

// parse reads one message. JSON parsers differ on names that are given twice or
// differ in case only, and what differs can be used to have one part check what
// another does not do: such messages are refused.
func parse(line []byte) (message, *badMessage) {
	if !utf8.Valid(line) {
		return message{}, &badMessage{code: mcp.PARSE_ERROR, msg: "the message is not valid UTF-8"}
	}
	if err := checkJSON(line); err != nil {
		return message{}, &badMessage{code: mcp.PARSE_ERROR, msg: err.Error()}
	}
	if line = bytes.TrimSpace(line); line[0] == '[' {
		return message{}, &badMessage{code: mcp.INVALID_REQUEST, msg: "batches are not supported: send one message a line"}
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(line, &fields); err != nil || fields == nil {
		return message{}, &badMessage{code: mcp.INVALID_REQUEST, msg: "a message is an object"}
	}
	return envelope(fields)
}

// envelope reads the fields that every message has.
func envelope(fields map[string]json.RawMessage) (message, *badMessage) {
	m := message{params: fields["params"]}
	if string(m.params) == "null" {
		m.params = nil
	}
	bad := func(msg string) (message, *badMessage) {
		return message{}, &badMessage{id: m.id, code: mcp.INVALID_REQUEST, msg: msg}
	}
	if id, ok := fields["id"]; ok {
		key, err := idKey(id)
		if err != nil {
			return bad(err.Error())
		}
		m.id, m.key = id, key
	}
	if string(fields["jsonrpc"]) != `"2.0"` {
		return bad(`jsonrpc must be "2.0"`)
	}
	_, isResult := fields["result"]
	_, isError := fields["error"]
	method, isCall := fields["method"]
	if isResult || isError {
		if isCall || isResult == isError {
			return bad("a message is a request, a result or an error")
		}
		return m, nil
	}
	if err := json.Unmarshal(method, &m.method); err != nil || m.method == "" {
		return bad("method must be a string")
	}
	if p := bytes.TrimSpace(m.params); len(p) > 0 && p[0] != '{' {
		return bad("params must be an object")
	}
	return m, nil
}

// idKey returns an identity in a form that can be compared. The string "1" and
// the number 1 are different identities.
func idKey(raw json.RawMessage) (string, error) {
	var s string
	if raw[0] == '"' && json.Unmarshal(raw, &s) == nil {
		if len(s) > 256 {
			return "", errors.New("id is longer than 256 bytes")
		}
		return "s" + s, nil
	}
	// Beyond this a number read by another parser is another number.
	const most = 1<<53 - 1
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || n > most || n < -most {
		return "", errors.New("id must be a string or a whole number")
	}
	return "n" + strconv.FormatInt(n, 10), nil
}

// forward renders the message for the message handler: only the fields that
// were checked, under their own names.
func (m message) forward() (json.RawMessage, error) {
	return json.Marshal(struct {
		JSONRPC string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id,omitempty"`
		Method  string          `json:"method"`
		Params  json.RawMessage `json:"params,omitempty"`
	}{mcp.JSONRPC_VERSION, m.id, m.method, m.params})
}

// checkJSON refuses what is not exactly one JSON value, what is nested too deep,
// and objects in which a name stands twice.
func checkJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var open []map[string]bool
	// name tells whether the next string in the innermost object is a name.
	name := false
	for {
		token, err := dec.Token()
		if err != nil {
			return errors.New("the message is not JSON")
		}
		switch t := token.(type) {
		case json.Delim:
			if t == '{' || t == '[' {
				if len(open) == maxDepth {
					return fmt.Errorf("the message is nested deeper than %d", maxDepth)
				}
				var names map[string]bool
				if t == '{' {
					names = map[string]bool{}
				}
				open, name = append(open, names), t == '{'
				continue
			}
			open = open[:len(open)-1]
		case string:
			if name {
				names := open[len(open)-1]
				if names[t] {
					return fmt.Errorf("the name %.64q stands twice in one object", t)
				}
				names[t], name = true, false
				continue
			}
		}
		if len(open) == 0 {
			break
		}
		name = open[len(open)-1] != nil
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something after the message")
	}
	return nil
}
