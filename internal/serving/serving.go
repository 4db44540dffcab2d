// Package serving puts the MCP server below the command line: what `ccc serve`
// does in the program that has the server in it.
//
// It only translates. Nothing that every command links may import it, for the
// server's libraries cost each start of a program that has them.
package serving

import (
	"context"
	"time"

	"github.com/ccc-dev/ccc/internal/cli"
	"github.com/ccc-dev/ccc/internal/mcpserver"
)

// beat is how often a client that waits is told that work goes on: well below the
// minute after which some give up.
const beat = 5 * time.Second

// Serve serves one client until its input or ctx ends. It returns ctx's error if
// that was first.
func Serve(ctx context.Context, r cli.ServeRequest) error {
	s := &mcpserver.Server{
		Version: r.Version, Caller: r.Caller, Clock: r.Clock, Beat: beat, Log: r.Log,
		Options: mcpserver.Options{ReadOnly: r.ReadOnly, Roots: r.Roots, MaxSessions: r.MaxSessions, Owner: r.Owner, All: r.All},
		Open:    r.Open, Doctor: r.Doctor, Images: r.Images, Audit: r.Audit,
	}
	return s.Serve(ctx, r.In, r.Out)
}
