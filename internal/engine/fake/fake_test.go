package fake_test

import (
	"io"
	"testing"
	"time"

	"github.com/ccc-dev/ccc/internal/engine/enginetest"
	"github.com/ccc-dev/ccc/internal/engine/fake"
)

// open returns an engine in a directory of the test's own.
func open(t *testing.T) *fake.Engine {
	t.Helper()
	e, err := fake.Open(t.TempDir(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestConformance(t *testing.T) {
	enginetest.Run(t, func(t *testing.T) enginetest.Subject {
		return enginetest.Subject{Name: "fake", Engine: open(t), Rootfs: func() io.Reader { return enginetest.Rootfs(nil) }}
	})
}
