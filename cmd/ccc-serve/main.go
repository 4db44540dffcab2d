// Command ccc-serve is ccc with the MCP server in it; `ccc serve` goes on as this
// program. Nobody needs to call it by its own name.
package main

import (
	"os"

	"github.com/ccc-dev/ccc/internal/app"
	"github.com/ccc-dev/ccc/internal/serving"
)

func main() { os.Exit(app.Run(serving.Serve)) }
