package config

import (
	"path"
	"strings"
	"unicode/utf8"

	"github.com/ccc-dev/ccc/internal/api"
)

var (
	connectionName = api.Syntax(128, `[A-Za-z0-9][A-Za-z0-9_.-]*`)
	fileName       = api.Syntax(128, `[A-Za-z0-9][A-Za-z0-9_.-]*`)
)

// Path is an absolute, clean path on the host. In configuration it may begin
// with "~/"; [Load] puts the home directory there.
type Path string

// UnmarshalText parses a path.
func (p *Path) UnmarshalText(text []byte) error {
	s := string(text)
	if !showable(s) || !path.IsAbs(s) || path.Clean(s) != s {
		return api.Invalidf("write an absolute path without .. or a slash at the end, or one that begins with ~/", "path %s is not absolute and clean", quote(s))
	}
	*p = Path(s)
	return nil
}

// MarshalText returns the path.
func (p Path) MarshalText() ([]byte, error) { return []byte(p), nil }

// FileName is the name of a file in a directory that another setting names.
type FileName string

// UnmarshalText parses a file name.
func (f *FileName) UnmarshalText(text []byte) error {
	if !fileName(string(text)) {
		return api.Invalidf("use a plain name such as audit.jsonl", "file name %s is not valid", quote(string(text)))
	}
	*f = FileName(text)
	return nil
}

// MarshalText returns the name.
func (f FileName) MarshalText() ([]byte, error) { return []byte(f), nil }

// Connection points at a Podman service on this machine: the absolute path of
// its socket, with or without "unix://" in front, or the name of a `podman
// system connection`. Other schemes are refused: ccc talks to the user's own
// Podman, never over a network.
type Connection string

// UnmarshalText parses a connection.
func (c *Connection) UnmarshalText(text []byte) error {
	s := string(text)
	sock := strings.TrimPrefix(s, "unix://")
	var p Path
	if !connectionName(s) && p.UnmarshalText([]byte(sock)) != nil {
		return api.Invalidf("write the path of a socket, for example unix:///run/user/1000/podman/podman.sock", "connection %s is not a socket of this machine", quote(s))
	}
	*c = Connection(s)
	return nil
}

// MarshalText returns the connection as it was written.
func (c Connection) MarshalText() ([]byte, error) { return []byte(c), nil }

// maxValue bounds every value, in bytes; PATH_MAX is 4096 (limits.h).
const maxValue = 4096

// showable tells whether s can stand in a message or a log as it is.
func showable(s string) bool {
	return s != "" && len(s) <= maxValue && utf8.ValidString(s) && api.Printable(s) == s
}
