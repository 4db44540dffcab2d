package seccomp_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// partVar makes the test binary play a part inside a container instead of
// running the tests; its value is the part and its arguments.
const partVar = "CCC_TEST_SECCOMP_PART"

func TestMain(m *testing.M) {
	part := strings.Fields(os.Getenv(partVar))
	if len(part) == 0 {
		os.Exit(m.Run())
	}
	play, ok := parts[part[0]]
	if !ok {
		fmt.Fprintln(os.Stderr, "there is no part", part[0])
		os.Exit(2)
	}
	if err := play(part[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
