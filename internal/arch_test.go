// Package internal_test holds the rules about the shape of the module that are
// checked by every test run.
package internal_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
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
	"internal/private",
	"internal/audit",
	"internal/secrets",
	"internal/config",
	"internal/kernel",
	"internal/profile",
	"internal/seccomp/calls",
	"internal/seccomp",
	"internal/seccomp/gen",
	"internal/seccomp/learn",
	"internal/policy",
	"internal/guest",
	"internal/apparmor",
	"internal/engine",
	"internal/engine/fake",
	"internal/engine/enginetest",
	"internal/engine/podman",
	"internal/workspace",
	"internal/guest/observe",
	"internal/guest/program",
	"internal/gateway",
	"internal/spec",
	"internal/apparmor/gen",
	"internal/image",
	"internal/agent",
	"internal/monitor",
	"internal/verify",
	"internal/session",
	"internal/session/sessiontest",
	"internal/reaper",
	"internal/probe",
	"internal/export",
	"internal/mcpserver",
	"internal/cli",
	"internal/serving",
	"internal/app",
	"cmd",
}

// owners names the only packages that may import a third-party module: a
// library that leaks out of its owner becomes everybody's API.
var owners = map[string][]string{
	"github.com/containers/podman":           {"internal/engine/podman"},
	"go.podman.io":                           {"internal/engine/podman", "internal/seccomp/gen", "profiles"},
	"github.com/opencontainers/runtime-spec": {"internal/engine", "internal/engine/podman", "internal/spec", "internal/session", "internal/session/sessiontest", "internal/engine/fake", "internal/engine/enginetest", "internal/seccomp", "internal/seccomp/gen", "internal/seccomp/learn"},
	"github.com/spf13/cobra":                 {"internal/cli"},
	"github.com/spf13/pflag":                 {"internal/cli"},
	"github.com/spf13/viper":                 {"internal/config"},
	"github.com/mark3labs/mcp-go":            {"internal/mcpserver"},
	"github.com/google/jsonschema-go":        {"internal/mcpserver"},
	"k8s.io":                                 {"internal/spec"},
	"github.com/landlock-lsm/go-landlock":    {"internal/guest/program", "internal/guest/observe"},
}

// edges are the only packages below cmd that may read the clock or the
// environment, print, or exit; everybody else is given what they need.
var edges = []string{"internal/cli", "internal/app", "cmd"}

// banned are the selectors that only the edges may use.
var banned = []string{"os.Getenv", "os.LookupEnv", "os.Environ", "os.Exit", "time.Now", "fmt.Print", "fmt.Println", "fmt.Printf"}

// forTests are the packages that only tests may import. They are not part of
// the program and may do what tests may.
var forTests = []string{"internal/engine/fake", "internal/engine/enginetest", "internal/session/sessiontest"}

// The hard limits on the shape of the code.
const (
	maxFile      = 500
	maxFunction  = 70
	maxInterface = 8
)

// source is one Go file of the module.
type source struct {
	// file is its path and pkg its directory, both from the top of the module.
	file, pkg string
	fset      *token.FileSet
	tree      *ast.File
}

// test tells whether the file is a test's.
func (s source) test() bool { return strings.HasSuffix(s.file, "_test.go") }

// line returns the line of a position.
func (s source) line(p token.Pos) int { return s.fset.Position(p).Line }

// sources calls visit for every Go file of the module.
func sources(t *testing.T, visit func(source)) {
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
		fset := token.NewFileSet()
		tree, err := parser.ParseFile(fset, p, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		files++
		file := filepath.ToSlash(strings.TrimPrefix(p, "../"))
		visit(source{file: file, pkg: path.Dir(file), fset: fset, tree: tree})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Fatal("no Go file was read: the rules were not checked")
	}
}

// imports calls visit for every import of every Go file of the module.
func imports(t *testing.T, visit func(file, pkg, imported string)) {
	t.Helper()
	sources(t, func(s source) {
		for _, i := range s.tree.Imports {
			imported, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			visit(s.file, s.pkg, imported)
		}
	})
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
	unknown := map[string]bool{}
	imports(t, func(file, pkg, imported string) {
		if pkg == "internal" {
			return
		}
		from := layer(pkg)
		if from < 0 {
			if !unknown[pkg] {
				t.Errorf("%s: package %s is not in the list of layers", file, pkg)
			}
			unknown[pkg] = true
			return
		}
		target, ours := strings.CutPrefix(imported, module)
		if !ours || target == pkg {
			return
		}
		to := layer(target)
		if strings.HasSuffix(file, "_test.go") && (to < from || slices.Contains(forTests, target)) {
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

func TestTestPackagesStayOutOfTheProgram(t *testing.T) {
	imports(t, func(file, pkg, imported string) {
		target, ours := strings.CutPrefix(imported, module)
		if ours && slices.Contains(forTests, target) && !slices.Contains(forTests, pkg) && !strings.HasSuffix(file, "_test.go") {
			t.Errorf("%s: only tests may import %s", file, target)
		}
	})
}

// edge tells whether a package may read the clock and the environment, print
// and exit.
func edge(pkg string) bool {
	return slices.Contains(forTests, pkg) || slices.ContainsFunc(edges, func(e string) bool { return pkg == e || strings.HasPrefix(pkg, e+"/") })
}

func TestOnlyTheEdgesTouchClockEnvironmentAndStreams(t *testing.T) {
	uses := 0
	sources(t, func(s source) {
		if s.test() {
			return
		}
		for _, use := range selectors(s) {
			if !slices.Contains(banned, use.name) {
				continue
			}
			uses++
			if !edge(s.pkg) {
				t.Errorf("%s:%d: %s is for %v alone: what it gives is passed in", s.file, s.line(use.at), use.name, edges)
			}
		}
	})
	if uses == 0 {
		t.Error("not even the edges use any of them: the rule was not checked")
	}
}

// use is a name of an imported package, such as os.Exit, and where it is used.
type use struct {
	name string
	at   token.Pos
}

// selectors returns the names of other packages that a file uses, with the
// packages' paths, whatever the file calls them.
func selectors(s source) []use {
	paths := map[string]string{}
	for _, i := range s.tree.Imports {
		imported, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			continue
		}
		name := path.Base(imported)
		if i.Name != nil {
			name = i.Name.Name
		}
		paths[name] = imported
	}
	var all []use
	ast.Inspect(s.tree, func(n ast.Node) bool {
		selector, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := selector.X.(*ast.Ident); ok && paths[x.Name] != "" {
			all = append(all, use{paths[x.Name] + "." + selector.Sel.Name, selector.Pos()})
		}
		return true
	})
	return all
}

func TestShape(t *testing.T) {
	commented := map[string]bool{}
	sources(t, func(s source) {
		if s.test() {
			return
		}
		commented[s.pkg] = commented[s.pkg] || s.tree.Doc != nil
		if n := s.line(s.tree.FileEnd); n > maxFile {
			t.Errorf("%s has %d lines, at most %d are allowed", s.file, n, maxFile)
		}
		for _, i := range s.tree.Imports {
			if i.Name != nil && i.Name.Name == "." {
				t.Errorf("%s:%d: a dot import hides where names come from", s.file, s.line(i.Pos()))
			}
		}
		ast.Inspect(s.tree, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				checkFunction(t, s, n)
			case *ast.InterfaceType:
				if count := methods(n); count > maxInterface {
					t.Errorf("%s:%d: an interface of %d methods, at most %d are allowed", s.file, s.line(n.Pos()), count, maxInterface)
				}
			}
			return true
		})
	})
	for pkg, has := range commented {
		if !has {
			t.Errorf("package %s has no comment that says what it is for", pkg)
		}
	}
}

func checkFunction(t *testing.T, s source, f *ast.FuncDecl) {
	t.Helper()
	if f.Recv == nil && f.Name.Name == "init" {
		t.Errorf("%s:%d: func init runs whether it is wanted or not", s.file, s.line(f.Pos()))
	}
	// A table of test cases with their code is as long as it has to be.
	if n := s.line(f.End()) - s.line(f.Pos()) + 1; n > maxFunction && !slices.Contains(forTests, s.pkg) {
		t.Errorf("%s:%d: %s has %d lines, at most %d are allowed", s.file, s.line(f.Pos()), f.Name.Name, n, maxFunction)
	}
}

// methods counts the methods that an interface lists itself.
func methods(i *ast.InterfaceType) int {
	n := 0
	for _, m := range i.Methods.List {
		n += len(m.Names)
	}
	return n
}

// Every test that SECURITY.md names to show a case is there.
func TestCasesHaveTheirTests(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	sources(t, func(s source) {
		for _, d := range s.tree.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && s.test() {
				there[f.Name.Name] = true
			}
		}
	})
	named := regexp.MustCompile("`(Test[A-Za-z0-9]+)`").FindAllStringSubmatch(string(text), -1)
	if len(named) < 30 {
		t.Fatalf("%d tests are named", len(named))
	}
	for _, n := range named {
		if !there[n[1]] {
			t.Errorf("there is no %s", n[1])
		}
	}
}

// The program of every command does not link what only the server needs: it
// would cost each start of it.
func TestCommandsDoNotLinkTheServer(t *testing.T) {
	graph := map[string][]string{}
	imports(t, func(file, pkg, imported string) {
		if name, ours := strings.CutPrefix(imported, module); ours && !strings.HasSuffix(file, "_test.go") {
			graph[pkg] = append(graph[pkg], name)
		}
	})
	reaches := func(from string) bool {
		seen, todo := map[string]bool{}, []string{from}
		for len(todo) > 0 {
			p := todo[0]
			todo = todo[1:]
			if !seen[p] {
				seen[p] = true
				todo = append(todo, graph[p]...)
			}
		}
		return seen["internal/mcpserver"]
	}
	if reaches("cmd/ccc") || !reaches("cmd/ccc-serve") {
		t.Errorf("the server is linked into ccc: %v, into ccc-serve: %v", reaches("cmd/ccc"), reaches("cmd/ccc-serve"))
	}
}
