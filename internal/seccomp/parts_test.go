package seccomp_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/seccomp/calls"
)

// parts are what the test binary does inside a container. Each attack prints
// what came of it in one line, "done" or the name of an errno, and fails only if
// it could not be tried.
var parts = map[string]func(args []string) error{
	"wait":     partWait,
	"probes":   partProbes,
	"each":     partEach,
	"sandbox":  partSandbox,
	"mount":    partMount,
	"victim":   partVictim,
	"trace":    partTrace,
	"read":     partRead,
	"type":     partType,
	"oob":      partOOB,
	"splice":   partSplice,
	"elf32":    partELF32,
	"ordinary": partOrdinary,
}

// report prints what came of an attack.
func report(err error) error {
	var errno syscall.Errno
	switch {
	case err == nil:
		fmt.Println("done")
	case errors.As(err, &errno):
		fmt.Println(unix.ErrnoName(errno))
	default:
		return err
	}
	return nil
}

// again returns a command that plays another part.
func again(part string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{partVar + "=" + part}
	cmd.Stderr = os.Stderr
	return cmd
}

func partWait([]string) error {
	fmt.Println("ready")
	c := make(chan os.Signal, 1)
	signal.Notify(c, unix.SIGTERM)
	<-c
	return nil
}

// partProbes tries every probe and prints the answers.
func partProbes([]string) error {
	for _, p := range calls.Probes() {
		if !p.Here() {
			continue
		}
		answer, err := p.Try()
		if err != nil {
			return err
		}
		fmt.Println(p.ID, answer)
	}
	return nil
}

// partEach plays parts one after the other, each in a process that leads a
// session of its own, and prints what each said. Commas stand for spaces.
func partEach(args []string) error {
	for _, a := range args {
		cmd := again(strings.ReplaceAll(a, ",", " "))
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		out, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("%s: %w", a, err)
		}
		fmt.Printf("%s: %s\n", a, bytes.TrimSpace(out))
	}
	return nil
}

// partSandbox makes a user and a mount namespace, in which it plays partMount.
func partSandbox([]string) error {
	cmd := again("mount")
	cmd.Stdout = os.Stdout
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	if err := cmd.Start(); err != nil {
		return report(err)
	}
	return cmd.Wait()
}

// partMount mounts something, and prints its capabilities.
func partMount([]string) error {
	if err := unix.Mount("tmpfs", "/tmp", "tmpfs", 0, ""); err != nil {
		return report(err)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "CapEff:") {
			fmt.Println("done", strings.Fields(line)[1])
		}
	}
	return nil
}

// secret is what a process of the session keeps in its memory.
const secret = "correct horse battery staple"

// victim starts a process with a secret in its memory and returns the address.
func victim() (cmd *exec.Cmd, address uintptr, err error) {
	cmd = again("victim")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, 0, err
	}
	if err := cmd.Start(); err != nil {
		return nil, 0, err
	}
	_, err = fmt.Fscan(out, &address)
	return cmd, address, err
}

func partVictim([]string) error {
	kept := []byte(secret)
	fmt.Println(uintptr(unsafe.Pointer(&kept[0])))
	err := unix.Pause()
	runtime.KeepAlive(kept)
	return err
}

// partRead reads another process's secret with process_vm_readv.
func partRead([]string) error {
	cmd, address, err := victim()
	if err != nil {
		return err
	}
	defer func() { _ = cmd.Process.Kill() }()
	buf := make([]byte, len(secret))
	_, err = unix.ProcessVMReadv(cmd.Process.Pid,
		[]unix.Iovec{{Base: &buf[0], Len: uint64(len(buf))}}, []unix.RemoteIovec{{Base: address, Len: len(buf)}}, 0)
	if err == nil && string(buf) != secret {
		return fmt.Errorf("read %q", buf)
	}
	return report(err)
}

// partTrace reads it with ptrace.
func partTrace([]string) error {
	cmd, address, err := victim()
	if err != nil {
		return err
	}
	defer func() { _ = cmd.Process.Kill() }()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.PtraceAttach(cmd.Process.Pid); err != nil {
		return report(err)
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(cmd.Process.Pid, &status, unix.WALL, nil); err != nil {
		return err
	}
	buf := make([]byte, len(secret))
	_, err = unix.PtracePeekData(cmd.Process.Pid, address, buf)
	if err == nil && string(buf) != secret {
		return fmt.Errorf("read %q", buf)
	}
	return report(err)
}

// partType types a character into its own terminal as if a person had, with the
// bits of its argument on top of the request. A kernel that is reached does it,
// or says EIO where its administrator has forbidden it (dev.tty.legacy_tiocsti).
func partType(args []string) error {
	var upper uint64
	if _, err := fmt.Sscan(args[0], &upper); err != nil {
		return err
	}
	// The terminal hangs up when its master is closed.
	signal.Ignore(unix.SIGHUP)
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	defer master.Close()
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		return err
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		return err
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	defer slave.Close()
	if err := unix.IoctlSetInt(int(slave.Fd()), unix.TIOCSCTTY, 1); err != nil {
		return fmt.Errorf("take the terminal: %w", err)
	}
	c := byte('\n')
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, slave.Fd(), uintptr(upper|unix.TIOCSTI), uintptr(unsafe.Pointer(&c)))
	if errno != 0 {
		return report(errno)
	}
	line := make([]byte, 10)
	if n, err := slave.Read(line); err != nil || n != 1 || line[0] != '\n' {
		return fmt.Errorf("typed a newline, read %q, %w", line[:n], err)
	}
	return report(nil)
}

// partOOB sends a byte out of band over a Unix socket, with the bits of its
// argument on top of the flags.
func partOOB(args []string) error {
	var upper uint64
	if _, err := fmt.Sscan(args[0], &upper); err != nil {
		return err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	b := byte('x')
	_, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(pair[0]), uintptr(unsafe.Pointer(&b)), 1, uintptr(upper|unix.MSG_OOB), 0, 0)
	if errno != 0 {
		return report(errno)
	}
	return report(nil)
}

// partSplice moves pages of a file into a pipe.
func partSplice([]string) error {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer f.Close()
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	n, err := unix.Splice(int(f.Fd()), nil, pipe[1], nil, 4096, 0)
	if err == nil && n == 0 {
		return errors.New("nothing was moved")
	}
	return report(err)
}

// partELF32 executes a program of the 32-bit architecture, which exits with 42
// through the 32-bit gate.
func partELF32([]string) error {
	fd, err := unix.MemfdCreate("elf32", 0)
	if err != nil {
		return err
	}
	if _, err := unix.Write(fd, elf32()); err != nil {
		return err
	}
	err = exec.Command(fmt.Sprintf("/proc/self/fd/%d", fd)).Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return fmt.Errorf("the program did not run: %w", err)
	}
	status := exit.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		fmt.Println(unix.SignalName(status.Signal()))
		return nil
	}
	fmt.Println("exit", status.ExitStatus())
	return nil
}

// elf32 is a whole i386 program: a header, one segment, and exit(42).
func elf32() []byte {
	const at, header, segment = 0x08048000, 52, 32
	code := []byte{
		0xb8, 1, 0, 0, 0, // mov eax, 1 (exit)
		0xbb, 42, 0, 0, 0, // mov ebx, 42
		0xcd, 0x80, // int 0x80
	}
	size := uint32(header + segment + len(code))
	var b bytes.Buffer
	b.Write([]byte{0x7f, 'E', 'L', 'F', 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	for _, part := range []any{
		uint16(2), uint16(3), uint32(1), uint32(at + header + segment), uint32(header), uint32(0), uint32(0),
		uint16(header), uint16(segment), uint16(1), uint16(0), uint16(0), uint16(0),
		uint32(1), uint32(0), uint32(at), uint32(at), size, size, uint32(5), uint32(4096),
		code,
	} {
		_ = binary.Write(&b, binary.LittleEndian, part) // memory, and fixed sizes
	}
	return b.Bytes()
}

// partOrdinary does what Go programs do and what falls back where a filter says
// no: TCP over loopback (which tries MPTCP first), copying from socket to socket
// and from file to socket (splice, sendfile), children, signals, timers.
func partOrdinary([]string) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer listener.Close()
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	failed := make(chan error, 2)
	// The first connection takes the text, the second gives it back.
	go func() {
		in, err := listener.Accept()
		if err != nil {
			failed <- err
			return
		}
		out, err := listener.Accept()
		if err != nil {
			failed <- err
			return
		}
		_, err = io.Copy(out, in)
		failed <- errors.Join(err, out.Close(), in.Close())
	}()
	to, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return fmt.Errorf("dial: %w", err)
	}
	from, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return fmt.Errorf("dial: %w", err)
	}
	file, err := os.CreateTemp("/tmp", "ordinary")
	if err != nil {
		return err
	}
	if _, err := file.Write(want); err != nil {
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	go func() {
		_, err := io.Copy(to, file)
		failed <- errors.Join(err, to.Close())
	}()
	got, err := io.ReadAll(from)
	if err = errors.Join(err, <-failed, <-failed); err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("copied %d bytes, and not the same", len(got))
	}
	cmd := again("wait")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	var word string
	if _, err := fmt.Fscan(out, &word); err != nil {
		return err
	}
	timer := time.AfterFunc(time.Millisecond, func() { _ = cmd.Process.Signal(unix.SIGTERM) })
	defer timer.Stop()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("child: %w", err)
	}
	return report(nil)
}
