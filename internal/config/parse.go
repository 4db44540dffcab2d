package config

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/ccc-dev/ccc/internal/api"
)

// ruleProject is the rule that a project's file can only tighten.
const ruleProject = "config.project"

// fileParser reads one YAML file into values. It walks the parsed nodes itself:
// they know their lines, and decoding into Go values would expand aliases and
// let a repeated key through to whoever comes last.
type fileParser struct {
	file   string
	source Source
	place  place
	got    values
}

// parse reads the text of a file.
func parse(file string, source Source, text []byte) (values, error) {
	p := fileParser{file: file, source: source, place: map[Source]place{SourceHost: inHost, SourceUser: inUser, SourceProject: inProject}[source], got: values{}}
	if !utf8.Valid(text) {
		return nil, api.Invalidf("save it as UTF-8", "%s is not valid UTF-8", file)
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc, more yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return p.got, nil
	case err != nil:
		return nil, p.syntax(err)
	}
	if err := dec.Decode(&more); err == nil {
		return nil, p.bad(more.Line, "keep one document in it", "holds a second document")
	} else if !errors.Is(err, io.EOF) {
		return nil, p.syntax(err)
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
		return p.got, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, p.bad(root.Line, "write `key: value` lines", "is not a list of keys")
	}
	if err := p.mapping("", root, map[string]int{}); err != nil {
		return nil, err
	}
	return p.got, nil
}

// mapping reads the keys of one section; prefix is "" or ends in a dot. seen
// has the line of every key of the file.
func (p *fileParser) mapping(prefix string, n *yaml.Node, seen map[string]int) error {
	if err := p.ordinary(strings.TrimSuffix(prefix, "."), n); err != nil {
		return err
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if err := p.ordinary("a key", k); err != nil {
			return err
		}
		if k.Kind != yaml.ScalarNode {
			return p.bad(k.Line, "write `key: value` lines", "has a key that is not a word")
		}
		if strings.Contains(k.Value, ".") {
			// Beside the nested form it would be a second way to say the same,
			// and a repeated key would go unseen.
			return p.bad(k.Line, "write each part as a key of its own, indented below the one before", "the key %s has a dot", quote(k.Value))
		}
		name := prefix + k.Value
		if line, twice := seen[name]; twice {
			return p.bad(k.Line, "keep one of them", "%s stands here and in line %d", quote(name), line)
		}
		seen[name] = k.Line
		if err := p.key(name, k.Line, v, seen); err != nil {
			return err
		}
	}
	return nil
}

// key reads one key, or the section that the key opens.
func (p *fileParser) key(name string, line int, v *yaml.Node, seen map[string]int) error {
	if section(name) {
		if v.Kind != yaml.MappingNode {
			return p.bad(line, "write its keys indented below it", "%s has no keys", name)
		}
		return p.mapping(name+".", v, seen)
	}
	k, ok := keyNamed(name)
	switch {
	case !ok || k.places&inFiles == 0:
		return p.bad(line, nearest(name, keyNames(p.place)), "the key %s is not known", quote(name))
	case k.places&p.place == 0:
		return &api.Error{
			Kind: api.KindDenied, Rule: ruleProject,
			Msg:  p.origin(line).String() + ": a project's file can only tighten, and may not set " + name,
			Hint: "remove the line; your own settings stand in your user configuration (`ccc config show` names it)",
		}
	}
	texts, err := p.texts(k, line, v)
	if err != nil {
		return err
	}
	p.got[name] = value{texts: texts, origin: p.origin(line)}
	return nil
}

// texts reads the value or values of a key.
func (p *fileParser) texts(k key, line int, v *yaml.Node) ([]string, error) {
	if !k.list {
		s, err := p.scalar(k.name, v)
		return []string{s}, err
	}
	if err := p.ordinary(k.name, v); err != nil {
		return nil, err
	}
	if v.Kind != yaml.SequenceNode {
		return nil, p.bad(line, "write it as a list: [a, b]", "%s takes a list", k.name)
	}
	// An empty bound is either a mistake or a way to forbid everything that
	// would read as "no bound" one level up; only for mounts is it the default.
	if len(v.Content) == 0 && k.name != mountsAllow {
		return nil, p.bad(line, "name at least one, or remove the key", "%s is empty", k.name)
	}
	texts := []string{}
	for _, item := range v.Content {
		s, err := p.scalar(k.name, item)
		if err != nil {
			return nil, err
		}
		texts = append(texts, s)
	}
	return texts, nil
}

// scalar reads one value as it is written; the key's own type parses it.
func (p *fileParser) scalar(name string, v *yaml.Node) (string, error) {
	if err := p.ordinary(name, v); err != nil {
		return "", err
	}
	if v.Kind != yaml.ScalarNode {
		return "", p.bad(v.Line, "write one value", "%s takes one value, not a list or keys", name)
	}
	switch v.ShortTag() {
	case "!!null":
		return "", p.bad(v.Line, "write a value, or remove the key", "%s has no value", name)
	case "!!bool":
		return "", p.bad(v.Line, "write text or a number", "%s cannot be %s", name, quote(v.Value))
	}
	return v.Value, nil
}

// ordinary refuses what makes a file mean something else than it seems to:
// anchors, aliases (which can also expand without bound) and tags.
func (p *fileParser) ordinary(name string, n *yaml.Node) error {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		return p.bad(n.Line, "write the value out", "%s uses a YAML anchor or alias", name)
	}
	if n.Style&yaml.TaggedStyle != 0 {
		return p.bad(n.Line, "write the value without !", "%s has the YAML tag %s", name, quote(n.Tag))
	}
	return nil
}

// origin returns the place of a line.
func (p *fileParser) origin(line int) Origin {
	return Origin{Source: p.source, Name: p.file, Line: line}
}

// bad is an error at a line.
func (p *fileParser) bad(line int, hint, format string, args ...any) error {
	e := api.Invalidf(hint, format, args...)
	e.Msg = p.origin(line).String() + ": " + e.Msg
	return e
}

// syntax is an error of the YAML parser, which names the line itself.
func (p *fileParser) syntax(err error) error {
	return &api.Error{Kind: api.KindInvalid, Msg: p.file + " is not valid YAML", Hint: "edit " + p.file, Err: err}
}
