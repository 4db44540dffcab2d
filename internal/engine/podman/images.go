package podman

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
)

var (
	imageRef = api.Syntax(512, `[a-zA-Z0-9]([a-zA-Z0-9._/:@-]*[a-zA-Z0-9])?`)
	// pinned is a name whose content cannot change: without a transport, with a
	// digest.
	pinned = api.Syntax(512, `[a-z0-9]([a-z0-9._/:-]*[a-z0-9])?@sha256:[0-9a-f]{64}`)
)

func checkImageRef(ref string) error {
	if !imageRef(ref) || strings.Contains(ref, "..") || strings.Contains(ref, "//") {
		return &api.Error{Kind: api.KindInvalid, Msg: fmt.Sprintf("%.80q is not the name of an image", ref)}
	}
	return nil
}

// imageData is what is read of Podman's description of an image.
type imageData struct {
	Id          string
	RepoTags    []string
	Created     time.Time
	Size        int64
	Labels      map[string]string
	Annotations map[string]string
	Config      struct {
		Env, Entrypoint  []string
		WorkingDir, User string
		Volumes          map[string]struct{}
	}
}

// Image implements [engine.Images].
func (e *Engine) Image(ctx context.Context, ref string) (engine.Image, error) {
	if err := checkImageRef(ref); err != nil {
		return engine.Image{}, err
	}
	var d imageData
	if err := e.do(ctx, call{method: http.MethodGet, path: "/images/%s/json", args: []string{ref}}, &d); err != nil {
		return engine.Image{}, err
	}
	c := d.Config
	return engine.Image{
		ID: bare(d.Id), Names: d.RepoTags, Created: known(d.Created), Size: d.Size, Labels: d.Labels,
		Env: c.Env, Entrypoint: c.Entrypoint, WorkingDir: c.WorkingDir, User: c.User, Volumes: c.Volumes,
		Annotations: d.Annotations,
	}, nil
}

// bare returns an identity without its algorithm.
func bare(id string) string { return strings.TrimPrefix(id, "sha256:") }

// ListImages implements [engine.Images].
func (e *Engine) ListImages(ctx context.Context) ([]engine.Image, error) {
	var list []struct {
		Id       string
		RepoTags []string
		Created  int64
		Size     int64
		Labels   map[string]string
	}
	query := url.Values{"filters": {labelFilter(engine.LabelImage)}}
	if err := e.do(ctx, call{method: http.MethodGet, path: "/images/json", query: query}, &list); err != nil {
		return nil, err
	}
	var found []engine.Image
	for _, i := range list {
		found = append(found, engine.Image{
			ID: bare(i.Id), Names: i.RepoTags, Created: known(time.Unix(i.Created, 0)), Size: i.Size, Labels: i.Labels,
		})
	}
	return found, nil
}

// ImportImage implements [engine.Images]. It has no deadline but the caller's.
func (e *Engine) ImportImage(ctx context.Context, tar io.Reader, o engine.ImportOptions) (string, error) {
	if err := o.Check(); err != nil {
		return "", err
	}
	query := url.Values{"reference": {o.Name}}
	for _, key := range slices.Sorted(maps.Keys(o.Labels)) {
		// Podman takes off one pair of quotes and leaves the rest as it is.
		query.Add("changes", fmt.Sprintf(`LABEL %s="%s"`, key, o.Labels[key]))
	}
	var made struct{ Id string }
	err := e.doWithin(ctx, forever, call{method: http.MethodPost, path: "/images/import", query: query, body: tar}, &made)
	return bare(made.Id), err
}

// PullImage implements [engine.Images]. It has no deadline but the caller's.
func (e *Engine) PullImage(ctx context.Context, ref string, progress func(string)) (string, error) {
	if !pinned(ref) {
		return "", api.Invalidf("write NAME@sha256:…", "image %.120q is not pinned by a digest", ref)
	}
	query := url.Values{"reference": {ref}, "policy": {"missing"}}
	response, err := e.send(ctx, call{method: http.MethodPost, path: "/images/pull", query: query})
	if err != nil {
		return "", e.unanswered(ctx, err)
	}
	defer response.Body.Close()
	if !response.IsSuccess() {
		return "", e.refused(ctx, response)
	}
	for reports := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)); ; {
		var report struct {
			Stream string `json:"stream"`
			Error  string `json:"error"`
			ID     string `json:"id"`
		}
		if err := reports.Decode(&report); err != nil {
			return "", e.unanswered(ctx, fmt.Errorf("read progress: %w", err))
		}
		if report.Error != "" {
			return "", &api.Error{Kind: api.KindUnavailable, Msg: "podman: " + report.Error, Hint: "check the image's name and the registry"}
		}
		if line := strings.TrimSpace(report.Stream); line != "" && progress != nil {
			progress(line)
		}
		if report.ID != "" {
			return bare(report.ID), nil
		}
	}
}

// TagImage implements [engine.Images].
func (e *Engine) TagImage(ctx context.Context, id, name string) error {
	if err := checkImageRef(id); err != nil {
		return err
	}
	if err := (engine.ImportOptions{Name: name}).Check(); err != nil {
		return err
	}
	colon := strings.LastIndexByte(name, ':')
	query := url.Values{"repo": {name[:colon]}, "tag": {name[colon+1:]}}
	return e.do(ctx, call{method: http.MethodPost, path: "/images/%s/tag", args: []string{id}, query: query, again: true}, nil)
}

// RemoveImage implements [engine.Images]. Podman removes one name at a time, and
// the image with its last.
func (e *Engine) RemoveImage(ctx context.Context, ref string) error {
	image, err := e.Image(ctx, ref)
	if api.KindOf(err) == api.KindNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	var gone []string
	for _, name := range append(slices.Clone(image.Names), image.ID) {
		query := url.Values{"force": {"false"}}
		err := e.do(ctx, call{method: http.MethodDelete, path: "/images/%s", args: []string{name}, query: query}, nil)
		if err == nil || api.KindOf(err) == api.KindNotFound {
			gone = append(gone, name)
			continue
		}
		return errors.Join(err, e.retag(ctx, image.ID, gone))
	}
	return nil
}

// retag gives an image back the names it lost in a removal that failed.
func (e *Engine) retag(ctx context.Context, id string, names []string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	var errs []error
	for _, name := range names {
		errs = append(errs, e.TagImage(ctx, id, name))
	}
	return errors.Join(errs...)
}
