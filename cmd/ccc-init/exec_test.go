package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/guest"
)

// shim returns a command that runs argv through ccc-init.
func shim(t testing.TB, write []string, argv ...string) *exec.Cmd {
	t.Helper()
	args := []string{guest.ModeExec}
	for _, w := range write {
		args = append(args, guest.FlagWrite, w)
	}
	return exec.Command(ccInit(t), slices.Concat(args, []string{guest.EndOfFlags}, argv)...)
}

// yard makes a directory with two others, of which only "in" is to be written
// to, and "out" holds something to spoil.
func yard(t testing.TB) (in, out string) {
	t.Helper()
	dir := t.TempDir()
	in, out = filepath.Join(dir, "in"), filepath.Join(dir, "out")
	for _, d := range []string{in, out, filepath.Join(out, "dir"), filepath.Join(in, "dir")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{filepath.Join(out, "file"), filepath.Join(in, "file")} {
		if err := os.WriteFile(f, []byte("#!/bin/sh\necho content\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return in, out
}

// landlocked fails where the kernel has no Landlock: there is nothing to show.
func landlocked(t testing.TB) {
	t.Helper()
	out, _ := output(t, exec.Command(ccInit(t), guest.ModeReport))
	if !strings.Contains(out, "\nlandlock_applied 5\n") {
		t.Fatalf("these tests want a kernel with Landlock ABI %d:\n%s", guest.LandlockFull, out)
	}
}

// TestWritesOutsideAreDenied plays each attack twice: as it is, to show that it
// works, and through the shim.
func TestWritesOutsideAreDenied(t *testing.T) {
	t.Parallel()
	landlocked(t)
	for name, attack := range map[string]string{
		"create":                `echo x >"$out/new"`,
		"change":                `echo x >>"$out/file"`,
		"change by a link":      `ln -s "$out/file" "$in/way" && echo x >>"$in/way"`,
		"change by descriptor":  `exec 3<"$out/file"; echo x >>/proc/self/fd/3`,
		"truncate":              `truncate -s 0 "$out/file"`,
		"truncate on opening":   `: >"$out/file"`,
		"remove":                `rm -f "$out/file"`,
		"remove a directory":    `rmdir "$out/dir"`,
		"make a directory":      `mkdir "$out/new"`,
		"make a link":           `ln -s x "$out/new"`,
		"make a hard link":      `ln "$out/file" "$out/new"`,
		"make a fifo":           `mkfifo "$out/new"`,
		"make a socket":         `python3 -c 'import socket,sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$out/s"`,
		"rename":                `mv "$out/file" "$out/new"`,
		"move out":              `mv -T "$in/file" "$out/new" && [ ! -e "$in/file" ]`,
		"move in":               `mv -T "$out/file" "$in/new" && [ ! -e "$out/file" ]`,
		"swap":                  `python3 -c 'import ctypes,sys; sys.exit(ctypes.CDLL(None).renameat2(-100, sys.argv[1].encode(), -100, sys.argv[2].encode(), 2) != 0)' "$in/dir" "$out/dir"`,
		"link out":              `ln "$in/file" "$out/new"`,
		"link in, then change":  `ln "$out/file" "$in/new" && echo x >>"$in/new"`,
		"plant a whiteout":      `mknod "$in/new" c 0 0`,
		"plant a device":        `mknod "$in/new" b 7 0`,
		"write one's own name":  `echo x >/proc/self/comm`,
		"mount over it":         `unshare -Urm mount -t tmpfs none "$out"`,
		"bind over it":          `unshare -Urm mount --bind "$in" "$out"`,
		"change root":           `unshare -Urm bash -c 'mount --bind "$in" "$in" && cd "$in" && mkdir -p old && pivot_root . old'`,
		"in a child of a child": `bash -c 'setsid bash -c "echo x >$out/new"'`,
		"as a new user":         `unshare -Ur bash -c 'echo x >"$out/new"'`,
		"nested, asking more":   `"$init" exec --write "$out" -- touch "$out/new"`,
		"by a written program":  `printf '#!/bin/sh\ntouch "$out/new"\n' >"$in/run" && chmod +x "$in/run" && "$in/run"`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := func(confined bool) (string, int) {
				in, out := yard(t)
				cmd := exec.Command("bash", "-c", attack)
				if confined {
					cmd = shim(t, []string{in}, "bash", "-c", attack)
				}
				cmd.Env = append(os.Environ(), "in="+in, "out="+out, "init="+ccInit(t), "LC_ALL=C")
				return output(t, cmd)
			}
			if said, code := run(false); code != 0 {
				t.Fatalf("the attack does not work even without the shim: %s", said)
			}
			said, code := run(true)
			if code == 0 {
				t.Errorf("it worked: %s", said)
			}
			if code == guest.ExitRefused || strings.Contains(said, "ccc-init: error") && name != "nested, asking more" {
				t.Errorf("the shim did not even start it: %s", said)
			}
		})
	}
}

// TestOrdinaryWorkIsPossible: what a session is for.
func TestOrdinaryWorkIsPossible(t *testing.T) {
	t.Parallel()
	landlocked(t)
	for name, work := range map[string]string{
		"write":            `cd "$in" && echo x >new && echo y >>new && mv new dir/new && ln dir/new again && rm again && mkdir -p a/b && mv a/b dir/b && rm -r a dir`,
		"sockets and such": `cd "$in" && mkfifo f && ln -s f l && python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("s")'`,
		"read everywhere":  `cat "$out/file" /etc/passwd >"$in/copy" && ls / /proc/self >/dev/null`,
		"run everything":   `"$out/file" && "$in/file" && cp /bin/true "$in/true" && "$in/true"`,
		"devices":          `echo x >/dev/null && head -c 8 /dev/urandom | wc -c && dd if=/dev/zero of=/dev/null count=1 2>&1; echo x >/dev/zero; ! echo x >/dev/full`,
		"standard streams": `echo x >/dev/stdout && echo x >/dev/stderr && echo x | cat /dev/stdin && [ -z "$(cat /dev/stdin </dev/null)" ] && cat <(echo y) && echo x | tee /dev/stderr`,
		"here documents":   "cat <<X\n" + strings.Repeat("x", 100_000) + "\nX",
		"git":              `cd "$in" && git init -q . && git add . && git -c user.name=a -c user.email=a@b commit -qm x && git checkout -qb other && git gc -q && git worktree add -q "$in/tree" && git status --porcelain`,
		"go": `cd "$in" && export GOCACHE="$in/cache" GOPATH="$in/go" GOFLAGS= GOTOOLCHAIN=local && go mod init example.org/x 2>&1 &&
			printf 'package main\nfunc main() { println("built") }\n' >main.go && go build -o prog . && ./prog && printf 'package main\nimport "testing"\nfunc TestX(*testing.T) {}\n' >x_test.go && go test ./...`,
		"node":   `cd "$in" && node -e 'const fs=require("fs"); fs.writeFileSync("a","x"); fs.renameSync("a","dir/b"); require("child_process").execSync("echo y >c"); new (require("worker_threads").Worker)("1",{eval:true}); console.log(fs.readFileSync(0,"utf8"))' </dev/null`,
		"python": `cd "$in" && python3 -m venv --without-pip v && v/bin/python -c 'import tempfile,subprocess,multiprocessing as m; tempfile.tempdir="."; tempfile.TemporaryFile(); subprocess.check_call(["true"]); m.Lock(); p=m.Process(target=print,args=("child",)); p.start(); p.join(); assert p.exitcode==0'`,
		"cc":     `cd "$in" && printf '#include <stdio.h>\nint main(){puts("built");}' >a.c && gcc a.c && ./a.out && printf 'all:\n\t@echo made\n' >Makefile && make`,
		"loopback": `python3 - <<'X'
import socket, threading
s = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=lambda: s.accept()[0].sendall(b"x")).start()
assert socket.create_connection(s.getsockname()).recv(1) == b"x"
X`,
		"shared memory": `python3 -c 'from multiprocessing import shared_memory as s; m=s.SharedMemory(create=True,size=9); m.close(); m.unlink()'`,
		"sleep in jobs": `sleep 1000 & kill -TERM $!; wait $! || [ $? = 143 ]`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in, out := yard(t)
			cmd := shim(t, []string{in, "/dev/shm"}, "bash", "-ec", work)
			cmd.Env = append(os.Environ(), "in="+in, "out="+out, "HOME="+in, "TMPDIR="+filepath.Join(in, "dir"))
			if said, code := output(t, cmd); code != 0 {
				t.Errorf("exit code %d: %s", code, said)
			}
		})
	}
}

// TestTerminalsWork: job control, the size, opening /dev/tty and another
// terminal from inside.
func TestTerminalsWork(t *testing.T) {
	t.Parallel()
	landlocked(t)
	in, _ := yard(t)
	cmd := shim(t, []string{in}, "bash", "--norc", "-ic", `
		set -e
		tty; stty size; stty -echo; stty sane </dev/tty
		echo to-terminal >/dev/tty
		sleep 1000 & jobs; kill %1; wait || true
		cat "$(tty)" & sleep 0.1; kill %1 2>/dev/null || true
		script -qec 'stty rows 7 cols 9; stty size' /dev/null
		echo all-done`)
	person, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 33, Cols: 99})
	if err != nil {
		t.Fatal(err)
	}
	defer person.Close()
	var said strings.Builder
	buf := make([]byte, 4096)
	for {
		// The end of a terminal is an error.
		n, err := person.Read(buf)
		said.Write(buf[:n])
		if err != nil {
			break
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"33 99", "to-terminal", "7 9", "all-done"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("without %q:\n%s", want, said.String())
		}
	}
	if strings.Contains(said.String(), "no job control") || strings.Contains(said.String(), "denied") {
		t.Errorf("it complained:\n%s", said.String())
	}
}

// TestCommandsOfOneSessionReachEachOther, though each is in a domain of its own:
// signals and sockets. Their memory they do not reach.
func TestCommandsOfOneSessionReachEachOther(t *testing.T) {
	t.Parallel()
	landlocked(t)
	in, _ := yard(t)
	s := start(t, within(time.Hour), guest.FlagWrite, in)
	init := ccInit(t)
	inside := func(script string) *exec.Cmd {
		return s.command(init, guest.ModeExec, guest.FlagAnnounce, guest.FlagWrite, in, guest.EndOfFlags, "bash", "-c", "cd "+in+"; "+script)
	}
	server := inside(`echo $$ >pid.new; mv pid.new pid; exec python3 -c '
import os, socket, threading
def serve(s):
    while True: s.accept()[0].sendall(b"hello")
abstract = socket.socket(socket.AF_UNIX); abstract.bind("\0` + in + `"); abstract.listen()
named = socket.socket(socket.AF_UNIX); named.bind("sock"); named.listen()
tcp = socket.create_server(("127.0.0.1", 0)); open("port.new", "w").write(str(tcp.getsockname()[1])); os.rename("port.new", "port")
for s in (abstract, named, tcp): threading.Thread(target=serve, args=(s,)).start()
'`)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()
	s.await("the server listens", func() bool { return exists(t, filepath.Join(in, "port")) })

	client := inside(`python3 -c '
import socket
def hello(s, to): s.connect(to); assert s.recv(5) == b"hello"
hello(socket.socket(socket.AF_UNIX), "\0` + in + `")
hello(socket.socket(socket.AF_UNIX), "sock")
hello(socket.socket(), ("127.0.0.1", int(open("port").read())))
'`)
	if said, code := output(t, client); code != 0 {
		t.Errorf("it did not reach the server: %s", said)
	}
	peek := `exec 3<"/proc/$(cat pid)/mem"`
	if said, code := output(t, inside(peek)); code == 0 {
		t.Errorf("it reached the memory of another command: %s", said)
	}
	if said, code := output(t, s.command("bash", "-c", "cd "+in+"; "+peek)); code != 0 {
		t.Errorf("without the shim it does not even work: %s", said)
	}
	if said, code := output(t, inside(`kill "$(cat pid)"`)); code != 0 {
		t.Errorf("it could not end the server: %s", said)
	}
	if err := <-ended; err == nil {
		t.Error("the server was not ended by a signal")
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	in, out := yard(t)
	path := out + ":" + in
	for _, f := range []struct {
		name, text string
		mode       os.FileMode
	}{
		{"noexec", "#!/bin/sh\n", 0o644},
		{"nointerpreter", "#!" + in + "/none\n", 0o755},
		{"noformat", "echo x\n", 0o755},
		{"exits", "#!/bin/sh\nexit 42\n", 0o755},
	} {
		if err := os.WriteFile(filepath.Join(in, f.name), []byte(f.text), f.mode); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		argv []string
		path string
		code int
		said string
	}{
		"its own":                 {[]string{"exits"}, path, 42, ""},
		"by path":                 {[]string{in + "/exits"}, "", 42, ""},
		"relative":                {[]string{"./exits"}, "", 42, ""},
		"not there":               {[]string{"none"}, path, 127, "ccc-init: none: command not found"},
		"not there, by path":      {[]string{in + "/none"}, path, 127, "ccc-init: " + in + "/none: no such file or directory"},
		"beneath a file":          {[]string{in + "/exits/x"}, path, 127, "ccc-init: " + in + "/exits/x: not a directory"},
		"not executable":          {[]string{"noexec"}, path, 126, "ccc-init: noexec: permission denied"},
		"not executable, by path": {[]string{in + "/noexec"}, path, 126, "ccc-init: " + in + "/noexec: permission denied"},
		"a directory":             {[]string{in}, path, 126, "ccc-init: " + in + ": permission denied"},
		"a directory in the path": {[]string{"dir"}, path, 127, "ccc-init: dir: command not found"},
		"no interpreter":          {[]string{"nointerpreter"}, path, 126, "ccc-init: nointerpreter: its interpreter is not there"},
		"no format":               {[]string{"noformat"}, path, 126, "ccc-init: noformat: exec format error"},
		"no name":                 {[]string{""}, path, 127, "ccc-init: : command not found"},
		"dots":                    {[]string{".."}, path, 127, "ccc-init: ..: command not found"},
		"control characters":      {[]string{"a\x1b[2J\nb"}, path, 127, `ccc-init: "a\x1b[2J\nb": command not found`},
		"a long name":             {[]string{strings.Repeat("x", 5000)}, path, 127, "ccc-init: " + strings.Repeat("x", 200) + "...: command not found"},
		"not from here":           {[]string{"exits"}, ":.::dir", 127, "ccc-init: exits: command not found"},
		"the usual places":        {[]string{"sh", "-c", "exit 7"}, "unset", 7, ""},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := shim(t, []string{in}, c.argv...)
			cmd.Dir, cmd.Env = in, []string{"PATH=" + c.path}
			if c.path == "unset" {
				cmd.Env = []string{"X=y"}
			}
			if said, code := output(t, cmd); code != c.code || said != c.said {
				t.Errorf("exit code %d, said %q; want %d, %q", code, said, c.code, c.said)
			}
		})
	}
}

// TestRefusesToRun: what the shim cannot do, it does not half do.
func TestRefusesToRun(t *testing.T) {
	t.Parallel()
	in, out := yard(t)
	link := filepath.Join(in, "link")
	if err := os.Symlink(out, link); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ args, said string }{
		"nowhere to write":    {"--write " + in + "/none", "allow writing to " + in + "/none: no such file or directory"},
		"a symbolic link":     {"--write " + link, "allow writing to " + link + ": it is a symbolic link"},
		"more than is used":   {"--require-landlock 6", "Landlock ABI 6 is required"},
		"more than there are": {"--require-landlock 200", "Landlock ABI 200 is required"},
	} {
		t.Run(name, func(t *testing.T) {
			args := slices.Concat([]string{"exec"}, strings.Fields(c.args), []string{"--", "echo", "it ran"})
			said, code := output(t, exec.Command(ccInit(t), args...))
			if code != guest.ExitRefused || !strings.HasPrefix(said, "ccc-init: error: "+c.said) {
				t.Errorf("exit code %d, said %q", code, said)
			}
		})
	}
	t.Run("enough", func(t *testing.T) {
		landlocked(t)
		if said, code := output(t, exec.Command(ccInit(t), "exec", "--require-landlock", "5", "--", "echo", "it ran")); code != 0 || said != "it ran" {
			t.Errorf("exit code %d, said %q", code, said)
		}
	})
	t.Run("too deep", func(t *testing.T) {
		landlocked(t)
		// The kernel stacks sixteen; one more cannot be applied, and must not be
		// left out.
		argv := []string{"echo", "it ran"}
		for range 17 {
			argv = slices.Concat([]string{ccInit(t), "exec", "--"}, argv)
		}
		if said, code := output(t, exec.Command(argv[0], argv[1:]...)); code != guest.ExitRefused || !strings.Contains(said, "apply Landlock") {
			t.Errorf("exit code %d, said %q", code, said)
		}
		if said, code := output(t, exec.Command(argv[3], argv[4:]...)); code != 0 {
			t.Errorf("sixteen: exit code %d, said %q", code, said)
		}
	})
	t.Run("a working directory outside", func(t *testing.T) {
		// A root without the directory that the process is in.
		root := t.TempDir()
		self, err := os.ReadFile(built(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, "ccc-init"), self, 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("/ccc-init", "exec", "--", "/ccc-init", "report")
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
		said, code := output(t, cmd)
		if code != guest.ExitRefused || said != "ccc-init: error: the working directory is outside of the session" {
			t.Errorf("exit code %d, said %q", code, said)
		}
		cmd = exec.Command("/ccc-init", "exec", "--", "/none")
		cmd.SysProcAttr, cmd.Dir = &syscall.SysProcAttr{Chroot: root}, "/"
		if said, code := output(t, cmd); code != guest.ExitNotFound {
			t.Errorf("inside: exit code %d, said %q", code, said)
		}
	})
}

func mustExecutable(t testing.TB) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return self
}

// TestLeavesTheRestAlone: a command sees the same with the shim and without it,
// but for what the shim is there for.
func TestLeavesTheRestAlone(t *testing.T) {
	t.Parallel()
	stray, err := os.Open("/etc")
	if err != nil {
		t.Fatal(err)
	}
	defer stray.Close()
	look := `umask; ulimit -Sa; ulimit -Ha; env | sort; pwd; echo "$0 $*"; grep -E '^(Sig[^Q]|Shd|Cap|Uid|Gid|Groups)' /proc/self/status; nice`
	with := func(cmd *exec.Cmd) string {
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "A=1", "B=x y\nz", "A=2", "EMPTY=", "nonsense"}
		cmd.Dir = "/usr"
		said, code := output(t, cmd)
		if code != 0 {
			t.Fatalf("exit code %d: %s", code, said)
		}
		return said
	}
	limited := func(argv ...string) *exec.Cmd {
		return exec.Command("bash", slices.Concat([]string{"-c", `ulimit -Sn 77; ulimit -c 0; umask 027; trap "" HUP INT; exec "$@"`, "x"}, argv)...)
	}
	argv := []string{"bash", "-c", look, "the name", "-x", "", "an argument"}
	plain := with(limited(argv...))
	shimmed := with(limited(slices.Concat([]string{ccInit(t), "exec", "--"}, argv)...))
	if plain != shimmed {
		t.Errorf("without the shim:\n%s\n\nwith it:\n%s", plain, shimmed)
	}

	show := func(cmd *exec.Cmd) string {
		cmd.ExtraFiles = []*os.File{stray, stray, stray}
		said, _ := output(t, cmd)
		return said
	}
	if said := show(exec.Command("ls", "-l", "/proc/self/fd")); !strings.Contains(said, "5 -> /etc") {
		t.Fatalf("the stray descriptor does not arrive even without the shim:\n%s", said)
	}
	if said := show(shim(t, nil, "ls", "-l", "/proc/self/fd")); strings.Contains(said, "/etc") {
		t.Errorf("the command has a stray descriptor:\n%s", said)
	}
}

func TestReportTellsTheTruth(t *testing.T) {
	t.Parallel()
	landlocked(t)
	without, _ := output(t, exec.Command(ccInit(t), "report"))
	within, _ := output(t, shim(t, nil, ccInit(t), "report"))
	for _, c := range []struct{ report, want string }{
		{without, "outside_writes allowed"}, {within, "outside_writes denied"}, {within, "no_new_privs 1"}, {within, "pid1 other"},
	} {
		if !slices.Contains(strings.Split(c.report, "\n"), c.want) {
			t.Errorf("without %q:\n%s", c.want, c.report)
		}
	}
	if _, err := os.Stat("/proc/1"); err != nil {
		t.Fatal(err)
	}
	if code := unix.Access("/proc/self/comm", unix.W_OK); code != nil {
		t.Errorf("the control of outside_writes is gone: %v", code)
	}
}
