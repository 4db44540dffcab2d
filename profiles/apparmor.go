package profiles

import "embed"

// AppArmor holds `apparmor/abiN/ccc-session`, the profiles of sessions for each
// AppArmor policy ABI. They are generated (internal/apparmor/gen). Package
// apparmor reads them.
//
//go:embed apparmor/*/ccc-session
var AppArmor embed.FS
