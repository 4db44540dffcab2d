// Package config merges the configuration files, the environment and the flags
// into one typed [Config] that knows where each value came from.
//
// The sources, strongest first: flags, environment, the user's file, the
// host's file, built-in defaults. The project's file stands apart: it comes
// with the code that a session is to contain, so it can only tighten, and what
// it says is kept away from [Effective] (see [Lower] and [Layer]).
//
// Everything is strict. An unknown key in a file and an unknown CCC_ variable
// are errors that name the place and the nearest known word, because a
// restriction with a typo must not be a restriction ignored.
//
// The package must not read the environment, look for files by itself, or
// decide anything: it takes paths and variables from its caller ([Sources]),
// and keeps the ceilings of each file apart for package policy. It is the only
// one that may import viper.
package config
