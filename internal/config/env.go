package config

import (
	"path"
	"slices"
	"strings"

	"github.com/ccc-dev/ccc/internal/api"
)

// free are the beginnings of the variables that belong to the project's own
// tests and machines and are nobody's settings.
var free = []string{"CCC_TEST_", "CCC_LAB_"}

// legacy are the predecessor's variables. Each sets what the CCC_ variables of
// its keys would set, unless one of those is set.
var legacy = []struct {
	name string
	// set returns the keys' values.
	set func(value string) map[string]string
}{
	{"DEFAULT_CLAUDE_IMAGE", func(v string) map[string]string { return map[string]string{"image": v} }},
	{"DEFAULT_SESSION_TIMEOUT", func(v string) map[string]string { return map[string]string{"limits.ttl": v + "s"} }},
	{"MAX_CONCURRENT_SESSIONS", func(v string) map[string]string { return map[string]string{"max_sessions": v} }},
	{"MCP_AUDIT_LOG", func(v string) map[string]string {
		dir, file := path.Split(v)
		if dir != "/" {
			dir = strings.TrimSuffix(dir, "/")
		}
		return map[string]string{"audit.dir": dir, "audit.file": file}
	}},
}

// environment returns the values that variables set.
func environment(s Sources) (values, error) {
	env, err := variables(s)
	if err != nil {
		return nil, err
	}
	got := values{}
	for _, k := range keys {
		if v := env[k.variable()]; v != "" && k.places&inEnv != 0 {
			got[k.name] = value{texts: []string{v}, origin: Origin{Source: SourceEnv, Name: k.variable()}}
		}
	}
	for _, l := range legacy {
		v := env[l.name]
		if v == "" {
			continue
		}
		set := l.set(v)
		if overridden(set, got) {
			continue
		}
		for name, text := range set {
			got[name] = value{texts: []string{text}, origin: Origin{Source: SourceEnv, Name: l.name}}
		}
	}
	return got.admit(s.Home)
}

// overridden tells whether any of the keys has a value already.
func overridden(set map[string]string, got values) bool {
	for name := range set {
		if _, ok := got[name]; ok {
			return true
		}
	}
	return false
}

// variables returns the environment as a map, the first of equal names winning
// as in os.Getenv, and refuses a CCC_ variable that means nothing.
func variables(s Sources) (map[string]string, error) {
	var known []string
	for _, k := range keys {
		if k.places&inEnv != 0 {
			known = append(known, k.variable())
		}
	}
	known = append(known, s.OtherEnv...)
	env := map[string]string{}
	for _, line := range s.Environ {
		name, v, _ := strings.Cut(line, "=")
		if _, twice := env[name]; twice {
			continue
		}
		env[name] = v
		if !strings.HasPrefix(name, "CCC_") || slices.Contains(known, name) || begins(name, free) {
			continue
		}
		return nil, api.Invalidf(nearest(name, known), "the environment variable %s is not known", quote(name))
	}
	return env, nil
}

// begins tells whether s begins with one of the prefixes.
func begins(s string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}
