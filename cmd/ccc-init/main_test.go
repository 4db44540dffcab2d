package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ccc-dev/ccc/internal/guest"
)

// TestMain lets the test binary be ccc-init too: called by that name, or by the
// one it has in a session, it is nothing else. So the tests run the real thing
// wherever the binary is taken.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "ccc-init" || os.Args[0] == guest.Path {
		main()
	}
	os.Exit(m.Run())
}
