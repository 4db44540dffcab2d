package mcpserver

import (
	"bufio"
	"errors"
	"io"
)

// maxFrame is the longest message that is read, in bytes: a 10 MB input of a
// command, escaped as JSON, fits.
const maxFrame = 32 << 20

// errFrameTooLong says that a line was longer than allowed and was skipped.
var errFrameTooLong = errors.New("message too long")

// frames reads messages, one a line. It never holds more than one line and
// never more of a line than is allowed.
type frames struct {
	r    *bufio.Reader
	most int
}

func newFrames(r io.Reader, most int) *frames {
	return &frames{bufio.NewReaderSize(r, 64<<10), most}
}

// next returns the next line without its end; the caller may keep it. A last
// line need not end. After errFrameTooLong reading goes on with the line after;
// every other error is final.
func (f *frames) next() ([]byte, error) {
	var line []byte
	for {
		part, err := f.r.ReadSlice('\n')
		if len(line)+len(part) > f.most+1 {
			return nil, f.skip(err)
		}
		line = append(line, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err == nil:
			return trimEnd(line), nil
		case errors.Is(err, io.EOF) && len(line) > 0:
			return trimEnd(line), nil
		}
		return nil, err
	}
}

// skip reads to the end of a line that is too long.
func (f *frames) skip(err error) error {
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = f.r.ReadSlice('\n')
	}
	if err == nil || errors.Is(err, io.EOF) {
		return errFrameTooLong
	}
	return err
}

// trimEnd removes the end of a line, as either system writes it.
func trimEnd(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
	}
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line
}
