package image_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ccc-dev/ccc/internal/image"
)

func shell(script string, args ...string) image.Program {
	return image.Program{Path: "/bin/sh", Args: append([]string{"-c", script, "sh"}, args...), Env: []string{"PATH=/usr/bin:/bin", "ONLY=this"}}
}

func TestRunPassesStreams(t *testing.T) {
	var out bytes.Buffer
	var lines []string
	long := strings.Repeat("x", 2500)
	err := image.HostTools().Run(t.Context(),
		shell(`printf '%s' "$ONLY$HOME"; printf '  one\n\ntwo\rthree \033[2J\n'"$1"'\nlast' >&2; cat`, long), &out,
		func(s string) { lines = append(lines, s) })
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != "this" {
		t.Errorf("standard output is %q", out.String())
	}
	if len(lines) != 7 || !slices.Equal(lines[:2], []string{"one", "two"}) || lines[6] != "last" {
		t.Fatalf("lines %q", lines)
	}
	if strings.ContainsRune(lines[2], '\033') {
		t.Errorf("an escape sequence came through: %q", lines[2])
	}
	if strings.Join(lines[3:6], "") != long {
		t.Error("a long line lost characters")
	}
}

func TestRunTellsFailure(t *testing.T) {
	if err := image.HostTools().Run(t.Context(), shell("exit 3"), io.Discard, func(string) {}); err == nil {
		t.Error("exit code 3 is no error")
	}
	if err := image.HostTools().Run(t.Context(), image.Program{Path: "/nothing"}, io.Discard, func(string) {}); err == nil {
		t.Error("a program that is not there is no error")
	}
}

// A cancelled program may clean up, and nothing that it started outlives it,
// even if it does not heed the signal.
func TestRunEndsTheWholeGroup(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cleaned := filepath.Join(t.TempDir(), "cleaned")
	var stubborn int
	err := image.HostTools().Run(ctx, shell(`
		(trap '' TERM; while :; do sleep 1; done) >/dev/null 2>&1 &
		trap 'touch "$1"; exit 1' TERM
		echo $! >&2
		while :; do sleep 0.01; done`, cleaned), io.Discard, func(s string) {
		if pid, err := strconv.Atoi(s); err == nil {
			stubborn = pid
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) && err == nil {
		t.Fatal("a cancelled program is no error")
	}
	if _, err := os.Stat(cleaned); err != nil {
		t.Error("the program was not given the time to clean up")
	}
	if stubborn == 0 {
		t.Fatal("the program did not tell its child")
	}
	// Killed, but perhaps not yet dead, nor buried by init.
	deadline := time.After(10 * time.Second)
	for running(stubborn) {
		select {
		case <-deadline:
			t.Fatalf("process %d survived", stubborn)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// running tells whether the process is there and not a zombie (proc(5)).
func running(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err == nil && !bytes.Contains(stat, []byte(") Z ")) && !bytes.Contains(stat, []byte(") X "))
}

// Programs of a build run as users that cannot enter a private directory.
func TestRunDoesNotDependOnWhereWeAre(t *testing.T) {
	t.Chdir(t.TempDir())
	var out strings.Builder
	if err := image.HostTools().Run(t.Context(), shell("pwd"), &out, func(string) {}); err != nil || out.String() != "/\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}
