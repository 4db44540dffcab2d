package calls

import "fmt"

// families are the names of socket families by number (socket.h), as far as a
// kernel has them.
var families = [...]string{
	0: "unspec", 3: "ax25", 4: "ipx", 5: "appletalk", 6: "netrom", 8: "atmpvc", 9: "x25", 11: "rose",
	15: "key", 17: "packet", 19: "econet", 20: "atmsvc", 21: "rds", 23: "irda", 24: "pppox", 26: "llc", 27: "ib", 28: "mpls", 29: "can",
	30: "tipc", 31: "bluetooth", 32: "iucv", 33: "rxrpc", 34: "isdn", 35: "phonet", 36: "ieee802154", 37: "caif",
	38: "alg", 39: "nfc", 40: "vsock", 41: "kcm", 42: "qipcrtr", 43: "smc", 44: "xdp", 45: "mctp",
}

// netlinks are protocols of AF_NETLINK (netlink.h) other than the one for
// addresses and routes.
var netlinks = [...]string{
	4: "sock-diag", 5: "nflog", 6: "xfrm", 7: "selinux", 9: "audit", 12: "netfilter", 15: "uevent", 16: "generic", 18: "scsi", 20: "rdma", 21: "crypto", 22: "smc",
}

// sockets asks for sockets of every family, and of the allowed families for
// every type and the protocols that have a name.
func sockets() []Probe {
	const any = "ok|EPERM|EACCES|EINVAL|EAFNOSUPPORT|ESOCKTNOSUPPORT|EPROTONOSUPPORT|EPROTOTYPE"
	const flags = 0x80800 // SOCK_CLOEXEC and SOCK_NONBLOCK
	all := []Probe{
		try("unix-stream", "socket", "ok", 1, 1, 0),
		try("unix-dgram", "socket", "ok", 1, 2|flags, 0),
		try("unix-seqpacket", "socket", "ok", 1, 5, 0),
		try("route-raw", "socket", "ok", 16, 3|flags, 0),
		try("route-dgram", "socket", "ok", 16, 2, 0),
		try("family-46", "socket", any, 46, 1, 0),
		try("family-64", "socket", any, 64, 1, 0),
		try("family-65", "socket", any, 65, 1, 0),
		try("family-1000", "socket", any, 1000, 1, 0),
		try("family-minus", "socket", any, bad, 1, 0),
		try("pair-unix", "socketpair", "EFAULT", 1, 1, 0, 0),
		try("pair-unix-dgram", "socketpair", "EFAULT", 1, 2|flags, 0, 0),
		try("pair-inet", "socketpair", "EFAULT", 2, 1, 0, 0),
		try("pair-tipc", "socketpair", "EFAULT", 30, 1, 0, 0),
		try("pair-alg", "socketpair", "EFAULT", 38, 5, 0, 0),
		try("pair-vsock", "socketpair", "EFAULT", 40, 1, 0, 0),
	}
	for i, name := range families {
		if name != "" {
			all = append(all, try(name, "socket", any, uint64(i), 5, 0), try(name+"-raw", "socket", any, uint64(i), 3, 0))
		}
	}
	for i, name := range netlinks {
		if name != "" {
			all = append(all, try("netlink-"+name, "socket", any, 16, 3, uint64(i)))
		}
	}
	for _, inet := range []struct {
		name   string
		family uint64
	}{{"inet", 2}, {"inet6", 10}} {
		for _, p := range []struct {
			name, kernel   string
			kind, protocol uint64
		}{
			{"tcp", "ok", 1, 0}, {"tcp-named", "ok", 1 | flags, 6}, {"udp", "ok", 2, 0}, {"udp-named", "ok", 2 | flags, 17},
			{"raw", any, 3, 255}, {"raw-icmp", any, 3, 1}, {"rdm", any, 4, 0}, {"seqpacket", any, 5, 132}, {"dccp", any, 6, 33}, {"packet", any, 10, 0},
			{"tcp-as-udp", any, 2, 6}, {"udp-as-tcp", any, 1, 17}, {"ping", any, 2, 1}, {"ping6", any, 2, 58}, {"sctp", any, 1, 132},
			{"udplite", any, 2, 136}, {"l2tp", any, 2, 115}, {"smc", any, 1, 256}, {"mptcp", any, 1, 262}, {"protocol-511", any, 1, 511},
		} {
			all = append(all, try(fmt.Sprintf("%s-%s", inet.name, p.name), "socket", p.kernel, inet.family, p.kind, p.protocol))
		}
	}
	return all
}
