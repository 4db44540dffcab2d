package mcpserver

import (
	"cmp"
	"slices"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/profile"
	"github.com/ccc-dev/ccc/internal/session"
)

// tighten refuses a request that asks for more than the configuration gives one
// that asks for nothing: a client may tighten, never loosen. Policy's ceilings
// bind further.
func tighten(core *session.Core, req *api.CreateRequest) error {
	level := cmp.Or(core.Defaults.Level, "standard")
	if req.Level != "" && req.Level != level && !stricter(req.Level, level) {
		return loosens("ccc session create --profile "+string(req.Level), "profile %s is not stricter than %s, the configured one", req.Level, level)
	}
	for _, m := range req.Mounts {
		if m.Writable {
			return loosens("ccc session create --mount "+m.Source+":"+m.Target+":rw", "a client cannot have the host path %s mounted writable", m.Source)
		}
	}
	if core.Defaults.Require == api.RequireEnforced {
		req.Require = api.RequireEnforced
	}
	l, err := profile.Find(cmp.Or(req.Level, level), core.Levels...)
	if err != nil {
		return err
	}
	ask, def, low := req.Limits, core.Defaults.Limits, core.Defaults.Lower
	return cmp.Or(
		within("memory", ask.Memory, def.Memory, l.Limits.Memory, low.Memory),
		within("cpus", ask.CPUs, def.CPUs, l.Limits.CPUs, low.CPUs),
		within("pids", ask.PIDs, def.PIDs, l.Limits.PIDs, low.PIDs),
		within("ttl", ask.TTL, def.TTL, l.Limits.TTL, low.TTL),
		within("idle", ask.Idle, def.Idle, l.Limits.Idle, low.Idle),
	)
}

// stricter tells whether one shipped level gives less than another. The user's
// own levels have no order, but the strictest shipped one gives nothing that any
// could take away.
func stricter(a, b api.Level) bool {
	order := []api.Level{"strict", "standard", "trusted"}
	i, j := slices.Index(order, a), slices.Index(order, b)
	return i == 0 || i > 0 && j >= 0 && i < j
}

// quantity is a limit that prints itself.
type quantity interface {
	~int64
	String() string
}

// within refuses a limit above what a request that does not state it gets.
func within[T quantity](name string, asked, configured, level, low T) error {
	most := cmp.Or(configured, level)
	if low != 0 {
		most = min(most, low)
	}
	if asked == 0 || asked <= most {
		return nil
	}
	return loosens("ccc session create --"+name+" "+asked.String(), "%s %s is more than %s, the configured one", name, asked, most)
}

// loosens is the refusal of a request that only the user may make.
func loosens(hint, format string, args ...any) error {
	return api.Deniedf("client.loosen", "ask the user to run: "+hint, format, args...)
}
