// Package engine describes the container engine as ccc needs it: a handful of
// verbs, the types they take and return, and the label names that hold all
// session state. It is the only seam between ccc and an engine; package fake
// keeps an engine in files, package podman drives rootless Podman, and package
// enginetest is the suite that both must pass.
//
// What must not be possible is left out of the vocabulary: a [Container] has no
// field for privileges, capabilities, devices, host namespaces or hooks, so
// that no mistake above this package can ask for them.
//
// The package contains no behaviour beyond checking (the Check methods, which
// every engine calls first, so that none is laxer than another) and knows no
// engine's wire format.
package engine

import (
	"context"
	"io"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
)

// Engine is a rootless container engine of the calling user.
//
// Every method takes a context whose end aborts the call; implementations add a
// deadline of their own where the context has none. Errors are *[api.Error]s:
// [api.KindNotFound] for an object that is not there, [api.KindConflict] for
// one that is there already or in the wrong state, [api.KindUnavailable] when
// the engine does not answer. All methods may be called concurrently, by any
// number of processes.
type Engine interface {
	Containers
	Processes
	Volumes
	Images
	// Host says what the engine and its host can do. It is slow (Podman asks
	// its runtime, 170 to 680 ms); nothing but `ccc doctor` may call it.
	Host(ctx context.Context) (Host, error)
	// Version returns the engine's API version, known since the connection was
	// made. It costs nothing.
	Version() Version
	// RemoveTree removes a directory of the calling user's on the host, with
	// all that is in it, as the containers' root, to whom parts may belong: the
	// kernel leaves files of the mounter's in an overlay's work directory, which
	// the user cannot remove. Links are not followed. One that is not there is
	// not an error. It is slower than [os.RemoveAll]; try that first.
	RemoveTree(ctx context.Context, dir string) error
}

// Containers makes, reads and ends containers. An id argument is the engine's
// identity of a container, as returned by CreateContainer, or its name.
type Containers interface {
	// CreateContainer makes a container without starting it and returns its
	// identity. A name that is taken is a [api.KindConflict]; an image that is
	// not there a [api.KindNotFound]. On error nothing was made.
	CreateContainer(ctx context.Context, c Container) (id string, err error)
	// StartContainer starts a created or stopped container and returns when its
	// first process runs. It retries the transient failures of OCI runtimes.
	// Starting a running container is not an error.
	StartContainer(ctx context.Context, id string) error
	// StopContainer sends SIGTERM, after grace SIGKILL, and returns when the
	// container has stopped. Stopping a stopped container is not an error.
	StopContainer(ctx context.Context, id string, grace time.Duration) error
	// RemoveContainer ends and removes a container. Removing one that is not
	// there is not an error.
	RemoveContainer(ctx context.Context, id string) error
	// Container returns what is known of one container.
	Container(ctx context.Context, id string) (Instance, error)
	// ListContainers returns a summary of all containers that carry the label
	// [LabelSchema], whatever their state, in no particular order. The fields
	// that only Container fills are zero.
	ListContainers(ctx context.Context) ([]Instance, error)
	// WaitContainer returns the exit code of the container's first process once
	// it has ended; at once for a stopped container.
	WaitContainer(ctx context.Context, id string) (int, error)
}

// Processes runs further processes in containers and reads what they print.
type Processes interface {
	// Exec runs a process in a running container and returns its exit code. The
	// streams are copied until the process ends. When the context ends first
	// the process is killed, then the context's error is returned. A command
	// that does not exist gives code 127, one that cannot be executed 126.
	Exec(ctx context.Context, id string, p Process, s api.Streams) (int, error)
	// Logs copies what the container's first process printed.
	Logs(ctx context.Context, id string, o LogOptions, stdout, stderr io.Writer) error
}

// Volumes makes and removes named volumes.
type Volumes interface {
	// CreateVolume makes a volume; a name that is taken is a [api.KindConflict].
	CreateVolume(ctx context.Context, v Volume) error
	// ListVolumes returns all volumes that carry the label [LabelSchema].
	ListVolumes(ctx context.Context) ([]Volume, error)
	// RemoveVolume removes a volume. One that is not there is not an error; one
	// in use is a [api.KindConflict].
	RemoveVolume(ctx context.Context, name string) error
}

// Images reads and makes images.
type Images interface {
	// Image returns an image by name or identity.
	Image(ctx context.Context, ref string) (Image, error)
	// ListImages returns all images that carry the label [LabelImage].
	ListImages(ctx context.Context) ([]Image, error)
	// ImportImage makes an image of one layer from a tar stream of a root file
	// system and returns its identity.
	ImportImage(ctx context.Context, tar io.Reader, o ImportOptions) (id string, err error)
	// PullImage fetches an image by digest; progress is told line by line.
	PullImage(ctx context.Context, ref string, progress func(string)) (id string, err error)
	// TagImage gives an image one more name, taking it from any other image.
	TagImage(ctx context.Context, id, name string) error
	// RemoveImage removes an image. One that is not there is not an error; one
	// in use is a [api.KindConflict].
	RemoveImage(ctx context.Context, ref string) error
	// StatImage returns the mode and link target of a path in an image without
	// running anything of it. A link at the path's end is not followed, also not
	// one that leads nowhere in the image (it may lead somewhere on a host);
	// its target is given as an absolute path in the image.
	// [api.KindNotFound] if the path is not there.
	StatImage(ctx context.Context, id, path string) (File, error)
}
