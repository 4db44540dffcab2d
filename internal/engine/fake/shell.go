package fake

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/guest"
)

// program is a process of a container, interpreted. What it does is what the
// command of the same name does in busybox; a test written for one passes on
// the other.
type program struct {
	files    map[string]engine.File
	env      map[string]string
	dir      string
	uid, gid uint32
	hostname string
	stdin    *bufio.Reader
	stdout   io.Writer
	stderr   io.Writer
	// wait sleeps; a negative duration means forever. An error ends the program.
	wait func(time.Duration) error
	// size returns the terminal's size, ok if there is a terminal.
	size func() (s api.Size, ok bool)
	// processes lists what runs in the container.
	processes func() []string
	// guest tells that ccc-init is mounted.
	guest bool
	// stubborn tells that the program ignores SIGTERM from here on, graceful
	// that it then ends by itself.
	stubborn, graceful bool
	// left tells that a shell was told to exit.
	left bool
}

// errKilled ends a program that something else ended.
var errKilled = errors.New("killed")

// The exit codes of a shell for commands that it cannot run.
const (
	codeNotExecutable = 126
	codeNotFound      = 127
	codeKilled        = 128 + 9
)

// commands are all that can be run.
func commands() map[string]command {
	return map[string]command{
		"cat":      (*program).cat,
		"echo":     (*program).echo,
		"env":      (*program).printEnv,
		"false":    func(*program, []string) (int, error) { return 1, nil },
		"hostname": func(p *program, _ []string) (int, error) { return p.print(p.hostname + "\n") },
		"id":       (*program).id,
		"ps":       (*program).ps,
		"pwd":      func(p *program, _ []string) (int, error) { return p.print(p.dir + "\n") },
		"seq":      (*program).seq,
		"sh":       (*program).sh,
		"sleep":    (*program).sleep,
		"stty":     (*program).stty,
		"true":     func(*program, []string) (int, error) { return 0, nil },
	}
}

// Commands returns the names of the commands that containers of the fake can
// run. An image for the fake needs a file for each that is called by its path.
func Commands() []string { return slices.Sorted(maps.Keys(commands())) }

// command is one of [Commands]: it returns its exit code, and an error if it did
// not end by itself.
type command func(*program, []string) (int, error)

// find returns the command that a name stands for; else the code with which a
// shell would say why there is none.
func (p *program) find(name string) (c command, code int) {
	if p.guest && name == guest.Path {
		return (*program).cccInit, 0
	}
	if strings.Contains(name, "/") {
		if !path.IsAbs(name) {
			name = path.Join(p.dir, name)
		}
		f, ok := follow(p.files, name)
		if !ok {
			return nil, codeNotFound
		}
		if !f.Mode.IsRegular() || f.Mode.Perm()&0o111 == 0 {
			return nil, codeNotExecutable
		}
	} else if p.env["PATH"] == "" {
		return nil, codeNotFound
	}
	c, ok := commands()[path.Base(name)]
	if !ok {
		return nil, codeNotFound
	}
	return c, 0
}

// run runs a command and returns its exit code; the error says that it did not
// end by itself.
func (p *program) run(argv []string) (int, error) {
	run, code := p.find(argv[0])
	switch code {
	case codeNotFound:
		return p.complain(code, "%s: not found", argv[0])
	case codeNotExecutable:
		return p.complain(code, "%s: permission denied", argv[0])
	}
	return run(p, argv[1:])
}

// cccInit is as much of ccc-init as needs no kernel: the first process that
// stays, and the shim that becomes its command. It does not end a session.
func (p *program) cccInit(args []string) (int, error) {
	if len(args) > 0 && args[0] == guest.ModePID1 {
		p.graceful = true
		return 0, p.wait(-1)
	}
	end := slices.Index(args, guest.EndOfFlags)
	if end < 0 || args[0] != guest.ModeExec || end+1 == len(args) {
		return p.complain(guest.ExitRefused, "ccc-init: error: not a call of the fake's")
	}
	return p.run(args[end+1:])
}

func (p *program) complain(code int, format string, args ...any) (int, error) {
	if _, err := fmt.Fprintf(p.stderr, format+"\n", args...); err != nil {
		return 0, err
	}
	return code, nil
}

func (p *program) print(s string) (int, error) {
	_, err := io.WriteString(p.stdout, s)
	return 0, err
}

func (p *program) cat(args []string) (int, error) {
	if len(args) > 0 {
		return p.complain(1, "cat: %s: the fake has no contents of files", args[0])
	}
	_, err := io.Copy(p.stdout, p.stdin)
	return 0, err
}

func (p *program) echo(args []string) (int, error) { return p.print(strings.Join(args, " ") + "\n") }

func (p *program) printEnv([]string) (int, error) {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(p.env)) {
		fmt.Fprintf(&b, "%s=%s\n", name, p.env[name])
	}
	return p.print(b.String())
}

func (p *program) id(args []string) (int, error) {
	if len(args) != 1 || args[0] != "-u" && args[0] != "-g" {
		return p.complain(1, "id: only -u and -g")
	}
	id := p.uid
	if args[0] == "-g" {
		id = p.gid
	}
	return p.print(strconv.FormatUint(uint64(id), 10) + "\n")
}

func (p *program) ps([]string) (int, error) {
	return p.print("PID   USER     TIME  COMMAND\n" + strings.Join(p.processes(), "\n") + "\n")
}

func (p *program) seq(args []string) (int, error) {
	if len(args) != 1 {
		return p.complain(1, "seq: give one number")
	}
	last, err := strconv.Atoi(args[0])
	if err != nil {
		return p.complain(1, "seq: invalid number %q", args[0])
	}
	w := bufio.NewWriter(p.stdout)
	for n := 1; n <= last; n++ {
		if _, err := fmt.Fprintln(w, n); err != nil {
			return 0, err
		}
	}
	return 0, w.Flush()
}

func (p *program) sleep(args []string) (int, error) {
	if len(args) != 1 {
		return p.complain(1, "sleep: give one duration")
	}
	if args[0] == "infinity" || args[0] == "inf" {
		return 0, p.wait(-1)
	}
	seconds, err := strconv.ParseFloat(args[0], 64)
	if err != nil || seconds < 0 {
		return p.complain(1, "sleep: invalid number %q", args[0])
	}
	return 0, p.wait(time.Duration(seconds * float64(time.Second)))
}

func (p *program) stty(args []string) (int, error) {
	if len(args) != 1 || args[0] != "size" {
		return p.complain(1, "stty: only size")
	}
	size, ok := p.size()
	if !ok {
		return p.complain(1, "stty: standard input: not a terminal")
	}
	return p.print(fmt.Sprintf("%d %d\n", size.Rows, size.Cols))
}

// sh runs `sh -c SCRIPT`: commands separated by semicolons or newlines, with
// quoting, $NAME in double quotes and outside, `>&2`, `exit [N]`, `exec`, and
// `trap "" TERM`. Everything else is refused, so that no test can rely on
// something that was read differently than by a shell.
func (p *program) sh(args []string) (int, error) {
	if len(args) != 2 || args[0] != "-c" {
		return p.complain(2, "sh: only -c SCRIPT")
	}
	script, err := parseScript(args[1], p.env)
	if err != nil {
		return p.complain(2, "sh: %v", err)
	}
	code := 0
	for _, words := range script {
		if code, err = p.line(words, code); err != nil || p.left {
			return code, err
		}
	}
	return code, nil
}

// line runs one command of a script; last is the code of the one before.
func (p *program) line(words []string, last int) (int, error) {
	if words[len(words)-1] == toStderr {
		stdout := p.stdout
		p.stdout = p.stderr
		defer func() { p.stdout = stdout }()
		words = words[:len(words)-1]
	}
	switch words[0] {
	case "exit":
		p.left = true
		if len(words) == 1 {
			return last, nil
		}
		code, err := strconv.ParseUint(words[1], 10, 8)
		if err != nil {
			return p.complain(2, "sh: exit: %q is not a number", words[1])
		}
		return int(code), nil
	case "trap":
		if !slices.Equal(words[1:], []string{"", "TERM"}) {
			return p.complain(2, `sh: trap: only trap "" TERM`)
		}
		p.stubborn = true
		return 0, nil
	case "exec":
		p.left = true
		if len(words) == 1 {
			return 0, nil
		}
		words = words[1:]
	}
	return p.run(words)
}

// toStderr is the word that stands for the redirection; no other word contains
// a newline and nothing else.
const toStderr = "\n"

// parseScript splits a script into commands and those into words.
func parseScript(script string, env map[string]string) ([][]string, error) {
	var commands [][]string
	var words []string
	var word strings.Builder
	begun := false
	flush := func() {
		if begun {
			words = append(words, word.String())
		}
		word.Reset()
		begun = false
	}
	for script != "" {
		c := script[0]
		switch {
		case c == '\'' || c == '"':
			quoted, rest, closed := strings.Cut(script[1:], string(c))
			if !closed || c == '"' && strings.ContainsAny(quoted, "\\`") {
				return nil, errors.New("quoting not supported")
			}
			if c == '"' {
				quoted = expand(quoted, env)
			}
			word.WriteString(quoted)
			begun, script = true, rest
			continue
		case c == ' ' || c == '\t':
			flush()
		case c == ';' || c == '\n':
			flush()
			if len(words) > 0 {
				commands, words = append(commands, words), nil
			}
		case strings.HasPrefix(script, ">&2"):
			flush()
			words = append(words, toStderr)
			script = script[3:]
			continue
		case strings.IndexByte("|&<>()`*?[]{}~#!\\", c) >= 0:
			return nil, fmt.Errorf("%q is not supported", c)
		case c == '$':
			end := 1
			for end < len(script) && isName(script[end]) {
				end++
			}
			word.WriteString(env[script[1:end]])
			begun, script = true, script[end:]
			continue
		default:
			word.WriteByte(c)
			begun = true
		}
		script = script[1:]
	}
	flush()
	if len(words) > 0 {
		commands = append(commands, words)
	}
	return commands, nil
}

func isName(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// expand replaces $NAME.
func expand(s string, env map[string]string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "$")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		end := 0
		for end < len(after) && isName(after[end]) {
			end++
		}
		b.WriteString(env[after[:end]])
		s = after[end:]
	}
}

// waitUntil sleeps in real time until the context ends.
func waitUntil(ctx context.Context, d time.Duration) error {
	if d < 0 {
		<-ctx.Done()
		return errKilled
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return errKilled
	case <-timer.C:
		return nil
	}
}
