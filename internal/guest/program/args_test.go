package program_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/ccc-dev/ccc/internal/guest"
	"github.com/ccc-dev/ccc/internal/guest/program"
)

// TestRefusesArguments: each line is refused before anything is done. The one
// about the first process shows that a good line gets further.
func TestRefusesArguments(t *testing.T) {
	for args, want := range map[string]string{
		"":                                       "say what to do: pid1, exec, report or probe",
		"sh":                                     "unknown mode sh",
		"--help":                                 "unknown mode --help",
		"report now":                             "report: unknown argument now",
		"report --write /tmp":                    "report: unknown argument --write",
		"probe --connect":                        "--connect: needs a value",
		"probe --connect tcp:192.0.2.1:1":        "--connect: tcp:192.0.2.1:1 is no address of a socket",
		"probe --write /tmp":                     "probe: unknown argument --write",
		"pid1 --session /a":                      "pid1 is for the first process of a session",
		"pid1":                                   "pid1: --session is missing",
		"pid1 --session":                         "--session: needs a value",
		"pid1 --session /a /b":                   "pid1: unknown argument /b",
		"pid1 --session a":                       "--session: a is not an absolute path in its shortest form",
		"pid1 --session /a/../b":                 "--session: /a/../b is not an absolute path in its shortest form",
		"pid1 --session /":                       "--session: must not be /",
		"pid1 --session /a --write":              "--write: needs a value",
		"pid1 --session /a --write --write":      "--write: --write is not an absolute path in its shortest form",
		"pid1 --session /a --announce":           "pid1: unknown argument --announce",
		"pid1 --session /a -- sh":                "pid1: unknown argument --",
		"pid1 --session=/a":                      "pid1: unknown argument --session=/a",
		"exec":                                   "exec: the command after -- is missing",
		"exec --":                                "exec: the command after -- is missing",
		"exec sh":                                "exec: unknown argument sh",
		"exec --session /a -- sh":                "exec: unknown argument --session",
		"exec --write / -- sh":                   "--write: must not be /",
		"exec --write // -- sh":                  "--write: // is not an absolute path in its shortest form",
		"exec --write /a/ -- sh":                 "--write: /a/ is not an absolute path in its shortest form",
		"exec --write -- sh":                     "--write: -- is not an absolute path in its shortest form",
		"exec --writ /a -- sh":                   "exec: unknown argument --writ",
		"exec --require-landlock 0 -- sh":        "--require-landlock: 0 is no Landlock ABI",
		"exec --require-landlock -1 -- sh":       "--require-landlock: -1 is no Landlock ABI",
		"exec --require-landlock 99999999 -- sh": "--require-landlock: 99999999 is no Landlock ABI",
		"exec --require-landlock x -- sh":        "--require-landlock: x is no Landlock ABI",
		"exec --write /a\x00b -- sh":             `--write: "/a\x00b" is not an absolute path in its shortest form`,
		"exec --write a\nb\x1b[2J -- sh":         `--write: "a\nb\x1b[2J" is not an absolute path in its shortest form`,
	} {
		t.Run(args, func(t *testing.T) {
			var out, messages bytes.Buffer
			code := program.Program{
				Args: strings.FieldsFunc(args, func(r rune) bool { return r == ' ' }), Out: &out, Err: &messages,
				Version: func() string { return "test" },
			}.Main()
			if code != guest.ExitRefused || out.Len() > 0 || messages.String() != "ccc-init: error: "+want+"\n" {
				t.Errorf("code %d, said %q; want %d, %q", code, messages.String(), guest.ExitRefused, want)
			}
		})
	}
}

func TestReport(t *testing.T) {
	var out, messages bytes.Buffer
	p := program.Program{Args: []string{"report"}, Out: &out, Err: &messages, Version: func() string { return "v1.2.3" }}
	if code := p.Main(); code != 0 || messages.Len() > 0 {
		t.Fatalf("code %d, said %q", code, messages.String())
	}
	var keys []string
	for line := range strings.Lines(out.String()) {
		key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if !ok || value == "" {
			t.Errorf("line %q", line)
		}
		keys = append(keys, key)
	}
	want := "version landlock_kernel landlock_applied outside_writes pid1 no_new_privs seccomp lsm"
	if got := strings.Join(keys, " "); got != want {
		t.Errorf("keys %q, want %q", got, want)
	}
	if !strings.HasPrefix(out.String(), "version v1.2.3\n") || !strings.Contains(out.String(), "\noutside_writes allowed\n") {
		t.Errorf("this process is not confined, and its version is v1.2.3:\n%s", out.String())
	}
}

// TestMessagesNeverWait writes to a pipe that nobody reads, then to one that has
// no reader any more.
func TestMessagesNeverWait(t *testing.T) {
	read, write := pipe(t)
	m := program.Messages(write.Fd())
	line := bytes.Repeat([]byte("x"), 1000)
	for range 1000 {
		if n, err := m.Write(line); n != len(line) || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	if err := read.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := m.Write(line); n != len(line) || err != nil {
		t.Errorf("without a reader: %d, %v", n, err)
	}
}

func pipe(t *testing.T) (read, write *os.File) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { read.Close(); write.Close() })
	return read, write
}
