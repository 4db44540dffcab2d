package learn

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/seccomp"
)

// word is a number with a name.
type word struct {
	value uint64
	name  string
}

// The numbers whose names help a person. A filter sees no more of a call than
// such numbers; what pointers lead to is not looked at.
var (
	families = []word{
		{unix.AF_UNIX, "AF_UNIX"}, {unix.AF_INET, "AF_INET"}, {unix.AF_AX25, "AF_AX25"}, {unix.AF_INET6, "AF_INET6"},
		{unix.AF_KEY, "AF_KEY"}, {unix.AF_NETLINK, "AF_NETLINK"}, {unix.AF_PACKET, "AF_PACKET"}, {unix.AF_RDS, "AF_RDS"},
		{unix.AF_LLC, "AF_LLC"}, {unix.AF_CAN, "AF_CAN"}, {unix.AF_TIPC, "AF_TIPC"}, {unix.AF_BLUETOOTH, "AF_BLUETOOTH"},
		{unix.AF_RXRPC, "AF_RXRPC"}, {unix.AF_ALG, "AF_ALG"}, {unix.AF_NFC, "AF_NFC"}, {unix.AF_VSOCK, "AF_VSOCK"},
		{unix.AF_KCM, "AF_KCM"}, {unix.AF_QIPCRTR, "AF_QIPCRTR"}, {unix.AF_SMC, "AF_SMC"}, {unix.AF_XDP, "AF_XDP"},
	}
	socketTypes = []word{
		{unix.SOCK_STREAM, "SOCK_STREAM"}, {unix.SOCK_DGRAM, "SOCK_DGRAM"}, {unix.SOCK_RAW, "SOCK_RAW"},
		{unix.SOCK_RDM, "SOCK_RDM"}, {unix.SOCK_SEQPACKET, "SOCK_SEQPACKET"}, {unix.SOCK_PACKET, "SOCK_PACKET"},
	}
	netlinks = []word{
		{unix.NETLINK_SOCK_DIAG, "NETLINK_SOCK_DIAG"}, {unix.NETLINK_XFRM, "NETLINK_XFRM"}, {unix.NETLINK_AUDIT, "NETLINK_AUDIT"},
		{unix.NETLINK_NETFILTER, "NETLINK_NETFILTER"}, {unix.NETLINK_KOBJECT_UEVENT, "NETLINK_KOBJECT_UEVENT"}, {unix.NETLINK_GENERIC, "NETLINK_GENERIC"},
	}
	namespaces = []word{
		{unix.CLONE_NEWNS, "CLONE_NEWNS"}, {unix.CLONE_NEWCGROUP, "CLONE_NEWCGROUP"}, {unix.CLONE_NEWUTS, "CLONE_NEWUTS"},
		{unix.CLONE_NEWIPC, "CLONE_NEWIPC"}, {unix.CLONE_NEWUSER, "CLONE_NEWUSER"}, {unix.CLONE_NEWPID, "CLONE_NEWPID"},
		{unix.CLONE_NEWNET, "CLONE_NEWNET"},
	}
	requests = []word{{unix.TIOCSTI, "TIOCSTI"}, {unix.TIOCLINUX, "TIOCLINUX"}, {unix.TIOCSETD, "TIOCSETD"}}
	options  = []word{{unix.PR_SET_MM, "PR_SET_MM"}, {unix.PR_SET_PTRACER, "PR_SET_PTRACER"}}
	kinds    = []word{{unix.S_IFCHR, "S_IFCHR"}, {unix.S_IFBLK, "S_IFBLK"}}
)

// words renders the arguments that tell what was asked for. Arguments that are
// pointers, sizes or descriptors tell calls of one kind apart that are one.
func words(c seccomp.Call) string {
	a := c.Args
	low := func(i int) uint64 { return a[i] & 0xffffffff }
	switch c.Name {
	case "socket", "socketpair":
		family := name(families, low(0))
		if low(0) == unix.AF_NETLINK {
			return family + " " + name(netlinks, low(2))
		}
		// The flags of the type (SOCK_CLOEXEC, SOCK_NONBLOCK) lie above it.
		return fmt.Sprintf("%s %s %d", family, name(socketTypes, low(1)&0xf), low(2))
	case "clone", "unshare":
		return flags(namespaces, low(0))
	case "ioctl":
		return name(requests, low(1))
	case "prctl":
		return name(options, low(0))
	case "personality":
		return fmt.Sprintf("%#x", low(0))
	case "mknod":
		return name(kinds, low(1)&unix.S_IFMT)
	case "mknodat":
		return name(kinds, low(2)&unix.S_IFMT)
	case "setsockopt":
		return fmt.Sprintf("level %d option %d", low(1), low(2))
	case "sendto", "recvfrom", "sendmsg", "recvmsg", "sendmmsg", "recvmmsg":
		return "MSG_OOB"
	}
	return ""
}

// name returns the name of a number, or the number.
func name(table []word, v uint64) string {
	for _, w := range table {
		if w.value == v {
			return w.name
		}
	}
	return fmt.Sprintf("%#x", v)
}

// flags returns the names of the flags that are set. Those that have no name
// here make no difference to what is denied.
func flags(table []word, v uint64) string {
	var set []string
	for _, w := range table {
		if v&w.value != 0 {
			set = append(set, w.name)
		}
	}
	return strings.Join(set, "|")
}
