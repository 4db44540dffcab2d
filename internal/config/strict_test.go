package config_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/config"
)

// refuse loads sources that must be refused with an error of the kind that has
// a hint and every one of the words in message or hint.
func refuse(t *testing.T, s config.Sources, kind api.Kind, words ...string) {
	t.Helper()
	c, err := config.Load(s)
	if err == nil {
		t.Fatalf("taken: %+v", c.Effective)
	}
	r := api.ReportOf(err)
	if r.Kind != kind || r.Hint == "" {
		t.Errorf("got %+v, want %s and a hint", r, kind)
	}
	for _, w := range words {
		if !strings.Contains(r.Message+"\n"+r.Hint, w) {
			t.Errorf("%q is not in %q with hint %q", w, r.Message, r.Hint)
		}
	}
	if kind == api.KindDenied && r.Rule == "" {
		t.Error("a denial without a rule")
	}
}

func TestFilesAreStrict(t *testing.T) {
	for name, c := range map[string]struct {
		text  string
		words []string
	}{
		"unknown key":          {"image: a\nimages: b\n", []string{":2: ", `"images"`, "did you mean image?"}},
		"unknown nested key":   {"limits:\n  memry: 4g\n", []string{":2: ", `"limits.memry"`, "did you mean limits.memory?"}},
		"unknown section":      {"\n\nlimit:\n  memory: 4g\n", []string{":3: ", `"limit"`, "did you mean limits?"}},
		"unknown ceiling":      {"ceiling:\n  limits:\n    memory: 4g\n  wrokspaces: [bind]\n", []string{":4: ", "did you mean ceiling.workspaces?"}},
		"nothing is near":      {"completely_different: 1\n", []string{":1: ", "ccc config show"}},
		"upper case":           {"Image: a\n", []string{`"Image"`, "did you mean image?"}},
		"dotted key":           {"limits.memory: 4g\n", nil},
		"key with a newline":   {"\"ima\\nge\": a\n", []string{`"ima\nge"`}},
		"long key":             {"? " + strings.Repeat("k", 10000) + "\n: a\n", []string{"10000 bytes"}},
		"key twice":            {"image: a\nprofile: strict\nimage: b\n", []string{":3: ", "line 1"}},
		"section twice":        {"limits:\n  memory: 4g\nlimits:\n  pids: 5\n", []string{":3: ", "line 1"}},
		"nested key twice":     {"limits:\n  pids: 4\n  pids: 5\n", []string{":3: ", "limits.pids"}},
		"section without keys": {"limits: 4g\n", []string{":1: ", "limits has no keys"}},
		"section with nothing": {"image: a\nlimits:\n", []string{":2: "}},
		"section as list":      {"limits: [memory]\n", []string{":1: "}},
		"value is a section":   {"image:\n  name: a\n", []string{"image takes one value"}},
		"value is a list":      {"image: [a]\n", []string{":1: ", "image takes one value"}},
		"value is empty":       {"image:\n", []string{":1: ", "image has no value"}},
		"value is null":        {"image: ~\n", []string{"image has no value"}},
		"value is empty text":  {"image: ''\n", []string{":1: ", "image"}},
		"value is a truth":     {"image: true\n", []string{"image cannot be"}},
		"list is one value":    {"ceiling:\n  profiles: strict\n", []string{":2: ", "takes a list"}},
		"list is empty":        {"ceiling:\n  profiles: []\n", []string{":2: ", "is empty"}},
		"projects are empty":   {"projects:\n  allow: []\n", []string{":2: ", "is empty"}},
		"list of lists":        {"ceiling:\n  profiles: [[strict]]\n", []string{":2: "}},
		"list with a null":     {"ceiling:\n  profiles: [strict, ]\n  workspaces: [~]\n", []string{":3: ", "no value"}},
		"not a mapping":        {"- image\n", []string{":1: "}},
		"text":                 {"image\n", []string{":1: "}},
		"two documents":        {"image: a\n---\nimage: b\n", []string{"second document"}},
		"second one is broken": {"image: a\n---\n\t: [\n", nil},
		"syntax":               {"image: a\n  b: [\n", []string{"not valid YAML", "line 2"}},
		"merge key":            {"<<: {image: a}\n", nil},
		"alias":                {"image: &a b\nprofile: *a\n", []string{":1: ", "anchor"}},
		"anchor on a section":  {"limits: &l {memory: 4g}\n", []string{"anchor"}},
		"alias as key":         {"? &k image\n: a\n", []string{"anchor"}},
		"billion laughs":       {"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nceiling: {profiles: [*b]}\n", nil},
		"anchored list":        {"ceiling:\n  profiles: &p [strict]\n", []string{":2: ", "anchor"}},
		"alias to itself":      {"limits: &l\n  memory: *l\n", []string{"anchor"}},
		"tag":                  {"limits: {pids: !!str 5}\n", []string{"tag"}},
		"tag of a language":    {"image: !!python/object/apply:os.system [id]\n", []string{"tag"}},
		"key that is a list":   {"? [image]\n: a\n", []string{":1: "}},
		"deep":                 {strings.Repeat("[", 20000), nil},
		"deep sections":        {strings.Repeat("{limits: ", 7000), nil},
		"invalid UTF-8":        {"image: \"a\xff\"\n", []string{"UTF-8"}},
		"UTF-16":               {"\xff\xfei\x00m\x00", []string{"UTF-8"}},
		"NUL":                  {"image: a\x00b\n", nil},
		"1 MB":                 {"# " + strings.Repeat("x", 1<<20) + "\n", []string{"too large"}},
		"one byte too large":   {"#" + strings.Repeat("x", 64<<10), []string{"too large"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, s := range []config.Sources{{HostFile: write(t, "policy.yaml", c.text)}, {UserFile: write(t, "config.yaml", c.text)}} {
				refuse(t, s, api.KindInvalid, append(c.words, s.HostFile+s.UserFile)...)
			}
			// A project's file is read by the same rules, if not for the same keys.
			if _, err := config.Load(config.Sources{ProjectFile: write(t, ".ccc.yaml", c.text)}); err == nil {
				t.Error("taken from a project")
			}
		})
	}
}

func TestFilesMayBeEmpty(t *testing.T) {
	for _, text := range []string{"", "\n", "# nothing\n", "---\n", "---\n...\n", "{}\n", "\ufeff{}\n", "#" + strings.Repeat("x", 64<<10-1)} {
		c := load(t, config.Sources{UserFile: write(t, "config.yaml", text)})
		if len(c.Layers) != 1 || c.Layers[0].Source != config.SourceUser {
			t.Errorf("%.20q: layers %+v", text, c.Layers)
		}
	}
}

// bad has values that no place may take, by key.
var bad = map[string][]string{
	"connection":            {"tcp://host:1", "ssh://root@host/run/podman.sock", "-x", "../podman.sock", "a/b", "unix://relative", "/a/../b", "/a\u202eb"},
	"image":                 {"-x", "a b", "../a", "a//b", "é", "a\u200bb"},
	"profile":               {"Strict", "-x", "../strict", "a.yaml"},
	"workspace":             {"clone", "Overlay", "rw"},
	"limits.memory":         {"0", "-1", "4x", "lots", "1e400g", "4g;"},
	"limits.cpus":           {"0", "-1", "NaN", "Inf", "1025"},
	"limits.pids":           {"0", "-1", "1.5", "0x10", "99999999999"},
	"limits.nofile":         {"0", "unlimited"},
	"limits.tmp":            {"0", "50%"},
	"limits.idle":           {"0", "-1h", "3600", "never"},
	"limits.ttl":            {"0", "-1h", "3600", "1w", "forever"},
	"require":               {"missing", "yes", "Enforced"},
	"max_sessions":          {"0", "-5", "many"},
	"audit.dir":             {"relative", "/a/..", "/a/", "~user/x", "/a\u2028b"},
	"audit.file":            {"../x", "a/b", ".hidden", "-x"},
	"ceiling.limits.memory": {"0", "x"},
	"ceiling.limits.cpus":   {"0"},
	"ceiling.limits.pids":   {"0"},
	"ceiling.limits.nofile": {"0"},
	"ceiling.limits.tmp":    {"0"},
	"ceiling.limits.ttl":    {"0"},
	"ceiling.limits.idle":   {"0"},
	"ceiling.require":       {"missing"},
	"ceiling.workspaces":    {"[clone]", "[overlay, rw]"},
	"ceiling.profiles":      {"[Strict]", "[strict, -x]"},
	"mounts.allow":          {"[relative]", "[/srv, ../x]", "[/srv/]"},
	"projects.allow":        {"[relative]", "['~']"},
}

func TestBadValuesAreRefused(t *testing.T) {
	for key, values := range bad {
		for _, v := range values {
			t.Run(key+" "+v, func(t *testing.T) {
				text := v
				if !strings.HasPrefix(v, "[") {
					text = fmt.Sprintf("%q", v)
				}
				s := config.Sources{UserFile: write(t, "config.yaml", yamlOf(key, text)), Home: "/home/ann"}
				refuse(t, s, api.KindInvalid, fmt.Sprintf("%s:%d: %s: ", s.UserFile, strings.Count(key, ".")+1, key))
			})
		}
	}
	for _, k := range plainKeys {
		for _, v := range bad[k.key] {
			refuse(t, config.Sources{Environ: []string{k.variable + "=" + v}}, api.KindInvalid, k.variable+": "+k.key+": ")
			if k.flag != "" {
				refuse(t, config.Sources{Flags: map[string]string{k.key: v}}, api.KindInvalid, k.flag+": "+k.key+": ")
			}
			refuse(t, config.Sources{Defaults: map[string]string{k.key: v}}, api.KindInvalid, k.key)
		}
		for _, v := range []string{"a\nb", "a\x00b", "a\x1b[1m", "a\xff", strings.Repeat("a", 1<<20)} {
			refuse(t, config.Sources{Environ: []string{k.variable + "=" + v}}, api.KindInvalid, k.variable)
			_, err := config.Load(config.Sources{Environ: []string{k.variable + "=" + v}})
			if msg := err.Error(); len(msg) > 400 || api.Printable(msg) != msg {
				t.Errorf("the message is not fit to be shown: %.500q", msg)
			}
		}
	}
	if len(bad) != len(plainKeys)+12 {
		t.Errorf("%d keys have bad values, want %d", len(bad), len(plainKeys)+12)
	}
}

func TestHome(t *testing.T) {
	s := config.Sources{UserFile: write(t, "config.yaml", "audit: {dir: ~/log}\n"), Home: "/home/ann/"}
	if got := load(t, s).Effective.Audit.Dir; got != "/home/ann/log" {
		t.Errorf("got %s", got)
	}
	s.Home = ""
	refuse(t, s, api.KindInvalid, "audit.dir")
	s.Home, s.UserFile = "/home/ann", write(t, "config.yaml", "audit: {dir: ~/../bob}\n")
	refuse(t, s, api.KindInvalid, "audit.dir")
}

func TestVariables(t *testing.T) {
	for name, c := range map[string]struct {
		environ []string
		words   []string
	}{
		"unknown":               {[]string{"CCC_IMAGES=a"}, []string{`"CCC_IMAGES"`, "did you mean CCC_IMAGE?"}},
		"unknown and empty":     {[]string{"CCC_REQUIER="}, []string{"did you mean CCC_REQUIRE?"}},
		"without a value":       {[]string{"CCC_FOO"}, []string{"CCC_FOO"}},
		"a key of files":        {[]string{"CCC_MOUNTS_ALLOW=/"}, nil},
		"a ceiling":             {[]string{"CCC_CEILING_LIMITS_MEMORY=9t"}, []string{"CCC_LIMITS_MEMORY"}},
		"strange":               {[]string{"CCC_\n\x1b=1"}, []string{`"CCC_\n\x1b"`}},
		"long":                  {[]string{"CCC_" + strings.Repeat("X", 1<<20) + "=1"}, []string{"bytes)"}},
		"timeout not a number":  {[]string{"DEFAULT_SESSION_TIMEOUT=8h"}, []string{"DEFAULT_SESSION_TIMEOUT: limits.ttl"}},
		"timeout zero":          {[]string{"DEFAULT_SESSION_TIMEOUT=0"}, []string{"DEFAULT_SESSION_TIMEOUT"}},
		"sessions not a number": {[]string{"MAX_CONCURRENT_SESSIONS=ten"}, []string{"MAX_CONCURRENT_SESSIONS: max_sessions"}},
		"image":                 {[]string{"DEFAULT_CLAUDE_IMAGE=-v"}, []string{"DEFAULT_CLAUDE_IMAGE: image"}},
		"log is relative":       {[]string{"MCP_AUDIT_LOG=audit.log"}, []string{"MCP_AUDIT_LOG: audit.dir"}},
		"log is a directory":    {[]string{"MCP_AUDIT_LOG=/var/log/"}, []string{"MCP_AUDIT_LOG: audit.file"}},
	} {
		t.Run(name, func(t *testing.T) {
			refuse(t, config.Sources{Environ: c.environ}, api.KindInvalid, c.words...)
		})
	}
	load(t, config.Sources{Environ: []string{"CCC_TEST_X=1", "CCC_LAB_Y=", "CCC_CONFIG=/c", "CCC=1", "XCCC_FOO=1", "CCC_IMAGE=", "DEFAULT_SESSION_TIMEOUT=", "=x", "", "\xff"}, OtherEnv: []string{"CCC_CONFIG"}})
}

func TestThePredecessorsVariables(t *testing.T) {
	old := []string{"DEFAULT_CLAUDE_IMAGE=old:1", "DEFAULT_SESSION_TIMEOUT=5400", "MAX_CONCURRENT_SESSIONS=7", "MCP_AUDIT_LOG=/var/log/mcp/old.log"}
	c := load(t, config.Sources{Environ: old, UserFile: write(t, "config.yaml", "image: file\nmax_sessions: 1\n")})
	for key, want := range map[string][2]string{
		"image":        {"old:1", "DEFAULT_CLAUDE_IMAGE"},
		"limits.ttl":   {"1h30m", "DEFAULT_SESSION_TIMEOUT"},
		"max_sessions": {"7", "MAX_CONCURRENT_SESSIONS"},
		"audit.dir":    {"/var/log/mcp", "MCP_AUDIT_LOG"},
		"audit.file":   {"old.log", "MCP_AUDIT_LOG"},
	} {
		if got := field(t, c, key); got != want[0] {
			t.Errorf("%s is %s, want %s", key, got, want[0])
		}
		if got := (c.Origin(key)); got != (config.Origin{Source: config.SourceEnv, Name: want[1]}) {
			t.Errorf("%s is from %+v", key, got)
		}
	}
	// Their twins win, each of the two that stand for the log over both halves.
	for _, twin := range []string{"CCC_IMAGE=new", "CCC_LIMITS_TTL=1h", "CCC_MAX_SESSIONS=9", "CCC_AUDIT_DIR=/new", "CCC_AUDIT_FILE=new.log"} {
		c := load(t, config.Sources{Environ: append([]string{twin}, old...)})
		name, value, _ := strings.Cut(twin, "=")
		key := strings.Replace(strings.ToLower(strings.TrimPrefix(name, "CCC_")), "_", ".", 1)
		if name == "CCC_MAX_SESSIONS" {
			key = "max_sessions"
		}
		if got := field(t, c, key); got != value || c.Origin(key).Name != name {
			t.Errorf("%s: %s from %s", twin, got, c.Origin(key))
		}
		if strings.HasPrefix(name, "CCC_AUDIT") && (c.Origin("audit.dir").Name == "MCP_AUDIT_LOG" || c.Origin("audit.file").Name == "MCP_AUDIT_LOG") {
			t.Errorf("%s is mixed with MCP_AUDIT_LOG", twin)
		}
	}
	if got := load(t, config.Sources{Environ: []string{"MCP_AUDIT_LOG=/x.log"}}).Effective.Audit; got.Dir != "/" || got.File != "x.log" {
		t.Errorf("a log in the root: %+v", got)
	}
}

func TestFilesThatOthersCouldHaveWritten(t *testing.T) {
	const good = "ceiling: {profiles: [strict]}\n"
	for name, c := range map[string]struct {
		trap func(file string) error
		// kinds of the refusal for host and user file, and for the project's;
		// internal where it is taken.
		own, project api.Kind
	}{
		"writable by the group": {func(f string) error { return os.Chmod(f, 0o620) }, api.KindDenied, api.KindInternal},
		"writable by all":       {func(f string) error { return os.Chmod(f, 0o602) }, api.KindDenied, api.KindInternal},
		"readable by all":       {func(f string) error { return os.Chmod(f, 0o644) }, api.KindInternal, api.KindInternal},
		"a link":                {func(f string) error { return errors.Join(os.Rename(f, f+".real"), os.Symlink(f+".real", f)) }, api.KindInternal, api.KindDenied},
		"a link to a writable file": {func(f string) error {
			return errors.Join(os.Rename(f, f+".real"), os.Chmod(f+".real", 0o666), os.Symlink(f+".real", f))
		}, api.KindDenied, api.KindDenied},
		"a directory": {func(f string) error { return errors.Join(os.Remove(f), os.Mkdir(f, 0o700)) }, api.KindDenied, api.KindDenied},
		"a fifo":      {func(f string) error { return errors.Join(os.Remove(f), unix.Mkfifo(f, 0o600)) }, api.KindDenied, api.KindDenied},
		"a device":    {func(f string) error { return errors.Join(os.Remove(f), os.Symlink("/dev/zero", f)) }, api.KindDenied, api.KindDenied},
		"below a file": {func(f string) error {
			dir := filepath.Dir(f)
			return errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600))
		}, api.KindInvalid, api.KindInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			for _, source := range []config.Source{config.SourceHost, config.SourceUser, config.SourceProject} {
				dir := filepath.Join(t.TempDir(), "d")
				file := filepath.Join(dir, "f.yaml")
				if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(file, []byte(good), 0o600), c.trap(file)); err != nil {
					t.Fatal(err)
				}
				s, want := config.Sources{}, c.own
				switch source {
				case config.SourceHost:
					s.HostFile = file
				case config.SourceUser:
					s.UserFile = file
				default:
					s.ProjectFile, want = file, c.project
				}
				if want == api.KindInternal {
					if got := load(t, s).Layers; len(got) != 1 {
						t.Errorf("%s: %+v", source, got)
					}
					continue
				}
				refuse(t, s, want, file)
			}
		})
	}
}

// A file that cannot be read may forbid anything, so it is not as if it were
// not there. Another user's file needs root to be made; an ordinary user may
// have none that others own.
func TestAnotherUsersFile(t *testing.T) {
	file := write(t, "config.yaml", "ceiling: {profiles: [strict]}\n")
	if os.Geteuid() != 0 {
		if err := os.Chmod(file, 0); err != nil {
			t.Fatal(err)
		}
		refuse(t, config.Sources{HostFile: file}, api.KindInvalid, file)
		return
	}
	if err := os.Chown(file, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	refuse(t, config.Sources{HostFile: file}, api.KindDenied, file, "12345")
	refuse(t, config.Sources{UserFile: file}, api.KindDenied, file, "12345")
	load(t, config.Sources{ProjectFile: file})
}

func TestARequiredFileMustBeThere(t *testing.T) {
	refuse(t, config.Sources{UserFile: "/nonexistent/config.yaml", UserFileRequired: true}, api.KindNotFound, "/nonexistent/config.yaml")
}

func TestSettingsThatDoNotExistAreMistakesOfTheProgram(t *testing.T) {
	for _, s := range []config.Sources{
		{Flags: map[string]string{"nonsense": "1"}},
		{Flags: map[string]string{"mounts.allow": "/"}},
		{Flags: map[string]string{"ceiling.limits.memory": "9t"}},
		{Defaults: map[string]string{"nonsense": "1"}},
		{Defaults: map[string]string{"mounts.allow": "/"}},
	} {
		if _, err := config.Load(s); err == nil || api.KindOf(err) != api.KindInternal {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

// FuzzProjectFile looks for a project's file that crashes the reader, or gets
// anything into the effective settings.
func FuzzProjectFile(f *testing.F) {
	for _, text := range []string{"limits: {memory: 1g}\n", "ceiling:\n  profiles: [strict]\n", "? a\n: &b\n  - *b\n", "image: a\n", "--- !!map\n"} {
		f.Add([]byte(text))
	}
	file := filepath.Join(f.TempDir(), ".ccc.yaml")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(config.Sources{ProjectFile: file})
		if err != nil {
			if msg := err.Error(); bytes.ContainsAny([]byte(msg), "\x00\x1b") {
				t.Errorf("message %q", msg)
			}
			return
		}
		if want := (config.Effective{Profile: "standard", Workspace: "overlay", MaxSessions: 128, Audit: config.Audit{File: "audit.jsonl"}}); c.Effective != want {
			t.Errorf("got %+v", c.Effective)
		}
	})
}
