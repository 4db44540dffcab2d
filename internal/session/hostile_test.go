package session_test

import (
	"encoding"
	"strings"
	"testing"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/audit"
	"github.com/ccc-dev/ccc/internal/session/sessiontest"
)

// unspeakable are values that cannot come from a command line, but can from
// another front end.
var unspeakable = map[string]string{
	"NUL":           "a\x00b",
	"1 MB":          strings.Repeat("x", 1<<20),
	"1 MB of NUL":   strings.Repeat("\x00", 1<<20),
	"newline":       "a\nb",
	"invalid UTF-8": "a\xffb",
	"bidi override": "a\u202eb",
}

func TestCreateRefusesUnspeakableProjects(t *testing.T) {
	w := newWorld(t)
	check := w.unchanged()
	for kind, value := range unspeakable {
		for _, prefix := range []string{"", "/", w.Project + "/"} {
			_, err := w.Core.Create(t.Context(), sessiontest.Caller(), api.CreateRequest{Project: prefix + value, Name: "demo"})
			w.refused(err, api.KindInvalid, "input.text")
			if len(err.Error()) > 1000 || api.Printable(err.Error()) != err.Error() {
				t.Errorf("%s: the error is not safe to show: %.300q", kind, err)
			}
			if r := w.last("session.create"); r.Decision != audit.Deny || r.Rule != "input.text" {
				t.Errorf("%s: record %+v", kind, r)
			}
		}
	}
	check()
}

func TestMountsRefuseUnspeakableSources(t *testing.T) {
	w := newWorld(t)
	check := w.unchanged()
	for _, value := range unspeakable {
		req := w.request("demo")
		// As no parser would make it.
		req.Mounts = []api.Mount{{Source: "/" + value, Target: "/data"}}
		if _, err := w.Core.Create(t.Context(), sessiontest.Caller(), req); err == nil || len(err.Error()) > 1000 {
			t.Errorf("%.200v", err)
		}
	}
	check()
}

// Every value has one parser, and whatever front end it serves, it takes none of
// these.
func TestParsersRefuseTheUnspeakable(t *testing.T) {
	for name, parser := range map[string]func() encoding.TextUnmarshaler{
		"name": func() encoding.TextUnmarshaler { return new(api.Name) }, "ref": func() encoding.TextUnmarshaler { return new(api.Ref) },
		"image": func() encoding.TextUnmarshaler { return new(api.Image) }, "level": func() encoding.TextUnmarshaler { return new(api.Level) },
		"workspace": func() encoding.TextUnmarshaler { return new(api.Workspace) }, "require": func() encoding.TextUnmarshaler { return new(api.Require) },
		"bytes": func() encoding.TextUnmarshaler { return new(api.Bytes) }, "duration": func() encoding.TextUnmarshaler { return new(api.Duration) },
		"cpus": func() encoding.TextUnmarshaler { return new(api.CPUs) }, "count": func() encoding.TextUnmarshaler { return new(api.Count) },
		"variable": func() encoding.TextUnmarshaler { return new(api.EnvVar) }, "label": func() encoding.TextUnmarshaler { return new(api.Label) },
		"mount": func() encoding.TextUnmarshaler { return new(api.Mount) },
	} {
		for kind, value := range unspeakable {
			for _, text := range []string{value, "a=" + value, "/a:/" + value, "1" + value} {
				err := parser().UnmarshalText([]byte(text))
				if api.KindOf(err) != api.KindInvalid || err == nil {
					t.Errorf("%s takes %s: %.100v", name, kind, err)
					continue
				}
				if len(err.Error()) > 1000 || api.Printable(err.Error()) != err.Error() {
					t.Errorf("%s with %s: the error is not safe to show: %.300q", name, kind, err)
				}
			}
		}
	}
}
