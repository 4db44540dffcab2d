package podman

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/containers/podman/v5/pkg/bindings"
	"golang.org/x/sys/unix"
)

// Options say how to reach Podman.
type Options struct {
	// Socket is the path of a Podman socket, or its unix:// URL. If empty, the
	// user's own is found or started (see [Open]).
	Socket string
	// UID is the calling user. Zero is refused: a root engine's containers are
	// not walled off from the host by a user namespace.
	UID int
	// Env returns a variable of the caller's environment, "" if unset. Only
	// XDG_RUNTIME_DIR and those that a Podman service needs are asked for.
	Env func(name string) string
	// CallTimeout bounds each call that has no natural length; 60 s if zero.
	CallTimeout time.Duration
	// IdleTimeout is how long a service that had to be started outlives its
	// last use; 5 minutes if zero.
	IdleTimeout time.Duration
}

// Engine is a connection to the calling user's Podman. Use [Open]. All methods
// may be called concurrently.
type Engine struct {
	conn    *bindings.Connection
	socket  string
	uid     int
	env     func(string) string
	runtime string
	timeout time.Duration
	version engine.Version
	// service is the socket of ccc's own service, if that is what is used, and
	// idle how long it outlives its last use.
	service string
	idle    time.Duration
}

var _ engine.Engine = (*Engine)(nil)

// Open connects to the calling user's rootless Podman. Without a socket in the
// options it tries, in this order, $XDG_RUNTIME_DIR/podman/podman.sock, the same
// socket after `systemctl --user start podman.socket`, and a service that it
// starts itself on $XDG_RUNTIME_DIR/ccc/podman.sock and that ends when idle.
//
// That the engine is rootless is known from the kernel, not from the engine's
// word, which would take 200 ms and more to ask for: the other end of every
// connection must belong to the calling user (SO_PEERCRED, unix(7)), who must
// not be root. A rootful Podman runs as root. A relay that the user has put in
// front of a rootful engine is the user's own doing; the attestation of a
// started session sees it.
//
// Errors are [api.KindUnavailable] if no engine can be reached or it is too old,
// [api.KindDenied] if there is one that must not be used.
func Open(ctx context.Context, o Options) (*Engine, error) {
	if o.UID == 0 {
		return nil, api.Deniedf("engine.rootless", "run ccc as an ordinary user", "root may not use ccc: its containers need a rootless engine")
	}
	if o.CallTimeout <= 0 {
		o.CallTimeout = time.Minute
	}
	if o.IdleTimeout <= 0 {
		o.IdleTimeout = 5 * time.Minute
	}
	if o.Env == nil {
		o.Env = func(string) string { return "" }
	}
	e := &Engine{uid: o.UID, env: o.Env, timeout: o.CallTimeout}
	if o.Socket != "" {
		e.runtime = o.Env("XDG_RUNTIME_DIR")
		socket, err := socketPath(o.Socket)
		if err != nil {
			return nil, err
		}
		if err := e.connect(ctx, socket); err != nil {
			return nil, err
		}
		return e, nil
	}
	runtime, err := runtimeDir(o)
	if err != nil {
		return nil, err
	}
	e.runtime = runtime
	if err := e.find(ctx, o.IdleTimeout); err != nil {
		return nil, err
	}
	return e, nil
}

// Version returns the version that the engine said it has when it was connected.
func (e *Engine) Version() engine.Version { return e.version }

// Socket returns the path of the socket that the engine was reached by.
func (e *Engine) Socket() string { return e.socket }

// socketPath returns the path in a path or unix:// URL.
func socketPath(s string) (string, error) {
	const hint = "give a path such as $XDG_RUNTIME_DIR/podman/podman.sock"
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		if scheme != "unix" {
			return "", api.Deniedf("engine.local", hint, "%.16s:// connections are refused: only a local engine can be checked to be rootless", scheme)
		}
		s = rest
	}
	if !filepath.IsAbs(s) || filepath.Clean(s) != s {
		return "", api.Invalidf(hint, "podman socket %.120q is not an absolute, clean path", s)
	}
	return s, nil
}

// runtimeDir returns the user's runtime directory, which must be private: what
// lies in it is trusted.
func runtimeDir(o Options) (string, error) {
	dir := o.Env("XDG_RUNTIME_DIR")
	if dir == "" {
		// Where systemd puts it, for callers without a login session.
		dir = fmt.Sprintf("/run/user/%d", o.UID)
	}
	if err := private(dir, o.UID); err != nil {
		return "", &api.Error{
			Kind: api.KindUnavailable, Msg: "there is no usable runtime directory (XDG_RUNTIME_DIR)",
			Hint: "run `loginctl enable-linger`, or log in again", Err: err,
		}
	}
	return dir, nil
}

// private returns an error unless dir is a directory of the user's that nobody
// else can enter.
func private(dir string, uid int) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() || owner(info) != uid || info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s is not a private directory of user %d", dir, uid)
	}
	return nil
}

func owner(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}

// connect checks the socket, connects to it, and learns the engine's version.
func (e *Engine) connect(ctx context.Context, socket string) error {
	resolved, err := checkSocket(socket, e.uid)
	if err != nil {
		return err
	}
	e.socket = resolved
	e.conn = newConnection(resolved, e.dial)
	version, err := e.ping(ctx)
	if err != nil {
		return err
	}
	if !version.AtLeast(4, 0) {
		return &api.Error{
			Kind: api.KindUnavailable, Msg: fmt.Sprintf("podman %v is too old: ccc needs 4.0 or newer", version),
			Hint: "install a newer podman",
		}
	}
	e.version = version
	return nil
}

// dial connects to the socket and checks who answers. Every connection is
// checked, since a path can lead elsewhere a moment later.
func (e *Engine) dial(ctx context.Context) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", e.socket)
	if unheard(err) && e.socket == e.service {
		// It ended because it was idle, between two calls of a long-lived ccc.
		if err := e.ensure(ctx); err != nil {
			return nil, err
		}
		conn, err = (&net.Dialer{}).DialContext(ctx, "unix", e.socket)
	}
	if err != nil {
		return nil, err
	}
	uid, err := peer(conn)
	if err == nil && uid != e.uid {
		err = foreign(e.socket, uid)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// foreign is the refusal of an engine of another user.
func foreign(socket string, uid int) error {
	msg := fmt.Sprintf("the podman at %s runs as user %d", socket, uid)
	if uid == 0 {
		msg = fmt.Sprintf("the podman at %s runs as root: it is not rootless", socket)
	}
	return &api.Error{Kind: api.KindDenied, Rule: "engine.rootless", Msg: msg, Hint: "run `systemctl --user start podman.socket` for one of your own"}
}

// peer returns the user that the process at the other end had when it began to
// listen, in our user namespace.
func peer(conn net.Conn) (int, error) {
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if credErr != nil {
		return 0, credErr
	}
	return int(cred.Uid), nil
}

// checkSocket returns the path of the socket without symbolic links. It refuses
// one that is not the user's, or that others could connect to: they would have
// the user's containers, and through them the user's files.
func checkSocket(socket string, uid int) (string, error) {
	resolved, err := filepath.EvalSymlinks(socket)
	if err != nil {
		return "", missing(socket, err)
	}
	info, err := os.Lstat(resolved)
	if err != nil {
		return "", missing(socket, err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return "", missing(socket, errors.New("not a socket"))
	}
	if own := owner(info); own != uid {
		return "", foreign(socket, own)
	}
	// Connecting needs the permission to write (unix(7)).
	if info.Mode().Perm()&0o022 == 0 {
		return resolved, nil
	}
	for dir := filepath.Dir(resolved); ; dir = filepath.Dir(dir) {
		info, err := os.Lstat(dir)
		if err != nil {
			return "", missing(socket, err)
		}
		// Whoever is kept out of one directory on the way is kept out.
		if own := owner(info); (own == uid || own == 0) && info.Mode().Perm()&0o011 == 0 {
			return resolved, nil
		}
		if dir == filepath.Dir(dir) {
			return "", &api.Error{
				Kind: api.KindDenied, Rule: "engine.private", Msg: fmt.Sprintf("the podman socket %s is open to other users", socket),
				Hint: "chmod 0600 " + socket,
			}
		}
	}
}

func missing(socket string, err error) error {
	return &api.Error{
		Kind: api.KindUnavailable, Msg: "there is no podman socket at " + socket,
		Hint: "run `systemctl --user enable --now podman.socket`, or `ccc doctor`", Err: err,
	}
}

// ping asks the cheapest question there is; the answer's header has the version.
func (e *Engine) ping(ctx context.Context) (engine.Version, error) {
	limited, cancel := context.WithTimeout(ctx, min(e.timeout, pingTimeout))
	defer cancel()
	response, err := e.send(limited, call{method: http.MethodGet, path: "/_ping"})
	if err != nil {
		return engine.Version{}, e.unanswered(ctx, err)
	}
	defer response.Body.Close()
	header := response.Header.Get("Libpod-Api-Version")
	var v engine.Version
	if n, err := fmt.Sscanf(header, "%d.%d.%d", &v.Major, &v.Minor, &v.Patch); err != nil || n != 3 || !response.IsSuccess() {
		return engine.Version{}, &api.Error{
			Kind: api.KindUnavailable, Msg: fmt.Sprintf("what answers at %s is not podman (status %d, version %.32q)", e.socket, response.StatusCode, header),
			Hint: "run `ccc doctor`",
		}
	}
	return v, nil
}

// pingTimeout bounds the first question: a service that was only just started
// by systemd takes a second or two.
const pingTimeout = 20 * time.Second

// unheard tells that nobody listens at a socket, or that there is none.
func unheard(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist)
}

// dropped tells that who listened went away before answering.
func dropped(err error) bool {
	if api.KindOf(err) != api.KindUnavailable {
		return false
	}
	for _, sign := range []error{syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE, fs.ErrNotExist, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, sign) {
			return true
		}
	}
	return false
}
