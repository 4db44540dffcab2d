package podman

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
)

// RemoveTree implements [engine.Engine]. It runs `podman unshare`, which enters
// the user namespace that Podman keeps for the user; the API has no such call.
func (e *Engine) RemoveTree(ctx context.Context, dir string) error {
	if err := engine.CheckTree(dir); err != nil {
		return err
	}
	info, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && (!info.IsDir() || owner(info) != e.uid) {
		return &api.Error{Kind: api.KindDenied, Rule: "engine.tree", Msg: fmt.Sprintf("%s is not a directory of the calling user's", dir)}
	}
	if err != nil {
		return fmt.Errorf("remove tree: %w", err)
	}
	limited, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	cmd, err := e.command(limited, "podman", "unshare", "rm", "-rf", "--one-file-system", "--", dir)
	if err != nil {
		return unstartable(err, "")
	}
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return ended(ctx)
	}
	if err != nil {
		return fmt.Errorf("remove tree: %w: %.400s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
