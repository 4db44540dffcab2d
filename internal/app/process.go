package app

import (
	"context"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/cli"
)

// Run is a whole program: it runs the command line of this process on its streams
// and returns the exit code. serve is [App.Serve].
func Run(serve func(context.Context, cli.ServeRequest) error) int {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	// Otherwise a write to a reader that has gone away ends the process at once
	// (os/signal, "SIGPIPE"), and what it runs in a session would go on. Not
	// Ignore: what is ignored stays so in every program that is started.
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
	a := App{
		Args: os.Args[1:], Environ: os.Environ(),
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Terminal: cli.OpenTerminal(os.Stdin, os.Stdout),
		Serve:    serve,
	}
	return a.Main(ctx)
}
