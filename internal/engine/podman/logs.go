package podman

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/ccc-dev/ccc/internal/engine"
)

// Logs implements [engine.Processes]. It has no deadline but the caller's.
func (e *Engine) Logs(ctx context.Context, id string, o engine.LogOptions, stdout, stderr io.Writer) error {
	if err := checkRef("container", id); err != nil {
		return err
	}
	query := url.Values{"stdout": {"true"}, "stderr": {"true"}, "follow": {strconv.FormatBool(o.Follow)}}
	if o.Tail > 0 {
		query.Set("tail", strconv.Itoa(o.Tail))
	}
	if !o.Since.IsZero() {
		query.Set("since", o.Since.Format(time.RFC3339Nano))
	}
	response, err := e.send(ctx, call{method: http.MethodGet, path: "/containers/%s/logs", args: []string{id}, query: query})
	if err != nil {
		return e.unanswered(ctx, err)
	}
	defer response.Body.Close()
	if !response.IsSuccess() {
		return e.refused(ctx, response)
	}
	if err := demultiplex(response.Body, stdout, stderr); err != nil {
		return e.unanswered(ctx, err)
	}
	return nil
}
