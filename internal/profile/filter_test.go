package profile_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/profile"
)

const wholeFilter = "description: numactl\nbase: agent\nallow:\n  - call: mbind\n    reason: numactl\n  - {call: adjtimex, reason: clocks}\n"

func TestFindFilter(t *testing.T) {
	fsys := fstest.MapFS{"seccomp/mine.yaml": {Data: []byte(wholeFilter)}, "secret.yaml": {Data: []byte(wholeFilter)}}
	from := profile.Source{FS: fsys, Dir: "seccomp", Label: "~/"}
	f, err := profile.FindFilter("mine", from)
	if err != nil {
		t.Fatal(err)
	}
	if f.Name != "mine" || f.Source != "~/seccomp/mine.yaml" || f.Base != "agent" || !slices.Equal(f.Calls(), []string{"mbind", "adjtimex"}) {
		t.Errorf("%+v", f)
	}
	for _, name := range []string{"other", "", "../secret", "/etc/passwd", "mine.yaml", "Mine", "a/b"} {
		if _, err := profile.FindFilter(name, from); api.KindOf(err) != api.KindNotFound {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestBadFiltersAreRefused(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"empty":            {"", "EOF"},
		"unknown key":      {wholeFilter + "defaultAction: SCMP_ACT_ALLOW\n", "defaultAction"},
		"unknown call key": {"allow: [{call: mbind, reason: x, args: []}]\n", "args"},
		"nothing to allow": {"base: agent\n", "at least one"},
		"no reason":        {"allow: [{call: mbind}]\n", "reason"},
		"no name":          {"allow: [{call: 'mbind\"', reason: x}]\n", "not the name"},
		"a second one":     {wholeFilter + "---\nbase: nested\n", "follows"},
		"too large":        {wholeFilter + "#" + strings.Repeat("x", 64<<10), "larger than"},
	} {
		fsys := fstest.MapFS{"seccomp/mine.yaml": {Data: []byte(c.text)}}
		_, err := profile.FindFilter("mine", profile.Source{FS: fsys, Dir: "seccomp"})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A filter that others could have written is none of the user's.
func TestFilterFilesOfOthersAreRefused(t *testing.T) {
	dir := t.TempDir()
	from := profile.Source{FS: os.DirFS(dir), Dir: ".", Label: dir + "/"}
	file := filepath.Join(dir, "mine.yaml")
	write := func(mode os.FileMode) {
		t.Helper()
		_ = os.RemoveAll(file)
		if err := errors.Join(os.WriteFile(file, []byte(wholeFilter), 0o600), os.Chmod(file, mode)); err != nil {
			t.Fatal(err)
		}
	}
	for mode, ok := range map[os.FileMode]bool{0o600: true, 0o644: true, 0o660: false, 0o646: false} {
		write(mode)
		_, err := profile.FindFilter("mine", from)
		if ok && err != nil || !ok && api.KindOf(err) != api.KindDenied {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
	if os.Geteuid() == 0 {
		write(0o600)
		if err := os.Chown(file, 1, 1); err != nil {
			t.Fatal(err)
		}
		if _, err := profile.FindFilter("mine", from); api.KindOf(err) != api.KindDenied {
			t.Errorf("another user's: %v", err)
		}
	}
	_ = os.Remove(file)
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := profile.FindFilter("mine", from); api.KindOf(err) != api.KindDenied {
		t.Errorf("a pipe: %v", err)
	}
}
