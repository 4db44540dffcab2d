package mcpserver_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/mcpserver"
)

func FuzzFrames(f *testing.F) {
	for _, s := range []string{"", "\n", "a", "a\nb\r\nc", strings.Repeat("x", 300) + "\ny\n", "\r\n\r", "\x00\n\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		const most = 100
		lines, long, err := mcpserver.Frames(data, most)
		if err != nil {
			t.Fatal(err)
		}
		want := bytes.Count(data, []byte("\n"))
		if len(data) > 0 && data[len(data)-1] != '\n' {
			want++
		}
		if len(lines)+long != want {
			t.Errorf("%d lines and %d too long of %d", len(lines), long, want)
		}
		for _, l := range lines {
			if len(l) > most+1 || bytes.ContainsRune(l, '\n') {
				t.Errorf("%q", l)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"ping"}`, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"x"}}`,
		`{"jsonrpc":"2.0","id":"a","result":{}}`, `[]`, `{"a":{"a":1,"a":2}}`, `{"id":-0,"jsonrpc":"2.0","method":"m"}`, ` {} x`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		method, key, ok := mcpserver.Parse(line)
		if !ok {
			return
		}
		if !json.Valid(line) {
			t.Error("taken, and not JSON")
		}
		var m struct {
			ID     any    `json:"id"`
			Method string `json:"method"`
		}
		if json.Unmarshal(line, &m) == nil && (m.ID == nil) != (key == "") && !strings.Contains(strings.ToLower(string(line)), `\u`) && bytes.Count(bytes.ToLower(line), []byte(`"id"`)) == 1 {
			t.Errorf("key %q of %s, method %q", key, line, method)
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{}`, `null`, `{"sessionId":"a"}`, `{"projectPath":"/a","dockerOpts":{"Memory":"2g","CpuQuota":1}}`, `{"sessionId":"a","command":"b","env":["A=b"]}`,
		`{"projectPath":"/a","mcpMounts":[{"hostPath":"/","containerPath":"/x","readOnly":null}]}`, `{"jobId":"x","stdoutOffset":-1}`, `{"tail":1e3}`, `[1]`, `{"limits":{"cpus":"NaN"}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) {
			return
		}
		for tool, err := range mcpserver.DecodeAs(raw) {
			if err == nil {
				continue
			}
			r := api.ReportOf(err)
			if r.Kind != api.KindInvalid || r.Hint == "" || r.Rule == "" || api.Printable(r.Message) != r.Message {
				t.Errorf("%s: %+v", tool, r)
			}
		}
	})
}

func FuzzHarmless(f *testing.F) {
	for _, s := range []string{"", "a\nb\tc", "\x1b[0m", "\r\n", "\u202e\u200d", "\xff\xfe\n", "€"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := mcpserver.Harmless(s)
		if !utf8.ValidString(got) {
			t.Errorf("%q became %q", s, got)
		}
		for _, r := range got {
			if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)) {
				t.Errorf("%q became %q", s, got)
			}
		}
	})
}
