package podman

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
)

// CreateVolume implements [engine.Volumes].
func (e *Engine) CreateVolume(ctx context.Context, v engine.Volume) error {
	if err := v.Check(); err != nil {
		return err
	}
	body := map[string]any{"Name": v.Name, "Labels": v.Labels}
	return e.do(ctx, call{method: http.MethodPost, path: "/volumes/create", json: body}, nil)
}

// ListVolumes implements [engine.Volumes].
func (e *Engine) ListVolumes(ctx context.Context) ([]engine.Volume, error) {
	var list []struct {
		Name      string
		Labels    map[string]string
		CreatedAt time.Time
	}
	query := url.Values{"filters": {labelFilter(engine.LabelSchema)}}
	if err := e.do(ctx, call{method: http.MethodGet, path: "/volumes/json", query: query}, &list); err != nil {
		return nil, err
	}
	var found []engine.Volume
	for _, v := range list {
		found = append(found, engine.Volume{Name: v.Name, Labels: v.Labels, Created: known(v.CreatedAt)})
	}
	return found, nil
}

// RemoveVolume implements [engine.Volumes].
func (e *Engine) RemoveVolume(ctx context.Context, name string) error {
	if err := checkRef("volume", name); err != nil {
		return err
	}
	err := e.do(ctx, call{method: http.MethodDelete, path: "/volumes/%s", args: []string{name}}, nil)
	if api.KindOf(err) == api.KindNotFound {
		return nil
	}
	return err
}
