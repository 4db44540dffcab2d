package mcpserver

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
)

// Frames reads all frames of a stream, at most so long each, and how many were
// too long.
func Frames(data []byte, most int) (lines [][]byte, long int, err error) {
	f := newFrames(bytes.NewReader(data), most)
	for {
		line, err := f.next()
		switch {
		case err == io.EOF: //nolint:errorlint // the reader's own, never wrapped
			return lines, long, nil
		case err == errFrameTooLong: //nolint:errorlint // the same
			long++
		case err != nil:
			return lines, long, err
		default:
			lines = append(lines, line)
		}
	}
}

// Parse parses a message; ok tells whether it is one.
func Parse(line []byte) (method, key string, ok bool) {
	m, bad := parse(line)
	return m.method, m.key, bad == nil
}

// DecodeAs decodes arguments as every tool would, and returns what each made of
// them.
func DecodeAs(raw json.RawMessage) map[string]error {
	all := map[string]error{}
	for _, e := range tools() {
		all[e.name] = decode(raw, reflect.New(e.in).Interface())
	}
	return all
}

// Harmless makes output harmless.
func Harmless(s string) string { return harmless(s) }

// Capture returns what is kept of parts that were printed.
func Capture(most int, parts ...string) Output {
	c := newCapture(most)
	for _, p := range parts {
		_, _ = c.Write([]byte(p))
	}
	return c.output()
}
