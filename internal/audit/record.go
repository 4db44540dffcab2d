package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
)

// Phase tells the record of an intention from that of its outcome.
type Phase string

// The phases. Records of the log itself have none.
const (
	// PhaseBegin is written before the act. A begin without an end means that
	// the process died in between.
	PhaseBegin Phase = "begin"
	// PhaseEnd is written after the act, or in place of one that was refused.
	PhaseEnd Phase = "end"
)

// Decision is what policy said.
type Decision string

// The decisions.
const (
	Allow Decision = "allow"
	Deny  Decision = "deny"
)

// Result is how an act ended.
type Result string

// The results, on records of [PhaseEnd].
const (
	ResultOK    Result = "ok"
	ResultError Result = "error"
)

// Subject is the session that a record is about. The name may be what a caller
// asked for and was refused, so it can be any text; it is made printable.
type Subject struct {
	ID   api.ID `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
}

// Record is one thing that happened. Every string is made printable (see
// [api.Printable]) and cut to a bound when it is written, so that a record is
// always one line that cannot deceive a terminal.
type Record struct {
	// Op pairs the begin and the end of one act: 8 to 64 hexadecimal digits
	// that the caller chose at random.
	Op string `json:"op,omitempty"`
	// Action is a stable word, for example "session.create".
	Action string `json:"action"`
	Phase  Phase  `json:"phase,omitempty"`
	// Caller is who asked.
	Caller api.Caller `json:"caller"`
	// Session is the session it is about, if any.
	Session Subject `json:"session,omitzero"`
	// Decision is what policy said; Rule is the rule that refused.
	Decision Decision `json:"decision,omitempty"`
	Rule     string   `json:"rule,omitempty"`
	// Result is how the act ended; Kind (an [api.Kind]'s name) and Message say
	// why it failed.
	Result  Result `json:"result,omitempty"`
	Kind    string `json:"kind,omitempty"`
	Message string `json:"message,omitempty"`
	// DurationMS is the time between begin and end, in milliseconds.
	DurationMS int64 `json:"duration_ms,omitempty"`
	// Args stands for a command that was run.
	Args *Args `json:"args,omitempty"`
	// Grant, Posture and Detail are JSON values: what policy granted, what was
	// found in force, and whatever else belongs to the action. Together they
	// may take 32 KiB: an act whose begin is larger is refused, in other
	// records a larger value is replaced by its size and digest.
	Grant   json.RawMessage `json:"grant,omitempty"`
	Posture json.RawMessage `json:"posture,omitempty"`
	Detail  json.RawMessage `json:"detail,omitempty"`
}

// Args stands for a command's arguments, which may hold secrets.
type Args struct {
	// N is their number, the command itself included.
	N int `json:"n"`
	// SHA256 is the digest of the arguments, each followed by a NUL byte, in
	// hexadecimal: `printf 'ls\0-l\0' | sha256sum` gives that of `ls -l`.
	SHA256 string `json:"sha256"`
}

// ArgvDigest returns what a record may say of a command: the number of its
// arguments and a digest by which a known command can be recognised. (Somebody
// who can guess the command can confirm the guess, so the log stays private.)
func ArgvDigest(argv []string) (n int, sha string) {
	h := sha256.New()
	for _, a := range argv {
		h.Write([]byte(a))
		h.Write([]byte{0})
	}
	return len(argv), hex.EncodeToString(h.Sum(nil))
}

// ArgsOf returns the [ArgvDigest] of a command as it stands in a record.
func ArgsOf(argv []string) *Args {
	n, sha := ArgvDigest(argv)
	return &Args{N: n, SHA256: sha}
}

// Entry is a record as it stands in a log.
type Entry struct {
	// Version is the version of the format.
	Version int
	// Seq is its number, from 1, without gaps.
	Seq uint64
	// Time is the wall clock's when it was written.
	Time time.Time
	// Uptime is the time since boot then; zero if it was not known. Unlike Time
	// it cannot be set.
	Uptime time.Duration
	Record Record
	// Prev and Hash link it to the record before and to the one after.
	Prev, Hash string
	// Raw is the line without its newline; it is the reader's own copy.
	Raw []byte
}
