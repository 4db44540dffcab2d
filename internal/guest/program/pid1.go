package program

import (
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/guest"
)

// How often the first process looks: a tenth of the idle time, within limits. A
// new life file is seen at the next look, and after a suspended machine wakes
// up no timer is later than one.
const (
	seldom = 10 * time.Second
	often  = 50 * time.Millisecond
)

// reapAtOnce bounds how many ended children are taken before the clock is read
// again: a fork bomb makes them faster than they can be taken.
const reapAtOnce = 256

// Event is what ended a wait.
type Event uint8

// The events.
const (
	// Quiet: the time is over, and nothing happened.
	Quiet Event = iota
	// Ended: children may have.
	Ended
	// Announced: somebody came.
	Announced
	// Stop was asked for.
	Stop
)

// System is what the first process does to its machine.
type System interface {
	// Boottime returns the time since boot, see guest.Boottime.
	Boottime() time.Duration
	// Wait returns at an event, at the latest after d.
	Wait(d time.Duration) Event
	// Reap takes ended children, at most so many, and tells whether there may
	// be more.
	Reap(most int) bool
	// Kill sends a signal to every other process of the namespace and tells
	// whether there was one.
	Kill(unix.Signal) bool
	// Life returns the content of the life file.
	Life() ([]byte, error)
	// Usage returns what the processes have used.
	Usage() (Usage, error)
}

// PID1 is the first process of a session.
type PID1 struct {
	System System
	// Log takes one line for each thing that people should know.
	Log io.Writer
}

// Run keeps the session until it is to end, ends it, and returns the exit code.
// It refuses at once if it cannot tell when that is.
func (p PID1) Run() int {
	k := keeper{PID1: p}
	if err := k.start(); err != nil {
		say(p.Log, "error: %v", err)
		return guest.ExitRefused
	}
	for {
		if k.System.Boottime() >= k.next {
			if v := k.look(); v.Ends() {
				say(p.Log, "session ends: %s", k.why(v))
				return k.end(v.ExitCode())
			}
		}
		wait := k.next - k.System.Boottime()
		if k.System.Reap(reapAtOnce) {
			wait = 0
		}
		switch k.System.Wait(wait) {
		case Stop:
			say(p.Log, "session ends: it was asked to")
			return k.end(guest.ExitStopped)
		case Announced:
			k.lastWork = k.System.Boottime()
		}
	}
}

// keeper is what PID1 remembers.
type keeper struct {
	PID1
	life guest.Life
	// trouble is what was last said of an unusable life file.
	trouble string
	// usage was seen at the time seen; lastWork is when there was some.
	usage          Usage
	seen, lastWork time.Duration
	// next is when to look again.
	next   time.Duration
	warned bool
}

// start reads what a session cannot start without.
func (k *keeper) start() error {
	life, err := k.readLife()
	if err != nil {
		return err
	}
	k.life = life
	if life.Idle > 0 {
		if k.usage, err = k.System.Usage(); err != nil {
			return fmt.Errorf("watch for idleness: %w", err)
		}
	}
	now := k.System.Boottime()
	k.seen, k.lastWork, k.next = now, now, now
	say(k.Log, "session ends in %s", k.limits(now))
	return nil
}

func (k *keeper) readLife() (guest.Life, error) {
	text, err := k.System.Life()
	if err != nil {
		return guest.Life{}, fmt.Errorf("read the life file: %w", err)
	}
	life, err := guest.ParseLife(text)
	if err != nil {
		return guest.Life{}, fmt.Errorf("the life file %w", err)
	}
	return life, nil
}

// interval returns how often to look for work.
func (k *keeper) interval() time.Duration {
	if k.life.Idle == 0 {
		return seldom
	}
	return min(max(k.life.Idle/10, often), seldom)
}

// look reads the life file, looks for work, and decides.
func (k *keeper) look() guest.Verdict {
	k.refresh()
	now := k.System.Boottime()
	if now-k.seen >= k.interval() {
		k.sample(now)
	}
	v := guest.Due(now, k.life, k.lastWork)
	if v.Warn && !k.warned && !v.Ends() {
		say(k.Log, "session ends in %s%s", rounded(v.Left), map[guest.Reason]string{guest.Idle: " unless something runs"}[v.Reason])
	}
	k.warned = v.Warn
	// The moment at which a warning falls due is worth a look of its own; so is
	// the end, and the next sample.
	k.next = min(now+v.Left, k.seen+k.interval())
	if k.life.Warn > 0 && v.Left > k.life.Warn {
		k.next = min(k.next, now+v.Left-k.life.Warn)
	}
	return v
}

// refresh takes over a new life. An unusable file changes nothing: the session
// goes on as it was last told.
func (k *keeper) refresh() {
	life, err := k.readLife()
	if err != nil {
		if k.trouble != err.Error() {
			k.trouble = err.Error()
			say(k.Log, "warning: %v; the last good one stays in force", err)
		}
		return
	}
	k.trouble = ""
	if life == k.life {
		return
	}
	now := k.System.Boottime()
	if k.life.Idle == 0 {
		// Nobody has looked for work until now.
		k.lastWork = now
	}
	k.life = life
	say(k.Log, "session now ends in %s", k.limits(now))
}

// limits says when the session ends.
func (k *keeper) limits(now time.Duration) string {
	s := rounded(max(k.life.Deadline-now, 0)).String() + " at the latest"
	if k.life.Idle > 0 {
		s += ", or after " + k.life.Idle.String() + " without work"
	}
	return s
}

// sample looks for work since the last time.
func (k *keeper) sample(now time.Duration) {
	pause := now - k.seen
	k.seen = now
	if k.life.Idle == 0 {
		return
	}
	u, err := k.System.Usage()
	// What cannot be seen may be work. The session can blind this process, by
	// way of resource limits, but it can as well keep busy; the lifetime, which
	// needs no sight, ends both.
	if err != nil || Worked(k.usage, u, k.interval()) {
		k.lastWork = now
	}
	if err == nil {
		k.usage = u
	}
	// After a long pause, the machine slept. What was at work before is at work
	// again, and is given one interval to show it.
	if pause >= 2*k.interval() {
		k.lastWork = max(k.lastWork, now-k.life.Idle+k.interval())
	}
}

func (k *keeper) why(v guest.Verdict) string {
	if v.Reason == guest.Idle {
		return "idle for " + k.life.Idle.String()
	}
	return "lifetime is over"
}

// end asks every process to end, gives them the time for it, ends them by force
// and returns code.
func (k *keeper) end(code int) int {
	if !k.System.Kill(unix.SIGTERM) {
		return code
	}
	// A stopped process takes the request only once it goes on.
	k.System.Kill(unix.SIGCONT)
	limit := k.System.Boottime() + guest.Grace
	for pause := time.Millisecond; ; pause = min(2*pause, often) {
		for k.System.Reap(reapAtOnce) && k.System.Boottime() < limit {
		}
		if !k.System.Kill(0) {
			return code
		}
		left := limit - k.System.Boottime()
		if left <= 0 {
			break
		}
		k.System.Wait(min(pause, left))
	}
	// What is left dies with this process, by the kernel's hand. This is for
	// those that would be seen dying in the meantime.
	k.System.Kill(unix.SIGKILL)
	return code
}

// rounded returns a time as people say it.
func rounded(d time.Duration) time.Duration {
	if d > time.Second {
		return d.Round(time.Second)
	}
	return d.Round(time.Millisecond)
}
