package profiles

import "embed"

// SELinux holds the SELinux policy module, `selinux/ccc.cil`: the types of
// sessions, of the gateway and of the socket between them. Root loads it with
// semodule(8). It is compiled and linked in tests, and was never enforced.
//
//go:embed selinux/ccc.cil
var SELinux embed.FS
