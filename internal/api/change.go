package api

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

// FileKind says what a path is.
type FileKind string

// The kinds. The zero value is a path where nothing is.
const (
	FileAbsent  FileKind = ""
	FileRegular FileKind = "file"
	FileDir     FileKind = "dir"
	FileLink    FileKind = "link"
	// FileOther is a device, socket or named pipe; never opened, never taken.
	FileOther FileKind = "other"
)

// Perm is a file's permission: nine bits. It is written in octal.
type Perm uint32

// MarshalText renders the permission in octal, four digits.
func (p Perm) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%04o", uint32(p)), nil }

// UnmarshalText reads what MarshalText wrote.
func (p *Perm) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 8, 32)
	if err != nil || n > 0o777 {
		return fmt.Errorf("%s is no permission", quote(string(text)))
	}
	*p = Perm(n)
	return nil
}

// FileState is what is at a path: enough to tell whether two are the same. The
// zero value is nothing.
type FileState struct {
	Kind FileKind `json:"kind"`
	Mode Perm     `json:"mode,omitempty"`
	// Size is in bytes, of a regular file.
	Size int64 `json:"size,omitempty"`
	// SHA256 is that of a regular file's content, in hexadecimal; empty for what
	// is refused unread.
	SHA256 string `json:"sha256,omitempty"`
	// Target is where a link points.
	Target string `json:"target,omitempty"`
}

// ChangeOp says how a path changed.
type ChangeOp string

// The ways. A renamed file is one deleted and one added.
const (
	ChangeAdded    ChangeOp = "added"
	ChangeModified ChangeOp = "modified"
	ChangeDeleted  ChangeOp = "deleted"
	// ChangeMode is another permission with the same content.
	ChangeMode ChangeOp = "mode"
	// ChangeType is a file in place of a directory or a link, or the like.
	ChangeType ChangeOp = "type"
)

// Tier says how far a file reaches once it is in the project.
type Tier string

// The tiers, the least dangerous first.
const (
	TierPlain Tier = "plain"
	// TierBuild is run by a build, a test or a pipeline that somebody starts.
	TierBuild Tier = "build"
	// TierRuns is run, or obeyed, by a program on the host without anybody asking
	// for it: by git, a shell, an editor, an agent. It needs a yes of its own.
	TierRuns Tier = "runs-by-itself"
)

// Change is what a session made of one path of its project.
type Change struct {
	// Path is relative to the project.
	Path string   `json:"path"`
	Op   ChangeOp `json:"op"`
	// Old is what the project has now, New what the session has.
	Old  FileState `json:"old,omitzero"`
	New  FileState `json:"new,omitzero"`
	Tier Tier      `json:"tier"`
	// Conflict says what the host did to the path since the session was made;
	// empty if nothing.
	Conflict string `json:"conflict,omitempty"`
	// Refused says why the change is never taken; empty if it may be.
	Refused string `json:"refused,omitempty"`
	// Binary tells that the content is not text. Plus and Minus count lines of
	// text. They are filled where the content was asked for.
	Binary bool `json:"binary,omitempty"`
	Plus   int  `json:"plus,omitempty"`
	Minus  int  `json:"minus,omitempty"`
	// Digest stands for the path and for both states. What is applied by digest
	// is what was shown under it.
	Digest string `json:"digest"`
}

// DiffRequest asks what a session changed. It changes nothing.
type DiffRequest struct {
	Ref Ref
	// Paths narrow the answer, see [MatchPath]; none means everything.
	Paths []string
}

// Validate checks the request.
func (r DiffRequest) Validate() error {
	if err := (RefRequest{r.Ref}).Validate(); err != nil {
		return err
	}
	return checkPatterns(r.Paths)
}

// Diff is what a session changed.
type Diff struct {
	Session Brief  `json:"session"`
	Project string `json:"project"`
	// Changes are in the order of their paths.
	Changes []Change `json:"changes"`
}

// Side says whose file stays where both the host and the session changed it.
type Side string

// The sides. The zero value refuses to choose.
const (
	SideNone Side = ""
	// SideOurs keeps the host's.
	SideOurs Side = "ours"
	// SideTheirs takes the session's; the host's can be had again by undo.
	SideTheirs Side = "theirs"
)

// ApplyRequest asks for changes to be taken over into the project.
type ApplyRequest struct {
	Ref Ref
	// Paths are what is taken, see [MatchPath]. Naming a path exactly insists on
	// it: if it cannot be taken nothing is.
	Paths []string
	// All takes everything that may be taken.
	All bool
	// Digests, unless empty, are those of all changes that somebody looked at. A
	// change that has another by now refuses the request, and none that is not
	// among them is taken.
	Digests map[string]string
	// Runs are the exact paths of [TierRuns] that may be taken.
	Runs []string
	// Conflicts says whose file stays where both changed it.
	Conflicts Side
	// DryRun takes nothing and says what would be taken.
	DryRun bool
}

// Validate checks the request.
func (r ApplyRequest) Validate() error {
	if err := (RefRequest{r.Ref}).Validate(); err != nil {
		return err
	}
	if r.All == (len(r.Paths) > 0) {
		return Invalidf("name paths, or use --all", "give paths or all of them, and not both")
	}
	if r.Conflicts != SideNone && r.Conflicts != SideOurs && r.Conflicts != SideTheirs {
		return Invalidf("use ours or theirs", "there is no side %s", quote(string(r.Conflicts)))
	}
	if err := checkPatterns(r.Runs); err != nil {
		return err
	}
	return checkPatterns(r.Paths)
}

// Held is a change that was asked for and not taken.
type Held struct {
	Path   string `json:"path"`
	Rule   string `json:"rule"`
	Reason string `json:"reason"`
	Hint   string `json:"hint,omitempty"`
}

// Applied says what was taken over.
type Applied struct {
	Session Brief    `json:"session"`
	Changes []Change `json:"changes"`
	Held    []Held   `json:"held,omitempty"`
	DryRun  bool     `json:"dry_run,omitempty"`
}

// UndoRequest asks for the project to be as it was before the last apply.
type UndoRequest struct {
	Ref Ref
	// Force undoes also what the host has edited since; a copy of each such file
	// is kept beside it.
	Force bool
}

// Validate checks the request.
func (r UndoRequest) Validate() error { return RefRequest{r.Ref}.Validate() }

// Undone says what an undo did.
type Undone struct {
	Session Brief `json:"session"`
	// Paths are as they were before the apply.
	Paths []string `json:"paths"`
	// Kept are the copies of what the host had edited.
	Kept []string `json:"kept,omitempty"`
}

// maxPatterns bounds how many paths one request may name.
const maxPatterns = 4096

// checkPatterns checks paths of a project as a request names them.
func checkPatterns(patterns []string) error {
	if len(patterns) > maxPatterns {
		return Invalidf("name a directory, or use --all", "at most %d paths are allowed", maxPatterns).By("input.path")
	}
	for _, p := range patterns {
		if err := checkText("path", p); err != nil {
			return err
		}
		if _, err := path.Match(p, ""); err != nil {
			return Invalidf("write \\[ for a bracket", "the pattern %s is not whole", quote(p)).By("input.path")
		}
		if c := path.Clean(p); p == "" || path.IsAbs(c) || c == ".." || strings.HasPrefix(c, "../") {
			return Invalidf("name it relative to the project, for example src/main.c", "the path %s is not below the project", quote(p)).By("input.path")
		}
	}
	return nil
}

// MatchPath tells whether a pattern means a path of the project: exactly, as a
// directory that it lies in, or as a pattern in the sense of [path.Match], in
// which `*` does not match a slash.
func MatchPath(pattern, name string) (match, exact bool) {
	clean := path.Clean(pattern)
	if clean == name {
		return true, true
	}
	if clean == "." || strings.HasPrefix(name, clean+"/") {
		return true, false
	}
	ok, err := path.Match(clean, name)
	return ok && err == nil, false
}
