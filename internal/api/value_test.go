package api_test

import (
	"encoding"
	"strings"
	"testing"

	"github.com/ccc-dev/ccc/internal/api"
)

// hostile are strings that no parser of a name-like value may take.
var hostile = []string{
	"", "\x00", "a\x00b", "a\nb", "a\x1b[31m", "-", "-rf", "--privileged", "..", "../x", "a/../b", "a:b", "a,b", "a b",
	"\xff\xfe", "a\xc3", "\u202eevil", "zero\u200bwidth", "\u2028", "\ufeffbom", "$(touch x)", "`id`", "a;b", "a|b", "*",
	strings.Repeat("a", 1<<20), "%00", `a\b`, `a"b`, "@file", "~",
}

func TestNameLikeValuesRefuseHostileText(t *testing.T) {
	for name, v := range map[string]func() encoding.TextUnmarshaler{
		"Name":      func() encoding.TextUnmarshaler { return new(api.Name) },
		"Ref":       func() encoding.TextUnmarshaler { return new(api.Ref) },
		"Level":     func() encoding.TextUnmarshaler { return new(api.Level) },
		"Workspace": func() encoding.TextUnmarshaler { return new(api.Workspace) },
		"Require":   func() encoding.TextUnmarshaler { return new(api.Require) },
		"Bytes":     func() encoding.TextUnmarshaler { return new(api.Bytes) },
		"Duration":  func() encoding.TextUnmarshaler { return new(api.Duration) },
		"CPUs":      func() encoding.TextUnmarshaler { return new(api.CPUs) },
		"Count":     func() encoding.TextUnmarshaler { return new(api.Count) },
		"EnvVar":    func() encoding.TextUnmarshaler { return new(api.EnvVar) },
		"Label":     func() encoding.TextUnmarshaler { return new(api.Label) },
	} {
		for _, s := range hostile {
			err := v().UnmarshalText([]byte(s))
			report := api.ReportOf(errOrNil(err))
			if err == nil || report.Kind != api.KindInvalid || report.Rule == "" || report.Hint == "" {
				t.Errorf("%s took %.20q: %+v", name, s, report)
			}
			if len(report.Message) > 400 || api.Printable(report.Message) != report.Message {
				t.Errorf("%s repeats hostile text in its message: %.80q", name, report.Message)
			}
		}
	}
}

// errOrNil lets a missing error show up as an internal one.
func errOrNil(err error) error {
	if err == nil {
		return &api.Error{Msg: "no error"}
	}
	return err
}

func TestValuesReadBackWhatTheyWrite(t *testing.T) {
	for _, c := range []struct {
		in, out string
		v       interface {
			encoding.TextUnmarshaler
			encoding.TextMarshaler
		}
	}{
		{"4g", "4g", new(api.Bytes)},
		{"1536m", "1536m", new(api.Bytes)},
		{"1023", "1023", new(api.Bytes)},
		{"4GiB", "4g", new(api.Bytes)},
		{"8h0m", "8h", new(api.Duration)},
		{"2d", "48h", new(api.Duration)},
		{"90s", "1m30s", new(api.Duration)},
		{"1.5", "1.5", new(api.CPUs)},
		{"2", "2", new(api.CPUs)},
		{"512", "512", new(api.Count)},
		{"A=b=c", "A=b=c", new(api.EnvVar)},
		{"A=", "A=", new(api.EnvVar)},
		{"team/x=y", "team/x=y", new(api.Label)},
		{"/a:/b", "/a:/b", new(api.Mount)},
		{"/a:/b:ro", "/a:/b", new(api.Mount)},
		{"./-a:/b:rw", "./-a:/b:rw", new(api.Mount)},
		{"localhost/ccc-session:latest", "localhost/ccc-session:latest", new(api.Image)},
	} {
		if err := c.v.UnmarshalText([]byte(c.in)); err != nil {
			t.Errorf("%q: %v", c.in, err)
			continue
		}
		got, err := c.v.MarshalText()
		if err != nil || string(got) != c.out {
			t.Errorf("%q became %q, %v; want %q", c.in, got, err, c.out)
		}
		if err := c.v.UnmarshalText(got); err != nil {
			t.Errorf("%q does not read back: %v", got, err)
		}
	}
}

func TestSpecialFormsAreRefused(t *testing.T) {
	for _, c := range []struct {
		in string
		v  encoding.TextUnmarshaler
	}{
		{"0", new(api.Bytes)}, {"-1g", new(api.Bytes)}, {"1e99", new(api.Bytes)},
		{"0s", new(api.Duration)}, {"-1h", new(api.Duration)}, {"1.5d", new(api.Duration)}, {"999999d", new(api.Duration)},
		{"NaN", new(api.CPUs)}, {"Inf", new(api.CPUs)}, {"0", new(api.CPUs)}, {"1e9", new(api.CPUs)},
		{"0", new(api.Count)}, {"-1", new(api.Count)}, {"9999999999", new(api.Count)},
		{"HOME", new(api.EnvVar)}, {"*=x", new(api.EnvVar)}, {"1A=x", new(api.EnvVar)},
		{"io.ccc.id=x", new(api.Label)}, {"io.containers.autoupdate=x", new(api.Label)}, {"run.oci.handler=x", new(api.Label)},
		{"/a:/b:rw,suid", new(api.Mount)}, {"/a:/b:z", new(api.Mount)}, {"/a:b", new(api.Mount)}, {"/a:/", new(api.Mount)},
		{"/a:/b/../c", new(api.Mount)}, {"-v:/b", new(api.Mount)}, {"/a,ro=false:/b", new(api.Mount)}, {":/b", new(api.Mount)}, {"/a", new(api.Mount)},
		{"--pull", new(api.Image)}, {"a//b", new(api.Image)}, {"a b", new(api.Image)}, {"docker://x", new(api.Image)},
	} {
		if err := c.v.UnmarshalText([]byte(c.in)); api.KindOf(err) != api.KindInvalid || err == nil {
			t.Errorf("%T took %q: %v", c.v, c.in, err)
		}
	}
}

func TestExitCodesArePromised(t *testing.T) {
	want := map[string]int{
		"internal": 1, "invalid": 2, "denied": 3, "not_found": 4, "conflict": 5, "unavailable": 6, "degraded": 7, "limit": 8, "interrupted": 130,
	}
	if len(api.Kinds()) != len(want) {
		t.Errorf("%d kinds, %d promised", len(api.Kinds()), len(want))
	}
	for _, k := range api.Kinds() {
		if want[k.String()] != k.ExitCode() {
			t.Errorf("%s exits with %d, promised is %d", k, k.ExitCode(), want[k.String()])
		}
	}
}

func TestPrintableKeepsOneLineOneLine(t *testing.T) {
	got := api.Printable("a\nb\x1b[2J\u202e\u2028\xff€")
	if want := `a\u000ab\u001b[2J\u202e\u2028\xff€`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPostureIsAsGoodAsItsWeakest(t *testing.T) {
	ok, fb, no := api.Control{State: api.StateEnforced}, api.Control{State: api.StateFallback}, api.Control{}
	for _, c := range []struct {
		p             api.Posture
		want          api.State
		short, shortF int
	}{
		{nil, api.StateMissing, 0, 0},
		{api.Posture{ok}, api.StateEnforced, 0, 0},
		{api.Posture{ok, fb}, api.StateFallback, 1, 0},
		{api.Posture{no, ok, fb}, api.StateMissing, 2, 1},
		{api.Posture{{State: "whatever"}}, api.StateMissing, 1, 1},
	} {
		if got := c.p.Weakest(); got != c.want {
			t.Errorf("%v: %s, want %s", c.p, got, c.want)
		}
		if n, f := len(c.p.Short(api.RequireEnforced)), len(c.p.Short(api.RequireFallback)); n != c.short || f != c.shortF {
			t.Errorf("%v: short by %d and %d, want %d and %d", c.p, n, f, c.short, c.shortF)
		}
	}
}

func TestRequestsAreValidated(t *testing.T) {
	many := make([]api.EnvVar, 65)
	for name, v := range map[string]interface{ Validate() error }{
		"no project":       api.CreateRequest{},
		"dash project":     api.CreateRequest{Project: "-rf"},
		"colon in project": api.CreateRequest{Project: "/a:/b"},
		"NUL in project":   api.CreateRequest{Project: "/a\x00b"},
		"1 MB project":     api.CreateRequest{Project: "/" + strings.Repeat("a", 1<<20)},
		"too many":         api.CreateRequest{Project: "/a", Env: many},
		"target twice":     api.CreateRequest{Project: "/a", Mounts: []api.Mount{{Source: "/x", Target: "/t"}, {Source: "/y", Target: "/t"}}},
		"no session":       api.RefRequest{},
		"rm nothing":       api.RemoveRequest{},
		"rm all and some":  api.RemoveRequest{All: true, Refs: []api.Ref{"a"}},
		"exec nothing":     api.ExecRequest{Ref: "a"},
		"exec empty":       api.ExecRequest{Ref: "a", Argv: []string{""}},
		"exec NUL":         api.ExecRequest{Ref: "a", Argv: []string{"a\x00"}},
		"exec 1 MB":        api.ExecRequest{Ref: "a", Argv: []string{strings.Repeat("a", 1<<20)}},
		"exec relative":    api.ExecRequest{Ref: "a", Argv: []string{"a"}, Dir: "x"},
		"exec dots":        api.ExecRequest{Ref: "a", Argv: []string{"a"}, Dir: "/a/../b"},
	} {
		if err := v.Validate(); err == nil || api.KindOf(err) != api.KindInvalid || api.ReportOf(err).Hint == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (api.CreateRequest{Project: "."}).Validate(); err != nil {
		t.Errorf("the least request: %v", err)
	}
}
