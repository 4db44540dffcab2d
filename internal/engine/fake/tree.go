package fake

import (
	"context"
	"os"

	"github.com/ccc-dev/ccc/internal/engine"
)

// RemoveTree implements [engine.Engine]. The fake's containers leave nothing
// that is not the user's.
func (e *Engine) RemoveTree(ctx context.Context, dir string) error {
	if err := engine.CheckTree(dir); err != nil {
		return err
	}
	return e.change(ctx, "RemoveTree", func() error { return os.RemoveAll(dir) })
}
