package program_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ccc-dev/ccc/internal/guest/program"
)

// proc shortens the writing of processes: PID, parent, own and waited ticks. All
// are started at the same time unless said otherwise.
func proc(pid, parent int, own, waited uint64) program.Proc {
	return program.Proc{PID: pid, Started: 9, Parent: parent, Own: own, Waited: waited}
}

func TestWorked(t *testing.T) {
	type procs = []program.Proc
	shell := proc(10, 0, 50, 300)
	for name, c := range map[string]struct {
		before, after procs
		// ticks is what the processes have used in between.
		ticks int
	}{
		"nothing":                              {procs{shell}, procs{shell}, 0},
		"no process at all":                    {nil, nil, 0},
		"one works":                            {procs{shell}, procs{proc(10, 0, 80, 300)}, 30},
		"two work":                             {procs{shell, proc(11, 10, 1, 0)}, procs{proc(10, 0, 60, 300), proc(11, 10, 11, 0)}, 20},
		"one came and is there":                {procs{shell}, procs{shell, proc(11, 10, 25, 0)}, 25},
		"one came and went, its parent waited": {procs{shell}, procs{proc(10, 0, 50, 325)}, 25},
		"one came and went, an orphan":         {procs{proc(1, 0, 0, 7)}, procs{proc(1, 0, 0, 32)}, 25},
		"one that was long there went":         {procs{shell, proc(11, 10, 4000, 0)}, procs{proc(10, 0, 50, 4300)}, 0},
		"and had worked to the last":           {procs{shell, proc(11, 10, 4000, 0)}, procs{proc(10, 0, 50, 4325)}, 25},
		"an orphan that was long there went":   {procs{proc(1, 0, 0, 7), proc(11, 1, 400, 100)}, procs{proc(1, 0, 0, 507)}, 0},
		"one went whose end was seen outside":  {procs{proc(10, 0, 4000, 200), proc(11, 0, 5, 0)}, procs{proc(11, 0, 5, 0)}, 0},
		"and another worked meanwhile":         {procs{proc(1, 0, 0, 7), proc(10, 0, 4000, 200)}, procs{proc(1, 0, 0, 32)}, 25},
		"a new one has an old one's number": {
			procs{proc(11, 10, 400, 0)}, procs{{PID: 11, Started: 10, Parent: 10, Own: 25}}, 25,
		},
		"one in a family that nobody waited for": {procs{shell, proc(11, 10, 40, 0)}, procs{proc(10, 0, 75, 300)}, 25},
		"all are new":                            {procs{proc(11, 10, 40, 0)}, procs{proc(5, 0, 12, 0), proc(20, 0, 13, 0)}, 25},
	} {
		t.Run(name, func(t *testing.T) {
			before, after := program.Usage{Procs: c.before}, program.Usage{Procs: c.after}
			// The share that makes work of ticks is 2 of 100.
			interval := func(ticks int) time.Duration { return time.Duration(ticks) * 50 * 10 * time.Millisecond }
			if c.ticks > 0 && !program.Worked(before, after, interval(c.ticks)) {
				t.Errorf("%d ticks of work were not seen", c.ticks)
			}
			if program.Worked(before, after, interval(c.ticks+2)) {
				t.Errorf("more than %d ticks were seen", c.ticks)
			}
		})
	}
}

func TestInputIsWork(t *testing.T) {
	if !program.Worked(program.Usage{Input: 1}, program.Usage{Input: 2}, 10*time.Second) {
		t.Error("somebody typed, and it was not seen")
	}
}

// TestOneTickIsNoWork: in a short interval, a server that looks around uses one
// tick as easily as none.
func TestOneTickIsNoWork(t *testing.T) {
	for _, interval := range []time.Duration{0, 50 * time.Millisecond, time.Second} {
		if program.Worked(program.Usage{}, program.Usage{Procs: []program.Proc{proc(2, 0, 1, 0)}}, interval) {
			t.Errorf("one tick in %v was work", interval)
		}
		if !program.Worked(program.Usage{}, program.Usage{Procs: []program.Proc{proc(2, 0, 2, 0)}}, interval) {
			t.Errorf("two ticks in %v were none", interval)
		}
	}
}

// stat is a line of proc_pid_stat(5).
func stat(pid int, name string, parent, utime, stime, cutime, cstime, started int) string {
	return fmt.Sprintf("%d (%s) S %d 1 1 0 -1 4194560 9 8 7 6 %d %d %d %d 20 0 1 0 %d 1000 100 18446744073709551615 1 2 3\n",
		pid, name, parent, utime, stime, cutime, cstime, started)
}

// fakeProc makes a /proc and a directory of terminals.
func fakeProc(t *testing.T, stats map[int]string) program.Sampler {
	t.Helper()
	dir := t.TempDir()
	s := program.Sampler{Proc: filepath.Join(dir, "proc"), Terminals: filepath.Join(dir, "pts"), Self: 1}
	for pid, text := range stats {
		at := filepath.Join(s.Proc, strconv.Itoa(pid))
		if err := os.MkdirAll(at, 0o755); err != nil {
			t.Fatal(err)
		}
		if text == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(at, "stat"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{filepath.Join(s.Proc, "sys"), filepath.Join(s.Proc, "12x"), s.Terminals} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestReadsProcesses(t *testing.T) {
	s := fakeProc(t, map[int]string{
		1:    stat(1, "init", 0, 500, 500, 7, 8, 1),
		20:   stat(20, "bash", 0, 1, 2, 3, 4, 5),
		3:    stat(3, "a b) S 9 9 9 9", 20, 10, 20, 30, 40, 50),
		1000: stat(1000, "(\n)", 20, 1, 0, 0, 0, 60),
		5:    "", // ended between the listing and the reading
	})
	got, err := s.Usage()
	if err != nil {
		t.Fatal(err)
	}
	want := []program.Proc{
		// Its own time is no work of the session; what its adopted children used is.
		{PID: 1, Started: 1, Parent: 0, Own: 0, Waited: 15},
		{PID: 3, Started: 50, Parent: 20, Own: 30, Waited: 70},
		{PID: 20, Started: 5, Parent: 0, Own: 3, Waited: 7},
		{PID: 1000, Started: 60, Parent: 20, Own: 1},
	}
	if diff := cmp.Diff(want, got.Procs); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestReadsTerminals(t *testing.T) {
	s := fakeProc(t, nil)
	input := func() uint64 {
		u, err := s.Usage()
		if err != nil {
			t.Fatal(err)
		}
		return u.Input
	}
	touch := func(name string, accessed, modified time.Time) {
		file := filepath.Join(s.Terminals, name)
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, accessed, modified); err != nil {
			t.Fatal(err)
		}
	}
	at := time.Unix(1_800_000_000, 0)
	touch("0", at, at)
	touch("ptmx", at, at)
	before := input()
	touch("0", at, at.Add(time.Hour))
	touch("ptmx", at.Add(time.Hour), at)
	if input() != before {
		t.Error("output, or the master of all terminals, was taken for input")
	}
	// Earlier is as good as later: the wall clock may be set in between.
	touch("0", at.Add(-time.Hour), at)
	if input() == before {
		t.Error("input was not seen")
	}
}

func TestUnreadableProcessesAreAnError(t *testing.T) {
	if _, err := (program.Sampler{Proc: filepath.Join(t.TempDir(), "none"), Self: 1}).Usage(); err == nil {
		t.Error("a /proc that is not there was read")
	}
	for name, text := range map[string]string{
		"no name":     "1 init S 0 1 1\n",
		"cut short":   "7 (sh) S 0 1 1 0 -1",
		"not numbers": "7 (sh) S 0 1 1 0 -1 a b c d e f g h i j k l m n o p\n",
		"too large":   "7 (sh) S 0 1 1 0 -1 1 1 1 1 1 99999999999999999999 1 1 1 1 1 1 1 1 1\n",
		"empty name":  ")\n",
	} {
		if u, err := fakeProc(t, map[int]string{7: text}).Usage(); err == nil {
			t.Errorf("%s: %q was read as %+v", name, text, u)
		}
	}
}

// TestReadsTheRealProc: the test process itself is there, and its work is seen.
func TestReadsTheRealProc(t *testing.T) {
	s := program.Sampler{Proc: "/proc", Terminals: "/dev/pts", Self: 1}
	before, err := s.Usage()
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if after, err := s.Usage(); err != nil {
			t.Fatal(err)
		} else if program.Worked(before, after, 0) {
			return
		}
	}
	t.Error("reading /proc a thousand times was not seen as work")
}
