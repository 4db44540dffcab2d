package observe

import (
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"
)

// document is JSON being written. Package encoding/json would make ccc-init, of
// which every session keeps one in memory, larger by a fifth.
type document []byte

// encode returns the report as JSON, as its tags say.
func (r Report) encode() []byte {
	var d document
	d.object(
		field{"format", func() { d.number(int64(r.Format)) }},
		field{"version", func() { d.text(r.Version) }},
		field{"arch", func() { d.text(r.Arch) }},
		field{"pid", func() { d.number(int64(r.PID)) }},
		field{"landlock", func() { d.number(int64(r.Landlock)) }},
		field{"dir", func() { d.text(r.Dir) }},
		field{"texts", func() { table(&d, r.Texts, d.content) }},
		field{"tries", func() { table(&d, r.Tries, d.text) }},
		field{"calls", func() { table(&d, r.Calls, d.text) }},
		field{"descriptors", func() { table(&d, r.Descriptors, d.text) }},
		field{"devices", func() { array(&d, r.Devices, d.node) }},
		field{"tree", func() { d.tree(r.Tree) }},
		field{"variables", func() { array(&d, r.Variables, d.variable) }},
		field{"limits", func() { table(&d, r.Limits, d.limit) }},
		field{"init", func() {
			d.object(field{"dev", func() { d.unsigned(r.Init.Dev) }}, field{"ino", func() { d.unsigned(r.Init.Ino) }})
		}},
	)
	return d
}

// field is a key of an object and what writes its value.
type field struct {
	key   string
	value func()
}

func (d *document) object(fields ...field) {
	*d = append(*d, '{')
	for i, f := range fields {
		if i > 0 {
			*d = append(*d, ',')
		}
		d.text(f.key)
		*d = append(*d, ':')
		f.value()
	}
	*d = append(*d, '}')
}

// table writes a map, sorted by its keys.
func table[V any](d *document, values map[string]V, write func(V)) {
	fields := make([]field, 0, len(values))
	for _, key := range slices.Sorted(maps.Keys(values)) {
		fields = append(fields, field{key, func() { write(values[key]) }})
	}
	d.object(fields...)
}

func array[V any](d *document, values []V, write func(V)) {
	*d = append(*d, '[')
	for i, v := range values {
		if i > 0 {
			*d = append(*d, ',')
		}
		write(v)
	}
	*d = append(*d, ']')
}

func (d *document) number(n int64)    { *d = strconv.AppendInt(*d, n, 10) }
func (d *document) unsigned(n uint64) { *d = strconv.AppendUint(*d, n, 10) }
func (d *document) flag(b bool)       { *d = strconv.AppendBool(*d, b) }

// text writes a string. Bytes that are no UTF-8 become the replacement
// character, as encoding/json has it.
func (d *document) text(s string) {
	*d = append(*d, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			*d = append(*d, '\\', byte(r))
		case r < ' ' || r == 0x7f:
			const hex = "0123456789abcdef"
			*d = append(*d, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			*d = utf8.AppendRune(*d, r)
		}
	}
	*d = append(*d, '"')
}

func (d *document) content(t Text) {
	d.object(
		field{"data", func() { d.text(t.Data) }}, field{"err", func() { d.text(t.Err) }}, field{"cut", func() { d.flag(t.Cut) }},
	)
}

func (d *document) node(n Node) {
	d.object(
		field{"name", func() { d.text(n.Name) }}, field{"kind", func() { d.text(n.Kind) }},
		field{"major", func() { d.number(int64(n.Major)) }}, field{"minor", func() { d.number(int64(n.Minor)) }},
	)
}

func (d *document) tree(t Tree) {
	d.object(
		field{"directories", func() { d.number(int64(t.Directories)) }}, field{"cut", func() { d.flag(t.Cut) }},
		field{"set_id", func() { array(d, t.SetID, d.text) }},
		field{"nodes", func() { array(d, t.Nodes, d.text) }}, field{"sockets", func() { array(d, t.Sockets, d.text) }},
	)
}

func (d *document) variable(v Variable) {
	d.object(field{"name", func() { d.text(v.Name) }}, field{"like", func() { d.text(v.Like) }})
}

func (d *document) limit(l Limit) {
	d.object(field{"soft", func() { d.number(l.Soft) }}, field{"hard", func() { d.number(l.Hard) }})
}
