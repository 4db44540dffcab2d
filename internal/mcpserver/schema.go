package mcpserver

import (
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/ccc-dev/ccc/internal/api"
)

// texts are the types that are written as text, with what a schema says of
// them. Their own parsers are stricter.
func texts() map[reflect.Type]*jsonschema.Schema {
	text := func(pattern string, most int) *jsonschema.Schema {
		s := &jsonschema.Schema{Type: "string", Pattern: pattern}
		if most > 0 {
			s.MaxLength = &most
		}
		return s
	}
	name := text(`^[a-z0-9][a-z0-9_.-]*$`, 63)
	return map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[api.Name]():        name,
		reflect.TypeFor[api.Ref]():         name,
		reflect.TypeFor[api.Bytes]():       text("", 32),
		reflect.TypeFor[api.Duration]():    text("", 32),
		reflect.TypeFor[api.CPUs]():        text("", 32),
		reflect.TypeFor[api.Count]():       text("", 32),
		reflect.TypeFor[api.Level]():       text(`^[a-z][a-z0-9-]*$`, 32),
		reflect.TypeFor[api.Require]():     {Type: "string", Enum: []any{"enforced", "fallback"}},
		reflect.TypeFor[api.Verdict]():     {Type: "string"},
		reflect.TypeFor[api.Kind]():        {Type: "string"},
		reflect.TypeFor[json.RawMessage](): {},
	}
}

// inputSchema is the schema of the arguments that [decode] reads into a type.
func inputSchema(t reflect.Type) (json.RawMessage, error) {
	s, err := jsonschema.ForType(t, &jsonschema.ForOptions{TypeSchemas: texts()})
	if err != nil {
		return nil, fmt.Errorf("schema of %s: %w", t, err)
	}
	plain(s)
	return json.Marshal(s)
}

// outputSchema is the schema of a tool's structured result: what the type says,
// or an error. A client that checks results checks those of failed calls too.
func outputSchema(t reflect.Type) (json.RawMessage, error) {
	options := &jsonschema.ForOptions{TypeSchemas: texts()}
	s, err := jsonschema.ForType(t, options)
	if err != nil {
		return nil, fmt.Errorf("schema of %s: %w", t, err)
	}
	failure, err := jsonschema.ForType(reflect.TypeFor[api.Report](), options)
	if err != nil {
		return nil, fmt.Errorf("schema of an error: %w", err)
	}
	failure.Description = "why the call failed; nothing else is there then"
	s.AnyOf = []*jsonschema.Schema{{Required: s.Required}, {Required: []string{"error"}}}
	s.Required = nil
	s.Properties["error"] = failure
	s.PropertyOrder = append(s.PropertyOrder, "error")
	return json.Marshal(s)
}

// plain takes null out of the types of optional arguments: models read schemas,
// and a simple one is read better. [decode] takes null all the same.
func plain(s *jsonschema.Schema) {
	if len(s.Types) == 2 && s.Types[0] == "null" {
		s.Type, s.Types = s.Types[1], nil
	}
	if s.Items != nil {
		plain(s.Items)
	}
	for _, p := range s.Properties {
		plain(p)
	}
}
