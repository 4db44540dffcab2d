package podman_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ccc-dev/ccc/internal/engine/podman"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares text with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("differs from %s (write it anew with -update):\n%s", file, got)
	}
}

// shortDir returns a private directory whose path leaves room for a socket's
// name (108 bytes, unix(7)).
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ccc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// server plays Podman on a socket.
type server struct {
	t      *testing.T
	socket string
	// answers are by method and path, the latter without the version; requests
	// for others are failures.
	answers map[string]http.HandlerFunc

	mu       sync.Mutex
	requests []string
}

// serve starts a server that has the version in its header, "" for none.
func serve(t *testing.T, version string, answers map[string]http.HandlerFunc) *server {
	t.Helper()
	s := &server{t: t, socket: filepath.Join(shortDir(t), "s"), answers: answers}
	listener, err := net.Listen("unix", s.socket)
	if err != nil {
		t.Fatal(err)
	}
	h := &http.Server{
		ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if version != "" {
				w.Header().Set("Libpod-Api-Version", version)
			}
			s.handle(w, r)
		}),
	}
	go h.Serve(listener)
	t.Cleanup(func() { h.Close() })
	return s
}

func (s *server) handle(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.EscapedPath(), "/v4.0.0/libpod")
	if !ok {
		s.t.Errorf("path %s", r.URL)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		body = []byte("broken off: " + err.Error())
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	line := r.Method + " " + path
	if r.URL.RawQuery != "" {
		line += "?" + r.URL.RawQuery
	}
	if len(body) > 0 {
		line += "\n" + indent(body)
	}
	if path == "/_ping" {
		return
	}
	s.mu.Lock()
	s.requests = append(s.requests, line)
	answer, ok := s.answers[r.Method+" "+path]
	s.mu.Unlock()
	if !ok {
		s.t.Errorf("nobody expected %s", line)
		http.Error(w, "not expected", http.StatusTeapot)
		return
	}
	answer(w, r)
}

// set changes an answer.
func (s *server) set(request string, h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[request] = h
}

// indent renders JSON for people, and leaves everything else.
func indent(body []byte) string {
	var b bytes.Buffer
	if json.Indent(&b, body, "", "  ") != nil {
		return string(body)
	}
	return b.String()
}

// seen returns the requests so far, without those for the version.
func (s *server) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.requests...)
}

// count returns how many requests began so.
func (s *server) count(prefix string) int {
	n := 0
	for _, r := range s.seen() {
		if strings.HasPrefix(r, prefix) {
			n++
		}
	}
	return n
}

// open connects to the server.
func (s *server) open() *podman.Engine {
	s.t.Helper()
	return s.openWithin(time.Minute)
}

func (s *server) openWithin(timeout time.Duration) *podman.Engine {
	s.t.Helper()
	e, err := podman.OpenAs(s.t.Context(), s.socket, os.Getuid(), timeout)
	if err != nil {
		s.t.Fatal(err)
	}
	return e
}

// answer returns a handler that sends a status and JSON.
func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

// refusal returns a handler that refuses as Podman does.
func refusal(status int, cause string) http.HandlerFunc {
	return answer(status, fmt.Sprintf(`{"cause":%q,"message":%q,"response":%d}`, cause, "it is so: "+cause, status))
}

// hangUp is a handler that closes the connection without an answer.
func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
