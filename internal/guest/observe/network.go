package observe

import (
	"errors"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Routes are addresses that must not be reachable: of documentation, of cloud
// metadata, of the host as Podman's networks show it, of public resolvers.
func Routes() []string {
	return []string{"192.0.2.1", "198.51.100.1", "169.254.169.254", "169.254.1.2", "10.0.2.2", "10.88.0.1", "172.17.0.1", "192.168.0.1", "1.1.1.1", "224.0.0.1", "2001:db8::1", "fe80::1", "ff02::1", "64:ff9b::c000:201"}
}

// Sockets are where services usually listen that would be ways out, beside those
// that the host names.
func Sockets() []string {
	return []string{
		"unix:/run/dbus/system_bus_socket", "unix:/run/docker.sock", "unix:/var/run/docker.sock", "unix:/run/podman/podman.sock",
		"unix:/run/containerd/containerd.sock", "unix:/run/crio/crio.sock", "unix:/run/systemd/private", "unix:/run/systemd/journal/stdout",
		"unix:/run/user/1000/bus", "unix:/run/user/1000/podman/podman.sock", "unix:/run/user/1000/gnupg/S.gpg-agent", "unix:/run/user/1000/keyring/ssh",
		"unix:/run/user/1000/wayland-0", "unix:/run/user/1000/pulse/native", "unix:/run/user/0/bus", "unix:/tmp/.X11-unix/X0", "unix:@/tmp/.X11-unix/X0",
		"unix:@/tmp/.ICE-unix/0", "unix:@/org/kernel/linux/storage/multipathd", "unix:@/containerd-shim",
	}
}

// tryNetwork looks for ways out. A datagram socket that is connected has a route
// looked up and sends nothing, so that nobody notices.
func tryNetwork(r *Report) {
	for _, address := range Routes() {
		r.Tries[Key("route", address)] = route(address)
	}
	r.Tries[Key("tcp", "192.0.2.1")] = tcp([4]byte{192, 0, 2, 1})
	r.Tries[Key("loopback", "127.0.0.1")] = loopback()
	for line := range strings.Lines(r.Texts["/etc/resolv.conf"].Data) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "nameserver" && len(f[1]) < 64 {
			r.Tries[Key("dns", f[1])] = ask(f[1])
		}
	}
}

// port is where resolvers listen; no packet is sent to any but those of
// resolv.conf.
const port = 53

// route asks for a route to an address.
func route(address string) string {
	family, to, err := parse(address)
	if err != nil {
		return "error"
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return word(err)
	}
	defer unix.Close(fd)
	return word(unix.Connect(fd, to))
}

// tcp begins a connection and does not wait for it.
func tcp(to [4]byte) string {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return word(err)
	}
	defer unix.Close(fd)
	return word(unix.Connect(fd, &unix.SockaddrInet4{Addr: to, Port: 9}))
}

// ask asks a resolver for the root's name servers.
func ask(address string) string {
	family, to, err := parse(address)
	if err != nil {
		return "error"
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return word(err)
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, to); err != nil {
		return word(err)
	}
	question := []byte{'c', 'c', 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1}
	if _, err := unix.Write(fd, question); err != nil {
		return word(err)
	}
	const patience = 500 // milliseconds
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, patience)
	if err != nil || n == 0 {
		return "timeout"
	}
	if _, err := unix.Read(fd, make([]byte, 512)); err != nil {
		return word(err)
	}
	return "ok"
}

// loopback listens on the session's own loopback and connects to it.
func loopback() string {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return word(err)
	}
	defer unix.Close(fd)
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 1)); err != nil {
		return word(err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		return word(err)
	}
	other, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return word(err)
	}
	defer unix.Close(other)
	return word(unix.Connect(other, at))
}

// parse reads a numeric address. Package netip would do it, at a price that every
// start of ccc-init pays.
func parse(address string) (int, unix.Sockaddr, error) {
	address, _, _ = strings.Cut(address, "%")
	if strings.Contains(address, ":") {
		to := unix.SockaddrInet6{Port: port}
		before, after, short := strings.Cut(address, "::")
		head, errHead := groups(before)
		tail, errTail := groups(after)
		if len(head)+len(tail) > len(to.Addr) || !short && len(head) != len(to.Addr) {
			return 0, nil, errAddress
		}
		copy(to.Addr[:], head)
		copy(to.Addr[len(to.Addr)-len(tail):], tail)
		return unix.AF_INET6, &to, errors.Join(errHead, errTail)
	}
	to := unix.SockaddrInet4{Port: port}
	parts := strings.Split(address, ".")
	if len(parts) != len(to.Addr) {
		return 0, nil, errAddress
	}
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 8)
		if err != nil {
			return 0, nil, errAddress
		}
		to.Addr[i] = byte(n)
	}
	return unix.AF_INET, &to, nil
}

var errAddress = errors.New("not a numeric address")

// groups reads the hexadecimal groups of an address.
func groups(s string) ([]byte, error) {
	var all []byte
	if s == "" {
		return nil, nil
	}
	for group := range strings.SplitSeq(s, ":") {
		n, err := strconv.ParseUint(group, 16, 16)
		if err != nil {
			return nil, errAddress
		}
		all = append(all, byte(n>>8), byte(n))
	}
	return all, nil
}

// tryHostSockets connects to sockets of the host.
func (p Probe) tryHostSockets(r *Report) {
	for _, address := range append(Sockets(), p.Args...) {
		name, ok := strings.CutPrefix(address, "unix:")
		if !ok {
			continue
		}
		r.Tries[Key("connect", address)] = connect(name)
	}
}

// connect connects to a Unix socket of any type and lets go of it at once.
func connect(name string) string {
	answer := ""
	for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_SEQPACKET} {
		fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err == nil {
			err = unix.Connect(fd, &unix.SockaddrUnix{Name: name})
			unix.Close(fd)
		}
		answer = word(err)
		// EPROTOTYPE: there is such a socket, of another type.
		if answer != "EPROTOTYPE" {
			break
		}
	}
	return answer
}
