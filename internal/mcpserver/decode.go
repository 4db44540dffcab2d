package mcpserver

import (
	"bytes"
	"encoding"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/config"
)

// decode reads the arguments of a tool into a struct, strictly: a name that the
// struct does not have, exactly as its tag writes it, is an error, and so is one
// that is missing and not optional. An optional one that is null is not given.
// The error names the argument.
func decode(raw json.RawMessage, into any) error {
	if raw = bytes.TrimSpace(raw); len(raw) == 0 || string(raw) == "null" {
		raw = json.RawMessage("{}")
	}
	return decodeValue(raw, reflect.ValueOf(into).Elem(), "arguments")
}

// decodeValue reads one value; name is what messages call it.
func decodeValue(raw json.RawMessage, v reflect.Value, name string) error {
	if text, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return decodeText(raw, text, name)
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return decodeValue(raw, v.Elem(), name)
	case reflect.Struct:
		return decodeStruct(raw, v, name)
	case reflect.Slice:
		if v.Type() != reflect.TypeFor[json.RawMessage]() {
			return decodeSlice(raw, v, name)
		}
	}
	if err := json.Unmarshal(raw, v.Addr().Interface()); err != nil || string(raw) == "null" {
		return wrong(name, v.Type())
	}
	return nil
}

// decodeText reads a value by the one parser that it has.
func decodeText(raw json.RawMessage, into encoding.TextUnmarshaler, name string) error {
	var s string
	if raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return wrong(name, reflect.TypeFor[string]())
	}
	if err := into.UnmarshalText([]byte(s)); err != nil {
		r := api.ReportOf(err)
		return &api.Error{Kind: r.Kind, Rule: r.Rule, Msg: name + ": " + r.Message, Hint: r.Hint}
	}
	return nil
}

// decodeSlice reads a list.
func decodeSlice(raw json.RawMessage, v reflect.Value, name string) error {
	var all []json.RawMessage
	if json.Unmarshal(raw, &all) != nil || all == nil {
		return wrong(name, v.Type())
	}
	if len(all) > maxItems {
		return api.Invalidf("give fewer", "%s: at most %d are allowed", name, maxItems).By("input.argument")
	}
	list := reflect.MakeSlice(v.Type(), len(all), len(all))
	for i, one := range all {
		if err := decodeValue(bytes.TrimSpace(one), list.Index(i), name); err != nil {
			return err
		}
	}
	v.Set(list)
	return nil
}

// maxItems bounds a list of arguments.
const maxItems = 256

// decodeStruct reads an object.
func decodeStruct(raw json.RawMessage, v reflect.Value, name string) error {
	var given map[string]json.RawMessage
	if json.Unmarshal(raw, &given) != nil || given == nil {
		return wrong(name, v.Type())
	}
	inside := func(field string) string {
		if name == "arguments" {
			return field
		}
		return name + "." + field
	}
	var known []string
	for i := range v.NumField() {
		field, _ := argument(v.Type().Field(i))
		known = append(known, field)
	}
	// First, for what is missing may be what was misspelt.
	for _, field := range slices.Sorted(maps.Keys(given)) {
		if !slices.Contains(known, field) {
			return unknown(inside(api.Printable(field)), field, known)
		}
	}
	for i := range v.NumField() {
		field, optional := argument(v.Type().Field(i))
		one, ok := given[field]
		if one = bytes.TrimSpace(one); !ok || optional && string(one) == "null" {
			if !optional {
				return api.Invalidf("give it", "the argument %s is missing", inside(field)).By("input.argument")
			}
			continue
		}
		if err := decodeValue(one, v.Field(i), inside(field)); err != nil {
			return err
		}
	}
	return nil
}

// unknown is the refusal of an argument that a tool does not have.
func unknown(name, field string, known []string) error {
	if len(name) > 64 {
		name = strings.ToValidUTF8(name[:64], "") + "…"
	}
	hint := "it takes " + strings.Join(known, ", ")
	if len(known) == 0 {
		hint = "it takes no arguments"
	}
	if near := config.Nearest(field, known); near != "" {
		hint = "did you mean " + near + "?"
	}
	return api.Invalidf(hint, "the argument %s is not known", name).By("input.argument")
}

// argument returns the name of a field as an argument, and whether it may be
// left out.
func argument(f reflect.StructField) (name string, optional bool) {
	name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name, strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")
}

// wrong is the refusal of a value of the wrong type.
func wrong(name string, t reflect.Type) error {
	want := "an object"
	switch t.Kind() {
	case reflect.String:
		want = "a string"
	case reflect.Bool:
		want = "true or false"
	case reflect.Int, reflect.Int64:
		want = "a whole number"
	case reflect.Slice:
		want = "a list"
	}
	return api.Invalidf("write "+want, "%s must be %s", name, want).By("input.argument")
}
