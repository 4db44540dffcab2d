package guest

import "time"

// Reason says why a session ends.
type Reason uint8

// The reasons.
const (
	// Lifetime is over.
	Lifetime Reason = iota
	// Idle for as long as it may be.
	Idle
)

// Verdict is what Due decided.
type Verdict struct {
	// Reason belongs to the end that comes first.
	Reason Reason
	// Left is the time until then. If it is not positive, the time has come.
	Left time.Duration
	// Warn tells that the end is so near that the session should be told.
	Warn bool
}

// Ends tells whether the session ends now.
func (v Verdict) Ends() bool { return v.Left <= 0 }

// ExitCode returns the code with which the first process says why it ended.
func (v Verdict) ExitCode() int {
	if v.Reason == Idle {
		return ExitIdle
	}
	return ExitLifetime
}

// Due decides whether a session is to end. now and lastWork, when it was last
// seen working, are readings of the same clock as life.Deadline (see Boottime).
// The zero Life is over.
func Due(now time.Duration, life Life, lastWork time.Duration) Verdict {
	v := Verdict{Reason: Lifetime, Left: life.Deadline - now}
	if life.Idle > 0 {
		// A difference of two readings, for lastWork+Idle might overflow.
		if left := life.Idle - max(now-lastWork, 0); left < v.Left {
			v = Verdict{Reason: Idle, Left: left}
		}
	}
	v.Warn = v.Left <= life.Warn && life.Warn > 0
	return v
}
