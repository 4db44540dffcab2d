package verify

import (
	"maps"
	"slices"
	"strings"

	"github.com/ccc-dev/ccc/internal/guest"
	"github.com/ccc-dev/ccc/internal/guest/observe"
)

// network are the controls of what a session can reach.
func network() []check {
	return []check{
		{"network-devices", "N01", "no network interface but loopback", "both", judgeDevicesNet},
		{"routes", "N01 N03 N09", "no route to anywhere", "inside", judgeRoutes},
		{"dns", "N02", "no resolver answers", "inside", judgeDNS},
		{"host-sockets", "N15 N16", "no Unix socket of the host can be connected to", "inside", judgeSockets},
	}
}

func judgeDevicesNet(e *evidence) result {
	var t tally
	e.both(&t, func(who string, s Sight) {
		t.expect(len(s.Facts.NetworkInterfaces) == 0, "%s has %s", who, strings.Join(s.Facts.NetworkInterfaces, ", "))
	})
	text, ok := e.Report.Texts["/proc/net/dev"]
	if !ok || text.Err != "" {
		t.unsure("/proc/net/dev: %s", text.Err)
	}
	for line := range strings.Lines(text.Data) {
		if name, _, ok := strings.Cut(line, ":"); ok {
			t.expect(strings.TrimSpace(name) == "lo", "an interface %s", strings.TrimSpace(name))
		}
	}
	return t.result("lo")
}

// noRoute tells whether an answer says that an address cannot be reached. EINVAL
// is that for a link-local address without a link.
func noRoute(answer string) bool {
	return slices.Contains([]string{"ENETUNREACH", "EHOSTUNREACH", "EADDRNOTAVAIL", "EAFNOSUPPORT", "EACCES", "EPERM", "EINVAL", "ENETDOWN"}, answer)
}

func judgeRoutes(e *evidence) result {
	var t tally
	try := func(verb, address string) {
		switch answer, ok := e.answer(verb, address); {
		case ok && noRoute(answer):
			t.good++
		case answer == "ok" || answer == "EINPROGRESS" || answer == "ECONNREFUSED":
			t.expect(false, "%s can be reached", address)
		default:
			t.unsure("%s: %q", address, answer)
		}
	}
	for _, address := range observe.Routes() {
		try("route", address)
	}
	try("tcp", "192.0.2.1")
	for line := range strings.Lines(e.Report.Texts["/proc/net/route"].Data) {
		f := strings.Fields(line)
		t.expect(len(f) == 0 || f[0] == "Iface" || f[0] == "lo", "a route through %s", some(f[:min(1, len(f))]))
	}
	for line := range strings.Lines(e.Report.Texts["/proc/net/ipv6_route"].Data) {
		if f := strings.Fields(line); len(f) > 0 {
			t.expect(f[len(f)-1] == "lo", "a route through %s", f[len(f)-1])
		}
	}
	return t.result("%d addresses of all kinds cannot be reached", len(observe.Routes()))
}

func judgeDNS(e *evidence) result {
	var t tally
	asked := 0
	for _, key := range slices.Sorted(maps.Keys(e.Report.Tries)) {
		server, ok := strings.CutPrefix(key, "dns ")
		if !ok {
			continue
		}
		asked++
		switch answer := e.Report.Tries[key]; {
		case noRoute(answer) || answer == "ECONNREFUSED":
			t.good++
		case answer == "ok":
			t.expect(false, "%s answers", server)
		default:
			t.unsure("%s: %q", server, answer)
		}
	}
	conf, read := e.Report.Texts["/etc/resolv.conf"]
	if !read || conf.Err != "" && !refused(conf.Err) {
		t.unsure("/etc/resolv.conf was not read")
	}
	for line := range strings.Lines(conf.Data) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "nameserver" {
			if _, ok := e.answer("dns", f[1]); !ok {
				t.unsure("%s was not asked", f[1])
			}
		}
	}
	t.good++
	return t.result("%d resolvers are named, none can be asked", asked)
}

func judgeSockets(e *evidence) result {
	var t tally
	own := e.Own["net"] != "" && e.First.Namespaces["net"] != "" && e.First.Namespaces["net"] != e.Own["net"]
	all := append(observe.Sockets(), e.Sockets...)
	for _, address := range all {
		name := strings.TrimPrefix(address, "unix:")
		answer, ok := e.answer("connect", address)
		switch {
		case !ok:
			t.unsure("%s was not tried", address)
		case slices.Contains([]string{"ENOENT", "ENOTDIR", "ECONNREFUSED", "EACCES", "EPERM", "ELOOP", "ENXIO"}, answer):
			t.good++
		case answer != "ok" && answer != "EPROTOTYPE" && answer != "EAGAIN" && answer != "EINPROGRESS":
			t.unsure("%s: %q", address, answer)
		case strings.HasPrefix(name, "@"):
			// Names without a path belong to a network namespace: in one of its own
			// a session meets nobody's sockets but its own.
			t.expect(own, "%s can be connected to", address)
		default:
			// So do paths on file systems of its own.
			t.expect(e.writable(name), "%s can be connected to", address)
		}
	}
	for _, at := range e.Report.Tree.Sockets {
		t.expect(e.writable(at) || beneath(at, guest.SessionDir), "there is a socket %s", at)
	}
	return t.result("%d tried, a listener of this very verification on the host among them", len(all))
}
