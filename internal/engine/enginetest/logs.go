package enginetest

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
)

// logs returns what the engine has of a container's output.
func (r *rig) logs(id string, o engine.LogOptions) (stdout, stderr string) {
	r.Helper()
	var out, errs strings.Builder
	r.must(r.e.Logs(r.Context(), id, o, &out, &errs))
	return out.String(), errs.String()
}

// finished returns a container whose first process has run a script.
func (r *rig) finished(script string) string {
	r.Helper()
	id := r.start("sh", "-c", script)
	_, err := r.e.WaitContainer(r.Context(), id)
	r.must(err)
	return id
}

func logCases() []testCase {
	return []testCase{
		{"logs keep the streams apart", func(r *rig) {
			out, errs := r.logs(r.finished("echo a; echo b >&2; echo c"), engine.LogOptions{})
			if out != "a\nc\n" || errs != "b\n" {
				r.Errorf("stdout %q, stderr %q", out, errs)
			}
		}},
		{"logs give the last lines", func(r *rig) {
			id := r.finished("seq 20")
			if out, _ := r.logs(id, engine.LogOptions{Tail: 3}); out != "18\n19\n20\n" {
				r.Errorf("%q", out)
			}
			if out, _ := r.logs(id, engine.LogOptions{Tail: 100}); strings.Count(out, "\n") != 20 {
				r.Errorf("%q", out)
			}
		}},
		{"logs give what is new", func(r *rig) {
			id := r.finished("echo old; sleep 2; echo new")
			since := r.inspect(id).Started.Add(time.Second)
			if out, _ := r.logs(id, engine.LogOptions{Since: since}); out != "new\n" {
				r.Errorf("%q", out)
			}
		}},
		{"logs follow to the end", func(r *rig) {
			id := r.start("sh", "-c", "echo a; sleep 0.3; echo b; sleep 0.3; echo c")
			if out, _ := r.logs(id, engine.LogOptions{Follow: true}); out != "a\nb\nc\n" {
				r.Errorf("%q", out)
			}
			if out, _ := r.logs(id, engine.LogOptions{Follow: true}); out != "a\nb\nc\n" {
				r.Errorf("%q after the end", out)
			}
		}},
		{"logs follow until their context ends", func(r *rig) {
			id := r.start("sh", "-c", "echo a; sleep infinity")
			ctx, cancel := context.WithCancel(r.Context())
			defer cancel()
			var out screen
			done := make(chan error, 1)
			go func() { done <- r.e.Logs(ctx, id, engine.LogOptions{Follow: true}, &out, nil) }()
			r.eventually("the first line", func() bool { return out.String() == "a\n" })
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				r.Errorf("%v", err)
			}
		}},
		{"logs of what never ran are empty", func(r *rig) {
			if out, errs := r.logs(r.create(r.wanted()), engine.LogOptions{}); out+errs != "" {
				r.Errorf("%q, %q", out, errs)
			}
		}},
		{"logs of nothing are not found", func(r *rig) {
			r.wantKind(r.e.Logs(r.Context(), unique(), engine.LogOptions{}, nil, nil), api.KindNotFound)
		}},
	}
}
