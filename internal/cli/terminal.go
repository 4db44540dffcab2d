package cli

import (
	"context"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/ccc-dev/ccc/internal/api"
)

// tty is a real terminal.
type tty struct{ in, out int }

// OpenTerminal returns the terminal that both files are, or nil if one of them
// is something else.
func OpenTerminal(in, out *os.File) Terminal {
	t := tty{int(in.Fd()), int(out.Fd())}
	if !term.IsTerminal(t.in) || !term.IsTerminal(t.out) {
		return nil
	}
	return t
}

// Raw passes every key on until the returned function is called.
func (t tty) Raw() (func(), error) {
	state, err := term.MakeRaw(t.in)
	if err != nil {
		return nil, err
	}
	// A terminal that cannot be restored has gone away.
	return func() { _ = term.Restore(t.in, state) }, nil
}

// Sizes sends the size now and after each SIGWINCH.
func (t tty) Sizes(ctx context.Context) <-chan api.Size {
	sizes := make(chan api.Size, 1)
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, unix.SIGWINCH)
	go func() {
		defer close(sizes)
		defer signal.Stop(changed)
		for {
			if cols, rows, err := term.GetSize(t.out); err == nil {
				select {
				case sizes <- api.Size{Rows: uint16(rows), Cols: uint16(cols)}:
				case <-ctx.Done():
					return
				}
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return sizes
}
