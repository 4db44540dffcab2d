package guest_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ccc-dev/ccc/internal/guest"
)

func TestParseLife(t *testing.T) {
	for text, want := range map[string]guest.Life{
		"deadline 5\n":                                           {Deadline: 5},
		"warn 3\nidle 0\ndeadline 1\n":                           {Deadline: 1, Warn: 3},
		"deadline 28800000000000\nidle 7\n":                      {Deadline: 8 * time.Hour, Idle: 7},
		"deadline 9223372036854775807\n":                         {Deadline: 1<<63 - 1},
		string(guest.Life{Deadline: 2}.Text()):                   {Deadline: 2},
		string(guest.Life{Deadline: 1, Idle: 2, Warn: 3}.Text()): {Deadline: 1, Idle: 2, Warn: 3},
		"deadline 0000000000000000000000000001\n":                {Deadline: 1},
	} {
		got, err := guest.ParseLife([]byte(text))
		if err != nil || got != want {
			t.Errorf("%q: got %+v, %v; want %+v", text, got, err, want)
		}
	}
}

func TestParseLifeRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"empty":              "",
		"a line break alone": "\n",
		"no deadline":        "idle 5\n",
		"deadline zero":      "deadline 0\n",
		"torn in a number":   "deadline 288000",
		"torn after a line":  "deadline 5\nidle 7",
		"a sign":             "deadline -5\n",
		"a plus":             "deadline +5\n",
		"a unit":             "deadline 8h\n",
		"a fraction":         "deadline 1.5\n",
		"hexadecimal":        "deadline 0x10\n",
		"underscores":        "deadline 1_000\n",
		"too large":          "deadline 9223372036854775808\n",
		"no value":           "deadline\n",
		"an empty value":     "deadline \n",
		"two blanks":         "deadline  5\n",
		"a blank behind":     "deadline 5 \n",
		"carriage return":    "deadline 5\r\n",
		"NUL":                "deadline 5\x00\n",
		"other digits":       "deadline \u0665\n",
		"unknown key":        "deadline 5\nlifetime 7\n",
		"another case":       "Deadline 5\n",
		"twice":              "deadline 5\ndeadline 6\n",
		"an empty line":      "deadline 5\n\n",
		"a comment":          "# a\ndeadline 5\n",
		"too long":           "deadline 5\n" + strings.Repeat("#", 5000) + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			got, err := guest.ParseLife([]byte(text))
			if err == nil {
				t.Fatalf("%q was taken for %+v", text, got)
			}
			if got != (guest.Life{}) {
				t.Errorf("%q was refused (%v), but also taken for %+v", text, err, got)
			}
			if strings.ContainsAny(err.Error(), "\n\x00\r") || len(err.Error()) > 200 {
				t.Errorf("not fit to be shown: %q", err)
			}
		})
	}
}

func TestWriteLife(t *testing.T) {
	dir := t.TempDir()
	for _, l := range []guest.Life{{Deadline: time.Hour}, {Deadline: 2 * time.Hour, Idle: time.Minute, Warn: time.Second}} {
		if err := guest.WriteLife(dir, l); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(dir, "life"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := guest.ParseLife(text); err != nil || got != l {
			t.Errorf("wrote %+v, read %+v, %v", l, got, err)
		}
	}
	info, err := os.Stat(guest.LifeFile(dir))
	if err != nil || info.Mode() != 0o644 {
		t.Errorf("mode %v, %v; want 0644", info.Mode(), err)
	}
	if diff := cmp.Diff([]string{"life"}, names(t, dir)); diff != "" {
		t.Errorf("left behind (-want +got)\n%s", diff)
	}
}

func TestWriteLifeRefuses(t *testing.T) {
	dir := t.TempDir()
	before := guest.Life{Deadline: 1}
	if err := guest.WriteLife(dir, before); err != nil {
		t.Fatal(err)
	}
	for _, l := range []guest.Life{{}, {Deadline: -1}, {Deadline: 1, Idle: -1}, {Deadline: 1, Warn: -1}, {Idle: time.Hour}} {
		if err := guest.WriteLife(dir, l); err == nil {
			t.Errorf("wrote %+v", l)
		}
	}
	if text, err := os.ReadFile(guest.LifeFile(dir)); err != nil || string(text) != string(before.Text()) {
		t.Errorf("afterwards the file is %q, %v", text, err)
	}
	if err := guest.WriteLife(filepath.Join(dir, "nowhere"), before); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("into a directory that is not there: %v", err)
	}
}

// TestWriteLifeFails has the last step fail: nothing may be left behind.
func TestWriteLifeFails(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(guest.LifeFile(dir), "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := guest.WriteLife(dir, guest.Life{Deadline: 1}); err == nil {
		t.Error("a directory in its place was replaced")
	}
	if diff := cmp.Diff([]string{"life"}, names(t, dir)); diff != "" {
		t.Errorf("left behind (-want +got)\n%s", diff)
	}
}

// TestWriteLifeIsWhole reads while others write: every reading is one of the
// lives that were written, never a part of one.
func TestWriteLifeIsWhole(t *testing.T) {
	dir := t.TempDir()
	lives := []guest.Life{{Deadline: 1, Idle: 1, Warn: 1}, {Deadline: 1 << 62, Idle: 1 << 62, Warn: 1 << 62}}
	if err := guest.WriteLife(dir, lives[0]); err != nil {
		t.Fatal(err)
	}
	var writers sync.WaitGroup
	for _, l := range lives {
		writers.Go(func() {
			for range 200 {
				if err := guest.WriteLife(dir, l); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { writers.Wait(); close(done) }()
	for {
		text, err := os.ReadFile(guest.LifeFile(dir))
		if err != nil {
			t.Fatal(err)
		}
		if l, err := guest.ParseLife(text); err != nil || l != lives[0] && l != lives[1] {
			t.Fatalf("read %q, %v", text, err)
		}
		select {
		case <-done:
			return
		default:
		}
	}
}

func FuzzParseLife(f *testing.F) {
	f.Add([]byte("deadline 5\nidle 6\nwarn 7\n"))
	f.Add([]byte("deadline \n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := guest.ParseLife(text)
		if err != nil {
			return
		}
		if l.Deadline <= 0 || l.Idle < 0 || l.Warn < 0 {
			t.Fatalf("%q: %+v", text, l)
		}
		if again, err := guest.ParseLife(l.Text()); err != nil || again != l {
			t.Fatalf("%q: %+v became %+v, %v", text, l, again, err)
		}
	})
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}
