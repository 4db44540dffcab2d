package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// tail is the end of a log.
type tail struct {
	// last is the last finished line without its newline; nil if there is none.
	last []byte
	// torn is an unfinished line behind it, which begins at offset at.
	torn []byte
	at   int64
}

// readTail reads the end of a log. How long the log is does not matter: it
// reads 4 KiB, and at most the length of two records.
func readTail(f *os.File) (tail, error) {
	st, err := f.Stat()
	if err != nil {
		return tail{}, fmt.Errorf("stat: %w", err)
	}
	for _, window := range []int64{4 << 10, 2*maxRecord + 1} {
		window = min(window, st.Size())
		b := make([]byte, window)
		if _, err := f.ReadAt(b, st.Size()-window); err != nil && !errors.Is(err, io.EOF) {
			return tail{}, fmt.Errorf("read: %w", err)
		}
		if t, ok := lastLine(b, st.Size()); ok {
			return t, nil
		}
	}
	return tail{}, errors.New("no record ends there")
}

// lastLine finds the last lines in b, the last bytes of a log of the given
// size, and reports whether b reaches back far enough.
func lastLine(b []byte, size int64) (tail, bool) {
	whole := int64(len(b)) == size
	var t tail
	end := bytes.LastIndexByte(b, '\n')
	if end+1 < len(b) {
		t.torn, t.at = b[end+1:], size-int64(len(b)-end-1)
	}
	if end < 0 {
		return t, whole && len(t.torn) <= maxRecord
	}
	start := bytes.LastIndexByte(b[:end], '\n') + 1
	t.last = b[start:end]
	return t, whole || start > 0
}
