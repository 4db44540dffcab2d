package calls

import "strings"

// Probes returns the list of calls to try. They are in the order of the cases of
// the security design; the last group is what ordinary programs need.
func Probes() []Probe {
	var all []Probe
	for _, group := range []struct {
		word   string
		probes []Probe
	}{
		{"S01", namespaces()}, {"S02", sockets()}, {"S03", halves()}, {"S04", tables()},
		{"S07", others()}, {"S07", messages()}, {"S08", mounts()}, {"host", host()}, {"use", ordinary()},
	} {
		for _, p := range group.probes {
			p.ID = group.word + "/" + p.ID
			all = append(all, p)
		}
	}
	return all
}

// try makes a probe. kernel lists the answers of a kernel that is reached,
// separated by bars; it may be empty for a call that no profile allows.
func try(id, call, kernel string, args ...uint64) Probe {
	p := Probe{ID: id, Call: call}
	copy(p.Args[:], args)
	if kernel != "" {
		p.Kernel = strings.Split(kernel, "|")
	}
	return p
}

// Arguments that many probes have in common.
const (
	bad  = ^uint64(0)         // no file descriptor, no address
	cwd  = ^uint64(0) - 99    // AT_FDCWD
	high = uint64(1) << 32    // a bit that the kernel drops from an int
	junk = 0xffffffff00000000 // all such bits
	none = 0x7ffffffe         // a process that is not there
)

// Flags of clone(2) and unshare(2).
const (
	newTime   = 0x80
	newMount  = 0x20000
	newCgroup = 0x2000000
	newUTS    = 0x4000000
	newIPC    = 0x8000000
	newUser   = 0x10000000
	newPID    = 0x20000000
	newNet    = 0x40000000
	sigchld   = 17
)

// namespaces asks for new namespaces in every way. Each request has a user
// namespace in it, for without one the kernel itself refuses.
func namespaces() []Probe {
	return []Probe{
		try("unshare-user", "unshare", "ok", newUser),
		try("unshare-user-mount", "unshare", "ok", newUser|newMount),
		try("unshare-user-pid", "unshare", "ok", newUser|newPID),
		try("unshare-user-net", "unshare", "ok", newUser|newNet),
		try("unshare-user-uts", "unshare", "ok", newUser|newUTS),
		try("unshare-user-ipc", "unshare", "ok", newUser|newIPC),
		try("unshare-user-cgroup", "unshare", "ok", newUser|newCgroup),
		try("unshare-user-time", "unshare", "ok", newUser|newTime),
		try("unshare-all", "unshare", "ok", newUser|newMount|newPID|newNet|newUTS|newIPC|newCgroup|newTime),
		try("unshare-files", "unshare", "ok", 0x400),
		try("unshare-nothing", "unshare", "ok"),
		try("clone-user", "clone", "ok", newUser|sigchld),
		try("clone-user-mount", "clone", "ok", newUser|newMount|sigchld),
		try("clone-user-pid", "clone", "ok", newUser|newPID|sigchld),
		try("clone-user-net", "clone", "ok", newUser|newNet|sigchld),
		try("clone-user-uts", "clone", "ok", newUser|newUTS|sigchld),
		try("clone-user-ipc", "clone", "ok", newUser|newIPC|sigchld),
		try("clone-user-cgroup", "clone", "ok", newUser|newCgroup|sigchld),
		try("clone-all", "clone", "ok", newUser|newMount|newPID|newNet|newUTS|newIPC|newCgroup|sigchld),
		try("clone-bad", "clone", "EINVAL", 0x800),
		try("clone-fork", "clone", "ok", sigchld),
		try("clone3", "clone3", "EINVAL|EFAULT"),
		try("clone3-sized", "clone3", "EFAULT", 0, 88),
		try("setns", "setns", "EBADF", bad, 0),
		try("setns-user", "setns", "EBADF", bad, newUser),
	}
}

// halves repeats requests with junk where the kernel does not look.
func halves() []Probe {
	return []Probe{
		try("unshare-user", "unshare", "ok|EINVAL", high|newUser),
		try("clone-user", "clone", "ok|EINVAL", high|newUser|sigchld),
		try("clone-user-junk", "clone", "ok|EINVAL", junk|newUser|sigchld),
		try("clone-fork", "clone", "ok|EINVAL", high|sigchld),
		try("socket-unix", "socket", "ok", high|1, 1, 0),
		try("socket-inet", "socket", "ok", junk|2, junk|1, junk|6),
		try("socket-alg", "socket", "ok|EAFNOSUPPORT", high|38, 5, 0),
		try("socket-alg-junk", "socket", "ok|EAFNOSUPPORT", junk|38, 5, 0),
		try("socket-vsock", "socket", "ok|EAFNOSUPPORT|ESOCKTNOSUPPORT", high|40, 1, 0),
		try("socket-packet", "socket", "EPERM|EAFNOSUPPORT", high|17, 3, 0),
		try("socket-raw", "socket", "EPERM", 2, high|3, 1),
		try("socket-mptcp", "socket", "ok|EPROTONOSUPPORT", 2, 1, high|262),
		try("socket-netfilter", "socket", "ok|EPROTONOSUPPORT", 16, 3, high|12),
		try("socketpair-inet", "socketpair", "EFAULT", high|2, 1, 0, 0),
		try("tiocsti", "ioctl", "EBADF", bad, high|0x5412),
		try("tiocsti-junk", "ioctl", "EBADF", bad, junk|0x5412),
		try("tioclinux", "ioctl", "EBADF", bad, high|0x541c),
		try("tiocsetd", "ioctl", "EBADF", bad, high|0x5423),
		try("tiocsti-sized", "ioctl", "EBADF", bad, 0x80015412),
		try("tcgets", "ioctl", "EBADF", bad, high|0x5401),
		try("tiocgptn", "ioctl", "EBADF", bad, 0x80045430),
		try("tiocgptn-signed", "ioctl", "EBADF", bad, junk|0x80045430),
		try("prctl-mm", "prctl", "EINVAL", high|35, 0, 0, 0, 1),
		try("prctl-dumpable", "prctl", "ok", high|3),
		try("personality-linux", "personality", "ok", high),
		try("personality-exec", "personality", "ok", high|0x400000),
		try("oob-send", "sendto", "EBADF", bad, 0, 0, high|1),
		try("oob-recv", "recvmsg", "EBADF", bad, 0, junk|1),
		try("send", "sendto", "EBADF", bad, 0, 0, high|0x40),
		try("ulp", "setsockopt", "EBADF", bad, high|6, high|31),
		try("mknod-char", "mknodat", "EFAULT", cwd, bad, high|0o020600),
	}
}

// tables asks through the tables of 32-bit programs.
func tables() []Probe {
	all := []Probe{
		try("int80", "getpid", "ok"), try("x32", "getpid", "ok|ENOSYS"),
		try("x32-socket", "socket", "ok|ENOSYS|EAFNOSUPPORT", 38, 5, 0), try("x32-unshare", "unshare", "ok|ENOSYS", newUser),
	}
	for i := range all {
		all[i].Entry = X32
	}
	all[0].Entry = Int80
	return all
}

// mounts tries what changes the view of the file system.
func mounts() []Probe {
	return []Probe{
		try("mount", "mount", "EFAULT", bad, bad),
		try("remount", "mount", "EFAULT", 0, bad, 0, 32),
		try("bind", "mount", "EFAULT", 0, bad, 0, 4096),
		try("umount", "umount2", "EFAULT", bad, 0),
		try("umount-detach", "umount2", "EFAULT", bad, 2),
		try("pivot-root", "pivot_root", "EPERM|EFAULT", bad, bad),
		try("chroot", "chroot", "", bad),
		try("fsopen", "fsopen", "", bad, 0),
		try("fsconfig", "fsconfig", "", bad, 0),
		try("fsmount", "fsmount", "", bad, 0),
		try("fspick", "fspick", "", bad, bad, 0),
		try("move-mount", "move_mount", "", bad, bad, bad, bad),
		try("open-tree", "open_tree", "", bad, bad, 0),
		try("open-tree-clone", "open_tree", "", cwd, bad, 1),
		try("open-tree-attr", "open_tree_attr", "", bad, bad, 0),
		try("mount-setattr", "mount_setattr", "", bad, bad, 0, 0, 0),
		try("statmount", "statmount", "", bad),
		try("listmount", "listmount", "", bad),
		try("listns", "listns", "", bad),
	}
}
