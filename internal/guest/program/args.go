package program

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/ccc-dev/ccc/internal/guest"
)

// options is what the arguments say.
type options struct {
	mode    string
	session string
	write   []string
	require int
	// processes is zero for no limit of its own.
	processes uint64
	announce  bool
	connect   []string
	command   []string
}

// flagsOf lists the flags that a mode takes.
func flagsOf(mode string) ([]string, bool) {
	switch mode {
	case guest.ModePID1:
		return []string{guest.FlagSession, guest.FlagWrite, guest.FlagProcesses, guest.FlagRequire}, true
	case guest.ModeExec:
		return []string{guest.FlagWrite, guest.FlagProcesses, guest.FlagRequire, guest.FlagAnnounce, guest.EndOfFlags}, true
	case guest.ModeReport:
		return nil, true
	case guest.ModeProbe:
		return []string{guest.FlagConnect}, true
	}
	return nil, false
}

// parse reads the arguments. What it does not know is an error, for a flag that
// is passed over may be a restriction that is not applied.
func parse(args []string) (options, error) {
	if len(args) == 0 {
		return options{}, errors.New("say what to do: pid1, exec, report or probe")
	}
	o := options{mode: args[0]}
	known, ok := flagsOf(o.mode)
	if !ok {
		return options{}, fmt.Errorf("unknown mode %s", shown(o.mode))
	}
	for args = args[1:]; len(args) > 0; {
		flag := args[0]
		if !slices.Contains(known, flag) {
			return options{}, fmt.Errorf("%s: unknown argument %s", o.mode, shown(flag))
		}
		rest, err := o.take(flag, args[1:])
		if err != nil {
			return options{}, fmt.Errorf("%s: %w", flag, err)
		}
		args = rest
	}
	return o, o.complete()
}

// take stores a flag and returns the arguments behind it and its value.
func (o *options) take(flag string, rest []string) ([]string, error) {
	switch flag {
	case guest.EndOfFlags:
		o.command = rest
		return nil, nil
	case guest.FlagAnnounce:
		o.announce = true
		return rest, nil
	}
	if len(rest) == 0 {
		return nil, errors.New("needs a value")
	}
	value := rest[0]
	switch flag {
	case guest.FlagRequire:
		n, err := strconv.ParseUint(value, 10, 8)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("%s is no Landlock ABI", shown(value))
		}
		o.require = int(n)
		return rest[1:], nil
	case guest.FlagConnect:
		if name, ok := strings.CutPrefix(value, "unix:"); !ok || name == "" {
			return nil, fmt.Errorf("%s is no address of a socket", shown(value))
		}
		o.connect = append(o.connect, value)
		return rest[1:], nil
	case guest.FlagProcesses:
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("%s is no number of processes", shown(value))
		}
		o.processes = n
		return rest[1:], nil
	case guest.FlagSession:
		o.session = value
	case guest.FlagWrite:
		o.write = append(o.write, value)
	}
	return rest[1:], checkPath(value)
}

// complete tells what is missing.
func (o *options) complete() error {
	if o.mode == guest.ModePID1 && o.session == "" {
		return fmt.Errorf("%s: %s is missing", o.mode, guest.FlagSession)
	}
	if o.mode == guest.ModeExec && len(o.command) == 0 {
		return fmt.Errorf("%s: the command after %s is missing", o.mode, guest.EndOfFlags)
	}
	return nil
}

// checkPath wants a path that means one thing. The root is none, for what may be
// written beneath it is everything.
func checkPath(p string) error {
	switch {
	case !path.IsAbs(p) || path.Clean(p) != p || strings.ContainsRune(p, 0):
		return fmt.Errorf("%s is not an absolute path in its shortest form", shown(p))
	case p == "/":
		return errors.New("must not be /")
	}
	return nil
}
