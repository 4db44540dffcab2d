package image

import (
	"context"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
)

// Tools is how a build finds and runs programs of the host. [HostTools] returns
// the real one.
type Tools struct {
	// Look returns the path of a program, or an error.
	Look func(name string) (string, error)
	// Run runs a program to its end with nothing on standard input. Its
	// standard output goes to stdout, each line of its standard error to line.
	// When the context ends, the program and all that it started are ended
	// before Run returns.
	Run func(ctx context.Context, p Program, stdout io.Writer, line func(string)) error
}

// Program is one program to run.
type Program struct {
	Path string
	// Args are the arguments after the program's name.
	Args []string
	// Env is the whole environment, "NAME=value" each.
	Env []string
}

// HostTools returns the tools of this host.
func HostTools() Tools { return Tools{Look: exec.LookPath, Run: run} }

// stopGrace is how long a program has to clean up after SIGTERM. It is short,
// because mmdebstrap only notes the signal and ends when its work is done; what
// it leaves is removed by the build.
const stopGrace = 2 * time.Second

func run(ctx context.Context, p Program, stdout io.Writer, line func(string)) error {
	// The parent-death signal is tied to the thread that forks, not to the
	// process (prctl(2), PR_SET_PDEATHSIG): that thread must not end early.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	lines := &lineWriter{line: line}
	cmd := exec.CommandContext(ctx, p.Path, p.Args...) //nolint:gosec // the path was looked up by us, the arguments are the recipe's
	cmd.Env, cmd.Stdout, cmd.Stderr = p.Env, stdout, lines
	// What runs as another user of a namespace could not enter a private
	// directory, and where ccc was started matters to no program of a build.
	cmd.Dir = "/"
	// A group of its own, so that a signal reaches all that it started, and a
	// Ctrl-C at the terminal only us. If we are killed outright, it still gets
	// the chance to remove what it made.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = stopGrace
	err := cmd.Run()
	if ctx.Err() != nil && cmd.Process != nil {
		// Whoever is left of the group now did not heed SIGTERM.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	lines.end()
	return err
}

// lineWriter cuts what is written to it into printable lines.
type lineWriter struct {
	line func(string)
	rest []byte
}

// longestLine is where a line is cut: a program that never ends one must not
// fill the memory.
const longestLine = 1000

// Write implements [io.Writer]. Carriage returns end a line as well: they are
// what progress bars are made of.
func (w *lineWriter) Write(p []byte) (int, error) {
	for _, c := range p {
		if c == '\n' || c == '\r' {
			w.end()
			continue
		}
		if len(w.rest) == longestLine {
			w.end()
		}
		w.rest = append(w.rest, c)
	}
	return len(p), nil
}

// end gives out the line that is not yet ended.
func (w *lineWriter) end() {
	if s := strings.TrimSpace(string(w.rest)); s != "" {
		w.line(api.Printable(s))
	}
	w.rest = w.rest[:0]
}
