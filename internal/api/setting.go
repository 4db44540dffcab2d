package api

import (
	"path"
	"strings"
)

var (
	envKey   = Syntax(128, `[A-Za-z_][A-Za-z0-9_]*`)
	labelKey = Syntax(128, `[a-z0-9]([a-z0-9._/-]*[a-z0-9])?`)
	imageRef = Syntax(512, `[a-zA-Z0-9]([a-zA-Z0-9._/:@-]*[a-zA-Z0-9])?`)
	wordName = Syntax(32, `[a-z][a-z0-9-]*`)
)

// EnvVar is one variable for a session's environment, written `NAME=VALUE`.
type EnvVar struct{ Key, Value string }

// UnmarshalText parses NAME=VALUE. A name without a value is refused: it would
// copy a variable of the host, and secrets travel that way.
func (e *EnvVar) UnmarshalText(text []byte) error {
	key, value, ok := strings.Cut(string(text), "=")
	if !ok || !envKey(key) {
		return Invalidf("write NAME=VALUE, for example EDITOR=vi", "environment variable %s is not valid", quote(string(text))).By("input.env")
	}
	if err := checkText("environment variable "+key, value); err != nil {
		return err
	}
	*e = EnvVar{key, value}
	return nil
}

// MarshalText renders the variable as NAME=VALUE.
func (e EnvVar) MarshalText() ([]byte, error) { return []byte(e.Key + "=" + e.Value), nil }

// Label is one label of the user's own on a session, written `key=value`. Keys
// in the space of ccc (io.ccc.*) and of container tools are refused: they mean
// something to the engine.
type Label struct{ Key, Value string }

// UnmarshalText parses key=value.
func (l *Label) UnmarshalText(text []byte) error {
	key, value, ok := strings.Cut(string(text), "=")
	if !ok || !labelKey(key) {
		return Invalidf("write key=value, the key of a-z 0-9 . _ / -", "label %s is not valid", quote(string(text))).By("input.label")
	}
	for _, space := range []string{"io.ccc", "io.containers", "io.podman", "io.buildah", "run.oci"} {
		if key == space || strings.HasPrefix(key, space+".") {
			return Invalidf("choose a key of your own, for example team="+value, "label %s is reserved", quote(key)).By("input.label")
		}
	}
	if err := checkText("label "+key, value); err != nil {
		return err
	}
	*l = Label{key, value}
	return nil
}

// MarshalText renders the label as key=value.
func (l Label) MarshalText() ([]byte, error) { return []byte(l.Key + "=" + l.Value), nil }

// Mount is one more host path for a session, written `SRC:DST` for reading or
// `SRC:DST:rw` for writing too.
type Mount struct {
	// Source is the path on the host, as the caller wrote it.
	Source string
	// Target is the absolute, clean path inside the session.
	Target string
	// Writable tells whether the session may write there.
	Writable bool
}

// UnmarshalText parses a mount. The source must not hold a colon or a comma:
// container engines split their own mount syntax there.
func (m *Mount) UnmarshalText(text []byte) error {
	s := string(text)
	bad := Invalidf("write SRC:DST or SRC:DST:rw, for example ~/data:/data", "mount %s is not valid", quote(s)).By("input.mount")
	parts := strings.Split(s, ":")
	if len(parts) < 2 || len(parts) > 3 || len(parts) == 3 && parts[2] != "rw" && parts[2] != "ro" {
		return bad
	}
	src, dst := parts[0], parts[1]
	if err := CheckPath("mount source", src); err != nil {
		return err
	}
	if err := CheckPath("mount target", dst); err != nil {
		return err
	}
	if !path.IsAbs(dst) || path.Clean(dst) != dst || dst == "/" {
		return bad
	}
	*m = Mount{Source: src, Target: dst, Writable: len(parts) == 3 && parts[2] == "rw"}
	return nil
}

// MarshalText renders the mount as it is written.
func (m Mount) MarshalText() ([]byte, error) {
	s := m.Source + ":" + m.Target
	if m.Writable {
		s += ":rw"
	}
	return []byte(s), nil
}

// CheckPath refuses a path that is empty, begins with a dash (it would be read
// as an option), holds a separator of mount syntax, or fails checkText.
func CheckPath(field, s string) error {
	if err := checkText(field, s); err != nil {
		return err
	}
	if s == "" || strings.HasPrefix(s, "-") {
		return Invalidf("write a path; put ./ in front of one that begins with a dash", "%s %s is not a path", field, quote(s)).By("input.path")
	}
	if strings.ContainsAny(s, ":,\\\"") {
		return Invalidf("rename the directory, or reach it through another path", "%s %s contains one of : , \\ \"", field, quote(s)).By("input.path")
	}
	return nil
}

// Image names a session image: a local name, or a registry reference with a
// digest. The zero value means the configured default.
type Image string

// UnmarshalText parses an image reference.
func (i *Image) UnmarshalText(text []byte) error {
	s := string(text)
	if !imageRef(s) || strings.Contains(s, "..") || strings.Contains(s, "//") {
		return Invalidf("run `ccc image list` for the images there are", "image %s is not a valid reference", quote(s)).By("input.image")
	}
	*i = Image(s)
	return nil
}

// MarshalText returns the reference.
func (i Image) MarshalText() ([]byte, error) { return []byte(i), nil }

// Level names a policy level, shipped or the user's own. The zero value means
// the configured default.
type Level string

// UnmarshalText parses a level's name; whether it exists is policy's business.
func (l *Level) UnmarshalText(text []byte) error {
	if !wordName(string(text)) {
		return Invalidf("use strict, standard or trusted", "profile %s is not valid", quote(string(text))).By("input.profile")
	}
	*l = Level(text)
	return nil
}

// MarshalText returns the name.
func (l Level) MarshalText() ([]byte, error) { return []byte(l), nil }

// Workspace says how the project appears inside a session.
type Workspace string

// The ways a project may appear. The zero value is [WorkspaceOverlay].
const (
	// WorkspaceOverlay is a copy-on-write view; the project is never written.
	WorkspaceOverlay Workspace = "overlay"
	// WorkspaceBind is the project itself, live and writable, with guarded files.
	WorkspaceBind Workspace = "bind"
)

// UnmarshalText parses a workspace mode.
func (w *Workspace) UnmarshalText(text []byte) error {
	switch v := Workspace(text); v {
	case WorkspaceOverlay, WorkspaceBind:
		*w = v
		return nil
	}
	return Invalidf("use overlay or bind", "workspace %s is not valid", quote(string(text))).By("input.workspace")
}

// MarshalText returns the mode.
func (w Workspace) MarshalText() ([]byte, error) { return []byte(w), nil }

// Require says which posture a caller insists on.
type Require string

// The postures that can be required. The zero value requires nothing beyond the
// controls that ccc always requires.
const (
	// RequireEnforced accepts only controls that are enforced as designed.
	RequireEnforced Require = "enforced"
	// RequireFallback also accepts controls for which something else stands in.
	RequireFallback Require = "fallback"
)

// UnmarshalText parses a required posture.
func (r *Require) UnmarshalText(text []byte) error {
	switch v := Require(text); v {
	case RequireEnforced, RequireFallback:
		*r = v
		return nil
	}
	return Invalidf("use enforced or fallback", "posture %s cannot be required", quote(string(text))).By("input.require")
}

// MarshalText returns the word.
func (r Require) MarshalText() ([]byte, error) { return []byte(r), nil }
