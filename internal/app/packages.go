package app

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/ccc-dev/ccc/internal/kernel"
	"github.com/ccc-dev/ccc/internal/probe"
)

// withChecklist gives the checks of this host what the checklist asks.
func withChecklist(h probe.Host) probe.Host {
	h.Clock, h.Package, h.Changes, h.Commands = time.Now, installedPackage, changes, commands
	h.Interfaces = func(pid int) ([]string, error) {
		f, err := kernel.Reader{}.Process(pid, nil)
		return f.NetworkInterfaces, err
	}
	return h
}

// packageName is what may be handed to a package manager as a name.
var packageName = regexp.MustCompile(`^[a-z0-9][a-zA-Z0-9+._-]{0,100}$`)

// queryTime is how long a package manager may take to look something up.
const queryTime = 10 * time.Second

// query runs a package manager that only reads, and returns what it printed;
// empty if it is not there or does not know the package.
func query(ctx context.Context, argv ...string) string {
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...) //nolint:gosec // the words of this file, and a name that packageName let through
	// Its own messages about packages that are not there are no news.
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// installedPackage returns the name and version of an installed package.
func installedPackage(ctx context.Context, name string) string {
	if !packageName.MatchString(name) {
		return ""
	}
	if v := query(ctx, "dpkg-query", "--show", "--showformat=${Version}", "--", name); v != "" {
		return name + " " + v
	}
	return query(ctx, "rpm", "--query", "--", name)
}

// changes returns the list of changes of a package: of Debian's the file that
// comes with it, of an RPM what its database has.
func changes(ctx context.Context, name string) string {
	if !packageName.MatchString(name) {
		return ""
	}
	for _, file := range []string{"changelog.Debian.gz", "changelog.gz"} {
		if text := unpacked(filepath.Join("/usr/share/doc", name, file)); text != "" {
			return text
		}
	}
	if release, ok := strings.CutPrefix(name, "linux-image-"); ok {
		name = "kernel-core-" + release
	}
	return query(ctx, "rpm", "--query", "--changelog", "--", name)
}

// unpacked returns the text of a compressed file, as far as it is of a sensible
// length; empty if it cannot be read.
func unpacked(file string) string {
	const most = 32 << 20
	packed, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return ""
	}
	text, err := io.ReadAll(io.LimitReader(r, most))
	if err != nil {
		return ""
	}
	return string(text)
}

// commands returns the command lines of all processes that can be read.
func commands() ([]string, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var all []string
	for _, e := range entries {
		if strings.Trim(e.Name(), "0123456789") != "" {
			continue
		}
		// One that has ended meanwhile has none.
		if line, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline")); err == nil {
			all = append(all, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return all, nil
}
