// Package cli is the command line of ccc: flags become one request, the core
// is called once, and its result or its error with a hint is printed. What is
// data goes to stdout, what is talk to stderr.
//
// The package decides nothing. It must not know the container engine, and it
// prints no text of a session or a host without making it harmless.
package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"os/user"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/apparmor"
	"github.com/ccc-dev/ccc/internal/config"
	"github.com/ccc-dev/ccc/internal/image"
	"github.com/ccc-dev/ccc/internal/probe"
	"github.com/ccc-dev/ccc/internal/profile"
	"github.com/ccc-dev/ccc/internal/session"
)

// Program is one run of the command line: its surroundings, and how it comes by
// the parts of ccc. All fields are required but Terminal. The functions are
// called only by commands that need them.
type Program struct {
	// In, Out and Err are the standard streams.
	In       io.Reader
	Out, Err io.Writer
	// Terminal is the terminal that In and Out are; nil if they are not one.
	Terminal Terminal
	// Term is the terminal's type, as TERM has it.
	Term string
	// NoColor tells that the environment asks for no colour (no-color.org).
	NoColor bool
	// Version is what `ccc version` prints.
	Version Version
	// Config loads the configuration.
	Config func(Global) (*config.Config, error)
	// Core connects to the engine and returns the core.
	Core func(context.Context, Global) (*session.Core, error)
	// Recorder returns a core that can only record refusals.
	Recorder func(context.Context, Global) (*session.Core, error)
	// Images returns the engine and what builds its images.
	Images func(context.Context, Global) (image.Builder, error)
	// Doctor returns the checks of this host.
	Doctor func(Global) probe.Host
	// Levels returns where policy levels are looked for, in order.
	Levels func() ([]profile.Source, error)
	// AppArmor is what the host has of it.
	AppArmor apparmor.Host
	// Self is the path of this program, UID its user.
	Self string
	UID  int
	// Serve serves an MCP client until it is gone; nil means that this program
	// cannot, and that Server is the path of one that can.
	Serve  func(context.Context, ServeRequest) error
	Server string
}

// Terminal is what the command line needs of a terminal.
type Terminal interface {
	// Raw switches it to passing every key on, and returns what undoes that.
	Raw() (restore func(), err error)
	// Sizes returns its size now, and then at each change until ctx ends.
	Sizes(ctx context.Context) <-chan api.Size
}

// Version says what this program is.
type Version struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go"`
	Schema  string `json:"schema"`
}

// Global are the flags that every command has.
type Global struct {
	// ConfigFile replaces the user's configuration file.
	ConfigFile string
	// Connection replaces the search for the engine's socket.
	Connection string
	// Project is the project directory that a command is about, whose file may
	// tighten the configuration; set by the command, not by a flag.
	Project string
	JSON    bool
	Quiet   bool
	Verbose bool
	NoColor bool
}

// run is one command being run.
type run struct {
	*Program
	global Global
}

// exit is an error that only carries an exit code: the command has said what
// there was to say.
type exit struct{ code int }

func (e exit) Error() string { return "exit" }

// Main runs the command line and returns the exit code.
func Main(ctx context.Context, p *Program, args []string) int {
	r := &run{Program: p}
	root := r.root()
	root.SetArgs(args)
	root.SetIn(p.In)
	root.SetOut(p.Out)
	root.SetErr(p.Err)
	cmd, err := root.ExecuteContextC(ctx)
	return r.code(cmd, args, err)
}

// code prints what is left to say of an error and returns the exit code.
func (r *run) code(cmd *cobra.Command, args []string, err error) int {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[exit](err); ok {
		return e.code
	}
	err = explain(cmd, err)
	// What was given up because of Ctrl-C was not unavailable for another reason.
	given := api.KindOf(err) == api.KindUnavailable && errors.Is(err, context.Canceled)
	if ctxErr := cmd.Context().Err(); ctxErr != nil && (given || api.KindOf(err) == api.KindInternal) {
		err = &api.Error{Kind: api.KindInterrupted, Msg: "interrupted", Err: err}
	}
	if errors.Is(err, syscall.EPIPE) {
		// Whoever read our output has gone away, as `head` does: no news.
		return exitBrokenPipe
	}
	r.printError(err, wantsJSON(args))
	kind := api.KindOf(err)
	if r.passesCodes(cmd) && kind != api.KindInterrupted {
		return exitOwnFailure
	}
	return kind.ExitCode()
}

// exitBrokenPipe is the exit code of a program that SIGPIPE ended, as a shell
// has it.
const exitBrokenPipe = 128 + int(syscall.SIGPIPE)

// exitOwnFailure is the exit code of ccc's own failures in commands that
// otherwise pass on the exit code of what they run, as podman-exec(1) has it.
const exitOwnFailure = 125

// passesCodes tells whether the command's exit codes belong to its child.
func (r *run) passesCodes(cmd *cobra.Command) bool { return cmd.Annotations["codes"] == "child" }

// wantsJSON finds --json among arguments that may not have parsed.
func wantsJSON(args []string) bool {
	for _, a := range args {
		if a == "--" {
			return false
		}
		if a == "--json" || a == "--json=true" {
			return true
		}
	}
	return false
}

// explain turns the errors of the flag parser into ours.
func explain(cmd *cobra.Command, err error) error {
	if _, ok := errors.AsType[*api.Error](err); ok {
		return err
	}
	if _, ok := errors.AsType[usageError](err); !ok {
		return err
	}
	return &api.Error{Kind: api.KindInvalid, Rule: "input.usage", Msg: api.Printable(shorten(err.Error(), maxTold)), Hint: cmd.CommandPath() + " --help"}
}

// usageError marks an error of the flag parser or of argument counting.
type usageError struct{ error }

// shorten cuts a message that repeats an argument of unreasonable length.
func shorten(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// flagError gives a flag's parse error the flag's name, and records it where
// the command would have left a record.
func (r *run) flagError(cmd *cobra.Command, err error) error {
	if bad, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		if cause, ok := errors.AsType[*api.Error](bad.Unwrap()); ok {
			named := *cause
			named.Msg = "--" + bad.GetFlag().Name + ": " + named.Msg
			return r.refused(cmd, &named)
		}
	}
	return r.refused(cmd, explain(cmd, usageError{err}))
}

// refused records a request that did not parse, if the command is one that
// leaves records. The record is not allowed to hide the error.
func (r *run) refused(cmd *cobra.Command, err error) error {
	action := cmd.Annotations["action"]
	if action == "" {
		return err
	}
	core, coreErr := r.Recorder(cmd.Context(), r.global)
	if coreErr != nil && coreErr.Error() == err.Error() {
		// The configuration is what is wrong, and then there is no log either.
		return err
	}
	if coreErr != nil {
		return errors.Join(err, coreErr)
	}
	return core.Refused(cmd.Context(), r.caller(), action, err)
}

// recorded does what the core has no method for, with a record before and after.
func (r *run) recorded(cmd *cobra.Command, about any, do func() error) error {
	core, err := r.Recorder(cmd.Context(), r.global)
	if err != nil {
		return err
	}
	return core.Record(cmd.Context(), r.caller(), cmd.Annotations["action"], about, do)
}

// caller returns who runs the command.
func (r *run) caller() api.Caller {
	c := api.Caller{UID: os.Getuid(), PID: os.Getpid(), Client: "cli", ClientVersion: r.Version.Version}
	if u, err := user.Current(); err == nil {
		c.User = u.Username
	}
	return c
}
