package audit

import (
	"cmp"
	"context"
	"io"
	"path/filepath"
)

// OpenReader opens the log of that name ([DefaultFile] if empty) in the
// directory for [Read], up to the end it has at this moment. A log that is not
// there is [api.KindNotFound].
func OpenReader(ctx context.Context, dir, file string) (io.ReadCloser, error) {
	return openForReading(ctx, filepath.Join(dir, cmp.Or(file, DefaultFile)))
}
