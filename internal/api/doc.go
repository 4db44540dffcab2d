// Package api holds the words that all parts of ccc share: who is calling
// ([Caller]), what is asked (one request type per operation, each with a
// Validate method), what comes back, the value types that requests are made
// of, and the kinds of [Error].
//
// A value type has one parser, its UnmarshalText. That method serves
// command-line flags, configuration files and MCP arguments alike, so that no
// front end can be laxer than another. A value that was parsed is valid; the
// zero value of every type is the safest one.
//
// The package contains no behaviour beyond parsing and checking. It must not
// touch the file system, the environment, the clock or a container engine, and
// it imports nothing of this module.
package api
