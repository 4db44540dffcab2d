// Package mcpserver is the core of ccc as a server of the Model Context
// Protocol: each tool is one request of the core, and its result or its error
// with a hint goes back as structured content and a short text.
//
// It has a stdio transport of its own over the message handling of mcp-go,
// whose transport loses progress, answers what was cancelled and cannot be
// cancelled under load.
//
// The package decides nothing that the core could decide, and a client can only
// tighten what the user's configuration gives. It trusts neither side: what a
// client sends is decoded strictly, and what a session printed is made harmless
// and never stands in a field that describes. It touches neither environment
// nor clock nor descriptors: streams and facts are passed in.
package mcpserver
