// Command ccc gives an AI coding agent a locked-down container of its own.
package main

import (
	"os"

	"github.com/ccc-dev/ccc/internal/app"
)

func main() { os.Exit(app.Run(nil)) }
