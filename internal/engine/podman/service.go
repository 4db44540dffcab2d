package podman

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
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

// find connects to the user's own socket, starting what answers there if need be.
func (e *Engine) find(ctx context.Context, idle time.Duration) error {
	own := filepath.Join(e.runtime, "podman", "podman.sock")
	err := e.connect(ctx, own)
	if err == nil || !refusedConnection(err) {
		return err
	}
	if e.startUnit(ctx) == nil {
		return e.connect(ctx, own)
	}
	return e.serve(ctx, idle)
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
	cmd := exec.CommandContext(ctx, file, args...)
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

// serve connects to the service that ccc itself keeps, and starts it if it does
// not run. Of several processes that want it at the same time one starts it.
func (e *Engine) serve(ctx context.Context, idle time.Duration) (err error) {
	dir := filepath.Join(e.runtime, "ccc")
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return unstartable(err, "")
	}
	if err := private(dir, e.uid); err != nil {
		return unstartable(err, "")
	}
	socket := filepath.Join(dir, "podman.sock")
	if err := e.connect(ctx, socket); err == nil || !refusedConnection(err) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	lock := flock.New(filepath.Join(dir, "podman.lock"), flock.SetPermissions(0o600))
	if _, err := lock.TryLockContext(ctx, 10*time.Millisecond); err != nil {
		return unstartable(err, "")
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	// Another process may have been faster.
	if err := e.connect(ctx, socket); err == nil || !refusedConnection(err) {
		return err
	}
	return e.launch(ctx, dir, socket, idle)
}

// launch starts a service and waits until it answers. The service has a session
// of its own, so that neither the terminal nor the end of this process ends it.
func (e *Engine) launch(ctx context.Context, dir, socket string, idle time.Duration) error {
	// What is left of a service that was killed; the lock is held.
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return unstartable(err, "")
	}
	logFile := filepath.Join(dir, "podman.log")
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_TRUNC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return unstartable(err, "")
	}
	defer log.Close()
	seconds := max(1, int(idle/time.Second))
	cmd, err := e.command(context.WithoutCancel(ctx), "podman", "system", "service", fmt.Sprintf("--time=%d", seconds), "unix://"+socket)
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
	for {
		err := e.connect(ctx, socket)
		if err == nil || !refusedConnection(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return unstartable(ctx.Err(), tail(logFile))
		case err := <-gone:
			return unstartable(fmt.Errorf("it ended at once: %w", orEOF(err)), tail(logFile))
		case <-time.After(10 * time.Millisecond):
		}
	}
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
