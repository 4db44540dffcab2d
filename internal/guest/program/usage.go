package program

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the unit of process times in /proc. The kernel shows them in USER_HZ,
// which is 100 on everything that Podman runs on, whatever the kernel's own is.
const tick = 10 * time.Millisecond

// Process times below one of these are not work: what a shell at its prompt or a
// server without requests needs to look around. A compiler is far above, and so
// is a package manager that mostly waits for the network.
const (
	// leastShare is a part of one processor, in hundredths.
	leastShare = 2
	// leastTicks is for short intervals, in which one tick says nothing.
	leastTicks = 2
)

// Usage is what the processes of a PID namespace had used at some moment.
type Usage struct {
	// Procs are sorted by PID.
	Procs []Proc
	// Input changes when something was typed into a terminal.
	Input uint64
}

// Proc is one process; times are in ticks.
type Proc struct {
	// PID and Started together are never used twice.
	PID     int
	Started uint64
	// Parent is 0 for a process that was put into the namespace from outside,
	// and whose end is therefore seen outside.
	Parent int
	// Own is what its threads used, those included that have ended; Waited is
	// what ended children used, and theirs.
	Own, Waited uint64
}

// Worked tells whether a session did something between two moments, interval
// apart, that keeps it from being idle.
//
// It errs towards work: a process that idles away the time a bit less cheaply
// than it might keeps its session until the lifetime ends it. A session that
// wants to look busy can, which gains it nothing that the lifetime does not cut.
func Worked(before, after Usage, interval time.Duration) bool {
	least := max(leastTicks, uint64(interval/tick)*leastShare/100)
	return before.Input != after.Input || after.since(before) >= least
}

// since returns the time that was used after the moment of before.
//
// What a process used is in its parent's Waited once it has ended. That part
// counts only as far as it was not seen while the process was there, so that a
// child of long standing is not work at the moment at which it ends.
func (u Usage) since(before Usage) uint64 {
	var own, waited, ended uint64
	old := before.Procs
	for _, p := range u.Procs {
		for len(old) > 0 && old[0].PID < p.PID {
			ended += old[0].handedOver()
			old = old[1:]
		}
		var was Proc
		if len(old) > 0 && old[0].PID == p.PID {
			if was = old[0]; was.Started != p.Started {
				ended += was.handedOver()
				was = Proc{}
			}
			old = old[1:]
		}
		own += minus(p.Own, was.Own)
		waited += minus(p.Waited, was.Waited)
	}
	for _, p := range old {
		ended += p.handedOver()
	}
	return own + minus(waited, ended)
}

// handedOver returns what an ended process left to a parent in the namespace.
func (p Proc) handedOver() uint64 {
	if p.Parent == 0 {
		return 0
	}
	return p.Own + p.Waited
}

func minus(a, b uint64) uint64 { return max(a, b) - b }

// Sampler reads what processes use.
type Sampler struct {
	// Proc is /proc of the namespace, Terminals the directory of its terminals.
	Proc, Terminals string
	// Self is the process whose own time does not count, but which adopts
	// orphans: the namespace's first.
	Self int
}

// Usage returns what is used now. Processes that end meanwhile are left out.
func (s Sampler) Usage() (Usage, error) {
	names, err := list(s.Proc)
	if err != nil {
		return Usage{}, fmt.Errorf("list processes: %w", err)
	}
	u := Usage{Input: s.input()}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		p, err := s.process(pid)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			return Usage{}, fmt.Errorf("read process %d: %w", pid, err)
		}
		if pid == s.Self {
			p.Own = 0
		}
		u.Procs = append(u.Procs, p)
	}
	slices.SortFunc(u.Procs, func(a, b Proc) int { return a.PID - b.PID })
	return u, nil
}

// process reads /proc/PID/stat.
func (s Sampler) process(pid int) (Proc, error) {
	// The line is some fifty numbers; only a name of 16 bytes is of another's
	// making.
	text, err := read(filepath.Join(s.Proc, strconv.Itoa(pid), "stat"), 4096)
	if err != nil {
		return Proc{}, err
	}
	p, err := parseStat(text)
	p.PID = pid
	return p, err
}

// parseStat reads the fields that matter, see proc_pid_stat(5). The second is
// the name, in parentheses, and may itself hold blanks and parentheses.
func parseStat(text []byte) (Proc, error) {
	const parent, utime, stime, cutime, cstime, started = 4, 14, 15, 16, 17, 22
	end := bytes.LastIndexByte(text, ')')
	if end < 0 {
		return Proc{}, errors.New("stat has no name")
	}
	var field [started + 1]uint64
	rest := bytes.TrimSpace(text[end+1:])
	// The third field, the state, is a letter.
	for i := 3; i <= started; i++ {
		var word []byte
		word, rest, _ = bytes.Cut(rest, []byte(" "))
		if i == 3 {
			continue
		}
		// Some fields that do not matter here are negative.
		n, err := strconv.ParseUint(string(bytes.TrimPrefix(word, []byte("-"))), 10, 64)
		if err != nil {
			return Proc{}, fmt.Errorf("field %d of stat: %w", i, err)
		}
		field[i] = n
	}
	return Proc{
		Started: field[started], Parent: int(field[parent]),
		Own: field[utime] + field[stime], Waited: field[cutime] + field[cstime],
	}, nil
}

// input sums up when each terminal was last typed into. Only changes matter, for
// these times come from the wall clock; the kernel rounds them to eight seconds.
func (s Sampler) input() uint64 {
	// Without terminals nobody types.
	names, _ := list(s.Terminals)
	slices.Sort(names)
	h := fnv.New64a()
	for _, name := range names {
		var st unix.Stat_t
		if _, err := strconv.Atoi(name); err != nil || unix.Lstat(filepath.Join(s.Terminals, name), &st) != nil {
			continue
		}
		_, _ = io.WriteString(h, name)
		_, _ = io.WriteString(h, strconv.FormatInt(st.Atim.Nano(), 16))
	}
	return h.Sum64()
}
