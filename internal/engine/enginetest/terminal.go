package enginetest

import (
	"bytes"
	"context"
	"strings"
	"sync"

	"github.com/ccc-dev/ccc/internal/api"
)

// screen collects what a terminal shows, for a reader that looks meanwhile.
type screen struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

func terminalCases() []testCase {
	return []testCase{
		{"a terminal gets its size and follows changes", func(r *rig) {
			sizes := make(chan api.Size, 2)
			sizes <- api.Size{Rows: 41, Cols: 101}
			p := process("sh", "-c", strings.Repeat("stty size; sleep 0.05; ", 400))
			p.TTY = true
			id := r.ready()
			ctx, cancel := context.WithCancel(r.Context())
			defer cancel()
			var out screen
			done := make(chan error, 1)
			go func() {
				_, err := r.e.Exec(ctx, id, p, api.Streams{Out: &out, Resize: sizes})
				done <- err
			}()
			r.eventually("the first size", func() bool { return strings.Contains(out.String(), "41 101\r\n") })
			sizes <- api.Size{Rows: 52, Cols: 132}
			r.eventually("the second size", func() bool { return strings.Contains(out.String(), "52 132\r\n") })
			cancel()
			r.wantKind(<-done, api.KindInterrupted)
		}},
		{"a terminal is one stream", func(r *rig) {
			p := process("sh", "-c", "echo out; echo err >&2; exit 5")
			p.TTY = true
			var out, errs screen
			code, err := r.e.Exec(r.Context(), r.ready(), p, api.Streams{Out: &out, Err: &errs})
			r.must(err)
			if code != 5 || out.String() != "out\r\nerr\r\n" || errs.String() != "" {
				r.Errorf("code %d, %q, %q", code, out.String(), errs.String())
			}
		}},
		{"there is no terminal unless asked for", func(r *rig) {
			if code, out, _ := r.exec(r.ready(), "stty", "size"); code == 0 {
				r.Errorf("code %d, %q", code, out)
			}
		}},
	}
}
