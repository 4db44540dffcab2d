package api

import (
	"io"
	"path"
	"strings"
	"time"
)

// CreateRequest asks for a new session. Only Project is required; every other
// zero field means the default, and no default is wider than a stated value
// could be under the same policy.
type CreateRequest struct {
	// Project is the host directory the session works on.
	Project string
	// Name is the session's name; chosen from the project's if empty.
	Name Name
	// Workspace says how the project appears inside.
	Workspace Workspace
	// Level is the policy level.
	Level Level
	// Image is the session image.
	Image Image
	// Limits bounds the session's use of the host.
	Limits Limits
	// Mounts are further host paths.
	Mounts []Mount
	// Env are variables for every process of the session.
	Env []EnvVar
	// Labels are the user's own labels.
	Labels []Label
	// Require insists on a posture; creation fails if the host cannot give it.
	Require Require
}

// maxList bounds each list of a request.
const maxList = 64

// Validate checks what the field types cannot check alone. It returns a
// [KindInvalid] error.
func (r CreateRequest) Validate() error {
	if err := CheckPath("project", r.Project); err != nil {
		return err
	}
	if len(r.Mounts) > maxList || len(r.Env) > maxList || len(r.Labels) > maxList {
		return Invalidf("give fewer", "at most %d mounts, variables and labels each are allowed", maxList)
	}
	targets := map[string]bool{}
	for _, m := range r.Mounts {
		if targets[m.Target] {
			return Invalidf("mount each target once", "two mounts have the target %s", quote(m.Target))
		}
		targets[m.Target] = true
	}
	return nil
}

// RefRequest asks for something about one session.
type RefRequest struct {
	Ref Ref
}

// Validate checks the request.
func (r RefRequest) Validate() error {
	if r.Ref == "" {
		return Invalidf("run `ccc session list` for the names and ids", "no session given")
	}
	return nil
}

// StopRequest asks for a session's processes to end.
type StopRequest struct {
	Ref Ref
	// Grace is how long they have between SIGTERM and SIGKILL. Zero means 5 s.
	Grace Duration
}

// Validate checks the request.
func (r StopRequest) Validate() error { return RefRequest{r.Ref}.Validate() }

// RemoveRequest asks for sessions to be removed with all that belongs to them.
type RemoveRequest struct {
	// Refs are the sessions. A session that does not exist is not an error:
	// removal is idempotent, and the result says what was there.
	Refs []Ref
	// All removes every session of the user instead.
	All bool
}

// Validate checks the request.
func (r RemoveRequest) Validate() error {
	if r.All == (len(r.Refs) > 0) {
		return Invalidf("name sessions, or use --all", "give sessions or all of them, and not both")
	}
	return nil
}

// Removed says what a removal did.
type Removed struct {
	// Sessions are the sessions that are gone.
	Sessions []Brief `json:"sessions"`
	// Missing are the references that pointed at nothing.
	Missing []Ref `json:"missing,omitempty"`
}

// Brief names a session.
type Brief struct {
	ID   ID   `json:"id"`
	Name Name `json:"name"`
}

// PruneRequest asks for the removal of sessions that are past their life and of
// what crashed creations left behind.
type PruneRequest struct {
	// OlderThan also removes stopped sessions created at least this long ago.
	OlderThan Duration
	// DryRun only reports what would be removed.
	DryRun bool
}

// Pruned says what a prune removed, or would remove.
type Pruned struct {
	// Sessions were past their life, or older than asked.
	Sessions []Brief `json:"sessions"`
	// Leftovers are things without a session: container, volume and directory names.
	Leftovers []string `json:"leftovers"`
	// DryRun repeats the request.
	DryRun bool `json:"dry_run"`
}

// ExecRequest asks for a command to be run in a session.
type ExecRequest struct {
	Ref Ref
	// Argv is the command; it is never passed to a shell.
	Argv []string
	// Dir is the absolute working directory inside; /workspace if empty.
	Dir string
	// Env are further variables for this command.
	Env []EnvVar
	// Timeout ends the command; zero means no limit but the session's own.
	Timeout Duration
	// TTY allocates a terminal; stdout and stderr are then one stream.
	TTY bool
	// Interactive passes the caller's standard input.
	Interactive bool
}

// maxArgs bounds a command's arguments in bytes; the kernel's own limit for
// one argument is 128 KiB (execve(2), MAX_ARG_STRLEN).
const maxArgs = 128 << 10

// Validate checks the request. Arguments may hold any bytes but NUL: they are
// data for the command.
func (r ExecRequest) Validate() error {
	if err := (RefRequest{r.Ref}).Validate(); err != nil {
		return err
	}
	if len(r.Argv) == 0 || r.Argv[0] == "" {
		return Invalidf("for example: ccc session exec NAME -- ls -l", "no command given")
	}
	size := 0
	for _, a := range r.Argv {
		if strings.ContainsRune(a, 0) {
			return Invalidf("remove the character", "an argument contains a NUL character")
		}
		size += len(a) + 1
	}
	if size > maxArgs {
		return Invalidf("pass the data through standard input: ccc session exec -i NAME -- …", "the arguments are too long: %d bytes", size)
	}
	if r.Dir != "" {
		if err := checkText("working directory", r.Dir); err != nil {
			return err
		}
		if !path.IsAbs(r.Dir) || path.Clean(r.Dir) != r.Dir {
			return Invalidf("write an absolute path, for example -w /workspace/src", "working directory %s is not absolute and clean", quote(r.Dir))
		}
	}
	if len(r.Env) > maxList {
		return Invalidf("give fewer", "at most %d variables are allowed", maxList)
	}
	return nil
}

// Size is that of a terminal, in characters.
type Size struct{ Rows, Cols uint16 }

// Streams are the three standard streams of a process, as the caller has them.
// A nil stream is closed or discarded.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
	// Resize delivers the terminal's size, first and at each change; nil
	// without a terminal.
	Resize <-chan Size
}

// Exited says how a command ended.
type Exited struct {
	// Code is its exit code; 128+N for signal N.
	Code int `json:"code"`
	// TimedOut tells that it was ended because its time was up.
	TimedOut bool `json:"timed_out,omitempty"`
	// OOMKilled tells that, while it ran, the kernel ended a process of the
	// session because the session's memory was used up.
	OOMKilled bool `json:"oom_killed,omitempty"`
}

// LogsRequest asks for what a session's first process printed.
type LogsRequest struct {
	Ref Ref
	// Follow keeps going until the session ends.
	Follow bool
	// Tail gives only the last lines; zero means all.
	Tail Count
	// Since gives only what was printed in the last so much time.
	Since Duration
}

// Validate checks the request.
func (r LogsRequest) Validate() error { return RefRequest{r.Ref}.Validate() }

// Status is where a session is in its life.
type Status string

// The statuses.
const (
	StatusRunning Status = "running"
	StatusPaused  Status = "paused"
	StatusStopped Status = "stopped"
	// StatusExpired is a session past its life that nobody has removed yet.
	StatusExpired Status = "expired"
	// StatusBroken is a session whose labels cannot be read.
	StatusBroken Status = "broken"
)

// Ending says why a session's last run ended.
type Ending string

// The ways in which a run ends.
const (
	// EndedStopped was asked for.
	EndedStopped Ending = "stopped"
	// EndedIdle had no work for as long as it may be without.
	EndedIdle Ending = "idle"
	// EndedLifetime is past its life.
	EndedLifetime Ending = "lifetime"
	// EndedMemory was ended by the kernel for its memory use.
	EndedMemory Ending = "oom"
	// EndedFailed ended in another way: killed, or ccc-init refused to begin.
	EndedFailed Ending = "failed"
)

// Session is what is known of one.
type Session struct {
	ID        ID        `json:"id"`
	Name      Name      `json:"name"`
	Status    Status    `json:"status"`
	Project   string    `json:"project"`
	Workspace Workspace `json:"workspace"`
	Level     Level     `json:"profile"`
	Image     Image     `json:"image"`
	// ImageID is the digest of the image's configuration: what really runs.
	ImageID string    `json:"image_id"`
	Created time.Time `json:"created"`
	// Expires is when the session's life ends, whatever it does.
	Expires time.Time `json:"expires"`
	Limits  Limits    `json:"limits"`
	// Network is the session's network; "none" is the only one there is yet.
	Network string `json:"network"`
	// ExitCode is that of a stopped session's first process.
	ExitCode *int `json:"exit_code,omitempty"`
	// Ended says why a stopped session's last run ended.
	Ended Ending `json:"ended,omitempty"`
	// OOMKilled tells that the kernel ended the session, or a process of it, because
	// its memory was used up. For a running session show says so.
	OOMKilled bool `json:"oom_killed,omitempty"`
	// Labels are the user's own.
	Labels map[string]string `json:"labels,omitempty"`
	// Posture is filled by create, start and show, for a running session.
	Posture Posture `json:"posture,omitempty"`
}
