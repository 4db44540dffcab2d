package api

import (
	"errors"
	"fmt"
	"strings"
)

// Kind says what sort of failure an [Error] is. Front ends map it: the command
// line to an exit code, the MCP server to an error result. The zero value is
// the kind of every error that nobody classified.
type Kind uint8

// The kinds, in the order of their exit codes (see [Kind.ExitCode]).
const (
	// KindInternal is a failure that ccc did not foresee.
	KindInternal Kind = iota
	// KindInvalid is input that can never be right.
	KindInvalid
	// KindDenied is a refusal by policy; [Error.Rule] names the rule.
	KindDenied
	// KindNotFound means that no such session, image or file exists.
	KindNotFound
	// KindConflict means that the thing exists already or is in the wrong state.
	KindConflict
	// KindUnavailable means that the container engine cannot be used.
	KindUnavailable
	// KindDegraded means that the host cannot enforce what was required.
	KindDegraded
	// KindLimit means that a quota is used up.
	KindLimit
	// KindInterrupted means that the caller ended the operation.
	KindInterrupted
)

// kindTable gives each kind its name, which is part of the JSON interface, and
// its exit code, which is part of the command-line interface.
var kindTable = [...]struct {
	name string
	code int
}{
	KindInternal:    {"internal", 1},
	KindInvalid:     {"invalid", 2},
	KindDenied:      {"denied", 3},
	KindNotFound:    {"not_found", 4},
	KindConflict:    {"conflict", 5},
	KindUnavailable: {"unavailable", 6},
	KindDegraded:    {"degraded", 7},
	KindLimit:       {"limit", 8},
	KindInterrupted: {"interrupted", 130},
}

// Kinds returns every kind, in the order of their exit codes.
func Kinds() []Kind {
	kinds := make([]Kind, len(kindTable))
	for i := range kindTable {
		kinds[i] = Kind(i)
	}
	return kinds
}

// String returns the kind's name as it stands in JSON, for example "not_found".
func (k Kind) String() string {
	if int(k) >= len(kindTable) {
		return kindTable[KindInternal].name
	}
	return kindTable[k].name
}

// ExitCode returns the process exit code of the kind. The codes are a promise
// to scripts: a number never changes its meaning.
func (k Kind) ExitCode() int {
	if int(k) >= len(kindTable) {
		return kindTable[KindInternal].code
	}
	return kindTable[k].code
}

// MarshalText renders the kind's name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Error is a failure as a person or a program should learn of it.
type Error struct {
	// Kind classifies the failure.
	Kind Kind
	// Rule names the rule that refused: a stable word such as
	// "project.protected", or "input.name" for input that is not valid. Empty
	// where nothing refused.
	Rule string
	// Msg says what is wrong: lower case, no full stop.
	Msg string
	// Hint says what to do about it: a command to run or a file to edit.
	Hint string
	// Err is the cause, if there is one.
	Err error
}

// Error returns the message and its cause, without the hint.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Msg
	}
	if e.Msg == "" {
		return e.Err.Error()
	}
	return e.Msg + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Invalidf returns a [KindInvalid] error with the given hint.
func Invalidf(hint, format string, args ...any) *Error {
	return &Error{Kind: KindInvalid, Rule: "input", Msg: fmt.Sprintf(format, args...), Hint: hint}
}

// By names the rule that refused and returns the same error.
func (e *Error) By(rule string) *Error {
	e.Rule = rule
	return e
}

// Deniedf returns a [KindDenied] error made by the given rule.
func Deniedf(rule, hint, format string, args ...any) *Error {
	return &Error{Kind: KindDenied, Rule: rule, Msg: fmt.Sprintf(format, args...), Hint: hint}
}

// KindOf returns the kind of the outermost [Error] in err's chain, and
// [KindInternal] if there is none.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return KindInternal
}

// Report is the wire form of a failure, the same for `--json` and for MCP.
type Report struct {
	Kind    Kind   `json:"kind"`
	Rule    string `json:"rule,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// ReportOf renders err for a caller: kind, rule and hint of the outermost
// [Error] in the chain, and the whole chain's message made printable (see
// [Printable]).
func ReportOf(err error) Report {
	r := Report{Message: Printable(err.Error())}
	if e, ok := errors.AsType[*Error](err); ok {
		r.Kind, r.Rule, r.Hint = e.Kind, e.Rule, Printable(e.Hint)
	}
	return r
}

// quote renders untrusted input for a message: quoted, escaped, and cut to a
// length that fits a line.
func quote(s string) string {
	const most = 64
	if len(s) > most {
		return fmt.Sprintf("%s… (%d bytes)", strings.TrimSuffix(fmt.Sprintf("%+q", s[:most]), `"`)+`"`, len(s))
	}
	return fmt.Sprintf("%+q", s)
}
