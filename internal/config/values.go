package config

import "strings"

// value is what one source says about one key, as text.
type value struct {
	texts  []string
	origin Origin
}

// values is what one source says, by key.
type values map[string]value

// admit checks every value with the parser of its key and puts the home
// directory in, so that an error names the place it is in.
func (vs values) admit(home string) (values, error) {
	for _, name := range vs.names() {
		k, _ := keyNamed(name)
		for i, text := range vs[name].texts {
			if rest, ok := strings.CutPrefix(text, "~/"); ok && home != "" {
				text = strings.TrimSuffix(home, "/") + "/" + rest
			}
			if err := k.check(text); err != nil {
				return nil, at(vs[name].origin, name, err)
			}
			vs[name].texts[i] = text
		}
	}
	return vs, nil
}

// names returns the keys in a fixed order, so that of several errors the same
// one is always reported.
func (vs values) names() []string {
	names := make([]string, 0, len(vs))
	for _, k := range keys {
		if _, ok := vs[k.name]; ok {
			names = append(names, k.name)
		}
	}
	return names
}

// nested returns the values that keep accepts as the tree of maps that viper
// merges.
func (vs values) nested(keep func(key) bool) map[string]any {
	root := map[string]any{}
	for _, name := range vs.names() {
		k, _ := keyNamed(name)
		if !keep(k) {
			continue
		}
		parts := strings.Split(name, ".")
		at := root
		for _, p := range parts[:len(parts)-1] {
			next, ok := at[p].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[p] = next
			}
			at = next
		}
		at[parts[len(parts)-1]] = k.goValue(vs[name].texts)
	}
	return root
}

// goValue returns the texts as viper wants them.
func (k key) goValue(texts []string) any {
	if k.list {
		return texts
	}
	return texts[0]
}
