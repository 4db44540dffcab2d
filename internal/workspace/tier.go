package workspace

import (
	"path"
	"strings"
	"unicode"

	"github.com/ccc-dev/ccc/internal/api"
)

// runs are further names, at any depth, that make a program on the host run or
// obey something, beside the guarded ones. A guarded path is in danger in a live
// workspace; these are asked about when a change is taken.
var runs = []string{
	".gitconfig", ".lfsconfig", ".githooks", ".pre-commit-config.yaml", ".pre-commit-hooks.yaml", "lefthook.yml",
	".lefthook.yml", ".claude", ".codex", ".gemini", ".continue", ".windsurf", ".roo", ".clinerules", ".aider.conf.yml",
	"mcp.json", ".mise.toml", "mise.toml", ".devcontainer.json", ".nvim.lua", ".exrc", ".vimrc", ".dir-locals.el",
	".gdbinit", ".lldbinit", ".bashrc", ".zshrc", ".profile", ".bash_profile",
}

// built are the names, at any depth, that a build, a test or a pipeline runs.
// They are patterns of path.Match.
var built = []string{
	"makefile", "gnumakefile", "*.mk", "cmakelists.txt", "*.cmake", "meson.build", "justfile", "rakefile", "taskfile.y*ml",
	"build.gradle*", "settings.gradle*", "gradlew*", "pom.xml", "build.rs", "build.zig", "*.bazel", ".bazelrc", "workspace",
	".github", ".gitlab-ci.yml", ".circleci", "jenkinsfile", "azure-pipelines.yml", ".travis.yml", ".drone.yml", ".woodpecker*",
	"dockerfile*", "containerfile*", "compose.y*ml", "docker-compose*.y*ml", "vagrantfile", "flake.nix", "shell.nix", "default.nix",
	"package.json", "package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock*", ".npmrc", ".yarnrc*", ".yarn",
	"go.mod", "go.sum", "cargo.toml", "cargo.lock", ".cargo", "requirements*.txt", "pyproject.toml", "poetry.lock", "uv.lock",
	"pipfile*", "setup.py", "setup.cfg", "tox.ini", "noxfile.py", "conftest.py", "gemfile*", "*.gemspec", "composer.json", "composer.lock",
	"claude.md", "agents.md", "gemini.md", ".cursorrules",
}

// tierOf returns how far a path reaches. Names are compared as a file system
// that folds case would: a project may be checked out on one. more are further
// paths of [api.TierRuns] in this project, folded.
func tierOf(name string, more []string) api.Tier {
	folded := fold(name)
	for _, m := range more {
		if folded == m || strings.HasPrefix(folded, m+"/") {
			return api.TierRuns
		}
	}
	tier := api.TierPlain
	for rest := folded; rest != ""; {
		if isRun(rest) {
			return api.TierRuns
		}
		first, after, _ := strings.Cut(rest, "/")
		for _, b := range built {
			if ok, err := path.Match(b, first); ok && err == nil {
				tier = api.TierBuild
			}
		}
		rest = after
	}
	return tier
}

// ByThemselves returns what tells whether a path below a project is one of
// [api.TierRuns]: for whoever puts files there in another way than by an apply.
// It knows this project's links and where its git looks for hooks. Nor may what
// is put there be called HEAD: without one, no directory is a repository whose
// configuration git would obey.
func ByThemselves(project string) (func(name string) bool, error) {
	dir, err := openDirectory(project)
	if err != nil {
		return nil, err
	}
	defer dir.close()
	more := runsHere(dir)
	return func(name string) bool {
		return tierOf(name, more) == api.TierRuns || fold(path.Base(name)) == "head"
	}, nil
}

// isRun tells whether a path begins with a guarded one, or is above one: whoever
// replaces .claude replaces .claude/settings.json.
func isRun(rest string) bool {
	first, _, _ := strings.Cut(rest, "/")
	for _, r := range runs {
		if first == r {
			return true
		}
	}
	for _, g := range guarded {
		if rest == g || strings.HasPrefix(rest, g+"/") || strings.HasPrefix(g, rest+"/") {
			return true
		}
	}
	return false
}

// fold returns a path as a file system may see it that ignores case, characters
// without a width (HFS+), and dots and blanks at the end of a name (NTFS). It is
// for comparing only.
func fold(name string) string {
	folded := strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Cf, r) {
			return -1
		}
		return unicode.ToLower(unicode.ToUpper(r))
	}, name)
	parts := strings.Split(folded, "/")
	for i, p := range parts {
		parts[i] = strings.TrimRight(p, ". ")
	}
	return strings.Join(parts, "/")
}

// isGit tells whether a name means git's own directory to some git on some file
// system (CVE-2014-9390, CVE-2019-1352).
func isGit(name string) bool {
	f := fold(name)
	f, _, _ = strings.Cut(f, ":")
	return f == ".git" || f == "git~1"
}
