package engine

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
)

// The syntax of what goes into a [Container]. It is narrower than what any
// engine takes: a value that an engine's own syntax could read as something
// else (an option, a list, a second path, a name to be pulled) is not valid.
var (
	objectName = api.Syntax(128, `[a-zA-Z0-9][a-zA-Z0-9_.-]*`)
	imageID    = api.Syntax(64, `[0-9a-f]{64}`)
	hostName   = api.Syntax(63, `[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?`)
	envName    = api.Syntax(1<<20, `[A-Za-z_][A-Za-z0-9_]*`)
	labelName  = api.Syntax(1<<20, `[a-z0-9][a-z0-9._/-]*`)
)

// rlimits are the resource limits that Linux knows (getrlimit(2)).
var rlimits = map[string]bool{
	"AS": true, "CORE": true, "CPU": true, "DATA": true, "FSIZE": true, "LOCKS": true,
	"MEMLOCK": true, "MSGQUEUE": true, "NICE": true, "NOFILE": true, "NPROC": true,
	"RSS": true, "RTPRIO": true, "RTTIME": true, "SIGPENDING": true, "STACK": true,
}

// engineLabels begin the keys that engines and runtimes act on: crun reads
// run.oci.* as instructions, Podman reads its own.
var engineLabels = []string{"io.containers.", "io.podman.", "io.buildah.", "io.kubernetes.", "run.oci.", "org.systemd."}

// Check returns a [api.KindInvalid] error unless c is complete, consistent and
// free of anything that an engine could read as more than is meant. Every
// engine calls it first in CreateContainer.
func (c Container) Check() error {
	for _, check := range []func() error{c.checkNames, c.checkProcess, c.checkLimits, c.checkMounts, c.checkLabels} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// Check returns a [api.KindInvalid] error unless the process can be run as it
// is meant. Every engine calls it first in Exec.
func (p Process) Check() error {
	if err := checkArgv(p.Argv); err != nil {
		return err
	}
	if err := checkEnv(p.Env); err != nil {
		return err
	}
	if !path.IsAbs(p.Dir) || path.Clean(p.Dir) != p.Dir || strings.ContainsRune(p.Dir, 0) {
		return invalid("working directory %.80q is not absolute and clean", p.Dir)
	}
	return nil
}

// Check returns a [api.KindInvalid] error unless name and labels are well formed.
func (v Volume) Check() error {
	if !objectName(v.Name) {
		return invalid("volume name %.64q is not valid", v.Name)
	}
	return Container{Labels: v.Labels}.checkLabels()
}

func invalid(format string, args ...any) error {
	return &api.Error{Kind: api.KindInvalid, Msg: fmt.Sprintf(format, args...)}
}

func (c Container) checkNames() error {
	if !objectName(c.Name) {
		return invalid("container name %.64q is not valid", c.Name)
	}
	// A name could be pulled, or be another image a moment later.
	if !imageID(c.Image) {
		return invalid("image %.80q is not an identity of 64 hexadecimal digits", c.Image)
	}
	if c.Hostname != "" && !hostName(c.Hostname) {
		return invalid("host name %.64q is not valid", c.Hostname)
	}
	return nil
}

func (c Container) checkProcess() error {
	if c.UID == 0 || c.GID == 0 {
		return invalid("user and group 0 are refused in a container")
	}
	if err := checkArgv(c.Argv); err != nil {
		return err
	}
	if err := checkEnv(c.Env); err != nil {
		return err
	}
	if err := checkPath("working directory", c.Dir); err != nil {
		return err
	}
	if c.Seccomp != "" {
		return checkPath("seccomp profile", c.Seccomp)
	}
	return nil
}

// checkLimits refuses zero where an engine would read it as "unlimited".
func (c Container) checkLimits() error {
	if c.Timeout < time.Second {
		return invalid("a container needs a timeout of at least one second")
	}
	if c.StopGrace < 0 || c.ShmSize < 0 {
		return invalid("stop grace and shm size cannot be negative")
	}
	if c.Memory <= 0 || c.CPUs <= 0 || c.PIDs <= 0 {
		return invalid("a container needs limits of memory, cpus and pids")
	}
	for name := range c.Rlimits {
		if !rlimits[name] {
			return invalid("resource limit %.32q is not known", name)
		}
	}
	return nil
}

func (c Container) checkMounts() error {
	targets := map[string]bool{}
	target := func(p string) error {
		if err := checkTarget(p); err != nil {
			return err
		}
		if targets[p] {
			return invalid("two mounts have the target %s", p)
		}
		targets[p] = true
		return nil
	}
	for _, b := range c.Binds {
		if err := firstOf(checkPath("bind source", b.Source), target(b.Target)); err != nil {
			return err
		}
	}
	for _, o := range c.Overlays {
		if err := firstOf(o.check(), target(o.Target)); err != nil {
			return err
		}
	}
	for _, h := range c.Homes {
		if !objectName(h.Volume) {
			return invalid("volume name %.64q is not valid", h.Volume)
		}
		if err := target(h.Target); err != nil {
			return err
		}
	}
	for _, m := range c.Tmpfs {
		// Size 0 would be no limit at all (tmpfs(5)).
		if m.Size <= 0 {
			return invalid("the tmpfs at %.64q needs a size", m.Target)
		}
		if m.Mode&^(fs.ModePerm|fs.ModeSticky) != 0 {
			return invalid("the tmpfs at %.64q has the mode %v", m.Target, m.Mode)
		}
		if err := target(m.Target); err != nil {
			return err
		}
	}
	return nil
}

func (o Overlay) check() error {
	for field, p := range map[string]string{"overlay lower": o.Lower, "overlay upper": o.Upper, "overlay work": o.Work} {
		if err := checkPath(field, p); err != nil {
			return err
		}
	}
	// The kernel's overlay is undefined when its layers overlap.
	for _, pair := range [][2]string{{o.Lower, o.Upper}, {o.Lower, o.Work}, {o.Upper, o.Work}} {
		if below(pair[0], pair[1]) || below(pair[1], pair[0]) {
			return invalid("the directories %s and %s of an overlay overlap", pair[0], pair[1])
		}
	}
	return nil
}

func (c Container) checkLabels() error {
	for key, value := range c.Labels {
		if !labelName(key) {
			return invalid("label %.64q is not valid", key)
		}
		for _, prefix := range engineLabels {
			if strings.HasPrefix(key, prefix) {
				return invalid("label %.64q means something to the engine", key)
			}
		}
		if strings.ContainsRune(value, 0) {
			return invalid("label %s contains a NUL character", key)
		}
	}
	return nil
}

func checkArgv(argv []string) error {
	if len(argv) == 0 || argv[0] == "" {
		return invalid("no command given")
	}
	for _, a := range argv {
		if strings.ContainsRune(a, 0) {
			return invalid("an argument contains a NUL character")
		}
	}
	return nil
}

// checkEnv refuses names that are no identifiers: engines read "*" and a name
// without value as a request to copy the host's variables (CVE-2026-57231).
func checkEnv(env map[string]string) error {
	for name, value := range env {
		if !envName(name) {
			return invalid("environment variable %.64q is not valid", name)
		}
		if strings.ContainsRune(value, 0) {
			return invalid("environment variable %s contains a NUL character", name)
		}
	}
	return nil
}

// checkPath accepts an absolute, clean path without the characters at which
// mount syntax is split or quoted, and without control characters.
func checkPath(field, p string) error {
	bad := !path.IsAbs(p) || path.Clean(p) != p || len(p) >= 4096 || strings.ContainsAny(p, ":,\\\"") ||
		strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f })
	if bad {
		return invalid("%s %.80q is not an absolute, clean path without : , \\ \" and control characters", field, p)
	}
	return nil
}

// CheckTree returns a [api.KindInvalid] error unless dir is an absolute, clean
// path that lies deep enough for its removal not to be an accident.
func CheckTree(dir string) error {
	if err := checkPath("directory", dir); err != nil {
		return err
	}
	if strings.Count(dir, "/") < 3 {
		return invalid("the removal of %s is refused: it is not deep enough", dir)
	}
	return nil
}

// checkTarget accepts a path inside that may be mounted over: not the root, and
// nothing below the file systems whose masks and restrictions it would undo.
func checkTarget(p string) error {
	if err := checkPath("mount target", p); err != nil {
		return err
	}
	for _, top := range []string{"/proc", "/sys", "/dev"} {
		if below(p, top) {
			return invalid("mount target %s is refused: %s belongs to the kernel", p, top)
		}
	}
	if p == "/" {
		return invalid("mount target / is refused")
	}
	return nil
}

// below tells whether p is dir or lies below it.
func below(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/")
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// imageName is a name with a tag, in the form in which engines store it: with
// the registry, which is "localhost" for what was made here.
var imageName = api.Syntax(512, `[a-z0-9][a-z0-9._-]*(:[0-9]+)?(/[a-z0-9][a-z0-9._-]*)+:[a-zA-Z0-9_][a-zA-Z0-9._-]*`)

// Check returns a [api.KindInvalid] error unless the name is complete
// (localhost/NAME:TAG) and the labels are well formed.
func (o ImportOptions) Check() error {
	if !imageName(o.Name) {
		return invalid("image name %.80q is not of the form localhost/NAME:TAG", o.Name)
	}
	return Container{Labels: o.Labels}.checkLabels()
}
