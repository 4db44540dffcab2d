package main

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Removal is a row of the table: what is taken from the base profile, and why.
type Removal struct {
	// Calls are the system calls.
	Calls []string
	// args are the rules for the calls' arguments; without any, the calls are
	// denied whatever their arguments.
	args []argRule
	// Errno is what a denied caller sees. EPERM says that a policy refused; ENOSYS
	// is for calls that libraries try first and can do without on older kernels.
	Errno syscall.Errno
	// Reason says in one line what the row is for. It becomes the comment of the
	// rule in the profile.
	Reason string
	// CVEs are vulnerabilities that needed what is taken away.
	CVEs []string
	// In are the variants that the row is part of; all, if empty.
	In []string
}

// Flags of clone(2) and unshare(2) that make new namespaces. CLONE_NEWTIME is
// not among clone's: there its bit belongs to the signal number.
const (
	cloneNew   = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET
	nestedNew  = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID
	unshareNew = cloneNew | unix.CLONE_NEWTIME
)

// Terminal requests that type for, or reconfigure, somebody else's terminal.
const (
	tiocsti   = 0x5412
	tioclinux = 0x541c
	tiocsetd  = 0x5423
)

// prSetPtracer is PR_SET_PTRACER, which spells "Yama" (prctl(2)).
const prSetPtracer = 0x59616d61

// userns are vulnerabilities that an ordinary user reached through the
// capabilities in a user namespace of their own.
var userns = []string{
	"CVE-2022-0185", "CVE-2022-1015", "CVE-2022-25636", "CVE-2022-32250", "CVE-2022-34918", "CVE-2023-0386",
	"CVE-2023-1829", "CVE-2023-31248", "CVE-2023-32233", "CVE-2023-3390", "CVE-2023-35001", "CVE-2023-4004",
	"CVE-2024-1086", "CVE-2026-43284", "CVE-2026-46300", "CVE-2026-46331",
}

// Variants that have a row of their own for something.
var (
	notNested  = []string{"agent", "debug"}
	onlyNested = []string{"nested"}
	notDebug   = []string{"agent", "nested"}
)

// Removals returns the table.
func Removals() []Removal {
	var all []Removal
	for _, part := range [][]Removal{namespaces, sockets, files, processes, terminals, host} {
		all = append(all, part...)
	}
	return all
}

var namespaces = []Removal{
	{
		Calls: []string{"clone"}, args: denyBits(0, cloneNew), Errno: unix.EPERM, In: notNested,
		Reason: "no new namespaces: in a user namespace of its own a process has every capability, and the kernel parts behind them open up",
		CVEs:   userns,
	},
	{
		Calls: []string{"clone"}, args: denyBits(0, cloneNew&^nestedNew), Errno: unix.EPERM, In: onlyNested,
		Reason: "new user, mount and process namespaces only",
		CVEs:   userns,
	},
	{
		Calls: []string{"unshare"}, Errno: unix.EPERM, In: notNested,
		Reason: "no new namespaces; and no unsharing of the file system view, which had a use after free",
		CVEs:   append([]string{"CVE-2026-43472"}, userns...),
	},
	{
		Calls: []string{"unshare"}, args: denyBits(0, unshareNew&^nestedNew), Errno: unix.EPERM, In: onlyNested,
		Reason: "new user, mount and process namespaces only",
		CVEs:   userns,
	},
	{
		Calls: []string{"clone3"}, Errno: unix.ENOSYS,
		Reason: "its flags lie in memory, where no filter can look; libraries fall back to clone",
		CVEs:   userns,
	},
	{
		Calls: []string{"setns"}, Errno: unix.EPERM,
		Reason: "nothing in a session has to enter another namespace",
	},
	{
		Calls: []string{"mount", "umount2", "pivot_root"}, Errno: unix.EPERM, In: notNested,
		Reason: "mounts are made before the session starts; unmounting would uncover what is masked",
		CVEs:   []string{"CVE-2022-0492"},
	},
	{
		Calls: mountAPI, Errno: unix.EPERM, In: notNested,
		Reason: "the newer way to mount",
		CVEs:   []string{"CVE-2022-0185"},
	},
	{
		Calls: mountAPI, Errno: unix.ENOSYS, In: onlyNested,
		Reason: "the newer way to mount; libraries fall back to mount",
		CVEs:   []string{"CVE-2022-0185"},
	},
	{
		Calls: []string{"chroot"}, Errno: unix.EPERM,
		Reason: "needs a capability that no session has",
	},
	{
		Calls: []string{"statmount", "listmount", "listns", "open_tree_attr"}, Errno: unix.ENOSYS,
		Reason: "newer still, for mounts and namespaces, and for looking at them; /proc says what is needed",
	},
}

// mountAPI are the calls of the newer interface for mounts.
var mountAPI = []string{"fsopen", "fsconfig", "fsmount", "fspick", "move_mount", "open_tree", "mount_setattr"}
