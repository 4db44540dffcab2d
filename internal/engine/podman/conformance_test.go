package podman_test

import (
	"io"
	"os"
	"testing"

	"github.com/ccc-dev/ccc/internal/engine/enginetest"
	"github.com/ccc-dev/ccc/internal/engine/podman"
)

// openPodman connects to real Podman. Without CCC_TEST_PODMAN=1 there is none to
// be tested against, and the test is left out; with it, one that cannot be used
// is a failure.
func openPodman(t *testing.T) *podman.Engine {
	t.Helper()
	if os.Getenv("CCC_TEST_PODMAN") != "1" {
		t.Skip("set CCC_TEST_PODMAN=1 to test against real rootless Podman")
	}
	e, err := podman.Open(t.Context(), podman.Options{UID: os.Getuid(), Env: os.Getenv})
	if err != nil {
		t.Fatalf("real Podman was asked for and cannot be used: %v", err)
	}
	return e
}

// busybox returns the program that the test image is made of.
func busybox(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatalf("install Debian's busybox-static: %v", err)
	}
	return data
}

func TestPodmanConformance(t *testing.T) {
	openPodman(t)
	program := busybox(t)
	enginetest.Run(t, func(t *testing.T) enginetest.Subject {
		e := openPodman(t)
		return enginetest.Subject{
			Name: "podman " + e.Version().String(), Engine: e,
			Rootfs: func() io.Reader { return enginetest.Rootfs(program) },
		}
	})
}
