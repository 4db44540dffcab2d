package podman

import (
	"context"
	"net/http"
	"slices"

	"github.com/ccc-dev/ccc/internal/engine"
)

// Host implements [engine.Engine].
func (e *Engine) Host(ctx context.Context) (engine.Host, error) {
	var info struct {
		Host struct {
			CgroupVersion     string   `json:"cgroupVersion"`
			CgroupControllers []string `json:"cgroupControllers"`
			Kernel            string   `json:"kernel"`
			OCIRuntime        struct {
				Name    string `json:"name"`
				Version string `json:"version"`
				Package string `json:"package"`
			} `json:"ociRuntime"`
			Conmon struct {
				Version string `json:"version"`
				Package string `json:"package"`
			} `json:"conmon"`
			Security struct {
				AppArmorEnabled bool `json:"apparmorEnabled"`
				Rootless        bool `json:"rootless"`
				SECCOMPEnabled  bool `json:"seccompEnabled"`
				SELinuxEnabled  bool `json:"selinuxEnabled"`
			} `json:"security"`
		} `json:"host"`
		Store struct {
			GraphDriverName string         `json:"graphDriverName"`
			GraphRoot       string         `json:"graphRoot"`
			GraphOptions    map[string]any `json:"graphOptions"`
		} `json:"store"`
		Version struct {
			APIVersion string
			Version    string
		} `json:"version"`
	}
	if err := e.do(ctx, call{method: http.MethodGet, path: "/info"}, &info); err != nil {
		return engine.Host{}, err
	}
	h, s := info.Host, info.Store
	controllers := slices.DeleteFunc(h.CgroupControllers, func(c string) bool { return c == "" })
	return engine.Host{
		Engine: "podman", EngineVersion: info.Version.Version, APIVersion: e.version.String(),
		Rootless: h.Security.Rootless, Runtime: h.OCIRuntime.Name, RuntimeInfo: h.OCIRuntime.Version,
		RuntimePackage: h.OCIRuntime.Package, Conmon: h.Conmon.Version, ConmonPackage: h.Conmon.Package,
		CgroupVersion: h.CgroupVersion, Controllers: controllers,
		StorageDriver: s.GraphDriverName, StorageRoot: s.GraphRoot,
		NativeOverlay: s.GraphDriverName == "overlay" && s.GraphOptions["overlay.mount_program"] == nil,
		Seccomp:       h.Security.SECCOMPEnabled, AppArmor: h.Security.AppArmorEnabled,
		SELinux: h.Security.SELinuxEnabled, Kernel: h.Kernel,
	}, nil
}
