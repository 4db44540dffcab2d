package main

import "golang.org/x/sys/unix"

var sockets = []Removal{
	{
		Calls: []string{"socket"}, args: families(), Errno: unix.EPERM,
		Reason: "Unix, TCP, UDP and route sockets only: all other families are attack surface without a user",
		CVEs: []string{
			"CVE-2026-31431 AF_ALG", "CVE-2021-26708 AF_VSOCK", "CVE-2025-21756 AF_VSOCK", "CVE-2026-43500 AF_RXRPC", "CVE-2020-14386 AF_PACKET",
			"CVE-2026-43494 AF_RDS", "CVE-2026-64564 SCTP", "CVE-2026-43284 NETLINK_XFRM", "CVE-2022-1015 NETLINK_NETFILTER",
		},
	},
	{
		Calls: []string{"socketpair"}, args: append(
			allow([]cond{is(0, unix.AF_UNIX)}),
			deny(outside(0, families64, unix.AF_UNIX))...), Errno: unix.EPERM,
		Reason: "it creates two sockets of any family before it asks whether they can be a pair",
	},
	{
		Calls: []string{"sendto", "recvfrom", "sendmmsg", "recvmmsg"}, args: denyValues(3, unix.MSG_OOB, unix.MSG_OOB), Errno: unix.EPERM,
		Reason: "no out-of-band data, which Unix sockets have for the sake of completeness",
		CVEs:   []string{"CVE-2025-38236"},
	},
	{
		Calls: []string{"sendmsg", "recvmsg"}, args: denyValues(2, unix.MSG_OOB, unix.MSG_OOB), Errno: unix.EPERM,
		Reason: "no out-of-band data, which Unix sockets have for the sake of completeness",
		CVEs:   []string{"CVE-2025-38236"},
	},
	{
		Calls: []string{"setsockopt"}, args: upperLayer(), Errno: unix.EPERM,
		Reason: "no protocol on top of TCP inside the kernel (TCP_ULP: TLS, MPTCP, ESP); libraries do TLS themselves",
		CVEs:   []string{"CVE-2023-0461", "CVE-2024-26583", "CVE-2025-39682"},
	},
}

// families64 are the bits of a socket family that tell the families there are,
// 46 of them, from each other. A larger number no kernel knows; it is refused by
// the profile's default.
const families64 = 0x3f

// families are the rules for socket(2): AF_UNIX; AF_INET and AF_INET6 as TCP or
// UDP by their default or their own protocol number, which leaves out raw
// sockets, ping sockets, SCTP, SMC, MPTCP, UDP-Lite and L2TP; and of netlink
// only the protocol that tells a program its addresses and routes.
func families() []argRule {
	const (
		typeBits = 0xf   // SOCK_TYPE_MASK of the kernel; flags lie above
		protocol = 0x1ff // up to 511; the largest number is 262
		netlink  = 0x1f  // MAX_LINKS is 32
	)
	// AF_INET is 2 and AF_INET6 is 10: they differ in one bit.
	inet := masked(0, ^uint32(unix.AF_INET^unix.AF_INET6), unix.AF_INET&unix.AF_INET6)
	tcp, udp := masked(1, typeBits, unix.SOCK_STREAM), masked(1, typeBits, unix.SOCK_DGRAM)
	route := is(0, unix.AF_NETLINK)
	var all []argRule
	for _, part := range [][]argRule{
		allow([]cond{is(0, unix.AF_UNIX)}),
		deny(outside(0, families64, unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK)),
		allow([]cond{is(2, unix.NETLINK_ROUTE)}, route),
		deny(outside(2, netlink, unix.NETLINK_ROUTE), route),
		allow([]cond{is(2, 0), is(2, unix.IPPROTO_TCP)}, inet, tcp),
		deny(outside(2, protocol, 0, unix.IPPROTO_TCP), inet, tcp),
		allow([]cond{is(2, 0), is(2, unix.IPPROTO_UDP)}, inet, udp),
		deny(outside(2, protocol, 0, unix.IPPROTO_UDP), inet, udp),
		deny(outside(1, typeBits, unix.SOCK_STREAM, unix.SOCK_DGRAM), inet),
	} {
		all = append(all, part...)
	}
	return all
}

// upperLayer are the rules for setsockopt(2): everything but TCP_ULP. Levels and
// options are small numbers; comparing their low bits denies a few that no
// kernel has.
func upperLayer() []argRule {
	const level, option = 0x3ff, 0xff
	tcp := masked(1, level, unix.SOL_TCP)
	all := deny([]cond{masked(2, option, unix.TCP_ULP)}, tcp)
	all = append(all, allow(outside(2, option, unix.TCP_ULP), tcp)...)
	return append(all, allow(outside(1, level, unix.SOL_TCP))...)
}
