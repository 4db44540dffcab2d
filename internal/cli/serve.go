package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/audit"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/image"
	"github.com/ccc-dev/ccc/internal/probe"
	"github.com/ccc-dev/ccc/internal/session"
)

// ServeOptions are what the command line says of a server.
type ServeOptions struct {
	// ReadOnly offers only what changes nothing.
	ReadOnly bool
	// Roots are the directories that projects must lie in, links resolved; none
	// bounds nothing.
	Roots []string
	// MaxSessions bounds how many sessions there may be; zero bounds nothing.
	MaxSessions api.Count
	// Owner is the name whose sessions the client sees instead of its own; All
	// lets it see every one.
	Owner string
	All   bool
}

// ServeRequest is what a server needs. In and Out carry the protocol and nothing
// else.
type ServeRequest struct {
	ServeOptions
	Version string
	Caller  api.Caller
	In      io.Reader
	Out     io.Writer
	Log     *slog.Logger
	Clock   func() time.Time
	// Open returns a core for a project, or for none.
	Open   func(ctx context.Context, project string) (*session.Core, error)
	Doctor func(context.Context) []probe.Finding
	Images func(context.Context) ([]engine.Image, error)
	Audit  func(context.Context) (audit.Report, error)
}

func (r *run) serveCommand() *cobra.Command {
	var o ServeOptions
	cmd := &cobra.Command{
		Use: "serve", Short: "offer sessions to an MCP client on standard input and output", Args: noArgs,
		Long: `Offer sessions to a client of the Model Context Protocol, such as Claude Code,
on standard input and output. Clients start it themselves. For Claude Code put
this into the project's .mcp.json, or into ~/.claude.json for every project:

  {
    "mcpServers": {
      "ccc": {
        "command": "ccc",
        "args": ["serve", "--project-root", "/home/you/src"]
      }
    }
  }

A client may tighten what the configuration gives a session, never loosen it.
It sees the sessions that it made, those made with --label mcp.owner=NAME, its
own name, and those made with --label mcp.shared=yes. Sessions live on when the
client goes; its commands end.

Of its environment the server keeps what it needs; API keys are not part of it.`,
		Example: `  claude mcp add ccc -- ccc serve --project-root ~/src
  ccc serve --read-only
  ccc serve --max-sessions 4 --project-root ~/src --project-root ~/work`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			roots, err := resolved(o.Roots)
			if err != nil {
				return err
			}
			o.Roots = roots
			return r.serve(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.ReadOnly, "read-only", false, "offer only what changes nothing")
	f.StringArrayVar(&o.Roots, "project-root", nil, "`DIR` that projects must lie in (repeatable)")
	text(f, &o.MaxSessions, "max-sessions", "N", "refuse to make more sessions than this")
	f.StringVar(&o.Owner, "owner", "", "`NAME` whose sessions the client sees, instead of its own")
	f.BoolVar(&o.All, "all-sessions", false, "let the client see every session of yours")
	return cmd
}

// resolved returns what directories really are: policy compares real paths.
func resolved(dirs []string) ([]string, error) {
	var all []string
	for _, d := range dirs {
		p, err := filepath.Abs(d)
		if err == nil {
			p, err = filepath.EvalSymlinks(p)
		}
		if err != nil {
			return nil, &api.Error{Kind: api.KindInvalid, Rule: "input.path", Msg: "--project-root: there is no such directory", Hint: "ls -d " + api.Printable(d), Err: err}
		}
		all = append(all, p)
	}
	return all, nil
}

// serve runs the server on the program's streams.
func (r *run) serve(ctx context.Context, o ServeOptions) error {
	if r.Serve == nil {
		return r.becomeServer()
	}
	if err := shed(r.Out); err != nil {
		return err
	}
	out, err := takeOver(r.Out)
	if err != nil {
		return err
	}
	caller := r.caller()
	// Who asks is the client, which started this process.
	caller.PID = os.Getppid()
	level := slog.LevelWarn
	if r.global.Verbose || os.Getenv("MCP_CLAUDE_DEBUG") == "true" || os.Getenv("MCP_CLAUDE_DEBUG") == "1" {
		level = slog.LevelDebug
	}
	err = r.Serve(ctx, ServeRequest{
		ServeOptions: o, Version: r.Version.Version, Caller: caller, In: r.In, Out: out, Clock: time.Now,
		Log:  slog.New(slog.NewTextHandler(r.Err, &slog.HandlerOptions{Level: level})),
		Open: r.open, Doctor: func(ctx context.Context) []probe.Finding { return r.Doctor(r.global).Check(ctx) },
		Images: r.sessionImages, Audit: r.auditReport,
	})
	if errors.Is(err, context.Canceled) {
		// A client ends its server with a signal: that is no failure.
		return nil
	}
	return err
}

// open returns a core for a project, or for none.
func (r *run) open(ctx context.Context, project string) (*session.Core, error) {
	g := r.global
	g.Project = project
	return r.Core(ctx, g)
}

func (r *run) sessionImages(ctx context.Context) ([]engine.Image, error) {
	b, err := r.Images(ctx, r.global)
	if err != nil {
		return nil, err
	}
	return image.List(ctx, b.Images)
}

func (r *run) auditReport(ctx context.Context) (audit.Report, error) {
	c, err := r.Config(r.global)
	if err != nil {
		return audit.Report{}, err
	}
	return audit.VerifyDir(ctx, string(c.Effective.Audit.Dir), string(c.Effective.Audit.File))
}

// takeOver returns standard output for the protocol alone, and points descriptor
// 1 at standard error: whatever a library or a program that is started prints
// must not come between two messages. A stream that is not the descriptor has no
// such dangers.
func takeOver(out io.Writer) (io.Writer, error) {
	f, ok := out.(*os.File)
	if !ok || f.Fd() != uintptr(unix.Stdout) {
		return out, nil
	}
	fd, err := unix.FcntlInt(uintptr(unix.Stdout), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	if err := unix.Dup3(unix.Stderr, unix.Stdout, 0); err != nil {
		return nil, os.NewSyscallError("dup3", err)
	}
	return os.NewFile(uintptr(fd), "protocol"), nil
}

// kept tells whether the server needs a variable of its environment. Clients
// hand over all that they have, API keys included.
func kept(name string) bool {
	needed := []string{
		"HOME", "USER", "LOGNAME", "PATH", "SHELL", "TERM", "NO_COLOR", "TZ", "LANG", "LANGUAGE", "TMPDIR",
		"XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "DBUS_SESSION_BUS_ADDRESS",
		// Podman's own configuration, for a service that has to be started.
		"CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF", "CONTAINERS_REGISTRIES_CONF", "_CONTAINERS_USERNS_CONFIGURED", "BUILDAH_ISOLATION",
		// The predecessor's settings that ccc reads.
		"DEFAULT_CLAUDE_IMAGE", "DEFAULT_SESSION_TIMEOUT", "MAX_CONCURRENT_SESSIONS", "MCP_AUDIT_LOG", "MCP_CLAUDE_DEBUG",
	}
	return slices.Contains(needed, name) || strings.HasPrefix(name, "LC_") || strings.HasPrefix(name, "CCC_")
}

// becomeServer goes on as ccc-serve, which is this program with the server in it.
// It is one of its own because every program pays at its start for all that is
// linked into it, and the server's libraries would nearly double that for each
// command.
func (r *run) becomeServer() error {
	err := syscall.Exec(r.Server, os.Args, needed(os.Environ(), fmt.Sprintf("/run/user/%d", os.Getuid()))) //nolint:gosec // our own, with our own arguments
	return &api.Error{
		Kind: api.KindUnavailable, Rule: "serve.missing", Msg: "ccc-serve, the part of ccc that serves, cannot be started", Err: err,
		Hint: "install it beside ccc: `make build` or `make install` puts both in place",
	}
}

// shed begins the program again without the variables that it does not need, if
// there are any. Unsetting them would leave them in the process's memory, where
// /proc/PID/environ shows them to every process of the user, and in that of
// programs already started.
func shed(out io.Writer) error {
	if f, ok := out.(*os.File); !ok || f.Fd() != uintptr(unix.Stdout) {
		return nil
	}
	all := os.Environ()
	keep := needed(all, fmt.Sprintf("/run/user/%d", os.Getuid()))
	if slices.Equal(keep, all) {
		return nil
	}
	// The same file, also if its name leads to a newer one by now.
	if err := syscall.Exec("/proc/self/exe", os.Args, keep); err != nil { //nolint:gosec // this program and its own arguments
		return os.NewSyscallError("execve", err)
	}
	return nil
}

// needed returns what the server keeps of an environment. The runtime directory
// is where systemd puts it if it is not given: most clients pass on nothing but
// HOME, PATH and the like. Whether it is private is checked like any other.
func needed(environ []string, runtime string) []string {
	const name = "XDG_RUNTIME_DIR="
	keep := slices.DeleteFunc(slices.Clone(environ), func(line string) bool {
		name, _, _ := strings.Cut(line, "=")
		return !kept(name)
	})
	if !slices.ContainsFunc(keep, func(line string) bool { return strings.HasPrefix(line, name) }) {
		if info, err := os.Stat(runtime); err == nil && info.IsDir() {
			keep = append(keep, name+runtime)
		}
	}
	return keep
}
