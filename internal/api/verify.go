package api

// VerifyRequest asks for the proof that a session's walls hold.
type VerifyRequest struct{ Ref Ref }

// Validate checks the request.
func (r VerifyRequest) Validate() error { return RefRequest(r).Validate() }

// Verdict says whether a control was seen to hold. The zero value is
// [VerdictUnknown]: what was not seen is not good.
type Verdict uint8

// The verdicts.
const (
	// VerdictUnknown means that it could not be told.
	VerdictUnknown Verdict = iota
	// VerdictFail means that the control does not hold.
	VerdictFail
	// VerdictMissing means that the host cannot enforce the control, as the
	// session's posture says and whoever made the session accepted.
	VerdictMissing
	// VerdictPass means that the control was seen to hold.
	VerdictPass
)

// String returns the verdict's name as it stands in JSON.
func (v Verdict) String() string {
	switch v {
	case VerdictFail:
		return "fail"
	case VerdictMissing:
		return "missing"
	case VerdictPass:
		return "pass"
	case VerdictUnknown:
	}
	return "unknown"
}

// MarshalText renders the verdict's name.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads a verdict's name; any other word is [VerdictUnknown].
func (v *Verdict) UnmarshalText(text []byte) error {
	*v = VerdictUnknown
	for _, known := range []Verdict{VerdictFail, VerdictMissing, VerdictPass} {
		if known.String() == string(text) {
			*v = known
		}
	}
	return nil
}

// Checked is one control of a session, held against what was seen.
type Checked struct {
	// ID is a stable word, for example "seccomp-namespaces".
	ID string `json:"id"`
	// Cases are the cases of the security design that it belongs to.
	Cases []string `json:"cases"`
	// Verdict is how it went.
	Verdict Verdict `json:"verdict"`
	// Expected says what must be, Seen what was.
	Expected string `json:"expected"`
	Seen     string `json:"seen"`
	// Witness says who saw it: "host", "inside" or "both". A session that is in
	// the hands of an attacker can lie about what was only seen inside.
	Witness string `json:"witness"`
	// Hint says what to do about it, empty where all is well.
	Hint string `json:"hint,omitempty"`
}

// Verification is the result of trying every wall of a session.
type Verification struct {
	Session Brief `json:"session"`
	// Version is that of the ccc-init inside.
	Version string `json:"version"`
	// Controls are all that were checked, in a fixed order.
	Controls []Checked `json:"controls"`
}

// Holds tells whether every control passed or is one that the host cannot
// enforce and the posture owns up to. Nothing checked proves nothing.
func (v Verification) Holds() bool {
	for _, c := range v.Controls {
		if c.Verdict != VerdictPass && c.Verdict != VerdictMissing {
			return false
		}
	}
	return len(v.Controls) > 0
}

// Count returns how many controls have the verdict.
func (v Verification) Count(verdict Verdict) int {
	n := 0
	for _, c := range v.Controls {
		if c.Verdict == verdict {
			n++
		}
	}
	return n
}
