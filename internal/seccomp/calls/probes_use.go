package calls

import "slices"

// ordinary is what programs of every kind do. Each call is made so that the
// kernel finds something wrong with it, or has next to nothing to do.
func ordinary() []Probe {
	return slices.Concat(useFiles(), useMemory(), useProcesses(), useSockets(), useArguments())
}

func useFiles() []Probe {
	return []Probe{
		try("read", "read", "EBADF", bad),
		try("write", "write", "EBADF", bad),
		try("openat", "openat", "EFAULT", cwd, bad),
		try("openat2", "openat2", "EINVAL", cwd, bad, bad, 0),
		try("open", "open", "EFAULT", bad),
		try("close", "close", "EBADF", bad),
		try("close-range", "close_range", "EINVAL", 5, 4),
		try("stat", "stat", "EFAULT", bad),
		try("newfstatat", "newfstatat", "EFAULT", cwd, bad),
		try("statx", "statx", "EFAULT", cwd, bad, 0, 0, bad),
		try("access", "access", "EFAULT", bad),
		try("faccessat2", "faccessat2", "EFAULT", cwd, bad, 0, 0),
		// Younger than some filter libraries that one meets; those fall to the
		// default.
		try("fchmodat2", "fchmodat2", "EFAULT|ENOSYS", cwd, bad, 0, 0),
		try("lseek", "lseek", "EBADF", bad),
		try("pread", "pread64", "EBADF", bad),
		try("preadv2", "preadv2", "EBADF", bad),
		try("pwritev2", "pwritev2", "EBADF", bad),
		try("sendfile", "sendfile", "EBADF", bad, bad, 0, 1),
		try("copy-file-range", "copy_file_range", "EBADF", bad, 0, bad, 0, 1, 0),
		try("fallocate", "fallocate", "EBADF", bad, 0, 0, 1),
		try("fadvise", "fadvise64", "EBADF", bad),
		try("ftruncate", "ftruncate", "EBADF", bad, 0),
		try("fsync", "fsync", "EBADF", bad),
		try("syncfs", "syncfs", "EBADF", bad),
		try("flock", "flock", "EBADF", bad, 8),
		try("fcntl", "fcntl", "EBADF", bad, 3),
		try("dup", "dup", "EBADF", bad),
		try("dup3", "dup3", "EBADF", bad, 100, 0),
		try("pipe2", "pipe2", "EFAULT", bad, 0),
		try("getdents", "getdents64", "EBADF", bad),
		try("getcwd", "getcwd", "ERANGE", 0, 0),
		try("chdir", "chdir", "EFAULT", bad),
		try("mkdirat", "mkdirat", "EFAULT", cwd, bad),
		try("unlinkat", "unlinkat", "EFAULT", cwd, bad, 0),
		try("linkat", "linkat", "EFAULT", cwd, bad, cwd, bad, 0),
		try("symlinkat", "symlinkat", "EFAULT", bad, cwd, bad),
		try("readlinkat", "readlinkat", "EINVAL", cwd, bad, bad, 0),
		try("renameat2", "renameat2", "EFAULT", cwd, bad, cwd, bad, 0),
		try("fchmodat", "fchmodat", "EFAULT", cwd, bad, 0),
		try("fchownat", "fchownat", "EFAULT", cwd, bad, 0, 0, 0),
		try("utimensat", "utimensat", "EFAULT", cwd, bad, 0, 0),
		try("getxattr", "getxattr", "EFAULT", bad, bad),
		try("setxattr", "setxattr", "EFAULT", bad, bad, bad, 1, 0),
		try("mknod-pipe", "mknodat", "EFAULT", cwd, bad, 0o010600),
		try("mknod-socket", "mknodat", "EFAULT", cwd, bad, 0o140600),
		try("mknod-file", "mknod", "EFAULT", bad, 0o100600),
		try("statfs", "statfs", "EFAULT", bad, bad),
		try("inotify-init", "inotify_init1", "EINVAL", 1),
		try("inotify-watch", "inotify_add_watch", "EBADF|EINVAL", bad, bad, 2),
	}
}

func useMemory() []Probe {
	return []Probe{
		try("memfd-create", "memfd_create", "EFAULT", bad, 0),
		try("mmap", "mmap", "EINVAL", 0, 0, 0, 0x22, bad, 0),
		try("mprotect", "mprotect", "EINVAL", 1, 0, 0),
		try("munmap", "munmap", "EINVAL", 1, 1),
		try("mremap", "mremap", "EINVAL", 1, 1, 1, 0),
		try("madvise", "madvise", "EINVAL", 1, 1, 0),
		try("mincore", "mincore", "EINVAL", 1, 1, bad),
		try("mlock", "mlock", "ok", 0, 0),
		try("msync", "msync", "EINVAL", 1, 0, 0),
		try("brk", "brk", "ok", 0),
		try("membarrier", "membarrier", "ok"),
		try("get-mempolicy", "get_mempolicy", "ok|ENOSYS"),
		try("futex", "futex", "EINVAL", 1, 1, 1),
		try("robust-list", "set_robust_list", "EINVAL", 0, 0),
		try("rseq", "rseq", "EINVAL", 0, 0, 0xff, 0),
	}
}

func useProcesses() []Probe {
	return []Probe{
		try("sigaction", "rt_sigaction", "EINVAL", 0, 0, 0, 8),
		try("sigprocmask", "rt_sigprocmask", "EINVAL", 0, 0, 0, 1),
		try("sigaltstack", "sigaltstack", "EFAULT", bad, 0),
		try("kill", "kill", "ESRCH", none, 0),
		try("tgkill", "tgkill", "EINVAL", bad, bad, 0),
		try("pidfd-open", "pidfd_open", "EINVAL", 0, 0),
		try("pidfd-signal", "pidfd_send_signal", "EBADF", bad, 0, 0, 0),
		try("execve", "execve", "EFAULT", bad, 0, 0),
		try("execveat", "execveat", "EFAULT", cwd, bad, 0, 0, 0),
		try("wait", "wait4", "ECHILD", bad, 0, 1, 0),
		try("waitid", "waitid", "EINVAL", 99, 0, 0, 0),
		try("poll", "poll", "ok", 0, 0, 0),
		try("ppoll", "ppoll", "EFAULT", bad, 1, 0, 0),
		try("epoll-create", "epoll_create1", "EINVAL", 1),
		try("epoll-ctl", "epoll_ctl", "EBADF|EFAULT", bad, 2, bad, 0),
		try("epoll-wait", "epoll_pwait", "EBADF|EINVAL", bad, bad, 1, 0, 0),
		try("eventfd", "eventfd2", "EINVAL", 0, 2),
		try("signalfd", "signalfd4", "EINVAL", bad, bad, 0, 0),
		try("timerfd", "timerfd_create", "EINVAL", 99, 0),
		try("timer", "timer_create", "EINVAL", 99, 0, bad),
		try("setitimer", "setitimer", "EINVAL", 99, 0, 0),
		try("clock-gettime", "clock_gettime", "EINVAL", 99, bad),
		try("clock-nanosleep", "clock_nanosleep", "EINVAL", 99, 0, bad, 0),
		try("nanosleep", "nanosleep", "EFAULT", bad, 0),
		try("getrandom", "getrandom", "ok", 0, 0, 0),
		try("getpid", "getpid", "ok"),
		try("setuid", "setuid", "EINVAL", bad),
		try("setgroups", "setgroups", "EPERM", 1, bad),
		try("capget", "capget", "EFAULT", bad, 0),
		try("capset", "capset", "EFAULT", bad, 0),
		try("prlimit", "prlimit64", "EINVAL", 0, 99, 0, 0),
		try("setpriority", "setpriority", "EINVAL", 99, 0, 0),
		try("sched-affinity", "sched_getaffinity", "EINVAL", 0, 0, 0),
		try("sched-yield", "sched_yield", "ok"),
		try("seccomp", "seccomp", "EINVAL", 99, 0, 0),
		try("landlock", "landlock_create_ruleset", "ok|ENOSYS|EOPNOTSUPP", 0, 0, 1),
		try("uname", "uname", "EFAULT", bad),
		try("sysinfo", "sysinfo", "EFAULT", bad),
		try("umask", "umask", "ok", 0o22),
		try("shmget", "shmget", "ENOENT", 0x63636300, 1, 0),
		try("semget", "semget", "ENOENT", 0x63636300, 1, 0),
	}
}

func useSockets() []Probe {
	return []Probe{
		try("bind", "bind", "EBADF", bad, bad, 0),
		try("connect", "connect", "EBADF|EFAULT", bad, 0, 0),
		try("listen", "listen", "EBADF", bad, 1),
		try("accept", "accept4", "EBADF", bad, 0, 0, 0),
		try("shutdown", "shutdown", "EBADF", bad, 0),
		try("getsockopt", "getsockopt", "EBADF", bad, 1, 3),
		try("setsockopt", "setsockopt", "EBADF", bad, 1, 2),
		try("setsockopt-nodelay", "setsockopt", "EBADF", bad, 6, 1),
		try("setsockopt-ipv6only", "setsockopt", "EBADF", bad, 41, 26),
		try("setsockopt-31", "setsockopt", "EBADF", bad, 1, 31),
		try("sendto", "sendto", "EBADF", bad, 0, 0, 0x4000),
		try("recvfrom", "recvfrom", "EBADF", bad, 0, 0, 0x42),
		try("sendmsg", "sendmsg", "EBADF", bad, 0, 0x4000),
		try("recvmsg", "recvmsg", "EBADF", bad, 0, 0x40000000),
		try("sendmmsg", "sendmmsg", "EBADF", bad, 0, 0, 0),
		try("recvmmsg", "recvmmsg", "EBADF", bad, 0, 0, 0x10000, 0),
	}
}

func useArguments() []Probe {
	return []Probe{
		try("tcgets", "ioctl", "EBADF", bad, 0x5401),
		try("tiocgwinsz", "ioctl", "EBADF", bad, 0x5413),
		try("tiocsctty", "ioctl", "EBADF", bad, 0x540e),
		try("fionread", "ioctl", "EBADF", bad, 0x541b),
		try("tiocmiwait", "ioctl", "EBADF", bad, 0x545c),
		try("fionbio", "ioctl", "EBADF", bad, 0x5421),
		try("tiocnotty", "ioctl", "EBADF", bad, 0x5422),
		try("tiocgetd", "ioctl", "EBADF", bad, 0x5424),
		try("ficlone", "ioctl", "EBADF", bad, 0x40049409),
		try("siocgifconf", "ioctl", "EBADF", bad, 0x8912),
		try("prctl-dumpable", "prctl", "ok", 3),
		try("prctl-name", "prctl", "EFAULT", 15, bad),
		try("prctl-deathsig", "prctl", "EINVAL", 1, 999),
		try("prctl-nnp", "prctl", "ok", 39),
		try("prctl-subreaper", "prctl", "EFAULT", 37, bad),
		try("prctl-vma", "prctl", "EINVAL", 0x53564d41, 99),
		try("personality", "personality", "ok", 0xffffffff),
		try("personality-linux", "personality", "ok", 0),
		try("personality-linux32", "personality", "ok", 8),
		try("personality-norandom", "personality", "ok", 0x40000),
		try("personality-norandom32", "personality", "ok", 0x40008),
		try("arch-prctl", "arch_prctl", "EINVAL", 0x9999),
	}
}
