// Command ccc gives an AI coding agent a locked-down container of its own.
package main

import (
	"context"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/app"
	"github.com/ccc-dev/ccc/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	a := app.App{
		Args: os.Args[1:], Environ: os.Environ(),
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Terminal: cli.OpenTerminal(os.Stdin, os.Stdout),
	}
	code := a.Main(ctx)
	stop()
	os.Exit(code)
}
