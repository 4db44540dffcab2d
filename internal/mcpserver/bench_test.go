package mcpserver_test

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/session/sessiontest"
)

// What a call of a tool costs beside the same call of the core: the medians of
// the two, taken in turns, and their difference.
func BenchmarkOverhead(b *testing.B) {
	w, err := sessiontest.Open(b.Context(), b.TempDir(), time.Now)
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	if _, err := w.Core.Create(b.Context(), sessiontest.Caller(), api.CreateRequest{Project: w.Project, Name: "s"}); err != nil {
		b.Fatal(err)
	}
	server := newServer(w)
	server.All = true
	inR, in := io.Pipe()
	outR, outW := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- server.Serve(b.Context(), inR, outW) }()
	out := bufio.NewReader(outR)
	var tool, core []time.Duration
	for b.Loop() {
		began := time.Now()
		if _, err := w.Core.Show(b.Context(), api.RefRequest{Ref: "s"}); err != nil {
			b.Fatal(err)
		}
		core = append(core, time.Since(began))
		began = time.Now()
		if _, err := fmt.Fprintf(in, `{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"get_session","arguments":{"sessionId":"s"}}}`+"\n", len(tool)); err != nil {
			b.Fatal(err)
		}
		if _, err := out.ReadSlice('\n'); err != nil {
			b.Fatal(err)
		}
		tool = append(tool, time.Since(began))
	}
	slices.Sort(core)
	slices.Sort(tool)
	half := len(core) / 2
	b.ReportMetric(float64(core[half].Microseconds()), "core-µs")
	b.ReportMetric(float64(tool[half].Microseconds()), "tool-µs")
	b.ReportMetric(float64((tool[half] - core[half]).Microseconds()), "overhead-µs")
	_ = in.Close()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}
