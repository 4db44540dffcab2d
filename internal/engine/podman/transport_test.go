package podman_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/engine/podman"
	"github.com/sirupsen/logrus"
)

const aContainer = "GET /containers/x/json"

// The library dials a dead socket three times and sleeps 600 ms between.
func TestDeadSocketIsDialledOnce(t *testing.T) {
	dials := 0
	conn := podman.NewConnection("/nowhere", func(context.Context) (net.Conn, error) {
		dials++
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	})
	response, err := conn.DoRequest(t.Context(), strings.NewReader("{}"), http.MethodPost, "/containers/create", nil, nil)
	if err != nil || response.Response == nil {
		t.Fatalf("DoRequest saw the failure (%v), and will have repeated the request", err)
	}
	if _, err := io.ReadAll(response.Body); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the failure got lost: %v", err)
	}
	if dials != 1 {
		t.Errorf("%d dials", dials)
	}
}

// What may be asked again is, a few times; what could happen twice is not.
func TestLostAnswers(t *testing.T) {
	s := serve(t, "5.4.2", map[string]http.HandlerFunc{
		"POST /volumes/create": hangUp, "POST /images/import": hangUp, "POST /exec/e/start": hangUp, "POST /containers/c/start": hangUp,
		"POST /containers/c/exec": answer(201, `{"Id":"e"}`), "GET /exec/e/json": hangUp, "DELETE /containers/c": hangUp,
		"POST /containers/c/stop": hangUp, "GET /containers/json": hangUp,
		"GET /containers/c/json": answer(200, `{"Id":"c","State":{"Status":"exited"}}`),
	})
	e, ctx := s.open(), t.Context()
	_, errImport := e.ImportImage(ctx, strings.NewReader("x"), engine.ImportOptions{Name: "localhost/i:1"})
	_, errExec := e.Exec(ctx, "c", engine.Process{Argv: []string{"true"}, Dir: "/"}, api.Streams{})
	_, errList := e.ListContainers(ctx)
	for what, c := range map[string]struct {
		err   error
		times int
	}{
		"POST /volumes/create":     {e.CreateVolume(ctx, engine.Volume{Name: "v"}), 1},
		"POST /images/import":      {errImport, 1},
		"POST /exec/e/start":       {errExec, 1},
		"POST /containers/c/start": {e.StartContainer(ctx, "c"), 1},
		"POST /containers/c/stop":  {e.StopContainer(ctx, "c", 0), 3},
		"DELETE /containers/c":     {e.RemoveContainer(ctx, "c"), 3},
		"GET /containers/json":     {errList, 3},
	} {
		if api.KindOf(c.err) != api.KindUnavailable {
			t.Errorf("%s: %v", what, c.err)
		}
		// net/http itself repeats a GET once whose connection was an old one.
		if n := s.count(what); n != c.times && !(strings.HasPrefix(what, "GET") && n == c.times+1) {
			t.Errorf("%s was sent %d times, want %d", what, n, c.times)
		}
	}
}

// A start whose answer is lost is made again only if nothing ran.
func TestLostStart(t *testing.T) {
	for state, want := range map[string]int{"running": 1, "created": 2, "exited": 1} {
		var calls atomic.Int32
		s := serve(t, "5.4.2", map[string]http.HandlerFunc{
			"GET /containers/c/json": answer(200, fmt.Sprintf(`{"Id":"c","State":{"Status":%q}}`, state)),
			"POST /containers/c/start": func(w http.ResponseWriter, r *http.Request) {
				if calls.Add(1) == 1 {
					hangUp(w, r)
				}
				answer(204, "")(w, r)
			},
		})
		err := s.open().StartContainer(t.Context(), "c")
		if int(calls.Load()) != want || (err == nil) != (state != "exited") {
			t.Errorf("%s: %d starts, %v", state, calls.Load(), err)
		}
	}
}

func TestCallEndsWithItsContext(t *testing.T) {
	reached, left := make(chan struct{}), make(chan struct{})
	s := serve(t, "5.4.2", map[string]http.HandlerFunc{aContainer: func(_ http.ResponseWriter, r *http.Request) {
		close(reached)
		<-r.Context().Done()
		close(left)
	}})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-reached
		cancel()
	}()
	_, err := s.open().Container(ctx, "x")
	if api.KindOf(err) != api.KindInterrupted || !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	<-left
}

func TestCallHasADeadline(t *testing.T) {
	s := serve(t, "5.4.2", map[string]http.HandlerFunc{aContainer: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }})
	_, err := s.openWithin(50*time.Millisecond).Container(t.Context(), "x")
	if api.KindOf(err) != api.KindUnavailable || !strings.Contains(err.Error(), "within 50ms") {
		t.Errorf("%v", err)
	}
}

func TestAnswersThatAreNoAnswers(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"no JSON":   answer(200, "hello"),
		"half JSON": answer(200, `{"Id":"x"`),
		"endless": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(200)
			fmt.Fprint(w, `{"Id":"`)
			for r.Context().Err() == nil {
				if _, err := w.Write(bytes.Repeat([]byte("x"), 1<<20)); err != nil {
					return
				}
			}
		},
		"endless refusal": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(500)
			for r.Context().Err() == nil {
				if _, err := w.Write(bytes.Repeat([]byte("x"), 1<<20)); err != nil {
					return
				}
			}
		},
		"a page": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "<html>gone</html>", http.StatusBadGateway)
		},
		"elsewhere":  func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other", http.StatusFound) },
		"broken off": hangUp,
	} {
		s := serve(t, "5.4.2", map[string]http.HandlerFunc{aContainer: h})
		_, err := s.open().Container(t.Context(), "x")
		if err == nil {
			t.Errorf("%s: taken for an answer", name)
			continue
		}
		if len(err.Error()) > 100_000 {
			t.Errorf("%s: the error has %d bytes", name, len(err.Error()))
		}
	}
}

func TestRefusalsHaveKinds(t *testing.T) {
	for _, c := range []struct {
		status int
		cause  string
		want   api.Kind
	}{
		// As Podman 4.3.1 sends them.
		{404, "no such container", api.KindNotFound},
		{500, "image not known", api.KindNotFound},
		{500, "that name is already in use", api.KindConflict},
		{500, "volume already exists", api.KindConflict},
		{409, "volume is being used", api.KindConflict},
		{409, "image is in use by a container", api.KindConflict},
		{500, "container state improper", api.KindConflict},
		{500, "no such file or directory", api.KindNotFound},
		// By the status alone.
		{404, "new words", api.KindNotFound},
		{409, "new words", api.KindConflict},
		{400, "new words", api.KindInvalid},
		{503, "new words", api.KindUnavailable},
		{500, "new words", api.KindInternal},
	} {
		s := serve(t, "5.4.2", map[string]http.HandlerFunc{aContainer: refusal(c.status, c.cause)})
		_, err := s.open().Container(t.Context(), "x")
		if api.KindOf(err) != c.want {
			t.Errorf("%d %q is of kind %v, want %v", c.status, c.cause, api.KindOf(err), c.want)
		}
		if err == nil || err.Error() != "podman: it is so: "+c.cause {
			t.Errorf("%d %q reads %v", c.status, c.cause, err)
		}
	}
}

// The package leaves the library's global logger alone, because what it uses of
// the library logs nothing at the level that is printed.
func TestTheLibraryLogsNothing(t *testing.T) {
	var out lockedBuffer
	logrus.SetOutput(&out)
	t.Cleanup(func() { logrus.SetOutput(os.Stderr) })
	s := serve(t, "5.4.2", map[string]http.HandlerFunc{
		"GET /containers/ok/json":        answer(200, `{}`),
		"GET /containers/none/json":      refusal(404, "no such container"),
		"GET /containers/broken/json":    answer(200, "hello"),
		"GET /containers/page/json":      func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "x", 500) },
		"GET /containers/nobody/json":    hangUp,
		"POST /containers/create":        answer(201, `{"Id":"x","Warnings":["careful"]}`),
		"GET /images/localhost%2Fx/json": answer(200, `{}`),
	})
	e := s.open()
	for _, id := range []string{"ok", "none", "broken", "page", "nobody"} {
		_, _ = e.Container(t.Context(), id)
	}
	_, _ = e.CreateContainer(t.Context(), whole())
	_, _ = e.Image(t.Context(), "localhost/x")
	if got := out.String(); got != "" {
		t.Errorf("printed %q", got)
	}
	// The test can fail.
	logrus.Warn("x")
	if out.String() == "" {
		t.Error("the logger was not caught")
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
