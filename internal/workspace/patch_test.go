package workspace_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/workspace"
)

// patch renders all changes.
func (s *scene) patch() []byte {
	s.Helper()
	var all []byte
	for _, c := range s.scan() {
		from, err := s.layer.Check(s.project, c.Path, c.Old)
		must(s.T, err)
		to, err := s.layer.Check(s.upper, c.Path, c.New)
		must(s.T, err)
		all = append(all, workspace.Patch(&c, from, to)...)
	}
	return all
}

// asGit is what git keeps of a tree.
func (m model) asGit() model {
	kept := model{}
	for p, n := range m {
		if n.Kind == api.FileDir {
			continue
		}
		if n.Kind == api.FileRegular {
			n.Mode = 0o644 | n.Mode&0o100
		}
		kept[p] = n
	}
	for p, n := range kept {
		if n.Mode&0o100 != 0 {
			n.Mode = 0o755
			kept[p] = n
		}
	}
	return kept
}

// git runs git in a directory, with no configuration of anybody's.
func git(t *testing.T, dir string, in []byte, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(in)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GIT_CONFIG_NOSYSTEM=1"}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %q: %v: %s\n%s", args, err, out, in)
	}
}

// Git applies the patch, and the files are then the session's; in reverse they
// are the project's.
func TestPatchIsGits(t *testing.T) {
	t.Parallel()
	tried := 0
	for seed := range uint64(cases()) {
		s, lower, view := random(t, 50_000+seed)
		if slices.ContainsFunc(s.scan(), func(c api.Change) bool {
			return c.Op == api.ChangeType && (c.Old.Kind == api.FileDir || c.New.Kind == api.FileDir)
		}) {
			// Git 2.39 does not take a directory in the place of a file in one patch.
			continue
		}
		patch := s.patch()
		if len(patch) == 0 {
			continue
		}
		tried++
		git(t, s.project, patch, "apply", "--whitespace=nowarn", "-")
		if diff := cmp.Diff(view.asGit(), read(t, s.project).asGit()); diff != "" {
			t.Fatalf("seed %d (-want +got):\n%s\n%s", seed, diff, patch)
		}
		git(t, s.project, patch, "apply", "--whitespace=nowarn", "-R", "-")
		if diff := cmp.Diff(lower.asGit(), read(t, s.project).asGit()); diff != "" {
			t.Fatalf("seed %d, reversed (-want +got):\n%s\n%s", seed, diff, patch)
		}
	}
	if tried < cases()/2 {
		t.Errorf("only %d patches were tried", tried)
	}
}

func TestPatchOfOddFiles(t *testing.T) {
	t.Parallel()
	s := newScene(t, 9)
	noise := make([]byte, 100_000)
	for i := range noise {
		noise[i] = byte(s.Uint32())
	}
	for name, text := range map[string]string{
		"no newline": "one\ntwo", "crlf": "a\r\nb\r\n", "binary": "\x00\x01\x02", "tab\"quote": "x\n", "back\\slash": "x\n", "--help": "x\n", "empty": "", "latin1": "\xe9\n",
	} {
		s.put(s.project, name, text)
	}
	s.put(s.project, "noise", string(noise))
	s.born()
	slices.Reverse(noise)
	s.put(s.upper, "noise", string(noise[:99_991]))
	for name, text := range map[string]string{
		"no newline": "one\ntwo\n", "crlf": "a\r\nc\r\n", "binary": "\x00\x02", "tab\"quote": "y\n", "back\\slash": "y", "--help": "-a\n+b\n@@ -1 +1 @@\n", "empty": "no longer\n",
		"latin1": "\xe8\n", "new empty": "", "new binary": "\x00",
	} {
		s.put(s.upper, name, text)
	}
	patch := s.patch()
	git(t, s.project, patch, "apply", "--whitespace=nowarn", "-")
	err := filepath.WalkDir(s.upper, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		want, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		got, err := os.ReadFile(filepath.Join(s.project, d.Name()))
		if err != nil || !bytes.Equal(want, got) {
			return fmt.Errorf("%s is not what the session has: %w", d.Name(), err)
		}
		return nil
	})
	must(t, err)
	if again := s.patch(); len(again) > 0 {
		t.Errorf("still to be patched: %s", again)
	}
}
