package seccomp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/seccomp/calls"
)

// Addition is a call that a person may allow beyond a shipped profile.
type Addition struct {
	// Call is its name.
	Call string `json:"call"`
	// Why says why that costs no wall.
	Why string `json:"why"`
}

// additions are all the calls that may be added. What is not here may not: a
// call gets in by somebody having looked at it, never by not being known as bad.
// None of them reaches another process, another file than the caller could open
// anyway, or a part of the kernel that the default profile closes.
var additions = []Addition{
	{"adjtimex", "reads the state of the clock; setting it takes a capability that no session has"},
	{"clock_adjtime", "reads the state of a clock; setting it takes a capability that no session has"},
	{"file_getattr", "reads a file's flags, as an ioctl that is allowed does"},
	{"file_setattr", "sets a file's flags, as an ioctl that is allowed does"},
	{"futex_requeue", "waits on its own memory, as futex does"},
	{"futex_wait", "waits on its own memory, as futex does"},
	{"futex_waitv", "waits on its own memory, as futex does"},
	{"futex_wake", "waits on its own memory, as futex does"},
	{"getxattrat", "reads attributes of files, as getxattr does"},
	{"listxattrat", "reads attributes of files, as listxattr does"},
	{"lsm_get_self_attr", "reads its own security label, as /proc says it"},
	{"lsm_list_modules", "lists the security modules of the kernel"},
	{"map_shadow_stack", "memory of its own, for return addresses"},
	{"mbind", "where on the host's nodes its own memory lies; the memory limit holds"},
	{"memfd_secret", "memory of its own that the kernel does not map; the limit on locked memory holds"},
	{"mseal", "makes its own memory unchangeable"},
	{"name_to_handle_at", "names a file by number; opening one by number stays denied"},
	{"removexattrat", "removes attributes of files, as removexattr does"},
	{"set_mempolicy", "where on the host's nodes its own memory lies; the memory limit holds"},
	{"set_mempolicy_home_node", "where on the host's nodes its own memory lies; the memory limit holds"},
	{"setxattrat", "sets attributes of files, as setxattr does"},
}

// Additions returns the calls that may be added to a shipped profile, sorted.
func Additions() []Addition { return slices.Clone(additions) }

// MayAdd returns the addition of that call, and false if it may not be added.
func MayAdd(call string) (Addition, bool) {
	i := slices.IndexFunc(additions, func(a Addition) bool { return a.Call == call })
	if i < 0 {
		return Addition{}, false
	}
	return additions[i], true
}

// CheckAdditions returns a [api.KindDenied] error if one of the calls may not be
// added to any profile, and a [api.KindInvalid] one if there is no such call.
func CheckAdditions(names []string) error {
	for _, name := range names {
		if _, ok := MayAdd(name); ok {
			continue
		}
		if _, amd := calls.Number("amd64", name); !amd {
			if _, arm := calls.Number("arm64", name); !arm {
				return api.Invalidf("correct the name, as in syscalls(2)", "there is no system call %q", api.Printable(name)).By("seccomp.call")
			}
		}
		why := "nobody has found it harmless"
		if data, err := Profile(Agent); err == nil {
			if r, err := ReasonFor(data, Call{Arch: Native(runtime.GOARCH), Name: name}); err == nil && r.Text != "" {
				why = r.String()
			}
		}
		return api.Deniedf("seccomp.never", "remove it from the list; `ccc help profile learn` says what may be added",
			"the system call %s may not be added to a profile: %s", name, why)
	}
	return nil
}

// Filter returns the profile of a session: the shipped one named base, with the
// calls added. The errors are those of [Profile] and [CheckAdditions]. A call
// that the profile allows already, or that the architecture does not have,
// changes nothing.
func Filter(base string, add []string) ([]byte, error) {
	if err := CheckAdditions(add); err != nil {
		return nil, err
	}
	data, err := Profile(base)
	if err != nil || len(add) == 0 {
		return data, err
	}
	f, err := read(data)
	if err != nil {
		return nil, err
	}
	var allow []string
	for _, name := range slices.Compact(slices.Sorted(slices.Values(add))) {
		_, native := calls.Number(runtime.GOARCH, name)
		if native && f.deny(name) {
			allow = append(allow, name)
		}
	}
	if len(allow) > 0 {
		f.Syscalls = append(f.Syscalls, line{
			LinuxSyscall: specs.LinuxSyscall{Names: allow, Action: specs.ActAllow}, Comment: "added by a profile of the user's own",
		})
	}
	return json.Marshal(f)
}

// file is a profile as it is written down: with comments.
type file struct {
	DefaultAction   specs.LinuxSeccompAction `json:"defaultAction"`
	DefaultErrnoRet *uint                    `json:"defaultErrnoRet,omitempty"`
	Architectures   []specs.Arch             `json:"architectures"`
	ListenerPath    string                   `json:"listenerPath,omitempty"`
	Syscalls        []line                   `json:"syscalls"`
}

// line is one rule of a file.
type line struct {
	specs.LinuxSyscall
	Comment string `json:"comment,omitempty"`
}

// read reads a profile with its comments, as strictly as [Parse].
func read(profile []byte) (*file, error) {
	var f file
	dec := json.NewDecoder(bytes.NewReader(profile))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return nil, fmt.Errorf("read seccomp profile: %w", err)
	}
	return &f, nil
}

// deny takes a call out of the rules that deny it whatever its arguments, and
// tells whether it is now left to the default. One that is allowed, or that is
// decided by its arguments, stays as it is.
func (f *file) deny(name string) bool {
	for _, s := range f.Syscalls {
		if slices.Contains(s.Names, name) && (len(s.Args) > 0 || s.Action != specs.ActErrno) {
			return false
		}
	}
	for i := range f.Syscalls {
		s := &f.Syscalls[i]
		s.Names = slices.DeleteFunc(slices.Clone(s.Names), func(n string) bool { return n == name })
	}
	f.Syscalls = slices.DeleteFunc(f.Syscalls, func(s line) bool { return len(s.Names) == 0 })
	return true
}
