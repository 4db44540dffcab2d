package main_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/app"
	"github.com/ccc-dev/ccc/internal/cli"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/serving"
	"github.com/ccc-dev/ccc/internal/session/sessiontest"
)

// The command that scripts and tables run is the test binary itself, under the
// name ccc: the program, with the fake in the engine's and the kernel's place.
// The program that is shipped knows nothing of it.
func TestMain(m *testing.M) {
	// Inside a container, where root is nobody to be afraid of.
	if filepath.Base(os.Args[0]) == "attack" {
		attackMain()
		os.Exit(0)
	}
	if code, ran := sessiontest.AsUser(); ran {
		os.Exit(code)
	}
	testscript.Main(m, map[string]func(){"ccc": func() { os.Exit(cccMain()) }})
}

// worldVar names the directory of the world that the command runs in.
const worldVar = "CCC_TEST_WORLD"

// noiseVar has the engine print on standard output.
const noiseVar = "CCC_TEST_NOISE"

// cccMain is what main does, in the world of a test.
func cccMain() int {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
	a := app.App{
		Args: os.Args[1:], Environ: os.Environ(),
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Terminal: cli.OpenTerminal(os.Stdin, os.Stdout),
	}
	if err := inWorld(&a, sessiontest.Places(os.Getenv(worldVar))); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 99
	}
	return a.Main(ctx)
}

// inWorld gives the program a world's engine, kernel and home.
func inWorld(a *app.App, w *sessiontest.World) error {
	machine, err := sessiontest.OpenMachine(w.Engine, time.Now)
	if err != nil {
		return err
	}
	a.OpenEngine = func(context.Context, string) (engine.Engine, error) {
		if os.Getenv(noiseVar) != "" {
			// What a library does that was never meant for a protocol.
			fmt.Println("noise of a library")
			if _, err := unix.Write(unix.Stdout, []byte("noise of C\n")); err != nil {
				return nil, err
			}
		}
		return machine, nil
	}
	a.Serve = serving.Serve
	a.Kernel, a.Home, a.Init = machine, w.Home, w.Init()
	return nil
}

// environ is the environment of the command in a world: nothing of the caller's.
func environ(w *sessiontest.World) []string {
	return []string{
		worldVar + "=" + w.Dir, "HOME=" + w.Home, "USER=tester", "XDG_RUNTIME_DIR=" + filepath.Dir(w.Runtime),
		"PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8",
	}
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("..", "..", "testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			w, err := sessiontest.Furnish(context.Background(), filepath.Join(env.WorkDir, "world"))
			if err != nil {
				return err
			}
			env.Vars = append(env.Vars, environ(w)...)
			env.Vars = append(env.Vars, "PROJECT="+w.Project, "STATE="+w.State)
			env.Cd = w.Project
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "unchanged": unchanged, "left": left, "denied": denied,
		},
	})
}

// exits CODE PROGRAM [ARG...] runs a program that must exit with the code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exited, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = exited.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// left [N] counts the things that sessions have made and not removed; 0 if no
// number is given.
func left(ts *testscript.TestScript, neg bool, args []string) {
	want := 0
	if len(args) == 1 {
		var err error
		want, err = strconv.Atoi(args[0])
		ts.Check(err)
	}
	got, err := sessiontest.Places(ts.Getenv(worldVar)).Left()
	ts.Check(err)
	if neg || len(got) != want {
		ts.Fatalf("%d things are left, want %d: %q", len(got), want, got)
	}
}

// unchanged PROGRAM [ARG...] runs a program that must fail and change nothing
// but the audit log.
func unchanged(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: unchanged PROGRAM [ARG...]")
	}
	w := sessiontest.Places(ts.Getenv(worldVar))
	before, err := w.Snapshot()
	ts.Check(err)
	if ts.Exec(args[0], args[1:]...) == nil {
		ts.Fatalf("it succeeded")
	}
	after, err := w.Snapshot()
	ts.Check(err)
	for name, was := range before {
		if after[name] != was {
			ts.Fatalf("%s was changed", name)
		}
	}
	for name := range after {
		if _, ok := before[name]; !ok {
			ts.Fatalf("%s was made", name)
		}
	}
}

// denied ACTION RULE checks the last record of the audit log.
func denied(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: denied ACTION RULE")
	}
	records, err := sessiontest.Places(ts.Getenv(worldVar)).Records(context.Background())
	ts.Check(err)
	if len(records) == 0 {
		ts.Fatalf("nothing was recorded")
	}
	if r := records[len(records)-1]; r.Action != args[0] || r.Rule != args[1] || r.Decision != "deny" {
		ts.Fatalf("the last record is %+v", r)
	}
}
