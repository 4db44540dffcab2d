package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ccc-dev/ccc/internal/apparmor"
	"github.com/ccc-dev/ccc/internal/workspace"
)

// What is committed is what the generator writes.
func TestProfilesAreCurrent(t *testing.T) {
	files := Files()
	if len(files) != 2 {
		t.Errorf("%d files", len(files))
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join("../../..", name))
		if diff := cmp.Diff(want, string(got)); err != nil || diff != "" {
			t.Errorf("%s is not current (%v): go generate ./internal/apparmor\n%s", name, err, diff)
		}
	}
}

// Each profile has the rules that its description promises, and no other has
// them.
func TestRules(t *testing.T) {
	for name, text := range Files() {
		new := strings.Contains(name, "abi4.0")
		for _, p := range apparmor.Profiles() {
			_, body, ok := strings.Cut(text, "\nprofile "+p.Name+" /.ccc/init ")
			if !ok {
				t.Errorf("%s has no %s", name, p.Name)
			}
			body, _, _ = strings.Cut(body, "}\n")
			for rule, want := range map[string]bool{
				"  ptrace (read, readby) peer=" + p.Name + ",\n":   !p.Trace,
				"  ptrace peer=" + p.Name + ",\n":                  p.Trace,
				"  mount,\n":                                       p.Namespaces,
				"  capability,\n":                                  p.Namespaces,
				"  userns,\n":                                      p.Namespaces && new,
				"  deny capability,\n":                             !p.Namespaces,
				"  audit deny mount,\n":                            !p.Namespaces,
				"  audit deny umount,\n":                           !p.Namespaces,
				"  audit deny pivot_root,\n":                       !p.Namespaces,
				"  audit deny userns,\n":                           !p.Namespaces && new,
				"  audit deny io_uring,\n":                         new,
				"xattrs=(" + apparmor.MarkAttribute + "=" + p.Mark: p.Mark != "",
				"flags=(attach_disconnected,mediate_deleted)":      true,
				"audit deny /workspace/.claude{,/} wl,":            p.Guarded,
				"complain":                                         false,
				"unconfined":                                       false,
				"change_profile":                                   false,
			} {
				if strings.Contains(body, rule) != want {
					t.Errorf("%s, %s: %q is there: %v", name, p.Name, rule, !want)
				}
			}
			for _, g := range workspace.GuardedNames() {
				if strings.Contains(body, "audit deny /workspace/"+g+"{,/,/**} wl,") != p.Guarded {
					t.Errorf("%s, %s: %s is guarded: %v", name, p.Name, g, !p.Guarded)
				}
			}
		}
	}
}
