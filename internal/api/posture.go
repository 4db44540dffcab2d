package api

// State says how well a control holds on this host.
type State string

// The states of a control. The zero value is [StateMissing].
const (
	// StateMissing means that nothing enforces the control here.
	StateMissing State = "missing"
	// StateFallback means that something weaker stands in; the detail says what.
	StateFallback State = "fallback"
	// StateEnforced means that the control was seen to be in force.
	StateEnforced State = "enforced"
)

// Control is one line of a session's posture.
type Control struct {
	// Name is a stable word, for example "no-new-privileges".
	Name string `json:"name"`
	// State is what was found.
	State State `json:"state"`
	// Detail says what was found, or what is missing and how to get it.
	Detail string `json:"detail,omitempty"`
}

// Posture lists every control of a session, those that are missing included.
// It is read from the kernel and from the engine, never from what was asked.
type Posture []Control

// Weakest returns the worst state of any control. An empty posture proves
// nothing and is therefore missing.
func (p Posture) Weakest() State {
	if len(p) == 0 {
		return StateMissing
	}
	worst := StateEnforced
	for _, c := range p {
		switch c.State {
		case StateEnforced:
		case StateFallback:
			if worst == StateEnforced {
				worst = StateFallback
			}
		default:
			return StateMissing
		}
	}
	return worst
}

// Short returns the controls that fall short of what is required, in order.
func (p Posture) Short(r Require) []Control {
	var short []Control
	for _, c := range p {
		if c.State == StateEnforced || c.State == StateFallback && r == RequireFallback {
			continue
		}
		short = append(short, c)
	}
	return short
}
