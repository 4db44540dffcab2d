package observe

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// descriptors returns what the open descriptors lead to.
func descriptors() map[string]string {
	all := map[string]string{}
	names, err := list("/proc/self/fd")
	if err != nil {
		all["error"] = word(err)
		return all
	}
	for _, name := range names {
		if t := link("/proc/self/fd/" + name); t.Err == "" && len(all) < maxNames {
			all[name] = t.Data
		}
	}
	return all
}

// limits returns all resource limits.
func limits() map[string]Limit {
	all := map[string]Limit{}
	for name, resource := range map[string]int{
		"AS": unix.RLIMIT_AS, "CORE": unix.RLIMIT_CORE, "CPU": unix.RLIMIT_CPU, "DATA": unix.RLIMIT_DATA, "FSIZE": unix.RLIMIT_FSIZE,
		"MEMLOCK": unix.RLIMIT_MEMLOCK, "MSGQUEUE": unix.RLIMIT_MSGQUEUE, "NICE": unix.RLIMIT_NICE, "NOFILE": unix.RLIMIT_NOFILE,
		"NPROC": unix.RLIMIT_NPROC, "RTPRIO": unix.RLIMIT_RTPRIO, "SIGPENDING": unix.RLIMIT_SIGPENDING, "STACK": unix.RLIMIT_STACK,
	} {
		var l unix.Rlimit
		// Not Getrlimit: package syscall raises the soft limit of open files when
		// a program starts, and gives programs that it starts the old one.
		if unix.Prlimit(0, resource, nil, &l) == nil {
			all[name] = Limit{Soft: bounded(l.Cur), Hard: bounded(l.Max)}
		}
	}
	return all
}

// bounded returns a limit, -1 for none.
func bounded(n uint64) int64 {
	if n > 1<<62 {
		return -1
	}
	return int64(n)
}

// variables names the variables of an environment.
func variables(environ []string) []Variable {
	var all []Variable
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		if len(all) < maxNames {
			all = append(all, Variable{Name: name[:min(len(name), 200)], Like: like(value)})
		}
	}
	return all
}

// like tells by a value's form what kind of secret it may be.
func like(value string) string {
	for _, form := range [...]struct{ prefix, kind string }{
		{"sk-ant-", "an Anthropic key"}, {"sk-", "an API key"}, {"ghp_", "a GitHub token"}, {"gho_", "a GitHub token"},
		{"github_pat_", "a GitHub token"}, {"glpat-", "a GitLab token"}, {"AKIA", "an AWS key"}, {"ASIA", "an AWS key"},
		{"xoxb-", "a Slack token"}, {"xoxp-", "a Slack token"}, {"AIza", "a Google key"}, {"npm_", "an npm token"},
		{"-----BEGIN", "a private key"}, {"eyJ", "a signed token"},
	} {
		if strings.HasPrefix(value, form.prefix) && len(value) > len(form.prefix)+8 {
			return form.kind
		}
	}
	// A URL with a password in it.
	if _, rest, ok := strings.Cut(value, "://"); ok {
		if user, _, ok := strings.Cut(rest, "@"); ok && strings.Contains(user, ":") && !strings.Contains(user, "/") {
			return "an address with a password"
		}
	}
	return ""
}

// trySetID has the dynamic loader of some set-user-id programs say as whom they
// would run. glibc's prints its auxiliary vector if asked to, unless the kernel
// gave the program privileges: then it takes no orders from the environment
// (ld.so(8)). The program itself is not run.
func (p Probe) trySetID(r *Report) {
	const most = 8
	for i, file := range r.Tree.SetID {
		if i == most {
			break
		}
		r.Tries[Key("set-id", file)] = loader(file)
	}
}

func loader(file string) string {
	in, out, err := os.Pipe()
	if err != nil {
		return word(err)
	}
	defer in.Close()
	child, err := os.StartProcess(file, []string{file, "--version"}, &os.ProcAttr{
		Dir: "/", Env: []string{"LD_SHOW_AUXV=1", "LD_TRACE_LOADED_OBJECTS=1"}, Files: []*os.File{nil, out, nil},
	})
	out.Close()
	if err != nil {
		return word(err)
	}
	// The pipe ends with the program, which ends with its time at the latest.
	const patience = 3 * time.Second
	late := time.AfterFunc(patience, func() { _ = child.Kill() })
	said := make([]byte, 8<<10)
	have := 0
	for have < len(said) {
		n, err := in.Read(said[have:])
		have += n
		if err != nil {
			break
		}
	}
	_ = child.Kill()
	_, _ = child.Wait()
	late.Stop()
	for line := range strings.Lines(string(said[:have])) {
		if id, ok := strings.CutPrefix(line, "AT_EUID:"); ok {
			if n, err := strconv.Atoi(strings.TrimSpace(id)); err == nil {
				return "euid " + strconv.Itoa(n)
			}
		}
	}
	return "silent"
}

// list returns the names in a directory.
func list(dir string) ([]string, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var names []string
	buf := make([]byte, 32<<10)
	for {
		n, err := unix.ReadDirent(fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return names, err
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}
