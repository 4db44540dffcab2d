// A command waits for this program to start, which reading control groups to
// count processors would make longer; one thread does all the work here anyway.

//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Command ccc-init is the first process of every session and the shim in front
// of every command that runs in one. People do not call it; see internal/guest.
package main

import (
	"os"
	"runtime/debug"

	"github.com/ccc-dev/ccc/internal/guest/program"
)

func main() {
	os.Exit(program.Program{
		Args: os.Args[1:], Environ: os.Environ(),
		Out: os.Stdout, Err: os.Stderr, Log: program.Messages(2),
		Version: version,
	}.Main())
}

// version returns what the toolchain noted about this build.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
