package config

import (
	"strconv"

	"github.com/ccc-dev/ccc/internal/api"
)

// Source says which kind of place a value came from.
type Source string

// The sources, weakest first.
const (
	// SourceDefault is ccc itself, or [Sources.Defaults].
	SourceDefault Source = "default"
	// SourceHost is the host's policy file.
	SourceHost Source = "host"
	// SourceUser is the user's configuration file.
	SourceUser Source = "user"
	// SourceProject is the project's file, which can only tighten.
	SourceProject Source = "project"
	// SourceEnv is an environment variable.
	SourceEnv Source = "env"
	// SourceFlag is a command-line flag.
	SourceFlag Source = "flag"
)

// Origin is the place a value came from.
type Origin struct {
	Source Source `json:"source"`
	// Name is the file, the variable or the flag; empty for a default.
	Name string `json:"name,omitempty"`
	// Line is the line in the file, from 1; zero elsewhere.
	Line int `json:"line,omitempty"`
}

// String renders the place for people: "/etc/ccc/policy.yaml:3", "CCC_IMAGE",
// "--image" or "default".
func (o Origin) String() string {
	switch {
	case o.Name == "":
		return string(o.Source)
	case o.Line > 0:
		return o.Name + ":" + strconv.Itoa(o.Line)
	}
	return o.Name
}

// Sources is everything a [Config] is made of. The zero value gives the
// built-in defaults.
type Sources struct {
	// Flags holds the flags that were given, by key, for example "connection".
	Flags map[string]string
	// Environ is the environment as NAME=VALUE. Variables that begin with CCC_
	// must be known; an empty value counts as unset.
	Environ []string
	// OtherEnv names further CCC_ variables that the caller reads itself.
	OtherEnv []string
	// HostFile, UserFile and ProjectFile are paths; an empty one, or a file that
	// does not exist, is an empty layer.
	HostFile, UserFile, ProjectFile string
	// UserFileRequired makes a UserFile that does not exist an error: for a path
	// that a person gave.
	UserFileRequired bool
	// Home is the user's home directory, for values that begin with "~/".
	Home string
	// Defaults replaces built-in defaults, by key: what depends on the
	// environment, such as "audit.dir".
	Defaults map[string]string
}

// Effective holds the plain settings, merged from flags, environment, user
// file, host file and defaults. It never holds a value of the project file:
// see [Lower].
type Effective struct {
	// Connection is the Podman socket; empty means that ccc finds it.
	Connection Connection `mapstructure:"connection"`
	// Image is the session image of requests that name none.
	Image api.Image `mapstructure:"image"`
	// Profile is the policy level of requests that name none.
	Profile api.Level `mapstructure:"profile"`
	// Workspace is the workspace mode of requests that name none.
	Workspace api.Workspace `mapstructure:"workspace"`
	// Limits are the limits of requests that state none; a zero field leaves it
	// to the level.
	Limits api.Limits `mapstructure:"limits"`
	// MaxSessions bounds the user's sessions.
	MaxSessions api.Count `mapstructure:"max_sessions"`
	// Audit says where the audit log is.
	Audit Audit `mapstructure:"audit"`
	// Require is the posture of requests that require none.
	Require api.Require `mapstructure:"require"`
}

// Audit says where the audit log is.
type Audit struct {
	// Dir is its directory.
	Dir Path `mapstructure:"dir"`
	// File is the name of the log in it.
	File FileName `mapstructure:"file"`
}

// Lower is how far the project's file lowers the defaults. Policy takes, for
// each field, the tighter of this and the default it arrives at (from
// [Effective] or from the level); a zero field lowers nothing. Fields that a
// flag or a variable sets are left out: the person outranks the project there.
type Lower struct {
	Limits  api.Limits  `mapstructure:"limits"`
	Require api.Require `mapstructure:"require"`
}

// Ceiling is the most that a file lets any request have.
type Ceiling struct {
	// Limits bounds each limit; a zero field is no bound.
	Limits api.Limits `mapstructure:"limits"`
	// Workspaces are the modes that may be used; nil is no bound. It is never
	// empty and not nil.
	Workspaces []api.Workspace `mapstructure:"workspaces"`
	// Profiles are the levels that may be used; nil is no bound. It is never
	// empty and not nil.
	Profiles []api.Level `mapstructure:"profiles"`
	// Require is the weakest posture that may be accepted; empty is no bound.
	Require api.Require `mapstructure:"require"`
}

// Layer is what one file allows. The layers of a [Config] are cumulative: what
// is to be done must be allowed by every one of them.
type Layer struct {
	// Source is [SourceHost], [SourceUser] or [SourceProject].
	Source Source
	// File is the path it was read from.
	File string
	// Ceiling is the file's section of that name.
	Ceiling Ceiling
	// MountsAllow are the host directories that extra mounts may come from.
	// Where no layer states the key (see Stated), no extra mount is allowed;
	// else each layer that states it must hold a prefix of the source. Never
	// stated by a project.
	MountsAllow []Path
	// ProjectsAllow are the host directories that projects may lie in. Each
	// layer that states the key must hold a prefix of the project; where none
	// does, a project may lie anywhere that is not protected. Never stated by a
	// project, and never stated and empty.
	ProjectsAllow []Path
	// Lines has the line of every key that the file states.
	Lines map[string]int
}

// Stated returns where the layer's file states the key, for example
// "ceiling.limits.memory" or "mounts.allow", and false if it does not.
func (l Layer) Stated(key string) (Origin, bool) {
	line, ok := l.Lines[key]
	return Origin{Source: l.Source, Name: l.File, Line: line}, ok
}

// Config is the whole configuration. It is not changed after [Load] and may be
// read concurrently.
type Config struct {
	// Effective holds the plain settings.
	Effective Effective
	// Lower is how far the project's file lowers them.
	Lower Lower
	// Layers are the files that exist: host, user, project, in this order.
	Layers []Layer

	settings []Setting
	origins  map[string]Origin
}

// Origin returns where the effective value of a plain key came from, for
// example of "limits.memory". It never names the project's file.
func (c *Config) Origin(key string) Origin {
	if o, ok := c.origins[key]; ok {
		return o
	}
	return Origin{Source: SourceDefault}
}

// Setting is one line of `ccc config show`.
type Setting struct {
	Key string `json:"key"`
	// Value is the value as it is written in a file; several are joined by ", ".
	// Empty means that nothing sets it.
	Value string `json:"value"`
	Origin
}

// List returns every plain setting, set or not, and every ceiling and allow
// list that a file states, sorted by key and then by source, weakest first. A
// key that the project's file lowers has two lines, since how far it lowers
// depends on the level too.
func (c *Config) List() []Setting { return append([]Setting(nil), c.settings...) }
