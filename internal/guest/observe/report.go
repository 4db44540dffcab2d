// Package observe is the part of `ccc session verify` that runs inside a
// session: it tries what a session must not be able to do, reads what the kernel
// tells a session of itself, and prints all of it as one document. It does not
// know what ought to be, and it judges nothing: package verify does, on the host.
//
// It runs as any command of the session does, through ccc-init's exec shim, and
// is therefore as confined as one. What it makes to see whether it can (an empty
// file, a device node, a pipe of its own) it removes at once; it kills nothing,
// fills nothing, sends nothing to a network, and starts nothing but copies of
// itself that make one system call each, and the dynamic loader of set-user-id
// programs.
//
// The document is evidence, not proof. The session that it comes from is not
// trusted: a process of the same user could stop the probe, and whoever is in
// control of the kernel or of the container's runtime could make it say anything.
// The reader must bound it, and hold it against what the host sees itself.
package observe

// Format is the version of the document.
const Format = 1

// The bounds of a document. One that is larger is not read.
const (
	// MaxSize is the longest document in bytes.
	MaxSize = 2 << 20
	// maxText is the longest text in it, in bytes, and maxNames the most entries
	// of any list.
	maxText, maxNames = 64 << 10, 2048
)

// Report is what was seen. Names and texts are the session's: they may hold
// anything.
type Report struct {
	Format int `json:"format"`
	// Version is that of the ccc-init that made it, Arch Go's name of the
	// architecture.
	Version string `json:"version"`
	Arch    string `json:"arch"`
	// PID is the probe's process number inside.
	PID int `json:"pid"`
	// Landlock is the kernel's Landlock ABI; 0 for none.
	Landlock int `json:"landlock"`
	// Dir is the working directory as the kernel names it.
	Dir string `json:"dir"`
	// Texts are files of the kernel, by name.
	Texts map[string]Text `json:"texts"`
	// Tries are attempts, by what was attempted (see [Key]), each with its answer:
	// "ok", the name of an errno, or a word of the attempt's own.
	Tries map[string]string `json:"tries"`
	// Calls are the answers to the probes of package calls, by their ids.
	Calls map[string]string `json:"calls"`
	// Descriptors are the open files that the probe was given, by number.
	Descriptors map[string]string `json:"descriptors"`
	// Devices are the nodes in /dev, Tree is what was found in the other
	// directories.
	Devices []Node `json:"devices"`
	Tree    Tree   `json:"tree"`
	// Variables are those of the environment; their values stay inside.
	Variables []Variable `json:"variables"`
	// Limits are the resource limits, by name without RLIMIT_; -1 for none.
	Limits map[string]Limit `json:"limits"`
	// Init is the file at /.ccc/init.
	Init Identity `json:"init"`
}

// Text is the content of a file, or why there is none.
type Text struct {
	Data string `json:"data,omitempty"`
	// Err is the name of an errno.
	Err string `json:"err,omitempty"`
	// Cut tells that there was more.
	Cut bool `json:"cut,omitempty"`
}

// Node is an entry of /dev that is neither a directory nor a link.
type Node struct {
	Name string `json:"name"`
	// Kind is "char", "block", "file", "pipe" or "socket".
	Kind  string `json:"kind"`
	Major uint32 `json:"major"`
	Minor uint32 `json:"minor"`
}

// Tree is what a walk through the directories found.
type Tree struct {
	// Directories is how many were looked at; Cut tells that it were not all.
	Directories int  `json:"directories"`
	Cut         bool `json:"cut,omitempty"`
	// SetID are the programs with a set-user-id or set-group-id bit, or with file
	// capabilities.
	SetID []string `json:"set_id,omitempty"`
	// Nodes are the device nodes, Sockets the Unix sockets.
	Nodes   []string `json:"nodes,omitempty"`
	Sockets []string `json:"sockets,omitempty"`
}

// Variable is one of the environment.
type Variable struct {
	Name string `json:"name"`
	// Like names a kind of secret whose form the value has; empty if none.
	Like string `json:"like,omitempty"`
}

// Limit is a resource limit (getrlimit(2)).
type Limit struct {
	Soft int64 `json:"soft"`
	Hard int64 `json:"hard"`
}

// Identity is that of a file (inode(7)).
type Identity struct {
	Dev uint64 `json:"dev"`
	Ino uint64 `json:"ino"`
}

// Key returns the name of an attempt in [Report.Tries].
func Key(verb, object string) string { return verb + " " + object }
