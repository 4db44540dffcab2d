package mcpserver

import (
	"context"
	"encoding/json"
	"reflect"

	"github.com/mark3labs/mcp-go/mcp"

	"github.com/ccc-dev/ccc/internal/api"
)

// hints say what a tool does to the world. They are set on purpose for each: what
// the protocol assumes without them is the worst.
type hints struct {
	// readOnly changes nothing; destructive can lose what was there; idempotent
	// can be repeated without further effect; open reaches beyond this host.
	readOnly, destructive, idempotent, open bool
}

// entry is a tool.
type entry struct {
	name, title, description string
	hints
	// action is what the audit log calls it; empty if refusals are not recorded.
	action  string
	in, out reflect.Type
	run     func(ctx context.Context, t *turn, args json.RawMessage) (any, string, error)
}

// about is the part of an entry that does not follow from its types.
type about struct {
	name, title, description, action string
	hints
}

// define makes a tool of a function over decoded arguments. The function returns
// the structured result and a short text.
func define[In, Out any](a about, do func(context.Context, *turn, In) (Out, string, error)) entry {
	e := entry{
		name: a.name, title: a.title, description: a.description, hints: a.hints, action: a.action,
		in: reflect.TypeFor[In](), out: reflect.TypeFor[Out](),
	}
	e.run = func(ctx context.Context, t *turn, args json.RawMessage) (any, string, error) {
		var in In
		if err := decode(args, &in); err != nil {
			return nil, "", t.refused(ctx, err)
		}
		out, text, err := do(ctx, t, in)
		if err != nil && e.readOnly && api.KindOf(err) == api.KindNotFound {
			// A read leaves no record of its own, but asking for what is somebody
			// else's does.
			err = t.refused(ctx, err)
		}
		return out, text, err
	}
	return e
}

// render returns the tool as clients see it.
func (e entry) render() (mcp.Tool, error) {
	in, err := inputSchema(e.in)
	if err != nil {
		return mcp.Tool{}, err
	}
	out, err := outputSchema(e.out)
	if err != nil {
		return mcp.Tool{}, err
	}
	return mcp.Tool{
		Name: e.name, Title: e.title, Description: e.description, RawInputSchema: in, RawOutputSchema: out,
		Annotations: mcp.ToolAnnotation{
			Title: e.title, ReadOnlyHint: &e.readOnly, DestructiveHint: &e.destructive,
			IdempotentHint: &e.idempotent, OpenWorldHint: &e.open,
		},
	}, nil
}
