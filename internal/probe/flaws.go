package probe

// The components that a known flaw can be in.
const (
	inPodman = "podman"
	inCrun   = "crun"
	inRunc   = "runc"
	inConmon = "conmon"
	inKernel = "kernel"
)

// flaw is a publicly known vulnerability of something that ccc stands on.
type flaw struct {
	cve       string
	component string
	// about says in a few words what it is.
	about string
	// since is the first version that has it; empty means every one before the
	// fix.
	since string
	// fixed are the first versions without it, one for each branch that got a fix
	// of its own. The last is that of the main line, unless branches is set.
	fixed []string
	// branches tells that fixed has only some branches: of a version of any other
	// nothing is known.
	branches bool
	// option is the kernel option, and feature the word in what a runtime says of
	// itself, without which the code is not there.
	option, feature string
	// guard says what ccc does about it, whatever version there is. Empty means
	// nothing, and then one that is there is a fault: of an image whose /dev is a
	// link, ccc knows only that those which it builds itself are none.
	guard string
	// source is where the versions come from.
	source string
}

// Where the versions come from.
const (
	advisories = "the component's own security advisories"
	nvd        = "the National Vulnerability Database and the kernel's CVE announcements"
)

// What ccc does about more than one of them.
const (
	noNamespaces = "the system call filter lets no session make a user namespace, by any route"
	noSplice     = "the filter answers splice, tee and vmsplice with EINVAL"
)

// flaws lists what is known, by component and then by year. What a flaw's guard
// claims is shown to hold by the tests of the sessions' walls.
var flaws = []flaw{
	{
		cve: "CVE-2024-1753", component: inPodman, about: "a build can mount the host's root", fixed: []string{"4.9.4", "5.0.1"}, source: advisories,
		guard: "ccc builds no image from anybody's instructions: the session image is imported from Debian packages",
	},
	{
		cve: "CVE-2024-9341", component: inPodman, about: "a link in an image makes a mount point outside", fixed: []string{"5.2.4"}, source: advisories,
		guard: "the FIPS mounts that it needs are on FIPS hosts alone; session images are made by ccc, and every mount is compared after start",
	},
	{
		cve: "CVE-2024-9407", component: inPodman, about: "a build's mount options reach the host", fixed: []string{"5.2.4"}, source: advisories,
		guard: "ccc builds no image from anybody's instructions",
	},
	{
		cve: "CVE-2024-9675", component: inPodman, about: "a build's cache mount reaches any directory", fixed: []string{"5.2.5"}, source: advisories,
		guard: "ccc builds no image from anybody's instructions",
	},
	{
		cve: "CVE-2024-9676", component: inPodman, about: "a link in an image makes Podman read a device and hang", fixed: []string{"5.2.5"}, source: advisories,
		guard: "it needs automatic user namespaces, which ccc never asks for: each session's mapping is stated",
	},
	{
		cve: "CVE-2024-11218", component: inPodman, about: "a build can list and change the host's files", fixed: []string{"5.3.2"}, source: advisories,
		guard: "ccc builds no image from anybody's instructions",
	},
	{
		cve: "CVE-2025-9566", component: inPodman, about: "kube play follows links in volumes and overwrites files of the host", since: "4.0.0", fixed: []string{"5.6.1"}, source: advisories,
		guard: "ccc never uses kube play",
	},
	{
		cve: "CVE-2026-17106", component: inPodman, about: "links in an archive are written through when it is extracted", fixed: []string{"6.1.1"}, source: advisories,
		guard: "ccc has Podman extract no archive that a session had a hand in",
	},
	{
		cve: "CVE-2026-44517", component: inPodman, about: "a build context from git or an archive reaches outside", fixed: []string{"5.8.3"}, source: advisories,
		guard: "ccc builds no image from anybody's context",
	},
	{
		cve: "CVE-2026-55686", component: inPodman, about: "an image's WORKDIR through a link makes directories on the host", since: "3.0.0", fixed: []string{"5.7.1"}, source: advisories,
		guard: "every container and command states its directory; an image whose WORKDIR is a link is refused",
	},
	{
		cve: "CVE-2026-57231", component: inPodman, about: "an image can copy the host's environment into a container", fixed: []string{"5.8.4", "6.0.1"}, source: advisories,
		guard: "an image that asks for it is refused, ccc starts Podman's service without your environment, and a session's is compared after start",
	},
	{
		cve: "CVE-2025-24965", component: inCrun, about: "the krun handler writes to the host", fixed: []string{"1.20"}, feature: "+LIBKRUN", source: advisories,
		guard: "ccc asks for no handler, and refuses a container whose configuration has orders for crun in it",
	},
	{
		cve: "CVE-2026-30892", component: inCrun, about: "exec as a user by number runs as root", since: "1.19", fixed: []string{"1.27"}, source: advisories,
		guard: "a command's user cannot be asked for; `ccc session verify` has the host read a command's user",
	},
	{
		cve: "CVE-2026-47766", component: inCrun, about: "an image whose /dev is a link makes crun write to the host", fixed: []string{"1.28"}, source: advisories,
	},
	{
		cve: "crun 1.27", component: inCrun, about: "AppArmor profiles are skipped in user namespaces", since: "1.27", fixed: []string{"1.27.1"}, source: "crun's repository",
		guard: "ccc's profile attaches to a path, without crun; the label is read after start, and the posture says what it is",
	},
	{
		cve: "CVE-2024-21626", component: inRunc, about: "a leaked descriptor as working directory leads to the host", fixed: []string{"1.1.12"}, source: advisories,
		guard: "every command states its directory, and ccc-init refuses one outside and closes what was left open",
	},
	{
		cve: "CVE-2024-45310", component: inRunc, about: "a race makes empty files on the host", fixed: []string{"1.1.14"}, source: advisories,
		guard: "sessions share no volume with a container that starts",
	},
	{
		cve: "CVE-2025-31133", component: inRunc, about: "masked paths can be made to lead elsewhere", fixed: []string{"1.2.8", "1.3.3", "1.4.0-rc.3"}, source: advisories,
		guard: "nothing can be mounted below /proc, /sys or /dev, sessions share no volume with a container that starts, `ccc session verify` tries the masks",
	},
	{
		cve: "CVE-2025-52565", component: inRunc, about: "/dev/console can be made to lead elsewhere", fixed: []string{"1.2.8", "1.3.3", "1.4.0-rc.3"}, source: advisories,
		guard: "a session's first process has no terminal",
	},
	{
		cve: "CVE-2025-52881", component: inRunc, about: "writes to /proc can be made to go elsewhere", fixed: []string{"1.2.8", "1.3.3", "1.4.0-rc.3"}, source: advisories,
		guard: "nothing can be mounted below /proc, and sessions share no volume with a container that starts",
	},
	{
		cve: "CVE-2026-41579", component: inRunc, about: "an image whose /dev is a link makes runc write to the host", fixed: []string{"1.3.6", "1.4.3", "1.5.0-rc.3"}, source: advisories,
	},
	{
		cve: "CVE-2022-0847", component: inKernel, about: "Dirty Pipe: read-only files can be written", since: "5.8", fixed: []string{"5.10.102", "5.15.25", "5.16.11"}, source: nvd,
		guard: noSplice,
	},
	{
		cve: "CVE-2024-1086", component: inKernel, about: "nf_tables, reached through a user namespace", since: "3.15", fixed: []string{"5.15.149", "6.1.76", "6.6.15", "6.7.3"}, option: "CONFIG_NF_TABLES", source: nvd,
		guard: noNamespaces + ", nor a netfilter socket",
	},
	{
		cve: "CVE-2025-21756", component: inKernel, about: "vsock sockets are used after they are freed", fixed: []string{"6.6.79", "6.12.16", "6.13.4"}, branches: true, option: "CONFIG_VSOCKETS", source: nvd,
		guard: "the filter allows no vsock socket",
	},
	{
		cve: "CVE-2026-31431", component: inKernel, about: "Copy Fail: cached pages of files can be written through AF_ALG", since: "4.14", branches: true, option: "CONFIG_CRYPTO_USER_API_AEAD", source: nvd,
		guard: "the filter allows no AF_ALG socket; " + noSplice,
	},
	{
		cve: "CVE-2026-43284", component: inKernel, about: "Dirty Frag in ESP: cached pages of files can be written", since: "4.11", fixed: []string{"6.6.138", "6.12.87"}, branches: true, option: "CONFIG_INET_ESP", source: nvd,
		guard: noNamespaces + ", nor an XFRM socket; " + noSplice,
	},
	{
		cve: "CVE-2026-43500", component: inKernel, about: "Dirty Frag in RxRPC: cached pages of files can be written", since: "5.3", fixed: []string{"6.18.29", "7.0.6"}, branches: true, option: "CONFIG_AF_RXRPC", source: nvd,
		guard: "the filter allows no RxRPC socket",
	},
	{
		cve: "CVE-2026-43494", component: inKernel, about: "RDS sockets together with io_uring", branches: true, option: "CONFIG_RDS", source: nvd,
		guard: "the filter allows neither RDS sockets nor io_uring",
	},
	{
		cve: "CVE-2026-46300", component: inKernel, about: "ESP in TCP: cached pages of files can be written", branches: true, option: "CONFIG_INET_ESPINTCP", source: nvd,
		guard: noNamespaces + ", nor an upper-layer protocol on a TCP socket",
	},
	{
		cve: "CVE-2026-46331", component: inKernel, about: "packet editing by traffic control", branches: true, option: "CONFIG_NET_ACT_PEDIT", source: nvd,
		guard: noNamespaces,
	},
	{
		cve: "CVE-2026-53362", component: inKernel, about: "cached pages of files can be written, without privileges", branches: true, source: nvd,
		guard: noSplice,
	},
	{
		cve: "CVE-2026-64564", component: inKernel, about: "SCTP sockets", branches: true, option: "CONFIG_IP_SCTP", source: nvd,
		guard: "the filter allows no SCTP socket",
	},
}
