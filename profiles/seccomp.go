package profiles

import "embed"

// Seccomp holds the system call filters: `seccomp/NAME.json` for x86-64, and
// `seccomp/ARCH/NAME.json` for another architecture by Go's name of it. They are
// generated (internal/seccomp/gen). Package seccomp reads them.
//
//go:embed seccomp/*.json seccomp/*/*.json
var Seccomp embed.FS
