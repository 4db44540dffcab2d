// Package profile reads the policy levels, shipped and the user's own, and is
// strict about them: a level with an unknown key is an error, since a
// restriction with a typing error in it would otherwise restrict nothing.
//
// It reads files that it is given and decides nothing; that is policy's work.
package profile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ccc-dev/ccc/internal/api"
)

// MountMode says what a level allows of further host paths.
type MountMode string

// The mount modes. The zero value is [MountNone].
const (
	// MountNone allows no further host path.
	MountNone MountMode = "none"
	// MountRead allows further host paths for reading.
	MountRead MountMode = "read"
	// MountWrite also allows writing to them.
	MountWrite MountMode = "write"
)

// Level is a named set of defaults and bounds.
type Level struct {
	// Name is the file's name without extension.
	Name api.Level `yaml:"-"`
	// Source is the file, for messages.
	Source string `yaml:"-"`
	// Description says in one line what the level is for.
	Description string `yaml:"description"`
	// Limits are the defaults of a session of this level.
	Limits Limits `yaml:"limits"`
	// Workspaces are the modes allowed, the first one the default.
	Workspaces []api.Workspace `yaml:"workspaces"`
	// Mounts says what further host paths are allowed.
	Mounts MountMode `yaml:"mounts"`
	// Seccomp names the system call filter, one of those that ccc ships or a
	// [Filter] of the user's own; the strictest if the file names none.
	Seccomp string `yaml:"seccomp"`
}

// strictestSeccomp is the name of the strictest filter that ccc ships.
const strictestSeccomp = "agent"

// Limits is [api.Limits] as it stands in a level's file. All are required: a
// level that forgets one would leave it unbounded.
type Limits struct {
	Memory api.Bytes    `yaml:"memory"`
	CPUs   api.CPUs     `yaml:"cpus"`
	PIDs   api.Count    `yaml:"pids"`
	NoFile api.Count    `yaml:"nofile"`
	Tmp    api.Bytes    `yaml:"tmp"`
	TTL    api.Duration `yaml:"ttl"`
	Idle   api.Duration `yaml:"idle"`
}

// maxFile bounds a level's file.
const maxFile = 64 << 10

// Find returns the level of the given name from the first file system that has
// it. The error lists the names there are.
func Find(name api.Level, from ...Source) (Level, error) {
	for _, src := range from {
		file := path.Join(src.Dir, string(name)+".yaml")
		data, err := read(src.FS, file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return Level{}, err
		}
		return parse(name, src.Label+file, data)
	}
	return Level{}, &api.Error{
		Kind: api.KindNotFound, Rule: "profile.unknown",
		Msg:  fmt.Sprintf("there is no profile %q", name),
		Hint: "use one of: " + strings.Join(Names(from...), ", "),
	}
}

// Source is a place where levels lie.
type Source struct {
	FS fs.FS
	// Dir is the directory within FS.
	Dir string
	// Label is put before a file's name in messages.
	Label string
}

// Names returns the names of all levels, sorted.
func Names(from ...Source) []string {
	var names []string
	for _, src := range from {
		files, _ := fs.Glob(src.FS, path.Join(src.Dir, "*.yaml")) // the pattern is constant and valid
		for _, f := range files {
			names = append(names, strings.TrimSuffix(path.Base(f), ".yaml"))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// read returns a file's bytes and refuses one that is unreasonably large.
func read(fsys fs.FS, file string) ([]byte, error) {
	f, err := fsys.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s: larger than %d bytes", file, maxFile)
	}
	return data, err
}

// parse decodes a level strictly and checks that it is complete.
func parse(name api.Level, source string, data []byte) (Level, error) {
	level := Level{Name: name, Source: source, Seccomp: strictestSeccomp}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&level); err != nil {
		return Level{}, bad(source, err.Error())
	}
	switch level.Mounts {
	case MountNone, MountRead, MountWrite:
	case "":
		level.Mounts = MountNone
	default:
		return Level{}, bad(source, fmt.Sprintf("mounts: %q is not none, read or write", level.Mounts))
	}
	l := level.Limits
	if l.Memory == 0 || l.CPUs == 0 || l.PIDs == 0 || l.NoFile == 0 || l.Tmp == 0 || l.TTL == 0 || l.Idle == 0 {
		return Level{}, bad(source, "limits: memory, cpus, pids, nofile, tmp, ttl and idle are all required")
	}
	if len(level.Workspaces) == 0 {
		return Level{}, bad(source, "workspaces: at least one is required")
	}
	return level, nil
}

func bad(source, why string) error {
	return api.Invalidf("edit "+source, "profile %s: %s", source, why).By("profile.syntax")
}
