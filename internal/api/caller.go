package api

// Caller is who asks for an operation. Front ends fill it from what the kernel
// and the protocol tell them; it goes into every audit record.
type Caller struct {
	// UID is the numeric user of the process that asks.
	UID int `json:"uid"`
	// User is the login name of that user, if known.
	User string `json:"user,omitempty"`
	// PID is the process that asks.
	PID int `json:"pid"`
	// Client is the front end: "cli", or the name an MCP client gave itself.
	Client string `json:"client"`
	// ClientVersion is the version the client gave itself.
	ClientVersion string `json:"client_version,omitempty"`
}
