package main_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	base "go.podman.io/common/pkg/seccomp"

	gen "github.com/ccc-dev/ccc/internal/seccomp/gen"
)

var update = flag.Bool("update", false, "write the generated files")

// root is the module's directory.
const root = "../../.."

// What is committed is what the table and the pinned library give: neither can
// change a shipped profile without the change being seen in it.
func TestCommittedFilesAreGenerated(t *testing.T) {
	files, err := gen.Files(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	if want := 2*len(gen.Variants) + 1; len(files) != want {
		t.Errorf("%d files, want %d", len(files), want)
	}
	for name, want := range files {
		path := filepath.Join(root, name)
		if *update {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the generator makes: run go generate ./internal/seccomp and look at the difference", name)
		}
	}
}

func TestEveryRowHasAReason(t *testing.T) {
	cve := regexp.MustCompile(`^CVE-20[0-9]{2}-[0-9]{4,}( [A-Z_]+)?$`)
	rows := gen.Removals()
	if len(rows) < 30 {
		t.Fatalf("only %d rows", len(rows))
	}
	for _, r := range rows {
		if len(r.Calls) == 0 {
			t.Errorf("a row without calls: %q", r.Reason)
		}
		if len(r.Reason) < 10 || len(r.Reason) > 220 || strings.ContainsAny(r.Reason, "\n\t") {
			t.Errorf("%v: the reason is not a line: %q", r.Calls, r.Reason)
		}
		if !slices.Contains([]syscall.Errno{syscall.EPERM, syscall.ENOSYS, syscall.EINVAL}, r.Errno) {
			t.Errorf("%v: errno %d", r.Calls, r.Errno)
		}
		for _, c := range r.CVEs {
			if !cve.MatchString(c) {
				t.Errorf("%v: %q is not a CVE", r.Calls, c)
			}
		}
		for _, v := range r.In {
			if !slices.Contains(gen.Variants, v) {
				t.Errorf("%v: there is no variant %q", r.Calls, v)
			}
		}
	}
}

// Two rows for one call would leave it to their order what holds.
func TestNoCallIsInTwoRowsOfAVariant(t *testing.T) {
	for _, v := range gen.Variants {
		seen := map[string]bool{}
		for _, r := range gen.Removals() {
			if len(r.In) > 0 && !slices.Contains(r.In, v) {
				continue
			}
			for _, c := range r.Calls {
				if seen[c] {
					t.Errorf("%s: two rows for %s", v, c)
				}
				seen[c] = true
			}
		}
	}
}

// shipped reads a generated profile.
func shipped(t *testing.T, files map[string][]byte, name string) specs.LinuxSeccomp {
	t.Helper()
	var p specs.LinuxSeccomp
	if err := json.Unmarshal(files[name], &p); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return p
}

// A profile is made by taking away: it allows nothing that the base does not
// allow to a container without capabilities.
func TestNothingIsAddedToTheBase(t *testing.T) {
	files, err := gen.Files(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	allowed := map[string]bool{}
	for _, s := range base.DefaultProfile().Syscalls {
		if s.Action != base.ActAllow || len(s.Includes.Caps) > 0 {
			continue
		}
		for _, name := range s.Names {
			allowed[name] = true
		}
	}
	checked := 0
	for name := range files {
		if !strings.HasSuffix(name, ".json") {
			continue
		}
		for _, s := range shipped(t, files, name).Syscalls {
			for _, call := range s.Names {
				checked++
				if s.Action == specs.ActAllow && !allowed[call] {
					t.Errorf("%s allows %s, which the base does not", name, call)
				}
			}
		}
	}
	if checked == 0 {
		t.Fatal("no rule was checked")
	}
}
