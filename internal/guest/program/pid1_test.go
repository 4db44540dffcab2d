package program_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/guest"
	"github.com/ccc-dev/ccc/internal/guest/program"
)

// world is a machine whose time passes only in Wait.
type world struct {
	t   *testing.T
	now time.Duration
	// plan holds what happens and when, in order.
	plan []happening
	// events are those that Wait has not returned yet.
	events []program.Event
	// life is the content of the life file, or why it cannot be read.
	life    string
	lifeErr error
	// usage is what processes have used, or why that cannot be read.
	usage    program.Usage
	usageErr error
	// others tells whether other processes are there, zombies how many ended
	// children wait; a negative number of them never ends.
	others  bool
	zombies int
	// onKill is asked what a signal does.
	onKill func(unix.Signal)
	// step is how long a look at the clock takes.
	step time.Duration

	signals []string
	waits   int
	reaped  int
}

type happening struct {
	at time.Duration
	do func(*world)
}

func (w *world) Boottime() time.Duration {
	w.now += w.step
	return w.now
}

func (w *world) Wait(d time.Duration) program.Event {
	w.waits++
	if w.waits > 100_000 {
		w.t.Fatal("it never ends")
	}
	until := w.now + max(d, 0)
	for len(w.events) == 0 && len(w.plan) > 0 && w.plan[0].at <= until {
		next := w.plan[0]
		w.plan = w.plan[1:]
		w.now = max(w.now, next.at)
		next.do(w)
	}
	if len(w.events) > 0 {
		e := w.events[0]
		w.events = w.events[1:]
		return e
	}
	w.now = max(w.now, until)
	if d <= 0 {
		// Not even a look at the clock takes no time.
		w.now += time.Microsecond
	}
	return program.Quiet
}

func (w *world) Reap(most int) bool {
	if w.zombies < 0 {
		w.reaped += most
		return true
	}
	n := min(most, w.zombies)
	w.zombies -= n
	w.reaped += n
	return w.zombies > 0
}

func (w *world) Kill(s unix.Signal) bool {
	if s != 0 {
		w.signals = append(w.signals, fmt.Sprintf("%v %s", w.now, unix.SignalName(s)))
	}
	was := w.others
	if w.onKill != nil {
		w.onKill(s)
	}
	return was
}

func (w *world) Life() ([]byte, error)         { return []byte(w.life), w.lifeErr }
func (w *world) Usage() (program.Usage, error) { return w.usage, w.usageErr }

// run lets a first process live in the world and returns its exit code and log.
func (w *world) run(t *testing.T) (int, []string) {
	t.Helper()
	w.t = t
	var log bytes.Buffer
	code := program.PID1{System: w, Log: &log}.Run()
	lines := strings.Split(strings.TrimSuffix(log.String(), "\n"), "\n")
	if code != guest.ExitRefused {
		if !strings.HasPrefix(lines[0], "ccc-init: session ends in ") || !strings.Contains(lines[0], " at the latest") {
			t.Errorf("it began with %q", lines[0])
		}
		lines = lines[1:]
	}
	return code, lines
}

const (
	h = time.Hour
	m = time.Minute
	s = time.Second
)

func life(l guest.Life) string { return string(l.Text()) }

// burn adds process time.
func burn(d time.Duration) func(*world) {
	return func(w *world) {
		own := uint64(d / (10 * time.Millisecond))
		if len(w.usage.Procs) > 0 {
			own += w.usage.Procs[0].Own
		}
		w.usage = program.Usage{Procs: []program.Proc{{PID: 7, Started: 1, Own: own}}}
	}
}

func signal(e program.Event) func(*world) {
	return func(w *world) { w.events = append(w.events, e) }
}

func rewrite(text string) func(*world) { return func(w *world) { w.life = text } }

func TestWhenAndWhyItEnds(t *testing.T) {
	oneHourIdle := life(guest.Life{Deadline: 8 * h, Idle: h})
	for name, c := range map[string]struct {
		world world
		at    time.Duration
		code  int
		log   []string
	}{
		"lifetime": {
			world{life: life(guest.Life{Deadline: 8 * h})},
			8 * h, guest.ExitLifetime, []string{"ccc-init: session ends: lifetime is over"},
		},
		"started after its end": {
			world{now: 9 * h, life: life(guest.Life{Deadline: 8 * h})},
			9 * h, guest.ExitLifetime, []string{"ccc-init: session ends: lifetime is over"},
		},
		"idle from the beginning": {
			world{life: oneHourIdle},
			h, guest.ExitIdle, []string{"ccc-init: session ends: idle for 1h0m0s"},
		},
		"idle after work": {
			world{life: oneHourIdle, plan: []happening{{30 * m, burn(s)}, {59 * m, burn(s)}}},
			h + 59*m, guest.ExitIdle, []string{"ccc-init: session ends: idle for 1h0m0s"},
		},
		"too little work": {
			world{life: oneHourIdle, plan: []happening{{30 * m, burn(190 * time.Millisecond)}}},
			h, guest.ExitIdle, []string{"ccc-init: session ends: idle for 1h0m0s"},
		},
		"somebody came": {
			world{life: oneHourIdle, plan: []happening{{55 * m, signal(program.Announced)}}},
			h + 55*m, guest.ExitIdle, []string{"ccc-init: session ends: idle for 1h0m0s"},
		},
		"something was typed": {
			world{life: oneHourIdle, plan: []happening{{55 * m, func(w *world) { w.usage.Input++ }}}},
			h + 55*m, guest.ExitIdle, []string{"ccc-init: session ends: idle for 1h0m0s"},
		},
		"busy to the end: the lifetime holds": {
			world{life: oneHourIdle, plan: every(5*s, 9*h, burn(5*s))},
			8 * h, guest.ExitLifetime, []string{"ccc-init: session ends: lifetime is over"},
		},
		"announced to the end: the lifetime holds": {
			world{life: oneHourIdle, plan: every(5*s, 9*h, signal(program.Announced))},
			8 * h, guest.ExitLifetime, []string{"ccc-init: session ends: lifetime is over"},
		},
		"extended in time": {
			world{life: life(guest.Life{Deadline: h}), plan: []happening{{h - 1, rewrite(life(guest.Life{Deadline: 2 * h}))}}},
			2 * h, guest.ExitLifetime,
			[]string{"ccc-init: session now ends in 1h0m0s at the latest", "ccc-init: session ends: lifetime is over"},
		},
		"shortened": {
			world{life: life(guest.Life{Deadline: 8 * h}), plan: []happening{{h - s, rewrite(life(guest.Life{Deadline: 5 * s}))}}},
			h, guest.ExitLifetime,
			[]string{"ccc-init: session now ends in 0s at the latest", "ccc-init: session ends: lifetime is over"},
		},
		"idle clock switched on": {
			world{life: life(guest.Life{Deadline: 8 * h}), plan: []happening{{2*h - s, rewrite(oneHourIdle)}}},
			3 * h, guest.ExitIdle,
			[]string{"ccc-init: session now ends in 6h0m0s at the latest, or after 1h0m0s without work", "ccc-init: session ends: idle for 1h0m0s"},
		},
		"the life file becomes nonsense": {
			world{life: life(guest.Life{Deadline: h}), plan: []happening{{m, rewrite("deadline never\n")}}},
			h, guest.ExitLifetime, []string{
				`ccc-init: warning: the life file deadline is no number of nanoseconds: "never"; the last good one stays in force`,
				"ccc-init: session ends: lifetime is over",
			},
		},
		"the life file goes away and comes back": {
			world{life: life(guest.Life{Deadline: h}), plan: []happening{
				{m, func(w *world) { w.lifeErr = unix.ENOENT }},
				{2 * m, func(w *world) { w.lifeErr, w.life = nil, life(guest.Life{Deadline: 2 * h}) }},
			}},
			2 * h, guest.ExitLifetime, []string{
				"ccc-init: warning: read the life file: no such file or directory; the last good one stays in force",
				"ccc-init: session now ends in 1h58m0s at the latest",
				"ccc-init: session ends: lifetime is over",
			},
		},
		"warned once": {
			world{life: life(guest.Life{Deadline: h, Warn: 5 * m})},
			h, guest.ExitLifetime,
			[]string{"ccc-init: session ends in 5m0s", "ccc-init: session ends: lifetime is over"},
		},
		"warned again after an extension": {
			world{life: life(guest.Life{Deadline: h, Warn: 5 * m}), plan: []happening{{58 * m, rewrite(life(guest.Life{Deadline: 2 * h, Warn: 5 * m}))}}},
			2 * h, guest.ExitLifetime, []string{
				"ccc-init: session ends in 5m0s",
				"ccc-init: session now ends in 1h2m0s at the latest",
				"ccc-init: session ends in 5m0s",
				"ccc-init: session ends: lifetime is over",
			},
		},
		"warned of idleness": {
			world{life: life(guest.Life{Deadline: 8 * h, Idle: h, Warn: m})},
			h, guest.ExitIdle,
			[]string{"ccc-init: session ends in 1m0s unless something runs", "ccc-init: session ends: idle for 1h0m0s"},
		},
		"asked to end": {
			world{life: oneHourIdle, plan: []happening{{m, signal(program.Stop)}}},
			m, guest.ExitStopped, []string{"ccc-init: session ends: it was asked to"},
		},
		"blinded: the lifetime holds": {
			world{life: oneHourIdle, plan: []happening{{m, func(w *world) { w.usageErr = unix.EMFILE }}}},
			8 * h, guest.ExitLifetime, []string{"ccc-init: session ends: lifetime is over"},
		},
		"the machine slept over the end": {
			world{life: life(guest.Life{Deadline: 8 * h}), plan: []happening{{h, func(w *world) { w.now = 50 * h }}}},
			50 * h, guest.ExitLifetime, []string{"ccc-init: session ends: lifetime is over"},
		},
		"slept while at work, worked on": {
			// It wakes up within a look's interval, before the work shows again.
			world{life: life(guest.Life{Deadline: 99 * h, Idle: h}), plan: []happening{
				{m, func(w *world) { w.now = 9 * h; signal(program.Ended)(w) }},
				{9*h + 5*s, burn(s)},
			}},
			10*h + 10*s, guest.ExitIdle, []string{"ccc-init: session ends: idle for 1h0m0s"},
		},
		"slept while idle": {
			world{life: life(guest.Life{Deadline: 99 * h, Idle: h}), plan: []happening{{m, func(w *world) { w.now = 9 * h }}}},
			9*h + 10*s, guest.ExitIdle, []string{"ccc-init: session ends: idle for 1h0m0s"},
		},
		"a fork bomb: the lifetime holds": {
			world{life: life(guest.Life{Deadline: 10 * time.Millisecond}), zombies: -1},
			10 * time.Millisecond, guest.ExitLifetime, []string{"ccc-init: session ends: lifetime is over"},
		},
		"a fork bomb: a stop gets through": {
			world{life: life(guest.Life{Deadline: h}), zombies: -1, plan: []happening{{10 * time.Millisecond, signal(program.Stop)}}},
			10 * time.Millisecond, guest.ExitStopped, []string{"ccc-init: session ends: it was asked to"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := c.world
			code, log := w.run(t)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if late := w.now - c.at; late < 0 || late > time.Millisecond {
				t.Errorf("it ended at %v, want %v", w.now, c.at)
			}
			if diff := cmp.Diff(c.log, log); diff != "" {
				t.Errorf("log (-want +got)\n%s", diff)
			}
		})
	}
}

func every(d, until time.Duration, do func(*world)) []happening {
	var plan []happening
	for at := d; at < until; at += d {
		plan = append(plan, happening{at, do})
	}
	return plan
}

func TestRefusesToStart(t *testing.T) {
	for name, c := range map[string]struct {
		world world
		log   string
	}{
		"no life file":      {world{lifeErr: unix.ENOENT}, "ccc-init: error: read the life file: no such file or directory"},
		"an empty one":      {world{}, "ccc-init: error: the life file does not end with a line break"},
		"one for no life":   {world{life: "deadline 0\n"}, "ccc-init: error: the life file has no deadline"},
		"an unknown key":    {world{life: "deadline 1\nuser 0\n"}, `ccc-init: error: the life file has a key that is unknown or there twice: "user"`},
		"processes unseen":  {world{life: "deadline 1\nidle 1\n", usageErr: errors.New("blind")}, "ccc-init: error: watch for idleness: blind"},
		"no right to read ": {world{lifeErr: unix.EACCES}, "ccc-init: error: read the life file: permission denied"},
	} {
		t.Run(name, func(t *testing.T) {
			w := c.world
			code, log := w.run(t)
			if code != guest.ExitRefused || len(log) != 1 || log[0] != c.log {
				t.Errorf("exit code %d, log %q; want %d, %q", code, log, guest.ExitRefused, c.log)
			}
			if len(w.signals) > 0 || w.waits > 0 {
				t.Errorf("it went on: signals %v, %d waits", w.signals, w.waits)
			}
		})
	}
}

// TestHowItEnds looks at what the other processes are sent, and when.
func TestHowItEnds(t *testing.T) {
	stop := happening{m, signal(program.Stop)}
	ended := func(on unix.Signal, after time.Duration) func(w *world) {
		return func(w *world) {
			w.onKill = func(s unix.Signal) {
				if s == on {
					w.plan = append(w.plan, happening{w.now + after, func(w *world) { w.others = false }})
				}
			}
		}
	}
	for name, c := range map[string]struct {
		setup   func(*world)
		signals []string
		at      time.Duration
	}{
		"nobody is there": {
			func(w *world) { w.others = false }, []string{"1m0s SIGTERM"}, m,
		},
		"all end at once": {
			func(w *world) { w.onKill = func(unix.Signal) { w.others = false } }, []string{"1m0s SIGTERM", "1m0s SIGCONT"}, m,
		},
		"all end in time": {
			ended(unix.SIGTERM, 500*time.Millisecond), []string{"1m0s SIGTERM", "1m0s SIGCONT"}, m + 513*time.Millisecond,
		},
		"one does not end": {
			func(*world) {}, []string{"1m0s SIGTERM", "1m0s SIGCONT", "1m3s SIGKILL"}, m + guest.Grace,
		},
		"children end without end": {
			func(w *world) { w.zombies, w.step = -1, 5*time.Millisecond }, nil, m + guest.Grace,
		},
		"another stop does not hurry it": {
			func(w *world) { w.plan = append(w.plan, happening{m + s, signal(program.Stop)}) },
			[]string{"1m0s SIGTERM", "1m0s SIGCONT", "1m3s SIGKILL"}, m + guest.Grace,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := world{life: life(guest.Life{Deadline: h}), others: true, plan: []happening{stop}}
			c.setup(&w)
			if code, _ := w.run(t); code != guest.ExitStopped {
				t.Errorf("exit code %d", code)
			}
			if c.signals != nil {
				if diff := cmp.Diff(c.signals, w.signals); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			}
			if w.now < c.at || w.now > c.at+s {
				t.Errorf("it ended at %v, want %v", w.now, c.at)
			}
		})
	}
}

// TestTakesEndedChildren: all of them, and not only while it waits for nothing.
func TestTakesEndedChildren(t *testing.T) {
	w := world{life: life(guest.Life{Deadline: m}), zombies: 3}
	w.plan = []happening{{s, func(w *world) { w.zombies = 10_000; signal(program.Ended)(w) }}}
	if w.run(t); w.zombies != 0 || w.reaped != 10_003 {
		t.Errorf("%d taken, %d left", w.reaped, w.zombies)
	}
}

// TestHardlyEverWakesUp counts over a whole life: no more than one look in ten
// seconds.
func TestHardlyEverWakesUp(t *testing.T) {
	w := world{life: life(guest.Life{Deadline: 8 * h, Idle: 8 * h, Warn: 5 * m})}
	if w.run(t); w.waits > int(8*h/(10*s))+5 {
		t.Errorf("it woke up %d times in 8 hours", w.waits)
	}
}
