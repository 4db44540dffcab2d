package apparmor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// File is where the profiles lie on a host; the system's own service loads what
// is in that directory when the machine starts.
const File = "/etc/apparmor.d/ccc-session"

// Where the kernel tells of AppArmor. The list in apparmor/profiles is for root
// alone; the directories in apparmor/policy, which say the same, are for all.
const (
	enabledFile = "/sys/module/apparmor/parameters/enabled"
	policyDir   = "/sys/kernel/security/apparmor/policy/profiles"
	abiDir      = "/etc/apparmor.d/abi"
)

// parsers are the places of apparmor_parser. It is not sought in PATH: it is run
// by root.
var parsers = []string{"/usr/sbin/apparmor_parser", "/sbin/apparmor_parser", "/usr/bin/apparmor_parser"}

// Answer is what is known of a fact. The zero value is [Unknown].
type Answer string

// The answers.
const (
	// Unknown means that it could not be found out.
	Unknown Answer = "unknown"
	Yes     Answer = "yes"
	No      Answer = "no"
)

// answer turns what is known for sure into an answer.
func answer(yes bool) Answer {
	if yes {
		return Yes
	}
	return No
}

// Loaded is what the kernel has of one profile.
type Loaded struct {
	Profile string `json:"profile"`
	// Loaded tells whether the kernel has it.
	Loaded Answer `json:"loaded"`
	// Mode is "enforce" if it denies anything; "complain" means that it does not.
	Mode string `json:"mode,omitempty"`
}

// Status is what was found on a host. It says nothing of sessions, which have
// labels of their own.
type Status struct {
	// Kernel tells whether the kernel has AppArmor switched on.
	Kernel Answer `json:"kernel"`
	// Parser is the path of apparmor_parser, "" if there is none.
	Parser string `json:"parser,omitempty"`
	// ABI is the policy ABI whose profiles fit the parser.
	ABI string `json:"abi"`
	// Installed tells whether [File] is what ccc ships, so that it will be loaded
	// at the next start of the machine.
	Installed Answer `json:"installed"`
	// Why says more about an answer that is not yes.
	Why string `json:"why,omitempty"`
	// Profiles are what the kernel has, in the order of [Profiles].
	Profiles []Loaded `json:"profiles"`
	// Current tells whether what the kernel has is what ccc ships.
	Current Answer `json:"current"`
}

// InForce tells whether the kernel was seen to have all profiles, enforcing, with
// the content that ccc ships.
func (s Status) InForce() bool {
	return s.Kernel == Yes && s.Current == Yes && !slices.ContainsFunc(s.Profiles, func(l Loaded) bool { return l.Mode != "enforce" })
}

// Host reads and changes what a host has of AppArmor. The zero value is the real
// host.
type Host struct {
	// Root is put before every path; tests have a tree of their own.
	Root string
}

// Status returns what there is. It needs no privilege, and says unknown where
// that would be needed.
func (h Host) Status() Status {
	s := Status{Kernel: h.kernel(), Parser: h.parser(), ABI: h.abi()}
	s.Installed, s.Why = h.installed()
	versions, err := h.loaded(&s)
	s.Current = current(s, versions, err)
	return s
}

// kernel tells whether AppArmor is switched on.
func (h Host) kernel() Answer {
	data, err := os.ReadFile(filepath.Join(h.Root, enabledFile))
	if errors.Is(err, fs.ErrNotExist) {
		return No
	}
	if err != nil {
		return Unknown
	}
	return answer(strings.TrimSpace(string(data)) == "Y")
}

func (h Host) parser() string {
	for _, p := range parsers {
		if info, err := os.Stat(filepath.Join(h.Root, p)); err == nil && info.Mode().IsRegular() {
			return p
		}
	}
	return ""
}

// abi returns the newest policy ABI that the parser has a description of. The
// kernel need not have all of it: the parser leaves out what it lacks.
func (h Host) abi() string {
	if _, err := os.Stat(filepath.Join(h.Root, abiDir, NewABI)); err == nil {
		return NewABI
	}
	return OldABI
}

// installed compares the file with those that ccc ships.
func (h Host) installed() (Answer, string) {
	got, err := os.ReadFile(filepath.Join(h.Root, File))
	if errors.Is(err, fs.ErrNotExist) {
		return No, File + " is not there"
	}
	if err != nil {
		return Unknown, fmt.Sprintf("%s cannot be read: %v", File, err)
	}
	for _, abi := range []string{NewABI, OldABI} {
		if want, err := Text(abi); err == nil && string(want) == string(got) {
			return Yes, ""
		}
	}
	return No, File + " is not what this version of ccc ships"
}

// loaded fills in what the kernel has and returns the versions that were loaded
// since the machine was started.
func (h Host) loaded(s *Status) ([]string, error) {
	modes, err := h.modes()
	for _, p := range Profiles() {
		l := Loaded{Profile: p.Name, Loaded: Unknown, Mode: modes[p.Name]}
		if err == nil {
			l.Loaded = answer(l.Mode != "")
		}
		if s.Kernel == No {
			l.Loaded = No
		}
		s.Profiles = append(s.Profiles, l)
	}
	var versions []string
	for name := range modes {
		if v, ok := strings.CutPrefix(name, versionPrefix); ok {
			versions = append(versions, v)
		}
	}
	slices.Sort(versions)
	return versions, err
}

// modes returns the mode of every profile of the kernel, by name.
func (h Host) modes() (map[string]string, error) {
	dir := filepath.Join(h.Root, policyDir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	modes := map[string]string{}
	for _, e := range entries {
		// A profile may be replaced while it is looked at: it is then not there
		// for this once.
		name, err := os.ReadFile(filepath.Join(dir, e.Name(), "name"))
		if err != nil {
			continue
		}
		mode, err := os.ReadFile(filepath.Join(dir, e.Name(), "mode"))
		if err != nil {
			continue
		}
		modes[strings.TrimSpace(string(name))] = strings.TrimSpace(string(mode))
	}
	return modes, nil
}

// current tells whether the versions that the kernel has are the one that ccc
// ships. More than one, since another file was loaded in the meantime by hand,
// do not say which came last.
func current(s Status, versions []string, err error) Answer {
	shipped := func(v string) bool {
		return slices.ContainsFunc([]string{NewABI, OldABI}, func(abi string) bool { own, err := Version(abi); return err == nil && own == v })
	}
	switch {
	case s.Kernel == No:
		return No
	case err != nil || len(versions) > 1:
		return Unknown
	}
	return answer(len(versions) == 1 && shipped(versions[0]))
}
