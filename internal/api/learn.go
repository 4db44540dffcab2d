package api

// LearnRequest asks what a workload calls that its filter denies.
type LearnRequest struct {
	// Create is the session that the workload runs in. It is removed at the end.
	Create CreateRequest
	// Argv is the workload; it is never passed to a shell.
	Argv []string
	// Timeout ends the workload; zero means no limit but the session's own.
	Timeout Duration
}

// Validate checks the request.
func (r LearnRequest) Validate() error {
	if err := r.Create.Validate(); err != nil {
		return err
	}
	return ExecRequest{Ref: "learn", Argv: r.Argv}.Validate()
}

// Advice says what to do about a call that was denied.
type Advice string

// The advices. The zero value means that nobody knows, which is as good as
// [AdviceNever].
const (
	// AdviceAdd means that the call is harmless and may be added.
	AdviceAdd Advice = "add"
	// AdviceNever means that no profile of the user's own may allow the call.
	AdviceNever Advice = "never"
)

// DeniedCall is a call that a workload made and its filter denied.
type DeniedCall struct {
	// Call is its name; "unknown" if it has none.
	Call string `json:"call"`
	// Args are those of its arguments that tell what was asked for, in words:
	// the family of a socket, the request of an ioctl, the flags of a clone.
	Args string `json:"args,omitempty"`
	// Answer is the errno that the caller got.
	Answer string `json:"answer"`
	// Count is how often it was called in this way.
	Count int `json:"count"`
	// Program is the name of the first program that did. A program chooses it
	// itself: this is a word of the workload's, not a proof.
	Program string `json:"program"`
	// Reason is why it is denied, CVEs the known vulnerabilities that needed it.
	Reason string   `json:"reason"`
	CVEs   []string `json:"cves,omitempty"`
	// Advice is what to do; Why is, for a call that may be added, why that
	// costs no wall.
	Advice Advice `json:"advice"`
	Why    string `json:"why,omitempty"`
	// Instead names a shipped filter that allows it, if there is one.
	Instead string `json:"instead,omitempty"`
}

// Learned says what a workload called and was denied.
type Learned struct {
	// Level and Filter are the policy level and the system call filter that the
	// workload ran under.
	Level  Level  `json:"profile"`
	Filter string `json:"filter"`
	// Exited says how the workload ended.
	Exited Exited `json:"exited"`
	// Interrupted tells that the workload was ended before it had; Exited then
	// says nothing.
	Interrupted bool `json:"interrupted,omitempty"`
	// Denied are the calls, those that may be added first.
	Denied []DeniedCall `json:"denied"`
	// More counts calls that are not in Denied because there were too many
	// different ones.
	More int `json:"more,omitempty"`
	// Proposal is the file of a filter that allows what may be added; empty if
	// there is nothing to add.
	Proposal string `json:"proposal,omitempty"`
}
