// Package internal_test holds the rules about the shape of the module that are
// checked by every test run.
package internal_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/ccc-dev/ccc/"

// layers lists the packages from the bottom up. A package may import those
// before it in the list, and none after it.
var layers = []string{
	"profiles",
	"internal/api",
	"internal/audit",
	"internal/secrets",
	"internal/config",
	"internal/kernel",
	"internal/profile",
	"internal/policy",
	"internal/engine",
	"internal/engine/fake",
	"internal/engine/enginetest",
	"internal/engine/podman",
	"internal/workspace",
	"internal/guest",
	"internal/gateway",
	"internal/spec",
	"internal/image",
	"internal/agent",
	"internal/monitor",
	"internal/session",
	"internal/reaper",
	"internal/probe",
	"internal/export",
	"internal/mcpserver",
	"internal/cli",
	"internal/app",
	"cmd",
}

// owners names the only packages that may import a third-party module: a
// library that leaks out of its owner becomes everybody's API.
var owners = map[string][]string{
	"github.com/containers/podman":           {"internal/engine/podman"},
	"go.podman.io":                           {"internal/engine/podman", "profiles"},
	"github.com/opencontainers/runtime-spec": {"internal/engine", "internal/engine/podman", "internal/spec", "internal/session", "internal/engine/fake", "internal/engine/enginetest"},
	"github.com/spf13/cobra":                 {"internal/cli"},
	"github.com/spf13/pflag":                 {"internal/cli"},
	"github.com/spf13/viper":                 {"internal/config"},
	"github.com/mark3labs/mcp-go":            {"internal/mcpserver"},
}

// edges are the only packages below cmd that may read the clock or the
// environment, print, or exit; everybody else is given what they need.
var edges = []string{"internal/cli", "internal/app", "cmd"}

// banned are the selectors that only the edges may use.
var banned = []string{"os.Getenv", "os.LookupEnv", "os.Environ", "os.Exit", "time.Now", "fmt.Print", "fmt.Println", "fmt.Printf"}

// imports calls visit for every import of every Go file of the module.
func imports(t *testing.T, visit func(file, pkg, imported string)) {
	t.Helper()
	files := 0
	err := filepath.WalkDir("..", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && p != ".." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "bin") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(p, ".go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		files++
		file := filepath.ToSlash(strings.TrimPrefix(p, "../"))
		for _, i := range f.Imports {
			imported, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			visit(file, path.Dir(file), imported)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Fatal("no Go file was read: the rules were not checked")
	}
}

// layer returns the position of the package in layers; everything below cmd is
// one layer.
func layer(pkg string) int {
	if strings.HasPrefix(pkg, "cmd/") {
		pkg = "cmd"
	}
	return slices.Index(layers, pkg)
}

func TestImportsPointDownwards(t *testing.T) {
	imports(t, func(file, pkg, imported string) {
		if pkg == "internal" {
			return
		}
		from := layer(pkg)
		if from < 0 {
			t.Errorf("%s: package %s is not in the list of layers", file, pkg)
			return
		}
		target, ours := strings.CutPrefix(imported, module)
		if !ours || target == pkg {
			return
		}
		to := layer(target)
		if strings.HasSuffix(file, "_test.go") && (to < from || target == "internal/engine/enginetest" || target == "internal/engine/fake") {
			return
		}
		if to < 0 || to >= from {
			t.Errorf("%s: %s may not import %s", file, pkg, target)
		}
	})
}

func TestLibrariesStayWithTheirOwner(t *testing.T) {
	imports(t, func(file, pkg, imported string) {
		for lib, owned := range owners {
			if (imported == lib || strings.HasPrefix(imported, lib+"/")) && !slices.Contains(owned, pkg) {
				t.Errorf("%s: only %v may import %s", file, owned, lib)
			}
		}
	})
}
