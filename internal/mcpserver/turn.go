package mcpserver

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/policy"
	"github.com/ccc-dev/ccc/internal/session"
)

// The labels of sessions that a server made, or may show to every client.
const (
	labelOwner  = "mcp.owner"
	labelShared = "mcp.shared"
)

// turn is one call of a tool.
type turn struct {
	*Server
	call  *call
	entry entry
}

// caller returns who calls: the process that started the server, with the name
// that the client gives itself.
func (t *turn) caller() api.Caller {
	c := t.Caller
	info := t.call.peer.GetClientInfo()
	c.Client, c.ClientVersion = cmp.Or(word(info.Name), "mcp"), word(info.Version)
	return c
}

// word makes a word that a client chose fit for a record and a label.
func word(s string) string {
	const most = 64
	if len(s) > most {
		s = s[:most]
	}
	return api.Printable(s)
}

// owner returns whose sessions the client sees.
func (t *turn) owner() string { return cmp.Or(t.Owner, t.caller().Client) }

// core returns the core as far as the client may use it.
func (t *turn) core(ctx context.Context) (*session.Core, error) {
	core, err := t.base(ctx)
	if err != nil {
		return nil, err
	}
	return t.bound(core), nil
}

// bound returns a core that is bounded to what this client may see and have.
func (t *turn) bound(core *session.Core) *session.Core {
	c := *core
	if owner := t.owner(); !t.All {
		c.Sees = func(labels map[string]string) bool {
			return labels[labelOwner] == owner || labels[labelShared] == "yes"
		}
	}
	if len(t.Roots) > 0 {
		c.Ceilings = append(slices.Clone(c.Ceilings), policy.Ceiling{Source: "ccc serve --project-root", Projects: t.Roots})
	}
	if t.MaxSessions > 0 && (c.Defaults.MaxSessions == 0 || t.MaxSessions < c.Defaults.MaxSessions) {
		c.Defaults.MaxSessions = t.MaxSessions
	}
	return &c
}

// refused records that the call was turned down and returns err.
func (t *turn) refused(ctx context.Context, err error) error {
	if t.entry.action == "" {
		return err
	}
	core, coreErr := t.base(ctx)
	if coreErr != nil {
		// Without a core there is no log; that will be the next error.
		return err
	}
	return core.Refused(ctx, t.caller(), t.entry.action, err)
}

// beat tells progress until the returned function is called: how long it has
// taken, and what state returns. A client that gives up what is silent for a
// minute lives so.
func (t *turn) beat(ctx context.Context, doing string, state func() string) (stop func()) {
	if t.Beat <= 0 || progressToken(t.call.params) == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	began := t.Clock()
	go func() {
		defer close(done)
		ticker := time.NewTicker(t.Beat)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				so := t.Clock().Sub(began)
				t.call.tell(so.Seconds(), 0, fmt.Sprintf("%s, %s%s", doing, so.Round(time.Second), state()))
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// quiet is the state of work that has none to tell.
func quiet() string { return "" }
