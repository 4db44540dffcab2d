package podman_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/engine/podman"
)

// frame is a piece of output as Podman sends it.
func frame(stream byte, text string) string {
	var header [8]byte
	header[0] = stream
	binary.BigEndian.PutUint32(header[4:], uint32(len(text)))
	return string(header[:]) + text
}

func TestDemultiplex(t *testing.T) {
	for name, c := range map[string]struct {
		in, out, errs string
		fails         bool
	}{
		"nothing":           {},
		"both":              {in: frame(1, "a\n") + frame(2, "b\n") + frame(1, "c"), out: "a\nc", errs: "b\n"},
		"an empty piece":    {in: frame(1, "") + frame(2, "x"), errs: "x"},
		"the input stream":  {in: frame(0, "x"), out: "x"},
		"half a header":     {in: frame(1, "a") + "\x01\x00", out: "a", fails: true},
		"half a piece":      {in: frame(1, "abc")[:9], out: "a", fails: true},
		"an unknown stream": {in: frame(3, "Error: x"), fails: true},
		"no frames at all":  {in: "Error: something else", fails: true},
	} {
		for _, reader := range []io.Reader{strings.NewReader(c.in), iotest.OneByteReader(strings.NewReader(c.in))} {
			var out, errs strings.Builder
			err := podman.Demultiplex(reader, &out, &errs)
			if out.String() != c.out || errs.String() != c.errs || (err != nil) != c.fails {
				t.Errorf("%s: %q, %q, %v", name, out.String(), errs.String(), err)
			}
		}
		if err := podman.Demultiplex(strings.NewReader(c.in), nil, nil); (err != nil) != c.fails {
			t.Errorf("%s, discarded: %v", name, err)
		}
	}
}

func FuzzDemultiplex(f *testing.F) {
	f.Add([]byte(frame(1, "a") + frame(2, "b")))
	f.Add([]byte{1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, in []byte) {
		var out, errs bytes.Buffer
		_ = podman.Demultiplex(bytes.NewReader(in), &out, &errs)
		if out.Len()+errs.Len() > len(in) {
			t.Errorf("%d bytes came out of %d", out.Len()+errs.Len(), len(in))
		}
	})
}

// hijack is a handler that takes the connection over, as Podman does for the
// streams of a process.
func hijack(t *testing.T, talk func(net.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "tcp" || r.Header.Get("Connection") != "Upgrade" {
			t.Errorf("headers %v", r.Header)
		}
		conn, buf, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
		talk(hijacked{conn, buf})
	}
}

// hijacked is a connection whose first bytes were read already.
type hijacked struct {
	net.Conn
	buf io.Reader
}

func (h hijacked) Read(p []byte) (int, error) { return h.buf.Read(p) }

// process plays an engine with one process, whose streams talk speaks for.
func process(t *testing.T, state string, talk func(net.Conn)) *server {
	return serve(t, "5.4.2", map[string]http.HandlerFunc{
		"POST /containers/c/exec": answer(201, `{"Id":"e"}`),
		"POST /exec/e/start":      hijack(t, talk),
		"GET /exec/e/json":        answer(200, state),
		"POST /exec/e/resize":     answer(201, ""),
		"GET /containers/c/json":  answer(200, `{"Id":"c","State":{"Status":"running","Pid":0}}`),
	})
}

func command(argv ...string) engine.Process {
	return engine.Process{Argv: argv, Dir: "/", Env: map[string]string{"B": "2", "A": "1"}}
}

func TestExecRequestsGolden(t *testing.T) {
	s := process(t, `{"ExitCode":7}`, func(conn net.Conn) { fmt.Fprint(conn, "hello\r\n") })
	sizes := make(chan api.Size, 1)
	sizes <- api.Size{Rows: 40, Cols: 100}
	p := command("ls", "-l")
	p.TTY, p.Stdin = true, true
	var out strings.Builder
	code, err := s.open().Exec(t.Context(), "c", p, api.Streams{In: strings.NewReader(""), Out: &out, Resize: sizes})
	if err != nil || code != 7 || out.String() != "hello\r\n" {
		t.Errorf("%d, %q, %v", code, out.String(), err)
	}
	golden(t, "exec.txt", strings.Join(s.seen(), "\n")+"\n")
}

func TestExecPassesTheEndOfInputOn(t *testing.T) {
	s := process(t, `{}`, func(conn net.Conn) {
		// Until the end: a connection that is not closed for writing hangs here.
		data, err := io.ReadAll(conn)
		fmt.Fprint(conn, frame(1, fmt.Sprintf("%s, %v", data, err)))
	})
	p := command("cat")
	p.Stdin = true
	var out strings.Builder
	_, err := s.open().Exec(t.Context(), "c", p, api.Streams{In: strings.NewReader("input"), Out: &out})
	if err != nil || out.String() != "input, <nil>" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestExecWaitsForTheExitCode(t *testing.T) {
	var asked atomic.Int32
	s := process(t, "", func(net.Conn) {})
	s.set("GET /exec/e/json", func(w http.ResponseWriter, r *http.Request) {
		answer(200, fmt.Sprintf(`{"Running":%t,"ExitCode":%d}`, asked.Add(1) < 4, asked.Load()))(w, r)
	})
	code, err := s.open().Exec(t.Context(), "c", command("true"), api.Streams{})
	if err != nil || code != 4 {
		t.Errorf("%d, %v", code, err)
	}
}

func TestExecThatIsRefused(t *testing.T) {
	s := process(t, `{}`, func(net.Conn) {})
	s.set("POST /exec/e/start", refusal(409, "container state improper"))
	if _, err := s.open().Exec(t.Context(), "c", command("true"), api.Streams{}); api.KindOf(err) != api.KindConflict {
		t.Errorf("%v", err)
	}
	s.set("POST /exec/e/start", hangUp)
	if _, err := s.open().Exec(t.Context(), "c", command("true"), api.Streams{}); api.KindOf(err) != api.KindUnavailable {
		t.Errorf("%v", err)
	}
	s.set("POST /containers/c/exec", refusal(500, "container state improper"))
	if _, err := s.open().Exec(t.Context(), "c", command("true"), api.Streams{}); api.KindOf(err) != api.KindConflict {
		t.Errorf("%v", err)
	}
}

func TestExecWhoseContainerIsRemoved(t *testing.T) {
	s := process(t, "", func(net.Conn) {})
	s.set("GET /exec/e/json", refusal(404, "no such exec session"))
	if _, err := s.open().Exec(t.Context(), "c", command("true"), api.Streams{}); api.KindOf(err) != api.KindConflict {
		t.Errorf("%v", err)
	}
}

func TestExecEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := process(t, `{"Running":true,"Pid":999999999}`, func(conn net.Conn) {
		cancel()
		_, _ = io.ReadAll(conn)
	})
	_, err := s.open().Exec(ctx, "c", command("sleep", "9"), api.Streams{})
	if api.KindOf(err) != api.KindInterrupted || !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// A connection that breaks while the process runs on: nobody can have its
// streams any more, so that it is not said to have ended.
func TestExecWhoseConnectionIsLost(t *testing.T) {
	s := process(t, `{"Running":true,"Pid":999999999}`, func(net.Conn) {})
	_, err := s.openWithin(100*time.Millisecond).Exec(t.Context(), "c", command("true"), api.Streams{})
	if api.KindOf(err) != api.KindUnavailable {
		t.Errorf("%v", err)
	}
}

// An engine that names the wrong process, or one whose number another has by
// now, must not make us kill it.
func TestKillHitsNothingOutsideTheContainer(t *testing.T) {
	victim := exec.Command("sleep", "600")
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		_ = victim.Wait()
		close(gone)
	}()
	t.Cleanup(func() {
		_ = victim.Process.Kill()
		<-gone
	})
	for _, first := range []int{victim.Process.Pid, os.Getpid(), 0} {
		ctx, cancel := context.WithCancel(t.Context())
		s := process(t, fmt.Sprintf(`{"Running":true,"Pid":%d}`, victim.Process.Pid), func(conn net.Conn) {
			cancel()
			_, _ = io.ReadAll(conn)
		})
		s.set("GET /containers/c/json", answer(200, fmt.Sprintf(`{"Id":"c","State":{"Status":"running","Pid":%d}}`, first)))
		if _, err := s.open().Exec(ctx, "c", command("sleep", "9"), api.Streams{}); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		select {
		case <-gone:
			t.Fatalf("with %d as the container's first process, %d was killed", first, victim.Process.Pid)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// The same, one level below: a process is signalled only if it is in the PID
// namespace that is given.
func TestSignalNeedsTheNamespace(t *testing.T) {
	own, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	victim := exec.Command("sleep", "600")
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	if n := podman.Signal(victim.Process.Pid, "pid:[1]"); n != 0 {
		t.Errorf("%d were signalled", n)
	}
	// Without the control it is hit.
	if n := podman.Signal(victim.Process.Pid, own); n != 1 {
		t.Errorf("%d were signalled in their own namespace", n)
	}
	if err := victim.Wait(); err == nil {
		t.Error("it ended by itself")
	}
}
