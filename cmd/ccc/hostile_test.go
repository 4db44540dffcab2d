package main_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/app"
	"github.com/ccc-dev/ccc/internal/audit"
	"github.com/ccc-dev/ccc/internal/session/sessiontest"
)

// hostile are values that somebody might try. NUL cannot be in an argument; the
// tests of the core and of the api's types have it.
var hostile = map[string]string{
	"newline":         "a\nb",
	"carriage return": "a\rccc: all is well",
	"escape sequence": "a\x1b[2J\x1b]0;owned\x07b",
	"C1 control":      "a\u009b2Jb",
	"delete":          "a\x7fb",
	"bidi override":   "a\u202etxt.exe",
	"zero width":      "a\u200bb",
	"line separator":  "a\u2028b",
	"invalid UTF-8":   "a\xff\xfeb",
	"leading dash":    "-rf",
	"leading dashes":  "--privileged",
	"parent":          "..",
	"way out":         "../../../../etc",
	"colon":           "a:b",
	"colons":          "a:/b:rw,z",
	"comma":           "a,b",
	"backslash":       `a\b`,
	"quote":           `a"b`,
	"blank":           "a b",
	"empty":           "",
	"100 KB":          strings.Repeat("x", 100<<10),
	"Unicode":         "ünï",
}

// field is a flag or an argument that takes a string.
type field struct {
	// args is the command with one %s for the value.
	args []string
	// action is what a refusal is recorded as; empty for what only reads.
	action string
	// accepts are the hostile values that are right here: they do what they say.
	accepts []string
}

// fields are all strings that a person or a program can give.
var fields = map[string]field{
	"create PROJECT":     {[]string{"session", "create", "--", "%s"}, "session.create", []string{"parent"}},
	"create --project":   {[]string{"session", "create", "--project=%s"}, "session.create", []string{"parent"}},
	"create --name":      {[]string{"session", "create", "--name=%s"}, "session.create", nil},
	"create --workspace": {[]string{"session", "create", "--workspace=%s"}, "session.create", nil},
	"create --profile":   {[]string{"session", "create", "--profile=%s"}, "session.create", nil},
	"create --image":     {[]string{"session", "create", "--image=%s"}, "session.create", nil},
	"create --memory":    {[]string{"session", "create", "--memory=%s"}, "session.create", nil},
	"create --cpus":      {[]string{"session", "create", "--cpus=%s"}, "session.create", nil},
	"create --pids":      {[]string{"session", "create", "--pids=%s"}, "session.create", nil},
	"create --nofile":    {[]string{"session", "create", "--nofile=%s"}, "session.create", nil},
	"create --tmp-size":  {[]string{"session", "create", "--tmp-size=%s"}, "session.create", nil},
	"create --ttl":       {[]string{"session", "create", "--ttl=%s"}, "session.create", nil},
	"create --mount":     {[]string{"session", "create", "--mount=%s"}, "session.create", nil},
	"create --mount source": {
		[]string{"session", "create", "--mount=%s:/data"}, "session.create", nil},
	"create --mount target": {[]string{"session", "create", "--mount=.:/data/%s"}, "session.create", nil},
	"create --env":          {[]string{"session", "create", "--env=%s"}, "session.create", nil},
	"create --env name":     {[]string{"session", "create", "--env=%s=x"}, "session.create", nil},
	"create --label":        {[]string{"session", "create", "--label=%s"}, "session.create", nil},
	"create --label name":   {[]string{"session", "create", "--label=%s=x"}, "session.create", nil},
	"create --require":      {[]string{"session", "create", "--require=%s"}, "session.create", nil},
	"exec SESSION":          {[]string{"session", "exec", "--", "%s", "true"}, "session.exec", nil},
	"exec --workdir":        {[]string{"session", "exec", "--workdir=%s", "demo", "true"}, "session.exec", []string{"empty"}},
	"exec --workdir below":  {[]string{"session", "exec", "--workdir=/workspace/%s", "demo", "true"}, "session.exec", plainText},
	"exec --env":            {[]string{"session", "exec", "--env=%s", "demo", "true"}, "session.exec", nil},
	"exec --timeout":        {[]string{"session", "exec", "--timeout=%s", "demo", "true"}, "session.exec", nil},
	"shell SESSION":         {[]string{"session", "shell", "--", "%s"}, "session.exec", nil},
	"stop SESSION":          {[]string{"session", "stop", "--", "%s"}, "session.stop", nil},
	"stop --grace":          {[]string{"session", "stop", "--grace=%s", "demo"}, "session.stop", nil},
	"start SESSION":         {[]string{"session", "start", "--", "%s"}, "session.start", nil},
	"restart SESSION":       {[]string{"session", "restart", "--", "%s"}, "session.restart", nil},
	"restart --grace":       {[]string{"session", "restart", "--grace=%s", "demo"}, "session.restart", nil},
	"rm SESSION":            {[]string{"session", "rm", "--yes", "--", "%s"}, "session.remove", nil},
	"show SESSION":          {[]string{"session", "show", "--", "%s"}, "", nil},
	"logs SESSION":          {[]string{"session", "logs", "--", "%s"}, "", nil},
	"logs --tail":           {[]string{"session", "logs", "--tail=%s", "demo"}, "", nil},
	"logs --since":          {[]string{"session", "logs", "--since=%s", "demo"}, "", nil},
	"wait SESSION":          {[]string{"session", "wait", "--", "%s"}, "", nil},
	"list --format":         {[]string{"session", "list", "--format={{%s}}"}, "", nil},
	"prune --older-than":    {[]string{"prune", "--yes", "--older-than=%s"}, "prune", nil},
	"image build --name":    {[]string{"image", "build", "--name=%s"}, "image.build", []string{"colon"}},
	"image build --base":    {[]string{"image", "build", "--base=%s"}, "image.build", []string{"empty"}},
	"image build --mirror":  {[]string{"image", "build", "--mirror=%s"}, "image.build", []string{"empty"}},
	"image rm IMAGE":        {[]string{"image", "rm", "--yes", "--", "%s"}, "image.remove", nil},
	"audit log --tail":      {[]string{"audit", "log", "--tail=%s"}, "", nil},
	"--config":              {[]string{"--config=%s", "session", "list"}, "", []string{"empty"}},
	"--connection":          {[]string{"--connection=%s", "session", "list"}, "", []string{"empty", "blank"}},
	"command":               {[]string{"%s"}, "", []string{"empty"}},
	"session command":       {[]string{"session", "%s"}, "", []string{"empty"}},
	"unknown flag":          {[]string{"session", "create", "--%s"}, "session.create", []string{"empty"}},
}

// plainText are the hostile values that are names of files like any other.
var plainText = []string{"colon", "colons", "comma", "backslash", "quote", "blank", "Unicode", "leading dash", "leading dashes"}

// run runs the program, in this process for there are many, and returns what it
// printed.
func (f *hostileWorld) run(args ...string) (stdout, stderr string, code int) {
	f.Helper()
	var out, errs bytes.Buffer
	a := app.App{Args: args, Environ: environ(f.World), In: strings.NewReader(""), Out: &out, Err: &errs}
	if err := inWorld(&a, f.World); err != nil {
		f.Fatal(err)
	}
	code = a.Main(f.Context())
	return out.String(), errs.String(), code
}

// hostileWorld is a world with a session called demo.
type hostileWorld struct {
	*testing.T
	*sessiontest.World
}

func newHostileWorld(t *testing.T) *hostileWorld {
	w := &hostileWorld{t, furnished(t)}
	t.Chdir(w.Project)
	if _, stderr, code := w.run("session", "create", "--name=demo"); code != 0 {
		t.Fatal(stderr)
	}
	return w
}

func (f *hostileWorld) snapshot() map[string]string {
	f.Helper()
	s, err := f.Snapshot()
	if err != nil {
		f.Fatal(err)
	}
	return s
}

func (f *hostileWorld) records() []audit.Record {
	f.Helper()
	all, err := f.Records(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	return all
}

// codes are the exit codes of refusals, by kind.
var codes = map[string]int{"invalid": 2, "denied": 3, "not_found": 4, "conflict": 5}

// refused runs a command that must be refused: nothing changed, one record, an
// error and a hint that are safe to show.
func (f *hostileWorld) refused(action string, args ...string) audit.Record {
	f.Helper()
	before, recorded := f.snapshot(), len(f.records())
	stdout, stderr, code := f.run(args...)
	if d := cmp.Diff(before, f.snapshot()); d != "" {
		f.Errorf("something was changed (-before +after):\n%s", d)
	}
	if stdout != "" {
		f.Errorf("it printed %.200q", stdout)
	}
	harmless(f.T, stderr)
	lines := strings.Split(stderr, "\n")
	if !strings.HasPrefix(lines[0], "ccc: error: ") || len(lines) != 3 || !strings.HasPrefix(lines[1], "ccc: hint: ") {
		f.Errorf("not an error and a hint: %.500q", stderr)
	}
	news := f.records()[recorded:]
	own := slices.Contains([]int{2, 3, 4, 5, 125}, code)
	if action == "" {
		if len(news) > 0 || !own {
			f.Errorf("exit code %d, records %+v", code, news)
		}
		return audit.Record{}
	}
	if len(news) != 1 {
		f.Fatalf("%d records: %+v", len(news), news)
	}
	r := news[0]
	if r.Action != action || r.Decision != audit.Deny || r.Rule == "" || r.Message == "" {
		f.Errorf("record %+v", r)
	}
	if want := codes[r.Kind]; code != want && code != 125 || code == 125 && action != "session.exec" {
		f.Errorf("exit code %d for kind %s", code, r.Kind)
	}
	return r
}

// harmless fails the test if a text is not safe to show on a terminal, or long.
func harmless(t *testing.T, text string) {
	t.Helper()
	if len(text) > 1500 {
		t.Errorf("%d bytes of talk", len(text))
	}
	if !utf8.ValidString(text) {
		t.Errorf("not UTF-8: %.300q", text)
	}
	for line := range strings.Lines(text) {
		if l := strings.TrimSuffix(line, "\n"); api.Printable(l) != l {
			t.Errorf("control characters reach the terminal: %.300q", l)
		}
	}
}

func TestHostileValues(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		t.Run(name, func(t *testing.T) {
			w := newHostileWorld(t)
			f := fields[name]
			refused := 0
			for _, kind := range slices.Sorted(maps.Keys(hostile)) {
				args := make([]string, len(f.args))
				for i, a := range f.args {
					args[i] = strings.ReplaceAll(a, "%s", hostile[kind])
				}
				if !slices.Contains(f.accepts, kind) {
					t.Run(kind, func(t *testing.T) {
						(&hostileWorld{t, w.World}).refused(f.action, args...)
					})
					refused++
				}
			}
			if refused < 10 {
				t.Errorf("only %d values were refused", refused)
			}
		})
	}
}

// The values that are right are what they are taken for: data, not syntax.
func TestHostileValuesThatAreData(t *testing.T) {
	w := newHostileWorld(t)
	for kind, value := range hostile {
		want := value + "\n"
		stdout, stderr, code := w.run("session", "exec", "demo", "--", "echo", value)
		if code != 0 || stdout != want {
			t.Errorf("%s as an argument: exit code %d, %.100q, %.300q", kind, code, stdout, stderr)
		}
	}
	for _, kind := range plainText {
		stdout, stderr, code := w.run("session", "exec", "--env=WORD="+hostile[kind], "demo", "--", "sh", "-c", "echo $WORD")
		if code != 0 || stdout != hostile[kind]+"\n" {
			t.Errorf("%s in a variable: exit code %d, %.100q, %.300q", kind, code, stdout, stderr)
		}
	}
}

// places makes everything that a project path could lead to, and returns what
// the refusal of each must be.
func places(f *hostileWorld) map[string][2]string {
	f.Helper()
	dir := filepath.Join(f.Home, "src")
	must := func(err error) {
		f.Helper()
		if err != nil {
			f.Fatal(err)
		}
	}
	must(unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(err)
	f.Cleanup(func() { unix.Close(fd) })
	// Through the working directory, for a socket's path is short.
	must(os.Symlink(dir, filepath.Join(os.TempDir(), "ccc-src")))
	f.Cleanup(func() { os.Remove(filepath.Join(os.TempDir(), "ccc-src")) })
	must(unix.Bind(fd, &unix.SockaddrUnix{Name: filepath.Join(os.TempDir(), "ccc-src", "socket")}))
	must(os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	must(os.Mkdir(filepath.Join(dir, "closed"), 0))
	must(os.Symlink("loop", filepath.Join(dir, "loop")))
	all := map[string][2]string{
		"/":                             {"denied", "project.parent"},
		"/etc":                          {"denied", "project.system"},
		"/etc/ssl":                      {"denied", "project.system"},
		"/usr":                          {"denied", "project.system"},
		"/proc/self":                    {"denied", "project.system"},
		"/proc/self/root":               {"denied", "project.parent"},
		"/sys":                          {"denied", "project.system"},
		"/dev":                          {"denied", "project.system"},
		"/run":                          {"denied", "project.system"},
		"/var/lib":                      {"denied", "project.system"},
		"/home":                         {"denied", "project.parent"},
		"/tmp":                          {"denied", "project.parent"},
		"/dev/null":                     {"invalid", "project.kind"},
		f.Home:                          {"denied", "project.home"},
		f.Dir:                           {"denied", "project.home"},
		filepath.Join(f.Home, ".ssh"):   {"denied", "project.hidden"},
		filepath.Join(f.Home, ".local"): {"denied", "project.own"},
		f.State:                         {"denied", "project.own"},
		filepath.Dir(f.Runtime):         {"denied", "project.own"},
		filepath.Join(dir, "fifo"):      {"invalid", "project.kind"},
		filepath.Join(dir, "socket"):    {"invalid", "project.kind"},
		filepath.Join(dir, "file"):      {"invalid", "project.kind"},
		filepath.Join(dir, "nowhere"):   {"not_found", "project.open"},
	}
	links := map[string][2]string{}
	n := 0
	for target, want := range all {
		n++
		link := filepath.Join(dir, fmt.Sprint("link-", n))
		must(os.Symlink(target, link))
		links[link] = want
		if want[1] != "project.open" && want[1] != "project.kind" {
			links[link+"/."] = want
			links[filepath.Join(link, "..", filepath.Base(link))] = want
		}
	}
	maps.Copy(all, links)
	all[filepath.Join(dir, "file", "below")] = [2]string{"invalid", "project.open"}
	all[filepath.Join(dir, "loop")] = [2]string{"invalid", "project.open"}
	all[filepath.Join(dir, "closed", "below")] = [2]string{"denied", "project.open"}
	return all
}

func TestHostileProjects(t *testing.T) {
	w := newHostileWorld(t)
	all := places(w)
	before := w.snapshot()
	for _, p := range slices.Sorted(maps.Keys(all)) {
		for _, how := range []string{"project", "mount"} {
			t.Run(how+" "+p, func(t *testing.T) {
				f := &hostileWorld{t, w.World}
				want := all[p]
				args := []string{"session", "create", "--", p}
				if how == "mount" {
					args = []string{"session", "create", "--mount=" + p + ":/data"}
					want[1] = strings.Replace(want[1], "project", "mount", 1)
					if p == filepath.Join(w.Home, "src", "file") || strings.HasPrefix(want[1], "mount.kind") && isFile(p) {
						// A file may be mounted, once its directory is listed.
						want = [2]string{"denied", "mounts.allow"}
					}
				}
				r := f.refused("session.create", args...)
				if r.Kind != want[0] || r.Rule != want[1] {
					t.Errorf("refused as %s by %q, want %s by %q: %s", r.Kind, r.Rule, want[0], want[1], r.Message)
				}
			})
		}
	}
	if len(before) == 0 || len(all) < 50 {
		t.Errorf("only %d places", len(all))
	}
}

func isFile(p string) bool {
	info, err := os.Stat(p)
	return err == nil && info.Mode().IsRegular()
}
