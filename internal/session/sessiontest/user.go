package sessiontest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// nobody is the user that tests run as when root runs them: one that the
// password database does not have, so that nothing on the machine is its own.
const nobody = 61_573

// AsUser returns false if the process is an ordinary user's. If it is root's it
// runs the test binary again as an ordinary user, with the same arguments and
// streams, and returns its exit code and true: ccc refuses root, and a file's
// permissions mean nothing to root, so that tests run by root would prove
// little. Call it first in TestMain.
func AsUser() (code int, ran bool) {
	if os.Getuid() != 0 {
		return 0, false
	}
	code, err := again()
	if err != nil {
		fmt.Fprintln(os.Stderr, "run the tests as an ordinary user:", err)
		return 1, true
	}
	return code, true
}

// again runs this program as nobody and returns its exit code.
func again() (code int, err error) {
	dir, err := os.MkdirTemp("", "ccc-test-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// The binary may lie where only root can go.
	file := filepath.Join(dir, filepath.Base(os.Args[0]))
	if err := copyFile("/proc/self/exe", file); err != nil {
		return 0, err
	}
	if err := errors.Join(os.Chmod(dir, 0o700), os.Chown(dir, nobody, nobody), os.Chown(file, nobody, nobody)); err != nil {
		return 0, err
	}
	cmd := exec.Command(file, arguments(os.Args[1:])...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, "HOME="+dir, "USER=tester", "LOGNAME=tester")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: nobody, Gid: nobody},
		// A test that is given up must not go on.
		Pdeathsig: syscall.SIGKILL,
	}
	// `go test` tells its child of a timeout with SIGQUIT.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT)
	defer signal.Stop(signals)
	// Pdeathsig is about the death of the thread that started the child.
	runtime.LockOSThread()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s)
		}
	}()
	err = cmd.Wait()
	if exited, ok := errors.AsType[*exec.ExitError](err); ok {
		return exited.ExitCode(), nil
	}
	return 0, err
}

// arguments leaves out the files that `go test` has the binary write where only
// root can.
func arguments(args []string) []string {
	var kept []string
	for _, a := range args {
		if !strings.HasPrefix(a, "-test.testlogfile=") && !strings.HasPrefix(a, "-test.gocoverdir=") {
			kept = append(kept, a)
		}
	}
	return kept
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return errors.Join(err, out.Close())
	}
	return out.Close()
}
