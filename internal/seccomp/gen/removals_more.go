package main

import "golang.org/x/sys/unix"

var files = []Removal{
	{
		Calls: []string{"splice", "tee", "vmsplice"}, Errno: unix.EINVAL,
		Reason: "pages of files in pipes have been written to again and again; EINVAL makes libraries copy instead",
		CVEs:   []string{"CVE-2022-0847", "CVE-2026-31431", "CVE-2026-43284", "CVE-2026-46300", "CVE-2026-53362"},
	},
	{
		Calls: []string{"io_uring_setup", "io_uring_enter", "io_uring_register"}, Errno: unix.ENOSYS,
		Reason: "a second way to every file and socket operation, which no filter sees",
		CVEs:   []string{"CVE-2022-29582", "CVE-2022-2602", "CVE-2023-2598", "CVE-2024-0582", "CVE-2026-43494"},
	},
	{
		Calls: []string{"io_setup", "io_submit", "io_destroy", "io_cancel", "io_getevents", "io_pgetevents"}, Errno: unix.ENOSYS,
		Reason: "an older such way; databases that know it do without",
	},
	{
		Calls: []string{"mknod"}, args: denyBits(1, deviceBit), Errno: unix.EPERM,
		Reason: "pipes and sockets may be made, devices not",
	},
	{
		Calls: []string{"mknodat"}, args: denyBits(2, deviceBit), Errno: unix.EPERM,
		Reason: "pipes and sockets may be made, devices not",
	},
	{
		Calls: []string{"open_by_handle_at", "name_to_handle_at"}, Errno: unix.EPERM,
		Reason: "files by number instead of by name lead out of a container (the Shocker exploit of 2014)",
	},
	{
		Calls: []string{"fanotify_init", "fanotify_mark"}, Errno: unix.EPERM,
		Reason: "watching whole file systems is for the host; inotify stays",
	},
	{
		Calls: []string{"cachestat"}, Errno: unix.ENOSYS,
		Reason: "tells which pages others have read; too new for anything to depend on it",
	},
}

// deviceBit is set in the file types of character and block devices and not in
// those of other files that mknod(2) makes (inode(7)).
const deviceBit = unix.S_IFCHR

var processes = []Removal{
	{
		Calls: []string{"ptrace"}, Errno: unix.EPERM, In: notDebug,
		Reason: "stopping, reading and steering other processes of the session; a debugger needs the variant debug",
		CVEs:   []string{"CVE-2022-30594"},
	},
	{
		Calls: []string{"process_vm_readv"}, Errno: unix.EPERM, In: notDebug,
		Reason: "reading the memory of other processes of the session (no filter can keep them from /proc/PID/mem)",
	},
	{
		Calls: []string{"process_vm_writev", "kcmp", "process_madvise", "process_mrelease"}, Errno: unix.EPERM,
		Reason: "writing, comparing and dropping the memory of other processes",
	},
	{
		Calls: []string{"pidfd_getfd"}, Errno: unix.ENOSYS,
		Reason: "takes open files out of other processes",
	},
	{
		Calls: []string{"prctl"}, args: denyValues(0, 0xffff, unix.PR_SET_MM, prSetPtracer&0xffff), Errno: unix.EPERM,
		Reason: "no rewriting of what /proc says of a process (PR_SET_MM), no consent to be traced (PR_SET_PTRACER)",
	},
	{
		Calls: []string{"personality"}, args: domains(), Errno: unix.EPERM,
		Reason: "no bug compatibility such as READ_IMPLIES_EXEC. ADDR_NO_RANDOMIZE is let through though the base does not: sanitizers and debuggers want it, and it weakens only who asks",
	},
	{
		Calls: []string{"keyctl", "add_key", "request_key"}, Errno: unix.EPERM,
		Reason: "the kernel's keyrings know users, not containers",
		CVEs:   []string{"CVE-2016-0728"},
	},
	{
		Calls: []string{"userfaultfd"}, Errno: unix.ENOSYS,
		Reason: "stops the kernel in the middle of a copy: what most exploits of races are made with",
	},
	{
		Calls: []string{"memfd_secret"}, Errno: unix.ENOSYS,
		Reason: "memory that not even the kernel maps, taken out of the host's",
	},
	{
		Calls: []string{"modify_ldt"}, Errno: unix.EPERM,
		Reason: "segments for 16-bit programs",
		CVEs:   []string{"CVE-2017-17053"},
	},
	{
		Calls: []string{"remap_file_pages"}, Errno: unix.EPERM,
		Reason: "replaced by mmap long ago; an exploit primitive since",
	},
	{
		Calls: []string{"msgget", "msgsnd", "msgrcv", "msgctl", "mq_open", "mq_unlink", "mq_timedsend", "mq_timedreceive", "mq_notify", "mq_getsetattr"}, Errno: unix.EPERM,
		Reason: "message queues place bytes of one's choice in kernel memory; pipes and sockets serve",
		CVEs:   []string{"CVE-2021-22555"},
	},
	{
		Calls: []string{"mbind", "set_mempolicy", "set_mempolicy_home_node", "migrate_pages", "move_pages"}, Errno: unix.EPERM,
		Reason: "placing memory on the host's nodes",
	},
	{
		Calls: []string{"futex_wait", "futex_wake", "futex_waitv", "futex_requeue", "map_shadow_stack"}, Errno: unix.ENOSYS,
		Reason: "denied by the base as EPERM; libraries try them and fall back on ENOSYS",
	},
}

// domains are the rules for personality(2): any mixture of PER_LINUX32, with
// which uname(2) names the 32-bit processor, and ADDR_NO_RANDOMIZE; and the
// question which one it is, 0xffffffff. Numbers with the highest bit set are
// otherwise left to the profile's default.
func domains() []argRule {
	const (
		perLinux32      = 0x0008
		addrNoRandomize = 0x0040000
		other           = ^uint32(perLinux32 | addrNoRandomize)
		highest         = 1 << 31
	)
	all := allow([]cond{masked(0, other, 0), is(0, 0xffffffff)})
	return append(all, deny(within(masked(0, highest, 0), outside(0, other&^highest, 0)))...)
}

var terminals = []Removal{
	{
		// The three are told by their low 16 bits. The upper half of a request
		// holds size and direction, which these do not have; requests of other
		// devices with the same low half are of devices that no session has.
		Calls: []string{"ioctl"}, args: denyValues(1, 0xffff, tiocsti, tioclinux, tiocsetd), Errno: unix.EPERM,
		Reason: "no typing into a terminal that somebody else reads (TIOCSTI, TIOCLINUX), no line disciplines (TIOCSETD)",
		CVEs:   []string{"CVE-2017-5226", "CVE-2023-28100", "CVE-2023-6546"},
	},
	{
		Calls: []string{"vhangup"}, Errno: unix.EPERM,
		Reason: "needs a capability that no session has",
	},
}

var host = []Removal{
	{
		Calls: []string{"bpf"}, Errno: unix.EPERM,
		Reason: "programs in the kernel",
		CVEs:   []string{"CVE-2022-23222", "CVE-2023-2163"},
	},
	{
		Calls: []string{"perf_event_open"}, Errno: unix.EPERM,
		Reason: "measuring the processor, and a large part of the kernel for it",
		CVEs:   []string{"CVE-2022-1729", "CVE-2023-2235", "CVE-2023-5717", "CVE-2023-6931"},
	},
	{
		Calls: []string{"syslog"}, Errno: unix.EPERM,
		Reason: "the kernel's log has addresses and names of the host",
	},
	{
		Calls: []string{"reboot", "kexec_load", "kexec_file_load", "swapon", "swapoff", "acct"}, Errno: unix.EPERM,
		Reason: "the host's state is the host's",
	},
	{
		Calls: []string{"init_module", "finit_module", "delete_module", "create_module", "query_module"}, Errno: unix.EPERM,
		Reason: "kernel modules",
	},
	{
		Calls: []string{"quotactl", "quotactl_fd", "lookup_dcookie"}, Errno: unix.EPERM,
		Reason: "the host's file systems",
	},
	{
		Calls: []string{"adjtimex", "clock_adjtime", "clock_settime", "settimeofday"}, Errno: unix.EPERM,
		Reason: "the host's clock",
	},
	{
		Calls: []string{"sethostname", "setdomainname"}, Errno: unix.EPERM,
		Reason: "names are given before the session starts",
	},
	{
		Calls: []string{"ioperm", "iopl"}, Errno: unix.EPERM,
		Reason: "the processor's ports",
	},
}
