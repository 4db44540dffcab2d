package image

import (
	"context"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
)

// instructions begin the labels and annotations that are orders to Podman or to
// an OCI runtime: io.containers.seccomp.profile chooses the seccomp profile,
// io.containers.capabilities the capabilities; crun and runc read run.oci.*,
// org.systemd.property.* and org.criu.*, for example as hooks and as properties
// of a unit on the host. Podman before 4.6 copies an image's annotations to the
// container.
var instructions = []string{"io.containers.", "io.podman.annotations.", "run.oci.", "org.systemd.property.", "org.criu."}

// anotherImage is what to do about an image that is refused.
const anotherImage = "use another image, or build the shipped one with `ccc image build`"

// Check refuses an image whose configuration would reach the host, with a
// [api.KindDenied] error whose rule is image.env, image.label or
// image.annotation. ccc ignores most of what an image asks for; these an engine
// would act on all the same.
func Check(img engine.Image) error {
	for _, e := range img.Env {
		name, _, assigned := strings.Cut(e, "=")
		// Podman takes a name without a value, and one with a wildcard, as a
		// wish for the variables of whoever runs it (CVE-2026-57231).
		if !assigned || name == "" || strings.Contains(name, "*") {
			return api.Deniedf("image.env", anotherImage,
				"the image would copy variables of the host: environment entry %.80q", e)
		}
	}
	for rule, keys := range map[string]map[string]string{"image.label": img.Labels, "image.annotation": img.Annotations} {
		for key := range keys {
			if slices.ContainsFunc(instructions, func(prefix string) bool { return strings.HasPrefix(key, prefix) }) {
				return api.Deniedf(rule, anotherImage, "the image gives orders to the engine: %.80q", key)
			}
		}
	}
	return nil
}

// CheckFiles refuses an image whose files make its configuration reach the
// host, with a [api.KindDenied] error whose rule is image.workdir or
// image.entrypoint. It asks the engine only about what the image declares; an
// image that ccc built declares nothing, and costs no call.
func CheckFiles(ctx context.Context, images engine.Images, img engine.Image) error {
	if err := checkWorkDir(ctx, images, img); err != nil {
		return err
	}
	return checkEntryPoint(ctx, images, img)
}

// mostSteps bounds how many components and links of a path are followed: an
// image must not be able to keep us busy.
const mostSteps = 40

// checkWorkDir refuses a working directory behind a symbolic link: Podman before
// 5.7.1 creates it on the host's side of the link (CVE-2026-55686).
func checkWorkDir(ctx context.Context, images engine.Images, img engine.Image) error {
	if img.WorkingDir == "" {
		return nil
	}
	refuse := func(what string) error {
		return api.Deniedf("image.workdir", anotherImage, "the image's working directory %.80q %s", img.WorkingDir, what)
	}
	parts := strings.Split(strings.Trim(img.WorkingDir, "/"), "/")
	if !path.IsAbs(img.WorkingDir) || slices.Contains(parts, "..") || len(parts) > mostSteps {
		return refuse("is not a plain absolute path")
	}
	at := "/"
	for _, part := range parts {
		at = path.Join(at, part)
		if at == "/" {
			continue
		}
		f, err := images.StatImage(ctx, img.ID, at)
		if api.KindOf(err) == api.KindNotFound {
			// Nothing below it can be there either.
			return nil
		}
		if err != nil {
			return err
		}
		if f.Mode&fs.ModeSymlink != 0 {
			return refuse("leads through a symbolic link")
		}
	}
	return nil
}

// searchPath is where an engine looks for an entry point without a slash.
var searchPath = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}

// checkEntryPoint refuses an entry point that is setuid or setgid.
func checkEntryPoint(ctx context.Context, images engine.Images, img engine.Image) error {
	if len(img.Entrypoint) == 0 || img.Entrypoint[0] == "" {
		return nil
	}
	name := img.Entrypoint[0]
	candidates := []string{path.Join("/", img.WorkingDir, name)}
	switch {
	case path.IsAbs(name):
		candidates = []string{path.Clean(name)}
	case !strings.Contains(name, "/"):
		candidates = nil
		for _, dir := range searchPath {
			candidates = append(candidates, path.Join(dir, name))
		}
	}
	for _, c := range candidates {
		mode, err := follow(ctx, images, img.ID, c)
		if err != nil {
			return err
		}
		if mode&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
			return api.Deniedf("image.entrypoint", anotherImage, "the image's entry point %.80q is setuid or setgid", name)
		}
	}
	return nil
}

// follow returns the mode of what a path leads to, zero if that is nothing.
// Links are resolved component by component, because every one of them may be
// a link, /bin for example.
func follow(ctx context.Context, images engine.Images, id, p string) (fs.FileMode, error) {
	at, rest, steps := "/", strings.Split(strings.Trim(p, "/"), "/"), 0
	var mode fs.FileMode
	for len(rest) > 0 {
		if steps++; steps > mostSteps {
			return 0, api.Deniedf("image.entrypoint", anotherImage, "the image's path %.80q leads through too many links", p)
		}
		next := path.Join(at, rest[0])
		rest = rest[1:]
		if next == "/" {
			at = next
			continue
		}
		f, err := images.StatImage(ctx, id, next)
		if api.KindOf(err) == api.KindNotFound {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		if f.Mode&fs.ModeSymlink == 0 {
			at, mode = next, f.Mode
			continue
		}
		if path.IsAbs(f.Target) {
			at = "/"
		}
		rest = append(strings.Split(strings.Trim(f.Target, "/"), "/"), rest...)
	}
	return mode, nil
}
