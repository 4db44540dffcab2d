package policy

import (
	"path"
	"strings"

	"github.com/ccc-dev/ccc/internal/api"
)

// Ground is what the host says of its own paths: which of them no session may
// see. All paths are absolute, clean and free of links.
type Ground struct {
	// Home is the user's home directory.
	Home string
	// Own are ccc's and the engine's directories: state, sockets, storage.
	Own []string
	// Allow are prefixes that the host's or user's configuration opens
	// although they lie in a hidden directory of the home. A wider one opens
	// none: to list the home is not to list the keys in it.
	Allow []string
}

// systemRoots are the directories of which nothing may enter a session. They
// hold the host's configuration, its programs, its devices and its sockets.
var systemRoots = []string{
	"/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/run", "/sbin", "/sys", "/usr",
	"/var/cache", "/var/lib", "/var/log", "/var/run", "/var/spool",
}

// parentsOnly are directories that may not be shared whole, though what lies in
// them may.
var parentsOnly = []string{"/", "/home", "/media", "/mnt", "/opt", "/root", "/srv", "/tmp", "/var", "/var/tmp"}

// checkPlace refuses a path that would show a session the host itself. kind is
// "project" or "mount", for the message and the rule.
func checkPlace(kind string, p Place, g Ground) error {
	if err := api.CheckPath(kind, p.Path); err != nil {
		return err
	}
	hint := "use a directory that holds only the project, for example ~/src/" + path.Base(p.Path)
	for _, root := range parentsOnly {
		if p.Path == root {
			return api.Deniedf(kind+".parent", hint, "%s %q holds more than one project", kind, p.Path)
		}
	}
	for _, root := range systemRoots {
		if within(p.Path, root) || within(root, p.Path) {
			return api.Deniedf(kind+".system", hint, "%s %q belongs to the system (%s)", kind, p.Path, root)
		}
	}
	if g.Home == "" || !path.IsAbs(g.Home) {
		return api.Deniedf(kind+".home", "set HOME", "the home directory is not known, so it cannot be protected")
	}
	if within(g.Home, p.Path) {
		return api.Deniedf(kind+".home", "use a directory below it, for example ~/src/project", "%s %q is or holds the home directory", kind, p.Path)
	}
	for _, own := range g.Own {
		if own != "" && (within(p.Path, own) || within(own, p.Path)) {
			return api.Deniedf(kind+".own", hint, "%s %q would open ccc's own files (%s) to the session", kind, p.Path, own)
		}
	}
	return checkHidden(kind, p, g)
}

// checkHidden refuses the hidden directories of the home, where keys, tokens
// and settings live, unless the configuration opens them.
func checkHidden(kind string, p Place, g Ground) error {
	hidden := strings.TrimSuffix(g.Home, "/") + "/."
	if !strings.HasPrefix(p.Path, hidden) {
		return nil
	}
	for _, allowed := range g.Allow {
		if strings.HasPrefix(allowed, hidden) && within(p.Path, allowed) {
			return nil
		}
	}
	return api.Deniedf(kind+".hidden", "if it holds no secrets, list it and your other project directories under projects.allow in ~/.config/ccc/config.yaml",
		"%s %q lies in a hidden directory of the home, where keys and settings are kept", kind, p.Path)
}

// within tells whether p is dir or lies below it, compared by path elements.
func within(p, dir string) bool {
	if dir == "/" || p == dir {
		return true
	}
	return strings.HasPrefix(p, dir+"/")
}
