package main_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
)

// dump prints a tree: kind, permission and content of everything. It runs inside
// and outside alike.
const dump = `walk() { for f in "$1"/* "$1"/.[!.]*; do
	[ -e "$f" ] || [ -L "$f" ] || continue
	if [ -L "$f" ]; then busybox stat -c 'l %N' "$f"
	elif [ -d "$f" ]; then busybox stat -c 'd %a %n' "$f"; walk "$f"
	else busybox stat -c 'f %a %n' "$f"; busybox cat "$f"; fi
done; }; walk .`

// view is what the session sees of the project.
func (l *lab) view(session string) string {
	l.Helper()
	r := l.sh(session, dump)
	if r.code != 0 || r.stdout == "" {
		l.Fatalf("dump: %v", r)
	}
	return r.stdout
}

// outside is what the host has of the project.
func (l *lab) outside() string {
	l.Helper()
	cmd := exec.CommandContext(l.Context(), "busybox", "sh", "-c", dump)
	cmd.Dir = l.project
	r := l.run(cmd)
	if r.code != 0 || r.stdout == "" {
		l.Fatalf("dump: %v", r)
	}
	return r.stdout
}

func (l *lab) changes(session string) []api.Change {
	l.Helper()
	var d api.Diff
	l.must(json.Unmarshal([]byte(l.ok("session", "diff", "--json", session)), &d))
	return d.Changes
}

// edits returns a shell script that edits a tree at random.
func edits(r *rand.Rand, n int) string {
	dirs, names := []string{".", "a", "a/b", "c", "d"}, []string{"x", "y", "z", "a", "b", "c", "two words", "-n"}
	var b strings.Builder
	for range n {
		p := "./" + dirs[r.IntN(len(dirs))] + "/" + names[r.IntN(len(names))]
		switch r.IntN(8) {
		case 0:
			fmt.Fprintf(&b, "rm -rf '%s'\n", p)
		case 1, 2:
			fmt.Fprintf(&b, "mkdir '%s'\n", p)
		case 3:
			fmt.Fprintf(&b, "[ -L '%s' ] || chmod %s '%s'\n", p, []string{"755", "700", "711"}[r.IntN(3)], p)
		case 4:
			fmt.Fprintf(&b, "rm -rf '%s'; ln -s %s '%s'\n", p, []string{"x", "y"}[r.IntN(2)], p)
		case 5:
			fmt.Fprintf(&b, "rm -rf '%s'; mkdir '%s' && echo %d > '%s/f'\n", p, p, r.IntN(9), p)
		default:
			fmt.Fprintf(&b, "[ -L '%s' ] || echo %d >> '%s'\n", p, r.IntN(9), p)
		}
	}
	return "exec 2>/dev/null\n" + b.String() + "exit 0\n"
}

// On a real overlay: everything applied is what the session sees, undone it is
// what it was, in parts it is the same, and the session sees no difference.
func TestPodmanChanges(t *testing.T) {
	l := newLab(t)
	r := rand.New(rand.NewPCG(1, 2))
	tried := 0
	for round := range 12 {
		l.must(os.RemoveAll(l.project))
		l.must(os.Mkdir(l.project, 0o755))
		l.write("README", "a project\n")
		cmd := exec.CommandContext(t.Context(), "busybox", "sh", "-c", edits(r, 40))
		cmd.Dir = l.project
		if got := l.run(cmd); got.code != 0 {
			t.Fatalf("%v", got)
		}
		l.ok("session", "create", "--name", "demo")
		before := l.outside()
		if inside := l.view("demo"); inside != before {
			t.Fatalf("round %d: the session sees\n%s\nof\n%s", round, inside, before)
		}
		if got := l.sh("demo", edits(r, 25)); got.code != 0 {
			t.Fatalf("%v", got)
		}
		view, changes := l.view("demo"), l.changes("demo")
		tried += len(changes)
		for _, c := range changes {
			if c.Conflict != "" || c.Refused != "" {
				t.Errorf("round %d: %+v", round, c)
			}
		}
		var some []string
		for _, c := range changes {
			if r.IntN(2) == 0 {
				some = append(some, c.Path)
			}
		}
		if len(some) > 0 {
			l.ok(append([]string{"session", "apply", "--yes", "demo", "--"}, some...)...)
		}
		part := l.outside()
		l.ok("session", "apply", "--yes", "--all", "demo")
		if got := l.outside(); got != view {
			t.Fatalf("round %d: applied\n%s\nof\n%s", round, got, view)
		}
		if left := l.changes("demo"); len(left) > 0 {
			t.Fatalf("round %d: left %+v", round, left)
		}
		if inside := l.view("demo"); inside != view {
			t.Fatalf("round %d: the session now sees\n%s\nnot\n%s", round, inside, view)
		}
		// An apply of nothing leaves the last one to be undone.
		l.ok("session", "apply", "--yes", "--all", "demo")
		if part != view {
			l.ok("session", "undo", "--yes", "demo")
			if got := l.outside(); got != part {
				t.Fatalf("round %d: undone\n%s\nto\n%s", round, got, part)
			}
		}
		if inside := l.view("demo"); inside != view {
			t.Fatalf("round %d: after the undo the session sees\n%s\nnot\n%s", round, inside, view)
		}
		l.ok("session", "rm", "--yes", "demo")
		l.nothing()
	}
	if tried < 50 {
		t.Errorf("only %d changes were tried", tried)
	}
	l.ok("audit", "verify")
}

// What the host edited meanwhile is a conflict, and what a session leaves behind
// does not come out by itself.
func TestPodmanChangesUnderAttack(t *testing.T) {
	l := newLab(t)
	l.write("kept", "kept\n")
	l.ok("session", "create", "--name", "demo")
	if r := l.sh("demo", `set -e
		echo theirs >> README; rm kept; mkdir -p .git/hooks .vscode
		printf '[core]\n\tfsmonitor = touch /tmp/pwned\n' > .git/config; echo evil > .git/hooks/pre-commit
		echo '{}' > .vscode/tasks.json; echo evil > .envrc; echo all: > Makefile
		ln -s /etc/passwd abs; ln -s ../secret up; ln -s README in
		: > --help; : > "$(printf 'a\nb')"; busybox mkfifo pipe
		echo x > suid; chmod 4755 suid; dd if=/dev/null of=sparse bs=1 seek=1099511627776 2>/dev/null`); r.code != 0 {
		t.Fatalf("%v", r)
	}
	l.write("README", "ours\n")
	git := filepath.Join(l.project, ".git")
	was, err := os.ReadFile(filepath.Join(git, "config"))
	l.must(err)
	if r := l.ccc("session", "apply", "--yes", "--all", "demo"); r.code != 5 || !strings.Contains(r.stderr, "both changed README") {
		t.Fatalf("conflict: %v", r)
	}
	r := l.ccc("session", "apply", "--yes", "--all", "--ours", "demo")
	if got := strings.Fields(r.stdout); r.code != 0 || !slices.Equal(got, []string{"--help", "Makefile", "in", "kept"}) {
		t.Errorf("taken: %v", r)
	}
	for _, gone := range []string{"kept", ".envrc", ".vscode", ".git/hooks", "abs", "up", "pipe", "suid", "sparse", "a\nb"} {
		if _, err := os.Lstat(filepath.Join(l.project, gone)); err == nil {
			t.Errorf("%q is there", gone)
		}
	}
	if now, err := os.ReadFile(filepath.Join(git, "config")); err != nil || string(now) != string(was) {
		t.Errorf("git's configuration is %q, %v", now, err)
	}
	if data, err := os.ReadFile(filepath.Join(l.project, "README")); err != nil || string(data) != "ours\n" {
		t.Errorf("the host's edit is %q, %v", data, err)
	}
	// A file that the session does not touch and the host deletes is no business
	// of an apply; one that the session changed and the host deletes is.
	l.must(os.Remove(filepath.Join(l.project, "README")))
	if r := l.ccc("session", "apply", "--yes", "demo", "README"); r.code != 5 {
		t.Errorf("deleted on the host: %v", r)
	}
	l.denied("change.conflict")
	l.ok("session", "stop", "demo")
	l.ok("session", "apply", "--yes", "demo", ".envrc", "--allow-runs-by-itself", ".envrc")
}

// git takes the patch of a real session.
func TestPodmanPatch(t *testing.T) {
	l := newLab(t)
	l.ok("session", "create", "--name", "demo")
	if r := l.sh("demo", `echo more >> README; rm src/main.c; mkdir new; printf '\000\001' > new/bin; echo run > new/run; chmod 755 new/run; ln -s run new/link; : > new/empty`); r.code != 0 {
		t.Fatalf("%v", r)
	}
	patch := l.ok("session", "diff", "--patch", "demo")
	view := l.view("demo")
	cmd := exec.CommandContext(t.Context(), "git", "apply", "-")
	cmd.Dir, cmd.Stdin = l.project, strings.NewReader(patch)
	cmd.Env = append(l.podmanEnv(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(l.project))
	if r := l.run(cmd); r.code != 0 {
		t.Fatalf("%v\n%s", r, patch)
	}
	// Git has no empty directories and of permissions only one bit.
	for _, line := range []string{"f 755 ./new/run", "l './new/link' -> 'run'", "f 644 ./new/empty", "a project\nmore"} {
		if got := l.outside(); !strings.Contains(got, line) || !strings.Contains(view, line) {
			t.Errorf("%q is not in\n%s\nor\n%s", line, got, view)
		}
	}
	if _, err := os.Lstat(filepath.Join(l.project, "src/main.c")); err == nil {
		t.Error("what was deleted is there")
	}
}

// An apply or undo by the real program that is killed at any moment leaves the
// project as it was or as it is to be, once the next command has run.
func TestPodmanKilledApply(t *testing.T) {
	l := newLab(t)
	l.ok("session", "create", "--name", "demo")
	if r := l.sh("demo", `mkdir many; for i in $(seq 60); do echo $i > many/$i; done; echo more >> README; rm -r src`); r.code != 0 {
		t.Fatalf("%v", r)
	}
	before, after := l.outside(), l.view("demo")
	start := time.Now()
	l.ok("session", "apply", "--yes", "--all", "demo")
	whole := time.Since(start)
	l.ok("session", "undo", "--yes", "demo")
	killed, half := 0, 0
	const rounds = 40
	for round := range rounds {
		args := []string{"session", "apply", "--yes", "--all", "demo"}
		if round%2 == 1 {
			l.ok(args...)
			args = []string{"session", "undo", "--yes", "demo"}
		}
		cmd := l.command(args...)
		l.must(cmd.Start())
		time.Sleep(whole * time.Duration(round+1) / rounds)
		if cmd.Process.Kill() == nil {
			killed++
		}
		_ = cmd.Wait()
		if got := l.outside(); got != before && got != after {
			half++
		}
		l.ok("session", "list")
		switch l.outside() {
		case before:
		case after:
			l.ok("session", "undo", "--yes", "demo")
		default:
			t.Fatalf("round %d: neither before nor after:\n%s", round, l.outside())
		}
	}
	t.Logf("%d killed, %d of them half done until the next command", killed, half)
	if killed < rounds/2 {
		t.Errorf("only %d were killed", killed)
	}
	l.ok("audit", "verify")
}
