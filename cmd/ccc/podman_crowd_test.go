package main_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ccc-dev/ccc/internal/audit"
)

// A hundred sessions, four at a time: none fails, all work, nothing is left.
func TestPodmanHundredSessions(t *testing.T) {
	l := newLab(t)
	const many, atOnce = 100, 4
	start := time.Now()
	each(many, atOnce, func(n int) {
		name := fmt.Sprint("crowd-", n)
		if r := l.ccc("session", "create", "--name", name, "--ttl", "1h"); r.code != 0 || r.stdout != name+"\n" {
			t.Errorf("create %s: %v", name, r)
		}
	})
	created := time.Now()
	if out := l.ok("session", "list", "--format", "{{.Status}}"); strings.Count(out, "running\n") != many {
		t.Errorf("listed %q", out)
	}
	each(many/4, atOnce, func(n int) {
		name := fmt.Sprint("crowd-", n*4)
		if r := l.sh(name, "cat README"); r.stdout != "a project\n" {
			t.Errorf("exec in %s: %v", name, r)
		}
	})
	used := time.Now()
	each(many, atOnce, func(n int) {
		if r := l.ccc("session", "rm", "--yes", fmt.Sprint("crowd-", n)); r.code != 0 {
			t.Errorf("remove %d: %v", n, r)
		}
	})
	t.Logf("%d sessions, %d at a time: made in %v, used in %v, removed in %v", many, atOnce,
		created.Sub(start).Round(time.Millisecond), used.Sub(created).Round(time.Millisecond), time.Since(used).Round(time.Millisecond))
	l.nothing()
	l.ok("audit", "verify")
	count := map[string]int{}
	for _, r := range l.records() {
		if r.Phase == audit.PhaseEnd {
			count[r.Action+" "+string(r.Result)]++
		}
	}
	if count["session.create ok"] != many || count["session.remove ok"] != many || count["session.exec ok"] != many/4 || len(count) != 3 {
		t.Errorf("recorded %v", count)
	}
	l.untouched()
}

// each calls f for each number below n, at most so many at a time.
func each(n, atOnce int, f func(int)) {
	var group sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i := range n {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			f(i)
		})
	}
	group.Wait()
}

// Of two that make a session of the same name exactly one has it.
func TestPodmanOneName(t *testing.T) {
	l := newLab(t)
	for range 5 {
		codes := make([]int, 4)
		each(len(codes), len(codes), func(n int) { codes[n] = l.ccc("session", "create", "--name", "same").code })
		slices.Sort(codes)
		if !slices.Equal(codes, []int{0, 5, 5, 5}) {
			t.Errorf("exit codes %v", codes)
		}
		if r := l.sh("same", "cat README"); r.stdout != "a project\n" {
			t.Errorf("the one that won: %v", r)
		}
		l.ok("session", "rm", "--yes", "same")
		l.nothing()
	}
}

// kills spreads a signal over the time that a command takes, and returns how
// often it came before the end.
func (l *lab) kills(times int, sig syscall.Signal, took time.Duration, args func(n int) []string, after func(n int)) int {
	l.Helper()
	hit := 0
	for n := range times {
		cmd := l.command(args(n)...)
		start := time.Now()
		l.must(cmd.Start())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = cmd.Wait()
		}()
		// Over the whole of it and a little beyond, each time at another moment.
		wait := took*9/8*time.Duration(n)/time.Duration(times) + time.Duration(rand.Int64N(int64(took)/int64(times)+1))
		select {
		case <-done:
			// The machine has become faster since that was measured.
			took = min(took, time.Since(start))
		case <-time.After(wait):
			_ = cmd.Process.Signal(sig)
			<-done
		}
		if cmd.ProcessState.ExitCode() != 0 {
			hit++
		}
		after(n)
	}
	return hit
}

// took measures how long a creation takes here, when all goes well.
func (l *lab) took() time.Duration {
	l.Helper()
	shortest := time.Hour
	for range 4 {
		start := time.Now()
		l.ok("session", "create", "--name", "measure")
		shortest = min(shortest, time.Since(start))
		l.ok("session", "rm", "--yes", "measure")
	}
	return shortest
}

// A creation that is killed at any moment leaves nothing that the next commands
// do not remove.
func TestPodmanKilledCreation(t *testing.T) {
	l := newLab(t)
	took := l.took()
	const times = 36
	hit := l.kills(times, syscall.SIGKILL, took, func(int) []string { return []string{"session", "create", "--name", "victim"} }, func(n int) {
		l.ok("session", "list")
		// A session that was whole before it was killed is a session; what else
		// was under way in the engine by then, it has finished.
		l.ok("session", "rm", "--yes", "victim")
		l.ok("prune", "--yes")
		l.nothing()
		if t.Failed() {
			t.Fatalf("after kill %d of %d", n, times)
		}
	})
	t.Logf("%d of %d kills, spread over %v, came before the end", hit, times, took.Round(time.Millisecond))
	if hit < times/4 {
		t.Errorf("only %d of %d kills came before the end", hit, times)
	}
	l.ok("audit", "verify")
	l.untouched()
}

// The same for a removal: what was begun is finished by the next command.
func TestPodmanKilledRemoval(t *testing.T) {
	l := newLab(t)
	l.ok("session", "create", "--name", "measure")
	start := time.Now()
	l.ok("session", "rm", "--yes", "measure")
	took := time.Since(start)
	const times = 12
	l.ok("session", "create", "--name", "victim")
	hit := l.kills(times, syscall.SIGKILL, took, func(int) []string { return []string{"session", "rm", "--yes", "victim"} }, func(n int) {
		l.ok("session", "list")
		l.ok("session", "rm", "--yes", "victim")
		l.nothing()
		if t.Failed() {
			t.Fatalf("after kill %d of %d", n, times)
		}
		l.ok("session", "create", "--name", "victim")
	})
	if hit < times/4 {
		t.Errorf("only %d of %d kills came before the end", hit, times)
	}
	l.ok("audit", "verify")
}

// Ctrl-C at any moment undoes what was made before ccc returns.
func TestPodmanInterruptedCreation(t *testing.T) {
	l := newLab(t)
	took := l.took()
	const times = 24
	hit := l.kills(times, syscall.SIGINT, took, func(int) []string { return []string{"session", "create", "--name", "victim"} }, func(n int) {
		// Nothing is called that could clean up after it.
		if out := l.podman("ps", "--all", "--format", "{{.Names}} {{.Status}}"); strings.Contains(out, "victim") {
			entries, err := os.ReadDir(filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "ccc", "making"))
			l.must(err)
			if !strings.Contains(out, "Up") || len(entries) > 0 {
				t.Errorf("half made: %q, intents %v", out, entries)
			}
			l.ok("session", "rm", "--yes", "victim")
		}
		l.nothing()
		if t.Failed() {
			t.Fatalf("after interrupt %d of %d", n, times)
		}
	})
	t.Logf("%d of %d interrupts, spread over %v, came before the end", hit, times, took.Round(time.Millisecond))
	if hit < times/4 {
		t.Errorf("only %d of %d interrupts came before the end", hit, times)
	}
	l.ok("audit", "verify")
}
