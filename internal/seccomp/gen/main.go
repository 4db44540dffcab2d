// Command gen writes the seccomp profiles that ccc ships, and the table of
// system call numbers beside them.
//
// A profile is made by taking things away: it starts from the default profile
// of Podman's own library, resolved for a container without capabilities, and
// applies the rows of [Removals]. Each row says what goes, with which errno, why,
// and for which known vulnerabilities; the reason is written into the profile as
// the comment of its rule. What is left is what the library allows and no row
// mentions. So a newer library cannot add a call to a profile in silence: the
// result is committed, and a test regenerates it and compares.
//
// Run it with `go generate ./internal/seccomp`. It is no part of the ccc
// program, and neither is the library.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	log.SetFlags(0)
	root := flag.String("root", ".", "the module's directory")
	flag.Parse()
	if err := run(context.Background(), *root); err != nil {
		log.Fatal("gen: ", err)
	}
}

// run writes every generated file below root.
func run(ctx context.Context, root string) error {
	files, err := Files(ctx, root)
	if err != nil {
		return err
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(root, name), data, 0o644); err != nil { //nolint:gosec // source files, for all to read
			return err
		}
	}
	return nil
}

// Variants are the profiles, the default one first.
var Variants = []string{"agent", "debug", "nested"}

// Files returns every generated file: its path below the module's directory
// root, and its content. It asks the go command where the sources of the pinned
// golang.org/x/sys lie, and reads the numbers of the system calls from there.
func Files(ctx context.Context, root string) (map[string][]byte, error) {
	numbers, err := readNumbers(ctx, root)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{"internal/seccomp/calls/numbers.go": numbers.source()}
	for _, a := range arches {
		for _, v := range Variants {
			p, err := Build(v, a, numbers)
			if err != nil {
				return nil, fmt.Errorf("%s for %s: %w", v, a.goarch, err)
			}
			data, err := p.render()
			if err != nil {
				return nil, fmt.Errorf("%s for %s: %w", v, a.goarch, err)
			}
			files[filepath.Join("profiles/seccomp", a.dir, v+".json")] = data
		}
	}
	return files, nil
}

// moduleDir returns the directory of a module's sources, as go.mod pins it.
func moduleDir(ctx context.Context, root, module string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module) //nolint:gosec // a constant module path
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return "", fmt.Errorf("go list -m %s: %w", module, err)
	}
	dir := strings.TrimSpace(string(out))
	if dir == "" {
		return "", fmt.Errorf("the sources of %s are not there: run go mod download", module)
	}
	return dir, nil
}
