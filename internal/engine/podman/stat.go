package podman

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/containers/podman/v5/pkg/specgen"
)

// StatImage implements [engine.Images]. Podman looks into containers only, so
// that one is made for the purpose, never started, and removed.
func (e *Engine) StatImage(ctx context.Context, id, file string) (f engine.File, err error) {
	// Podman reads a pattern where a path is meant.
	if !path.IsAbs(file) || path.Clean(file) != file || strings.ContainsAny(file, "*?[\\\x00") {
		return f, &api.Error{Kind: api.KindInvalid, Msg: fmt.Sprintf("path %.80q is not absolute and clean, or holds one of * ? [ \\", file)}
	}
	image, err := e.Image(ctx, id)
	if err != nil {
		return f, err
	}
	spec := specgen.NewSpecGenerator(image.ID, false)
	spec.Entrypoint = []string{"/"}
	spec.WorkDir = "/"
	spec.UnsetEnvAll, spec.EnvHost, spec.HTTPProxy = yes(), no(), no()
	spec.CapDrop = []string{"all"}
	spec.NoNewPrivileges, spec.ReadOnlyFilesystem, spec.ReadWriteTmpfs = yes(), yes(), no()
	spec.NetNS = specgen.Namespace{NSMode: specgen.NoNetwork}
	spec.ImageVolumeMode = "ignore"
	spec.Labels = map[string]string{labelInspection: "1"}
	var made struct{ Id string }
	err = insist(ctx, func() error { return e.createOne(ctx, spec, &made) })
	if err != nil {
		return f, err
	}
	defer func() {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
		defer cancel()
		err = errors.Join(err, e.RemoveContainer(undo, made.Id), e.sweep(undo))
	}()
	return e.head(ctx, made.Id, file)
}

// sweep removes what crashed inspections left behind.
func (e *Engine) sweep(ctx context.Context) error {
	filters, err := json.Marshal(map[string][]string{"label": {labelInspection}, "until": {"1h"}})
	if err != nil {
		return err
	}
	return e.do(ctx, call{method: http.MethodPost, path: "/containers/prune", query: url.Values{"filters": {string(filters)}}}, nil)
}

// head asks for a path in a container, not following a link at its end. For one
// that leads nowhere Podman answers "not found", but describes it all the same.
func (e *Engine) head(ctx context.Context, container, file string) (engine.File, error) {
	limited, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	response, err := e.send(limited, call{
		method: http.MethodHead, path: "/containers/%s/archive", args: []string{container}, query: url.Values{"path": {file}},
	})
	if err != nil {
		return engine.File{}, e.unanswered(ctx, err)
	}
	defer response.Body.Close()
	header := response.Header.Get("X-Docker-Container-Path-Stat")
	if response.StatusCode == http.StatusNotFound && header == "" {
		return engine.File{}, &api.Error{Kind: api.KindNotFound, Msg: fmt.Sprintf("the image has no %s", file), Err: fs.ErrNotExist}
	}
	// The mode is Go's (docker's PathStat), its higher bits the type.
	var stat struct {
		Mode       fs.FileMode `json:"mode"`
		LinkTarget string      `json:"linkTarget"`
	}
	data, err := base64.StdEncoding.DecodeString(header)
	if err == nil {
		err = json.Unmarshal(data, &stat)
	}
	if err != nil || !response.IsSuccess() && response.StatusCode != http.StatusNotFound {
		return engine.File{}, &api.Error{Kind: api.KindInternal, Msg: fmt.Sprintf("podman cannot tell what %s in the image is (status %d)", file, response.StatusCode), Err: err}
	}
	f := engine.File{Mode: stat.Mode}
	if stat.Mode&fs.ModeSymlink != 0 {
		f.Target = stat.LinkTarget
	}
	return f, nil
}
