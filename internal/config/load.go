package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/viper"

	"github.com/ccc-dev/ccc/internal/api"
)

// layered is what all sources say.
type layered struct {
	flags, env, project, user, host, defaults values
}

// Load reads the sources. Errors are [api.KindInvalid], with the file and line,
// the variable or the flag in the message, or [api.KindDenied] for a file that
// somebody else could have written and for a project's file that would loosen.
func Load(s Sources) (*Config, error) {
	l, err := gather(s)
	if err != nil {
		return nil, err
	}
	c := &Config{origins: map[string]Origin{}}
	if err := c.mergePlain(l); err != nil {
		return nil, err
	}
	if err := c.lower(l); err != nil {
		return nil, err
	}
	for _, f := range []struct {
		source Source
		file   string
		vs     values
	}{{SourceHost, s.HostFile, l.host}, {SourceUser, s.UserFile, l.user}, {SourceProject, s.ProjectFile, l.project}} {
		if f.vs == nil {
			continue
		}
		layer, err := newLayer(f.source, f.file, f.vs)
		if err != nil {
			return nil, err
		}
		c.Layers = append(c.Layers, layer)
	}
	c.settings = settings(c, l)
	return c, nil
}

// gather reads and checks every source. The values of a file that does not
// exist are nil.
func gather(s Sources) (l layered, err error) {
	if l.defaults, err = defaults(s); err != nil {
		return l, err
	}
	for _, f := range []struct {
		source   Source
		file     string
		required bool
		into     *values
	}{{SourceHost, s.HostFile, false, &l.host}, {SourceUser, s.UserFile, s.UserFileRequired, &l.user}, {SourceProject, s.ProjectFile, false, &l.project}} {
		if *f.into, err = layerFile(f.file, f.source, f.required, s.Home); err != nil {
			return l, err
		}
	}
	if l.env, err = environment(s); err != nil {
		return l, err
	}
	l.flags, err = flags(s)
	return l, err
}

// layerFile reads one file.
func layerFile(file string, source Source, required bool, home string) (values, error) {
	if file == "" {
		return nil, nil
	}
	text, exists, err := read(file, source)
	if err != nil {
		return nil, err
	}
	if !exists {
		if required {
			return nil, &api.Error{Kind: api.KindNotFound, Msg: "there is no configuration file " + file, Hint: "check the path, or leave it out"}
		}
		return nil, nil
	}
	vs, err := parse(file, source, text)
	if err != nil {
		return nil, err
	}
	return vs.admit(home)
}

// defaults returns the built-in defaults with the caller's in place of them.
func defaults(s Sources) (values, error) {
	vs := values{}
	for _, k := range keys {
		text, given := s.Defaults[k.name]
		if !given {
			text = k.def
		}
		if text != "" && k.plain() {
			vs[k.name] = value{texts: []string{text}, origin: Origin{Source: SourceDefault}}
		}
	}
	for name := range s.Defaults {
		if k, ok := keyNamed(name); !ok || !k.plain() {
			return nil, fmt.Errorf("there is no setting %s to give a default", quote(name))
		}
	}
	return vs.admit(s.Home)
}

// flags returns the values that flags set.
func flags(s Sources) (values, error) {
	vs := values{}
	for name, text := range s.Flags {
		k, ok := keyNamed(name)
		if !ok || k.places&inFlag == 0 {
			return nil, fmt.Errorf("there is no flag for the setting %s", quote(name))
		}
		vs[name] = value{texts: []string{text}, origin: Origin{Source: SourceFlag, Name: "--" + k.flag}}
	}
	return vs.admit(s.Home)
}

// mergePlain fills Effective: viper merges the sources by its own precedence
// and decodes them; the origins are found beside it, by the same order.
func (c *Config) mergePlain(l layered) error {
	v := viper.New()
	for _, name := range l.defaults.names() {
		v.SetDefault(name, l.defaults[name].texts[0])
	}
	for _, file := range []values{l.host, l.user} {
		if err := v.MergeConfigMap(file.nested(key.plain)); err != nil {
			return fmt.Errorf("merge configuration: %w", err)
		}
	}
	for _, above := range []values{l.env, l.flags} {
		for _, name := range above.names() {
			v.Set(name, above[name].texts[0])
		}
	}
	for _, vs := range []values{l.defaults, l.host, l.user, l.env, l.flags} {
		for _, name := range vs.names() {
			if k, _ := keyNamed(name); k.plain() {
				c.origins[name] = vs[name].origin
			}
		}
	}
	return decode(v, &c.Effective)
}

// lower fills Lower from the project's plain keys. A flag or a variable is the
// person's own word and outranks the project.
func (c *Config) lower(l layered) error {
	v := viper.New()
	err := v.MergeConfigMap(l.project.nested(func(k key) bool {
		_, byFlag := l.flags[k.name]
		_, byEnv := l.env[k.name]
		return k.plain() && !byFlag && !byEnv
	}))
	if err != nil {
		return fmt.Errorf("merge configuration: %w", err)
	}
	return decode(v, &c.Lower)
}

// newLayer decodes what a file allows.
func newLayer(source Source, file string, vs values) (Layer, error) {
	l := Layer{Source: source, File: file, Lines: map[string]int{}}
	for name, v := range vs {
		l.Lines[name] = v.origin.Line
	}
	var shape struct {
		Ceiling Ceiling `mapstructure:"ceiling"`
		Mounts  struct {
			Allow []Path `mapstructure:"allow"`
		} `mapstructure:"mounts"`
		Projects struct {
			Allow []Path `mapstructure:"allow"`
		} `mapstructure:"projects"`
	}
	v := viper.New()
	if err := v.MergeConfigMap(vs.nested(func(k key) bool { return !k.plain() })); err != nil {
		return Layer{}, fmt.Errorf("merge configuration: %w", err)
	}
	if err := decode(v, &shape); err != nil {
		return Layer{}, err
	}
	l.Ceiling, l.MountsAllow, l.ProjectsAllow = shape.Ceiling, shape.Mounts.Allow, shape.Projects.Allow
	return l, nil
}

// decode fills into from v: nothing left over, nothing converted but by the
// value types' own parsers.
func decode(v *viper.Viper, into any) error {
	return v.UnmarshalExact(into, func(d *mapstructure.DecoderConfig) {
		d.WeaklyTypedInput = false
		d.DecodeHook = mapstructure.TextUnmarshallerHookFunc()
	})
}

// settings returns the lines of [Config.List].
func settings(c *Config, l layered) []Setting {
	var all []Setting
	for _, k := range keys {
		if k.plain() {
			all = append(all, Setting{Key: k.name, Value: winning(l, k.name), Origin: c.Origin(k.name)})
		}
		for _, vs := range []values{l.host, l.user, l.project} {
			v, ok := vs[k.name]
			if ok && (!k.plain() || v.origin.Source == SourceProject) {
				all = append(all, Setting{Key: k.name, Value: strings.Join(v.texts, ", "), Origin: v.origin})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Setting) int { return cmp.Compare(a.Key, b.Key) })
	return all
}

// winning returns the text of a plain key's effective value.
func winning(l layered, name string) string {
	for _, vs := range []values{l.flags, l.env, l.user, l.host, l.defaults} {
		if v, ok := vs[name]; ok {
			return v.texts[0]
		}
	}
	return ""
}
