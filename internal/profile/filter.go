package profile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"syscall"

	"go.yaml.in/yaml/v3"

	"github.com/ccc-dev/ccc/internal/api"
)

// Filter is a system call filter as a level names it: one that ccc ships, and
// the calls that a file of the user's own adds to it. It is no filter by itself,
// so that whatever a newer ccc closes is closed for it too.
type Filter struct {
	// Name is the shipped filter's, or the file's without extension.
	Name string `yaml:"-"`
	// Source is the file, for messages; empty for a shipped filter.
	Source string `yaml:"-"`
	// Description says in one line what the filter is for.
	Description string `yaml:"description"`
	// Base names the shipped filter.
	Base string `yaml:"base"`
	// Allow are the calls that are added.
	Allow []Allowed `yaml:"allow"`
}

// Allowed is a call that a filter adds, and why. Whether it may is for policy.
type Allowed struct {
	Call   string `yaml:"call"`
	Reason string `yaml:"reason"`
}

// Calls returns the names of the calls that the filter adds.
func (f Filter) Calls() []string {
	var names []string
	for _, a := range f.Allow {
		names = append(names, a.Call)
	}
	return names
}

// callName is the syntax of a call's name, filterName that of a filter's.
var (
	callName   = api.Syntax(64, `[a-z0-9_]+`)
	filterName = api.Syntax(63, `[a-z0-9][a-z0-9_-]*`)
)

// FindFilter returns the filter of the given name from the directory. It returns
// a [api.KindNotFound] error if there is no such file, and a [api.KindDenied] one
// if others than the user and root could have written it.
func FindFilter(name string, from Source) (Filter, error) {
	unknown := &api.Error{
		Kind: api.KindNotFound, Rule: "seccomp.unknown",
		Msg:  fmt.Sprintf("there is no system call filter %q, neither shipped nor as %s", api.Printable(name), from.Label+path.Join(from.Dir, "NAME.yaml")),
		Hint: "name agent, debug or nested, or write that file",
	}
	if !filterName(name) {
		return Filter{}, unknown
	}
	file := path.Join(from.Dir, name+".yaml")
	data, err := readTrusted(from.FS, file, from.Label+file)
	if errors.Is(err, fs.ErrNotExist) {
		return Filter{}, unknown
	}
	if err != nil {
		return Filter{}, err
	}
	return parseFilter(name, from.Label+file, data)
}

// readTrusted reads a file that nobody but the user and root can write: what it
// adds is taken from a wall. The checks are made on the open file.
func readTrusted(fsys fs.FS, file, source string) ([]byte, error) {
	// Opening a FIFO would wait for a writer.
	named, err := fs.Stat(fsys, file)
	if err != nil {
		return nil, err
	}
	if !named.Mode().IsRegular() {
		return nil, untrusted(source, "is not a regular file", "put a regular file there")
	}
	f, err := fsys.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && int(st.Uid) != syscall.Geteuid() {
		return nil, untrusted(source, fmt.Sprintf("belongs to another user (uid %d)", st.Uid), "have it owned by you or by root")
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o022 != 0 {
		return nil, untrusted(source, "can be written by others", "chmod go-w "+source)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s: larger than %d bytes", source, maxFile)
	}
	return data, err
}

func untrusted(source, why, hint string) error {
	return api.Deniedf("seccomp.file", hint, "the system call filter %s %s", source, why)
}

// parseFilter decodes a filter strictly and checks that it is complete.
func parseFilter(name, source string, data []byte) (Filter, error) {
	f := Filter{Name: name, Source: source, Base: strictestSeccomp}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	wrong := func(why string) (Filter, error) {
		return Filter{}, api.Invalidf("edit "+source, "system call filter %s: %s", source, why).By("profile.syntax")
	}
	if err := dec.Decode(&f); err != nil {
		return wrong(err.Error())
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return wrong("something follows it")
	}
	if len(f.Allow) == 0 {
		return wrong("allow: at least one call is required")
	}
	for _, a := range f.Allow {
		if !callName(a.Call) {
			return wrong(fmt.Sprintf("allow: %q is not the name of a system call", api.Printable(a.Call)))
		}
		if a.Reason == "" {
			return wrong("allow: " + a.Call + " needs a reason")
		}
	}
	return f, nil
}
