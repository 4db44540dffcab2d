package main_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// attackMain is what this test binary does under the name attack, inside a
// session: it tries each argument, "WHAT WORD...", and prints what came of it,
// "ok" or the name of the errno.
func attackMain() {
	for _, arg := range os.Args[1:] {
		words := strings.Fields(arg)
		fmt.Printf("%s: %s\n", arg, outcomeOf(attack(words[0], words[1:])))
	}
}

func outcomeOf(err error) string {
	var errno syscall.Errno
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &errno):
		return unix.ErrnoName(errno)
	}
	return err.Error()
}

func attack(what string, args []string) error {
	switch what {
	case "socket":
		fd, err := unix.Socket(number(args[0]), number(args[1]), 0)
		_ = unix.Close(fd)
		return err
	case "userns":
		cmd := exec.Command("/proc/self/exe")
		cmd.Args, cmd.SysProcAttr = []string{"attack"}, &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER}
		return cmd.Run()
	case "mount":
		return unix.Mount("none", args[0], "tmpfs", 0, "")
	case "umount":
		return unix.Unmount(args[0], unix.MNT_DETACH)
	case "read", "write":
		return open(args[0], map[string]int{"read": unix.O_RDONLY, "write": unix.O_WRONLY}[what])
	case "create":
		return open(args[0], unix.O_WRONLY|unix.O_CREAT)
	case "mkdir":
		return unix.Mkdir(args[0], 0o755)
	case "rename":
		return unix.Rename(args[0], args[1])
	case "symlink":
		return unix.Symlink(args[0], args[1])
	case "link":
		return unix.Link(args[0], args[1])
	}
	return onSibling(what)
}

// onSibling tries something on another process of the session.
func onSibling(what string) error {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	// It is this program until it has become the other one.
	proc := "/proc/" + strconv.Itoa(cmd.Process.Pid)
	for {
		if name, err := os.ReadFile(proc + "/comm"); err != nil || strings.TrimSpace(string(name)) == "sleep" {
			break
		}
		time.Sleep(time.Millisecond)
	}
	switch what {
	case "sibling-memory":
		// What is at its beginning is no memory; to open it is what is denied.
		return open(proc+"/mem", unix.O_WRONLY)
	case "sibling-trace":
		return unix.PtraceAttach(cmd.Process.Pid)
	case "sibling-see":
		return open(proc+"/environ", unix.O_RDONLY)
	}
	return fmt.Errorf("no attack %q", what)
}

// open opens a file and, to read, reads of it: some say no only then.
func open(file string, flags int) error {
	fd, err := unix.Open(file, flags|unix.O_CLOEXEC|unix.O_NONBLOCK, 0o644)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if flags&(unix.O_WRONLY|unix.O_RDWR) == 0 {
		_, err = unix.Read(fd, make([]byte, 16))
	}
	return err
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}
