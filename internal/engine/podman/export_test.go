package podman

import (
	"context"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// OpenAs is Open for a given socket and user, who may be root: these tests run
// as whoever runs them, and play the engine themselves.
func OpenAs(ctx context.Context, socket string, uid int, timeout time.Duration) (*Engine, error) {
	e := &Engine{uid: uid, env: func(string) string { return "" }, timeout: timeout}
	return e, e.connect(ctx, socket)
}

// FindAs is Open without a socket for a user who may be root.
func FindAs(ctx context.Context, runtime string, uid int, env func(string) string) (*Engine, error) {
	e := &Engine{uid: uid, env: env, runtime: runtime, timeout: time.Minute}
	return e, e.find(ctx, time.Minute)
}

// NewConnection is newConnection.
var NewConnection = newConnection

// Demultiplex is demultiplex.
func Demultiplex(r io.Reader, stdout, stderr io.Writer) error { return demultiplex(r, stdout, stderr) }

// SetUID makes e expect another user at the other end.
func SetUID(e *Engine, uid int) { e.uid = uid }

// CloseIdle closes the connections that are not in use.
func CloseIdle(e *Engine) {
	if t, ok := e.conn.Client.Transport.(transport); ok {
		t.base.(interface{ CloseIdleConnections() }).CloseIdleConnections()
	}
}

// Signal kills a process and its family if they are in the namespace, and
// returns how many were hit.
func Signal(pid int, namespace string) int {
	return family{leader: pid, namespace: namespace}.signal(unix.SIGKILL)
}

// SetRuntime gives e the user's runtime directory.
func SetRuntime(e *Engine, dir string) { e.runtime = dir }
