package podman

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/gofrs/flock"
)

// startTimeout bounds the start of a service: the first Podman of a user
// prepares its storage.
const startTimeout = 30 * time.Second

// environment lists all the variables that a Podman process started here gets.
// Podman copies variables of its own into a container when the image's
// configuration names them (CVE-2026-57231); what is not there cannot leak.
var environment = []string{
	"PATH", "HOME", "USER", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME",
	"DBUS_SESSION_BUS_ADDRESS", "LANG",
}

// findAttempts bounds how often the socket is looked for: a service that ends
// because it was idle can take a connection with it.
const findAttempts = 3

// find connects to the user's own socket, starting what answers there if need be.
func (e *Engine) find(ctx context.Context, idle time.Duration) error {
	for attempt := 1; ; attempt++ {
		err := e.findOnce(ctx, idle)
		if err == nil || !dropped(err) || attempt == findAttempts || !sleep(ctx, 10*time.Millisecond) {
			return err
		}
	}
}

func (e *Engine) findOnce(ctx context.Context, idle time.Duration) error {
	own := filepath.Join(e.runtime, "podman", "podman.sock")
	err := e.connect(ctx, own)
	if err == nil || !unheard(err) {
		return err
	}
	if e.startUnit(ctx) == nil {
		return e.connect(ctx, own)
	}
	dir, err := e.ownDir()
	if err != nil {
		return unstartable(err, "")
	}
	// dial starts the service if nobody listens there.
	e.service, e.idle = filepath.Join(dir, "podman.sock"), idle
	if err := e.ensure(ctx); err != nil {
		return err
	}
	if err := e.connect(ctx, e.service); err != nil {
		return err
	}
	e.service = e.socket
	return nil
}

// startUnit asks systemd's user instance, if there is one, for Podman's socket.
func (e *Engine) startUnit(ctx context.Context) error {
	if _, err := os.Lstat(filepath.Join(e.runtime, "systemd", "private")); err != nil {
		return err
	}
	cmd, err := e.command(ctx, "systemctl", "--user", "start", "podman.socket")
	if err != nil {
		return err
	}
	return cmd.Run()
}

// command returns a command that has only the scrubbed environment and is
// ended with the context.
func (e *Engine) command(ctx context.Context, name string, args ...string) (*exec.Cmd, error) {
	file, err := lookPath(e.env("PATH"), name)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, file, args...) //nolint:gosec // a fixed name, looked up in the user's own PATH
	// Not nil: that would mean our own environment.
	cmd.Env = []string{}
	for _, key := range environment {
		value := e.env(key)
		if key == "XDG_RUNTIME_DIR" {
			value = e.runtime
		}
		if value != "" {
			cmd.Env = append(cmd.Env, key+"="+value)
		}
	}
	cmd.Dir = "/"
	return cmd, nil
}

// lookPath finds a program in the absolute directories of a PATH.
func lookPath(path, name string) (string, error) {
	for _, dir := range filepath.SplitList(path) {
		file := filepath.Join(dir, name)
		if !filepath.IsAbs(dir) {
			continue
		}
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 {
			return file, nil
		}
	}
	return "", fmt.Errorf("%s: %w in PATH", name, fs.ErrNotExist)
}

// ownDir returns ccc's directory in the user's runtime directory. It must be
// private.
func (e *Engine) ownDir() (string, error) {
	if e.runtime == "" {
		return "", fs.ErrNotExist
	}
	dir := filepath.Join(e.runtime, "ccc")
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return dir, private(dir, e.uid)
}

// ensure starts ccc's own service unless somebody listens at its socket. Of
// several processes that want it at the same time one starts it.
func (e *Engine) ensure(ctx context.Context) (err error) {
	if listening(ctx, e.service) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	lock := flock.New(filepath.Join(filepath.Dir(e.service), "podman.lock"), flock.SetPermissions(0o600))
	if _, err := lock.TryLockContext(ctx, 10*time.Millisecond); err != nil {
		return unstartable(err, "")
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	// Another process may have been faster.
	if listening(ctx, e.service) {
		return nil
	}
	return e.launch(ctx)
}

// listening tells whether somebody listens at a socket.
func listening(ctx context.Context, socket string) bool {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	return err == nil && conn.Close() == nil
}

// launch starts a service and waits until it listens. The service has a session
// of its own, so that neither the terminal nor the end of this process ends it.
func (e *Engine) launch(ctx context.Context) error {
	// What is left of a service that was killed; the lock is held.
	if err := os.Remove(e.service); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return unstartable(err, "")
	}
	logFile := filepath.Join(filepath.Dir(e.service), "podman.log")
	// One before is kept: it has the last words of a service that crashed.
	if err := os.Rename(logFile, logFile+".old"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return unstartable(err, "")
	}
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_TRUNC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return unstartable(err, "")
	}
	defer log.Close()
	seconds := max(1, int(e.idle/time.Second))
	cmd, err := e.command(context.WithoutCancel(ctx), "podman", "system", "service", fmt.Sprintf("--time=%d", seconds), "unix://"+e.service)
	if err != nil {
		return unstartable(err, "")
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return unstartable(err, "")
	}
	gone := make(chan error, 1)
	go func() { gone <- cmd.Wait() }()
	for !listening(ctx, e.service) {
		select {
		case <-ctx.Done():
			return unstartable(ctx.Err(), tail(logFile))
		case err := <-gone:
			return unstartable(fmt.Errorf("it ended at once: %w", orEOF(err)), tail(logFile))
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

// orEOF names the end of a process that ended without an error.
func orEOF(err error) error {
	if err == nil {
		return io.EOF
	}
	return err
}

// unstartable is the error of a service that does not come up; log is what it
// printed last.
func unstartable(err error, log string) error {
	if log != "" {
		err = fmt.Errorf("%w: %s", err, log)
	}
	return &api.Error{
		Kind: api.KindUnavailable, Msg: "podman cannot be started",
		Hint: "install podman, or run `systemctl --user enable --now podman.socket`; see `ccc doctor`", Err: err,
	}
}

// tail returns the last line of a small file, shortened.
func tail(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	data = bytes.TrimSpace(data)
	line := string(data[bytes.LastIndexByte(data, '\n')+1:])
	return strings.TrimSpace(line[max(0, len(line)-400):])
}
