package podman

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// demultiplex copies the two output streams that Podman sends over one
// connection: each piece has a header of eight bytes, the stream in the first
// and the length, big-endian, in the last four. It returns nil at the end of
// the input between two pieces. Nil writers discard.
func demultiplex(r io.Reader, stdout, stderr io.Writer) error {
	var header [8]byte
	for {
		if _, err := io.ReadFull(r, header[:]); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("read output: %w", err)
		}
		var w io.Writer
		switch header[0] {
		case 0, 1:
			w = stdout
		case 2:
			w = stderr
		default:
			return fmt.Errorf("read output: no such stream: %d", header[0])
		}
		if w == nil {
			w = io.Discard
		}
		if _, err := io.CopyN(w, r, int64(binary.BigEndian.Uint32(header[4:]))); err != nil {
			return fmt.Errorf("copy output: %w", err)
		}
	}
}
