package seccomp_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ccc-dev/ccc/internal/seccomp"
)

// workshopImage returns the name of an image with ordinary tools, and those that
// the variants are for. It is made once for each change of what is in it, which
// takes a minute or two.
func workshopImage(t *testing.T, h *host) string {
	t.Helper()
	made := exec.CommandContext(t.Context(), filepath.Join("..", "..", "testdata", "lab", "workshop"))
	made.Env = h.command(t.Context(), nil).Env
	return strings.TrimSpace(h.must(t, made))
}

// work runs a script in the workshop under a profile.
func (h *host) work(t *testing.T, image, profile, script string) (string, error) {
	t.Helper()
	args := slices.Concat([]string{"run", "--rm", "--init"}, hardened,
		[]string{"--tmpfs", "/tmp:rw,exec,nosuid,nodev,size=512m,mode=1777", "--env", "HOME=/tmp", "--workdir", "/tmp"})
	if profile != stock {
		args = append(args, "--security-opt", "seccomp="+h.profiles[profile])
	}
	out, err := h.command(t.Context(), nil, append(args, image, "bash", "-euo", "pipefail", "-c", script)...).CombinedOutput()
	return string(out), err
}

// chores are what agents' tools do, each more than printing its version.
var chores = []string{"shell", "git", "node", "python", "gcc", "archives", "search"}

// S12 for the filter alone; cmd/ccc does the same in whole sessions.
func TestPodmanOrdinaryWork(t *testing.T) {
	h := openPodman(t)
	image := workshopImage(t, h)
	// The other variants allow more, and nothing less.
	for _, name := range chores {
		t.Run(name, func(t *testing.T) {
			script, err := os.ReadFile(filepath.Join("..", "..", "testdata", "work", name+".sh"))
			if err != nil {
				t.Fatal(err)
			}
			if out, err := h.work(t, image, seccomp.Agent, string(script)); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// What the variants are for works with them, and only with them.
func TestPodmanVariantsAreForSomething(t *testing.T) {
	h := openPodman(t)
	image := workshopImage(t, h)
	for _, c := range []struct{ name, only, script string }{
		{"strace", seccomp.Debug, `strace -f -o trace sh -c 'true; true'; grep -q execve trace`},
		{"leak sanitizer", seccomp.Debug, `printf 'int main(void){return 0;}' > a.c; gcc -fsanitize=address a.c; ./a.out`},
		{"bubblewrap", seccomp.Nested, `bwrap --unshare-user --unshare-pid --ro-bind / / --dev /dev --tmpfs /tmp sh -c 'id -u; touch /tmp/x; ! touch /x 2> /dev/null'`},
		{"unshare", seccomp.Nested, `unshare --user --map-root-user --mount sh -c 'mount -t tmpfs none /tmp && touch /tmp/x && umount /tmp'`},
	} {
		if c.name == "leak sanitizer" && yama(t) {
			t.Log("this host's Yama wants consent to tracing, which no profile lets a process give: no leak sanitizer here")
			continue
		}
		for _, v := range seccomp.Variants() {
			t.Run(fmt.Sprintf("%s/%s", c.name, v.Name), func(t *testing.T) {
				out, err := h.work(t, image, v.Name, c.script)
				if (err == nil) != (v.Name == c.only) {
					t.Errorf("%v\n%s", err, out)
				}
			})
		}
	}
}

// yama tells whether a process may trace only its descendants here.
func yama(t *testing.T) bool {
	t.Helper()
	scope, err := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope")
	return err == nil && strings.TrimSpace(string(scope)) != "0"
}
