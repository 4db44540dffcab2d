// Package podman is the [engine.Engine] that drives the calling user's rootless
// Podman over its socket, API version 4.0 or newer.
//
// It links only the light base of Podman's bindings: the connection, the
// container specification and a few definitions. The packages with one function
// per call (bindings/containers and so on) would triple the program's size and
// cost 6 ms at every start.
//
// The package must not decide anything. What a container is allowed is decided
// above; here it is translated in one place ([Spec]), and what cannot be
// expressed is refused. It never asks for a privilege, a capability, a device or
// a namespace of the host, and it never connects to anything but a socket of the
// calling user's own.
//
// Podman's libraries log through the global logger of logrus. Turning that off
// would change state that belongs to the whole program, so it is left alone: the
// few functions used here log below the level that is printed by default, which
// a test checks.
package podman
