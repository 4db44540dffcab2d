package podman

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/ccc-dev/ccc/internal/engine"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// inspection is what is read of Podman's description of a container. Podman's
// own type is not used: the types of its fields differ between versions.
type inspection struct {
	Id            string
	Name          string
	Image         string
	Created       time.Time
	OCIConfigPath string
	State         struct {
		Status    string
		Pid       int
		ExitCode  int
		OOMKilled bool
		StartedAt time.Time
	}
	Config struct{ Labels map[string]string }
}

func (i inspection) state() engine.InstanceState { return stateOf(i.State.Status) }

// stateOf reduces Podman's states (libpod/define/containerstate.go) to ours.
func stateOf(status string) engine.InstanceState {
	switch status {
	case "created", "configured":
		return engine.InstanceCreated
	case "running":
		return engine.InstanceRunning
	case "paused":
		return engine.InstancePaused
	case "exited", "stopped":
		return engine.InstanceExited
	}
	return engine.InstanceChanging
}

func (e *Engine) inspect(ctx context.Context, id string) (inspection, error) {
	var i inspection
	if err := checkRef("container", id); err != nil {
		return i, err
	}
	err := e.do(ctx, call{method: http.MethodGet, path: "/containers/%s/json", args: []string{id}}, &i)
	return i, err
}

// Container implements [engine.Containers].
func (e *Engine) Container(ctx context.Context, id string) (engine.Instance, error) {
	i, err := e.inspect(ctx, id)
	if err != nil {
		return engine.Instance{}, err
	}
	instance := engine.Instance{
		ID: i.Id, Name: i.Name, Image: i.Image, Labels: ours(i.Config.Labels), State: i.state(),
		Created: known(i.Created), Started: known(i.State.StartedAt),
		ExitCode: i.State.ExitCode, PID: i.State.Pid, OOMKilled: i.State.OOMKilled,
	}
	if instance.Started.IsZero() {
		return instance, nil
	}
	instance.Spec, err = e.ociConfig(ctx, i)
	return instance, err
}

// ours returns the labels without those that this package adds.
func ours(labels map[string]string) map[string]string {
	l := maps.Clone(labels)
	delete(l, labelCreation)
	return l
}

// known turns the ways in which Podman says "never" into the zero time.
func known(t time.Time) time.Time {
	if t.Year() <= 1970 {
		return time.Time{}
	}
	return t
}

// maxConfig bounds an OCI configuration, which is 12 KiB or so with the default
// seccomp profile.
const maxConfig = 8 << 20

// ociConfig reads the configuration that the OCI runtime was given. Podman's own
// copy usually cannot be read by the calling user, because the directory it lies
// in belongs to the container's root. While the container lives crun's copy
// can, which is also what crun acted upon; else Podman's is read as the
// container's root would read it.
func (e *Engine) ociConfig(ctx context.Context, i inspection) (*specs.Spec, error) {
	if !reference(i.Id) || !filepath.IsAbs(i.OCIConfigPath) {
		return nil, nil
	}
	for _, file := range []string{filepath.Join(e.runtime, "crun", i.Id, "config.json"), i.OCIConfigPath} {
		data, err := readBounded(file)
		if err == nil {
			return decodeConfig(data)
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			return nil, fmt.Errorf("read the OCI configuration: %w", err)
		}
	}
	cmd, err := e.command(ctx, "podman", "unshare", "cat", "--", i.OCIConfigPath)
	if err != nil {
		return nil, nil
	}
	data, err := cmd.Output()
	if err != nil || len(data) > maxConfig {
		return nil, nil
	}
	return decodeConfig(data)
}

func readBounded(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err == nil && len(data) > maxConfig {
		err = fmt.Errorf("%s is too long", file)
	}
	return data, err
}

func decodeConfig(data []byte) (*specs.Spec, error) {
	spec := new(specs.Spec)
	if err := json.Unmarshal(data, spec); err != nil {
		return nil, fmt.Errorf("read the OCI configuration: %w", err)
	}
	return spec, nil
}

// ListContainers implements [engine.Containers].
func (e *Engine) ListContainers(ctx context.Context) ([]engine.Instance, error) {
	var list []struct {
		Id        string
		Names     []string
		ImageID   string
		Labels    map[string]string
		State     string
		Created   time.Time
		StartedAt int64
		ExitCode  int
	}
	query := url.Values{"all": {"true"}, "filters": {labelFilter(engine.LabelSchema)}}
	if err := e.do(ctx, call{method: http.MethodGet, path: "/containers/json", query: query}, &list); err != nil {
		return nil, err
	}
	var found []engine.Instance
	for _, c := range list {
		// A container inherits its image's labels: an inspected image may have
		// ours.
		if _, hidden := c.Labels[labelInspection]; hidden || len(c.Names) == 0 {
			continue
		}
		found = append(found, engine.Instance{
			ID: c.Id, Name: c.Names[0], Image: c.ImageID, Labels: ours(c.Labels), State: stateOf(c.State),
			Created: known(c.Created), Started: known(time.Unix(c.StartedAt, 0)), ExitCode: c.ExitCode,
		})
	}
	return found, nil
}

// labelFilter selects objects that carry a label.
func labelFilter(label string) string {
	data, err := json.Marshal(map[string][]string{"label": {label}})
	if err != nil {
		// A map of strings can always be encoded.
		return ""
	}
	return string(data)
}
