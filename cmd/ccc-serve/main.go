// Command ccc-serve is ccc with the MCP server in it; `ccc serve` goes on as this
// program. Nobody needs to call it by its own name.
package main

import (
	"context"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/app"
	"github.com/ccc-dev/ccc/internal/cli"
	"github.com/ccc-dev/ccc/internal/serving"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	// Otherwise a write to a reader that has gone away ends the process at once
	// (os/signal, "SIGPIPE"), and what it runs in a session would go on. Not
	// Ignore: what is ignored stays so in every program that is started.
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
	a := app.App{
		Args: os.Args[1:], Environ: os.Environ(),
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Terminal: cli.OpenTerminal(os.Stdin, os.Stdout),
		Serve:    serving.Serve,
	}
	code := a.Main(ctx)
	stop()
	os.Exit(code)
}
