package program

import (
	"errors"
	"fmt"

	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/guest"
)

// The rights of Landlock, see landlock(7).
const (
	// handled are all rights that are taken from a process and given back by
	// rules. Those of ABI 9 and later are not wanted, see the package comment.
	handled = mayRead | mayWriteTree | ll.AccessFSMakeChar | ll.AccessFSMakeBlock | ll.AccessFSIoctlDev

	mayRead = ll.AccessFSExecute | ll.AccessFSReadFile | ll.AccessFSReadDir
	// mayWriteFile is all that can be done to a file that is there.
	mayWriteFile = ll.AccessFSWriteFile | ll.AccessFSTruncate
	// mayWriteTree leaves out device nodes: a whiteout is one (character device
	// 0:0, which needs no privilege), and planted in an upper layer it hides a
	// file of the project.
	mayWriteTree = mayWriteFile | ll.AccessFSRemoveDir | ll.AccessFSRemoveFile |
		ll.AccessFSMakeDir | ll.AccessFSMakeReg | ll.AccessFSMakeSock |
		ll.AccessFSMakeFifo | ll.AccessFSMakeSym | ll.AccessFSRefer
)

// devices are what every program may write to and control: without them there
// are no redirections to /dev/null, no terminals and no job control.
var devices = []string{
	"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom",
	"/dev/tty", "/dev/ptmx", "/dev/pts",
}

// kernelABI returns the Landlock ABI of the kernel; zero if there is none.
func kernelABI() int {
	abi, err := ll.LandlockGetABIVersion()
	if err != nil {
		return 0
	}
	return abi
}

// reach returns the ABI whose restrictions confine puts in force; zero if it
// would do nothing.
func reach(abi int) int {
	if abi < guest.LandlockOldest {
		return 0
	}
	return min(abi, guest.LandlockFull)
}

// handles returns the rights that a kernel can take away.
func handles(abi int) uint64 {
	rights := uint64(handled)
	if abi < 3 {
		rights &^= ll.AccessFSTruncate
	}
	if abi < 5 {
		rights &^= ll.AccessFSIoctlDev
	}
	return rights
}

// confine takes from a thread, and all that comes from it, the right to write
// anywhere but to the devices and beneath the given paths, as far as the kernel
// can. restrict does it: ll.LandlockRestrictSelf for the calling thread, which
// must be locked, or ll.AllThreadsLandlockRestrictSelf.
//
// It fails, having done nothing, if a path is not there, if one is a symbolic
// link, and if the kernel reaches less than require.
func confine(write []string, require int, restrict func(ruleset int, flags uint32) error) error {
	abi := kernelABI()
	if reach(abi) < require {
		return fmt.Errorf("Landlock ABI %d is required; the kernel has %d, and %d is the highest that is used", require, abi, guest.LandlockFull)
	}
	for _, w := range write {
		if _, err := accessTo(w); err != nil {
			return fmt.Errorf("allow writing to %s: %w", shown(w), err)
		}
	}
	if reach(abi) == 0 {
		return nil
	}
	rights := handles(abi)
	ruleset, err := ll.LandlockCreateRuleset(&ll.RulesetAttr{HandledAccessFS: rights}, 0)
	if err != nil {
		return fmt.Errorf("create a Landlock ruleset: %w", err)
	}
	defer unix.Close(ruleset)
	if err := addRules(ruleset, rights, write); err != nil {
		return err
	}
	if err := restrict(ruleset, 0); err != nil {
		return fmt.Errorf("apply Landlock: %w", err)
	}
	return nil
}

// addRules gives back what a process needs.
func addRules(ruleset int, rights uint64, write []string) error {
	if err := addRule(ruleset, "/", mayRead); err != nil {
		return err
	}
	for _, d := range devices {
		// A device that is not there needs no rule.
		if err := addRule(ruleset, d, rights&(mayWriteFile|ll.AccessFSIoctlDev)); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	for _, w := range write {
		access, err := accessTo(w)
		if err == nil {
			err = addRule(ruleset, w, rights&access)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// addRule allows access beneath a path, or to the file that it names.
func addRule(ruleset int, name string, access uint64) error {
	fd, err := unix.Open(name, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err == nil {
		err = ll.LandlockAddPathBeneathRule(ruleset, &ll.PathBeneathAttr{AllowedAccess: access, ParentFd: fd}, 0)
		unix.Close(fd)
	}
	if err != nil {
		return fmt.Errorf("add %s to a Landlock ruleset: %w", shown(name), err)
	}
	return nil
}

// accessTo returns the rights that fit what is at the path.
func accessTo(name string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Lstat(name, &st); err != nil {
		return 0, err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return mayWriteTree, nil
	case unix.S_IFLNK:
		// The session could point it elsewhere, and the rule with it.
		return 0, errors.New("it is a symbolic link")
	case unix.S_IFCHR, unix.S_IFBLK:
		return mayWriteFile | ll.AccessFSIoctlDev, nil
	}
	return mayWriteFile, nil
}
