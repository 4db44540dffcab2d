package workspace

import (
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/api"
)

// refusal returns why a change to something of this kind is never taken; "" if
// that depends on more. It opens nothing.
func (s *scanner) refusal(rel string, st unix.Stat_t) string {
	switch kindOf(st) {
	case api.FileOther:
		return "it is a " + special(st)
	case api.FileRegular:
		if st.Size > s.Bounds.File {
			return fmt.Sprintf("it has %d bytes; at most %d are taken", st.Size, s.Bounds.File)
		}
		// Of a directory setgid means no more than the group of what is made in it.
		if st.Mode&(unix.S_ISUID|unix.S_ISGID) != 0 {
			return "it is setuid or setgid"
		}
	}
	return badName(rel)
}

// special names a kind of file that is none of those that are taken.
func special(st unix.Stat_t) string {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFIFO:
		return "named pipe"
	case unix.S_IFSOCK:
		return "socket"
	}
	return "device"
}

// badName returns why nothing of that name is taken. What a terminal, a patch or
// a log cannot show as it is cannot be reviewed.
func badName(rel string) string {
	const longest = 1024
	switch {
	case api.Printable(rel) != rel:
		return "its name has a character that cannot be shown"
	case len(rel) > longest:
		return "its name is too long"
	case isGit(path.Base(rel)):
		return "git's own files are never taken as files: they decide what git runs"
	}
	return ""
}

// badLink returns why a link is not taken: it has to stay inside the project,
// whatever lies on its way.
func badLink(rel, target string, project directory) string {
	const outside = "the link leads out of the project"
	if target == "" || path.IsAbs(target) {
		return outside
	}
	if api.Printable(target) != target {
		return "the link's target has a character that cannot be shown"
	}
	// A way up after a name goes up from wherever that name leads.
	down := false
	for part := range strings.SplitSeq(target, "/") {
		switch {
		case part == ".." && down:
			return "the link's target goes up after it went down"
		case part != ".." && part != "." && part != "":
			down = true
		}
		if isGit(part) {
			return "the link leads into git's own files"
		}
	}
	to := path.Join(path.Dir(rel), target)
	if to == ".." || strings.HasPrefix(to, "../") {
		return outside
	}
	return linkOnTheWay(rel, to, project)
}

// linkOnTheWay returns why a link is not taken that leads through another one,
// the host's own, which may lead out. Where the link itself lies is no link, or
// will be none once it is taken.
func linkOnTheWay(rel, to string, project directory) string {
	for at := path.Dir(to); at != "." && !strings.HasPrefix(rel, at+"/"); at = path.Dir(at) {
		in, base, err := project.parent(at)
		if err != nil {
			continue
		}
		st, err := in.stat(base)
		in.close()
		if err == nil && kindOf(st) == api.FileLink {
			return "the link leads through another link, " + api.Printable(at)
		}
	}
	return ""
}
