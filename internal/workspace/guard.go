package workspace

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/api"
)

// guarded are the paths of a project that make programs on the host run
// something: version control, shells, editors, agents. Writing them is how an
// agent's container is left without any kernel bug (CVE-2025-59536,
// CVE-2026-25725). The whole .git is guarded: re-pointing .git/commondir
// defeats guarding only its hooks and configuration.
var guarded = []string{
	".git", ".gitmodules", ".gitattributes", ".envrc", ".mcp.json", ".vscode", ".idea", ".devcontainer", ".husky",
	".claude/settings.json", ".claude/settings.local.json", ".claude/hooks", ".cursor", ".zed", ".ccc.yaml",
}

// GuardedNames returns the guarded paths, relative to the project. The AppArmor
// profile of a live workspace is made from them.
func GuardedNames() []string { return slices.Clone(guarded) }

// Guarded returns the guarded paths that exist below the project, relative to
// it and sorted, and tells whether others of them do not exist: those cannot be
// mounted read-only.
//
// A guarded path that is a symbolic link is an error: a mount on it would land
// where the link leads.
func Guarded(project string) (existing []string, absent bool, err error) {
	root, err := os.OpenRoot(project)
	if err != nil {
		return nil, false, err
	}
	defer root.Close()
	for _, g := range guarded {
		info, err := root.Lstat(g)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
			absent = true
			continue
		}
		if err != nil {
			return nil, false, err
		}
		if !info.IsDir() && !info.Mode().IsRegular() {
			return nil, false, api.Deniedf("project.guarded", "use --workspace overlay",
				"%s is neither a file nor a directory, so it cannot be guarded in a live workspace", filepath.Join(filepath.Base(project), g))
		}
		existing = append(existing, g)
	}
	slices.Sort(existing)
	return existing, absent, nil
}
