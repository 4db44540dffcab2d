package config

import (
	"encoding"
	"slices"
	"strings"

	"github.com/ccc-dev/ccc/internal/api"
)

// place is a set of places where a key may stand. The zero value is nowhere.
type place uint8

const (
	inFlag place = 1 << iota
	inEnv
	inHost
	inUser
	inProject

	inOwnFiles = inHost | inUser
	inFiles    = inOwnFiles | inProject
	inAny      = inFlag | inEnv | inFiles
)

// key describes one setting.
type key struct {
	// name is its path in a file, the parts joined by dots.
	name string
	// flag is the command-line flag that sets it, without dashes.
	flag string
	// places are those where it may stand.
	places place
	// list tells that it takes several values.
	list bool
	// check is the one parser of the type.
	check func(string) error
	// def is the built-in default.
	def string
}

const (
	ceilingPrefix = "ceiling."
	mountsAllow   = "mounts.allow"
	projectsAllow = "projects.allow"
)

// keys is every setting there is. What is in no project's column must never get
// into it without thought: a project's file is written by whoever writes the
// code, the agent included.
var keys = []key{
	{name: "connection", flag: "connection", places: inFlag | inEnv | inOwnFiles, check: parser[Connection]()},
	{name: "image", flag: "image", places: inFlag | inEnv | inOwnFiles, check: parser[api.Image]()},
	{name: "profile", flag: "profile", places: inFlag | inEnv | inOwnFiles, check: parser[api.Level](), def: "standard"},
	{name: "workspace", flag: "workspace", places: inFlag | inEnv | inOwnFiles, check: parser[api.Workspace](), def: "overlay"},
	{name: "limits.memory", flag: "memory", places: inAny, check: parser[api.Bytes]()},
	{name: "limits.cpus", flag: "cpus", places: inAny, check: parser[api.CPUs]()},
	{name: "limits.pids", flag: "pids", places: inAny, check: parser[api.Count]()},
	{name: "limits.nofile", flag: "nofile", places: inAny, check: parser[api.Count]()},
	{name: "limits.tmp", flag: "tmp-size", places: inAny, check: parser[api.Bytes]()},
	{name: "limits.ttl", flag: "ttl", places: inAny, check: parser[api.Duration]()},
	{name: "limits.idle", flag: "idle", places: inAny, check: parser[api.Duration]()},
	{name: "require", flag: "require", places: inAny, check: parser[api.Require]()},
	{name: "max_sessions", places: inEnv | inOwnFiles, check: parser[api.Count](), def: "128"},
	{name: "audit.dir", places: inEnv | inOwnFiles, check: parser[Path]()},
	{name: "audit.file", places: inEnv | inOwnFiles, check: parser[FileName](), def: "audit.jsonl"},
	{name: mountsAllow, places: inOwnFiles, list: true, check: parser[Path]()},
	{name: projectsAllow, places: inOwnFiles, list: true, check: parser[Path]()},
	{name: "ceiling.limits.memory", places: inFiles, check: parser[api.Bytes]()},
	{name: "ceiling.limits.cpus", places: inFiles, check: parser[api.CPUs]()},
	{name: "ceiling.limits.pids", places: inFiles, check: parser[api.Count]()},
	{name: "ceiling.limits.nofile", places: inFiles, check: parser[api.Count]()},
	{name: "ceiling.limits.tmp", places: inFiles, check: parser[api.Bytes]()},
	{name: "ceiling.limits.ttl", places: inFiles, check: parser[api.Duration]()},
	{name: "ceiling.limits.idle", places: inFiles, check: parser[api.Duration]()},
	{name: "ceiling.workspaces", places: inFiles, list: true, check: parser[api.Workspace]()},
	{name: "ceiling.profiles", places: inFiles, list: true, check: parser[api.Level]()},
	{name: "ceiling.require", places: inFiles, check: parser[api.Require]()},
}

// parser returns the check of a value type.
func parser[T any, P interface {
	*T
	encoding.TextUnmarshaler
}]() func(string) error {
	return func(s string) error { return P(new(T)).UnmarshalText([]byte(s)) }
}

// keyNamed returns the key of that name.
func keyNamed(name string) (key, bool) {
	i := slices.IndexFunc(keys, func(k key) bool { return k.name == name })
	if i < 0 {
		return key{}, false
	}
	return keys[i], true
}

// plain tells whether the key is a setting rather than a bound on settings.
func (k key) plain() bool {
	return !k.list && !strings.HasPrefix(k.name, ceilingPrefix)
}

// variable returns the environment variable that sets the key.
func (k key) variable() string {
	return "CCC_" + strings.ToUpper(strings.ReplaceAll(k.name, ".", "_"))
}

// section tells whether name is a group of keys.
func section(name string) bool {
	return slices.ContainsFunc(keys, func(k key) bool { return strings.HasPrefix(k.name, name+".") })
}

// keyNames returns the names that are known in p, those of sections included.
func keyNames(p place) []string {
	var names []string
	for _, k := range keys {
		if k.places&p == 0 {
			continue
		}
		names = append(names, k.name)
		for i, c := range k.name {
			if c == '.' {
				names = append(names, k.name[:i])
			}
		}
	}
	return names
}
