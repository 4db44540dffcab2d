// Package app builds the core of ccc from its surroundings: environment,
// configuration, engine, audit log, directories. It is the only package that
// knows them all, and it does nothing with them but put them together.
package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/audit"
	"github.com/ccc-dev/ccc/internal/cli"
	"github.com/ccc-dev/ccc/internal/config"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/engine/podman"
	"github.com/ccc-dev/ccc/internal/guest"
	"github.com/ccc-dev/ccc/internal/image"
	"github.com/ccc-dev/ccc/internal/kernel"
	"github.com/ccc-dev/ccc/internal/probe"
	"github.com/ccc-dev/ccc/internal/profile"
	"github.com/ccc-dev/ccc/internal/seccomp"
	"github.com/ccc-dev/ccc/internal/session"
	"github.com/ccc-dev/ccc/internal/workspace"
	"github.com/ccc-dev/ccc/profiles"
)

// App is the surroundings of one run.
type App struct {
	// Args are the arguments after the program's name.
	Args []string
	// Environ is the environment.
	Environ []string
	// In, Out and Err are the standard streams.
	In       io.Reader
	Out, Err io.Writer
	// Terminal is set if In and Out are one.
	Terminal cli.Terminal
	// OpenEngine connects to an engine; nil means rootless Podman. Tests put
	// the fake here.
	OpenEngine func(ctx context.Context, socket string) (engine.Engine, error)
	// Kernel reads the facts of processes; nil means the real ones.
	Kernel session.Kernel
	// Init is the program that sessions begin with; empty means ccc-init where it
	// was installed, see [installed].
	Init string
	// Serve is what `ccc serve` does; nil means that it goes on as the program
	// ccc-serve, which has it.
	Serve func(context.Context, cli.ServeRequest) error
	// Home is the user's home directory; empty means the one that the password
	// database has. Tests have one of their own.
	Home string
}

// Main runs the command line and returns its exit code.
func (a *App) Main(ctx context.Context) int {
	return cli.Main(ctx, a.program(), a.Args)
}

// program returns the command line with everything it needs.
func (a *App) program() *cli.Program {
	return &cli.Program{
		In: a.In, Out: a.Out, Err: a.Err, Terminal: a.Terminal, Term: a.env("TERM"), NoColor: a.env("NO_COLOR") != "", Version: version(),
		Config:   a.config,
		Core:     a.core,
		Recorder: a.recorder,
		Images:   a.images,
		Doctor:   a.doctor,
		Levels:   a.levels, Self: self(), UID: os.Getuid(),
		Serve: a.Serve, Server: installed("ccc-serve", os.Executable),
	}
}

// env returns a variable of the environment, "" if it is not set.
func (a *App) env(name string) string {
	// The last one wins, as in a shell.
	for i := len(a.Environ) - 1; i >= 0; i-- {
		if value, ok := strings.CutPrefix(a.Environ[i], name+"="); ok {
			return value
		}
	}
	return ""
}

// openEngine connects to the engine that the configuration names.
func (a *App) openEngine(ctx context.Context, c *config.Config) (engine.Engine, error) {
	if a.OpenEngine != nil {
		return a.OpenEngine(ctx, string(c.Effective.Connection))
	}
	return podman.Open(ctx, podman.Options{Socket: string(c.Effective.Connection), UID: os.Getuid(), Env: a.env})
}

// config loads the configuration.
func (a *App) config(g cli.Global) (*config.Config, error) {
	d, err := a.dirs()
	if err != nil {
		return nil, err
	}
	s := config.Sources{
		Flags: map[string]string{}, Environ: a.Environ,
		HostFile: "/etc/ccc/policy.yaml", UserFile: filepath.Join(d.config, "config.yaml"),
		Home: d.home,
		Defaults: map[string]string{
			"audit.dir": filepath.Join(d.state, "audit"),
			"image":     image.DefaultName,
		},
	}
	if g.ConfigFile != "" {
		s.UserFile, s.UserFileRequired = g.ConfigFile, true
	}
	// What is no directory is no project; the core says so.
	if info, err := os.Stat(g.Project); err == nil && info.IsDir() {
		project, err := filepath.Abs(g.Project)
		if err != nil {
			return nil, fmt.Errorf("find the working directory: %w", err)
		}
		s.ProjectFile = filepath.Join(project, ".ccc.yaml")
	}
	if g.Connection != "" {
		s.Flags["connection"] = g.Connection
	}
	return config.Load(s)
}

// core connects to the engine and returns the core.
func (a *App) core(ctx context.Context, g cli.Global) (*session.Core, error) {
	if os.Getuid() == 0 {
		return nil, errRoot()
	}
	c, err := a.config(g)
	if err != nil {
		return nil, err
	}
	core, err := a.recording(ctx, c)
	if err != nil {
		return nil, err
	}
	core.Engine, err = a.openEngine(ctx, c)
	return core, err
}

// errRoot is the refusal to run as root: what root's containers protect is
// root itself.
func errRoot() error {
	return &api.Error{Kind: api.KindDenied, Rule: "user.root", Msg: "ccc does not run as root", Hint: "run it as an ordinary user; `sudo -iu USER ccc …` will do"}
}

// recorder returns a core that can only record.
func (a *App) recorder(ctx context.Context, g cli.Global) (*session.Core, error) {
	c, err := a.config(g)
	if err != nil {
		return nil, err
	}
	return a.recording(ctx, c)
}

// recording returns a core without an engine.
func (a *App) recording(ctx context.Context, c *config.Config) (*session.Core, error) {
	d, err := a.dirs()
	if err != nil {
		return nil, err
	}
	log, err := audit.Open(ctx, string(c.Effective.Audit.Dir), audit.Options{
		Clock: time.Now, Uptime: guest.Boottime, Version: version().Version,
		Caller: api.Caller{UID: os.Getuid(), PID: os.Getpid(), Client: "ccc"}, File: string(c.Effective.Audit.File),
	})
	if err != nil {
		return nil, err
	}
	read := a.Kernel
	if read == nil {
		read = kernel.Reader{}
	}
	wd, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("find the working directory: %w", err)
	}
	return &session.Core{
		Audit:    log,
		Dirs:     workspace.Dirs{Root: filepath.Join(d.state, "sessions")},
		Intents:  session.Intents{Dir: filepath.Join(d.runtime, "making")},
		Levels:   levels(d.config),
		Ceilings: ceilings(c), Ground: d.ground(c), Defaults: defaults(c),
		Clock: time.Now, Settle: 3 * time.Second, Random: random, Kernel: read, Dir: wd,
		Guest: session.Guest{
			Source: cmp.Or(a.Init, installed("ccc-init", os.Executable)), Programs: filepath.Join(d.state, "init"),
			Dirs: filepath.Join(d.runtime, "sessions"), Boottime: guest.Boottime,
		},
		Filters: profile.Source{FS: os.DirFS(d.config), Dir: "seccomp", Label: d.config + "/"},
		Seccomp: func(filter []byte) (string, error) {
			return seccomp.Deliver(filepath.Join(d.runtime, "seccomp"), filter)
		},
		Sockets: filepath.Join(d.runtime, "learn"),
	}, nil
}

// levels returns where policy levels are looked for. Without a home there are
// the shipped ones: root installs profiles, too.
func (a *App) levels() ([]profile.Source, error) {
	home, err := a.home()
	if err != nil {
		return levels("")[1:], nil //nolint:nilerr // see above
	}
	return levels(filepath.Join(a.base("XDG_CONFIG_HOME", home, ".config"), "ccc")), nil
}

// levels returns the places of policy levels, the user's own first.
func levels(config string) []profile.Source {
	return []profile.Source{
		{FS: os.DirFS(config), Dir: "profiles", Label: config + "/"},
		{FS: profiles.Levels, Dir: "levels", Label: "shipped "},
	}
}

// self returns the path of this program, or its name where that is not known.
func self() string {
	p, err := os.Executable()
	if err != nil {
		return "ccc"
	}
	return p
}

// images returns the builder of session images.
func (a *App) images(ctx context.Context, g cli.Global) (image.Builder, error) {
	if os.Getuid() == 0 {
		return image.Builder{}, errRoot()
	}
	c, err := a.config(g)
	if err != nil {
		return image.Builder{}, err
	}
	e, err := a.openEngine(ctx, c)
	if err != nil {
		return image.Builder{}, err
	}
	return image.Builder{Images: e, Containers: e, Tools: image.HostTools(), Env: a.Environ, TempDir: "/var/tmp"}, nil
}

// doctor returns the checks of this host.
func (a *App) doctor(g cli.Global) probe.Host {
	name := a.env("USER")
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	h := withChecklist(probe.Host{
		UID: os.Getuid(), User: name, RuntimeDir: a.env("XDG_RUNTIME_DIR"), Image: image.DefaultName,
		LookPath: exec.LookPath, ReadFile: os.ReadFile,
	})
	c, err := a.config(g)
	if err != nil {
		h.Engine = func(context.Context) (engine.Engine, error) { return nil, err }
		h.Audit = func() (string, error) { return "", err }
		return h
	}
	h.Image = string(c.Effective.Image)
	h.Engine = func(ctx context.Context) (engine.Engine, error) { return a.openEngine(ctx, c) }
	h.Audit = func() (string, error) {
		r, err := audit.VerifyDir(context.Background(), string(c.Effective.Audit.Dir), string(c.Effective.Audit.File))
		if api.KindOf(err) == api.KindNotFound {
			return "none yet; it begins with the first session", nil
		}
		return fmt.Sprintf("%d records, whole", r.Records), err
	}
	return h
}

// random returns so many random bytes in hexadecimal.
func random(bytes int) string {
	b := make([]byte, bytes)
	// Never fails: the kernel ends the process instead (crypto/rand).
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

// version reads what the build recorded of itself.
func version() cli.Version {
	v := cli.Version{Version: "devel", Go: runtime.Version(), Schema: engine.Schema}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" && info.Main.Version != "(devel)" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v.Commit = s.Value
		}
	}
	return v
}
