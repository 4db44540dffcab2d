package guest_test

import (
	"math"
	"testing"
	"time"

	"github.com/ccc-dev/ccc/internal/guest"
)

func TestDue(t *testing.T) {
	const h, m = time.Hour, time.Minute
	const forever = time.Duration(math.MaxInt64)
	for name, c := range map[string]struct {
		now      time.Duration
		life     guest.Life
		lastWork time.Duration
		want     guest.Verdict
		code     int
	}{
		"the zero life is over": {
			1, guest.Life{}, 0, guest.Verdict{Left: -1}, guest.ExitLifetime,
		},
		"before the deadline": {
			2 * h, guest.Life{Deadline: 8 * h}, 0, guest.Verdict{Left: 6 * h}, 0,
		},
		"at the deadline": {
			8 * h, guest.Life{Deadline: 8 * h}, 8 * h, guest.Verdict{}, guest.ExitLifetime,
		},
		"long after it, as when the machine slept": {
			99 * h, guest.Life{Deadline: 8 * h, Idle: h}, 98*h + 30*m, guest.Verdict{Left: -91 * h}, guest.ExitLifetime,
		},
		"idle, not long enough": {
			2 * h, guest.Life{Deadline: 8 * h, Idle: h}, 90 * m, guest.Verdict{Reason: guest.Idle, Left: 30 * m}, 0,
		},
		"idle for long enough": {
			2 * h, guest.Life{Deadline: 8 * h, Idle: h}, h, guest.Verdict{Reason: guest.Idle}, guest.ExitIdle,
		},
		"idle never ends it unless asked to": {
			7 * h, guest.Life{Deadline: 8 * h}, 0, guest.Verdict{Left: h}, 0,
		},
		"both at once: the lifetime is the reason": {
			8 * h, guest.Life{Deadline: 8 * h, Idle: h}, 7 * h, guest.Verdict{}, guest.ExitLifetime,
		},
		"a warning before the deadline": {
			8*h - 5*m, guest.Life{Deadline: 8 * h, Warn: 5 * m}, 0, guest.Verdict{Left: 5 * m, Warn: true}, 0,
		},
		"none a moment earlier": {
			8*h - 5*m - 1, guest.Life{Deadline: 8 * h, Warn: 5 * m}, 0, guest.Verdict{Left: 5*m + 1}, 0,
		},
		"a warning before idleness ends it": {
			2*h - m, guest.Life{Deadline: 8 * h, Idle: h, Warn: 5 * m}, h, guest.Verdict{Reason: guest.Idle, Left: m, Warn: true}, 0,
		},
		"work later than now is work now": {
			h, guest.Life{Deadline: 8 * h, Idle: h}, 2 * h, guest.Verdict{Reason: guest.Idle, Left: h}, 0,
		},
		"the largest values do not wrap around": {
			h, guest.Life{Deadline: forever, Idle: forever, Warn: forever}, h, guest.Verdict{Left: forever - h, Warn: true}, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := guest.Due(c.now, c.life, c.lastWork)
			if got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			if got.Ends() != (c.code != 0) || got.Ends() && got.ExitCode() != c.code {
				t.Errorf("ends %t with code %d, want code %d (0: it goes on)", got.Ends(), got.ExitCode(), c.code)
			}
		})
	}
}

func TestBoottimeGoesOn(t *testing.T) {
	before := guest.Boottime()
	if after := guest.Boottime(); before <= 0 || after < before {
		t.Errorf("read %d, then %d", before, after)
	}
}
