package seccomp_test

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/seccomp"
	"github.com/ccc-dev/ccc/internal/seccomp/calls"
)

// cases are the groups of probes, which are named after the cases of the
// security design.
var cases = []string{"S01", "S02", "S03", "S04", "S07", "S08", "host", "use"}

// S01 to S04, S07, S08, and S06, which is all of them: every probe meets in a
// container what the table says, and what is allowed is answered by the kernel
// with something of its own.
func TestPodmanProbes(t *testing.T) {
	h := openPodman(t)
	for _, v := range seccomp.Variants() {
		t.Run(v.Name, func(t *testing.T) {
			expect(t, v.Name, answers(t, h.play(t, v.Name, "probes")))
		})
	}
	// What is executed in a running container is no less filtered.
	t.Run("exec", func(t *testing.T) {
		id := h.start(t, seccomp.Agent)
		out := h.must(t, h.command(t.Context(), nil, "exec", "--env", partVar+"=probes", id, "/dev/probe"))
		expect(t, seccomp.Agent, answers(t, out))
	})
}

// expect holds answers against a profile's verdicts, in a subtest for each case.
func expect(t *testing.T, profile string, got map[string]string) {
	t.Helper()
	p := shipped(t, runtime.GOARCH, profile)
	for _, c := range cases {
		t.Run(c, func(t *testing.T) {
			tried := 0
			for _, probe := range calls.Probes() {
				if !strings.HasPrefix(probe.ID, c+"/") || !probe.Here() {
					continue
				}
				tried++
				v, err := seccomp.Judge(p, runtime.GOARCH, probe)
				if err != nil {
					t.Error(err)
				}
				want := []string{v.String()}
				switch want[0] {
				case "allow":
					want = probe.Kernel
				case "kill":
					want[0] = "SIGSYS"
				}
				if !slices.Contains(want, got[probe.ID]) {
					t.Errorf("%s: %s answered %s, want %s", probe.ID, call(probe), got[probe.ID], strings.Join(want, " or "))
				}
			}
			if tried == 0 {
				t.Error("nothing was tried")
			}
		})
	}
}

// The tests above can fail: with Podman's own filter, and everything else the
// same, these reach the kernel.
func TestPodmanStockLetsThemThrough(t *testing.T) {
	h := openPodman(t)
	got := answers(t, h.play(t, stock, "probes"))
	reach := []string{
		"S01/unshare-user", "S01/unshare-user-mount", "S01/unshare-user-net", "S01/unshare-all", "S01/clone-user", "S01/clone-user-net", "S01/clone-all", "S01/setns-user",
		"S02/alg", "S02/netlink-netfilter", "S02/netlink-xfrm", "S02/netlink-generic", "S02/inet-mptcp", "S02/inet-ping", "S02/rds", "S02/rxrpc", "S02/tipc", "S02/pair-alg",
		"S03/unshare-user", "S03/clone-user-junk", "S03/socket-alg", "S03/tiocsti", "S03/oob-send",
		"S07/ptrace-me", "S07/vm-read", "S07/vm-write", "S07/pidfd-getfd", "S07/keyctl", "S07/memfd-secret", "S07/io-setup", "S07/splice", "S07/tee",
		"S07/prctl-mm", "S07/tiocsti", "S07/tioclinux", "S07/tiocsetd", "S07/ulp", "S07/oob-sendto", "S07/oob-recvmsg", "S07/msgget", "S07/mq-open",
		"S08/mount", "S08/remount", "S08/bind", "S08/umount",
	}
	if runtime.GOARCH == "amd64" {
		reach = append(reach, "S04/int80", "S04/x32", "S07/modify-ldt", "S02/vsock")
	}
	for _, probe := range calls.Probes() {
		if !slices.Contains(reach, probe.ID) {
			continue
		}
		if !slices.Contains(probe.Kernel, got[probe.ID]) || got[probe.ID] == "EPERM" {
			t.Errorf("%s: %s answered %s, want %s", probe.ID, call(probe), got[probe.ID], strings.Join(probe.Kernel, " or "))
		}
		v, err := seccomp.Judge(shipped(t, runtime.GOARCH, seccomp.Agent), runtime.GOARCH, probe)
		if err != nil || v.Allowed() {
			t.Errorf("%s: %v, %v under %s", probe.ID, v, err, seccomp.Agent)
		}
	}
}

// The same attacks in earnest: not one call with odd arguments, but something
// that is worth having. And what is no attack works under every filter.
func TestPodmanAttacks(t *testing.T) {
	h := openPodman(t)
	one := func(answers ...string) []string { return answers }
	typed := one("done", "EIO") // an administrator may have forbidden it to all
	type trial struct {
		id, part string
		// Under each filter, the answers that are right.
		stock, agent, debug, nested []string
	}
	trials := []trial{
		{"S01/root in a namespace of one's own, and a mount", "sandbox", one("done 000001ffffffffff"), one("EPERM"), one("EPERM"), one("done 000001ffffffffff")},
		{"S07/a secret in another process, by process_vm_readv", "read", one("done"), one("EPERM"), one("done"), one("EPERM")},
		{"S07/a secret in another process, by ptrace", "trace", one("done"), one("EPERM"), one("done"), one("EPERM")},
		{"S07/typing into a terminal", "type,0", typed, one("EPERM"), one("EPERM"), one("EPERM")},
		{"S03/typing into a terminal", "type,0x700000000", typed, one("EPERM"), one("EPERM"), one("EPERM")},
		{"S07/a byte out of band", "oob,0", one("done"), one("EPERM"), one("EPERM"), one("EPERM")},
		{"S03/a byte out of band", "oob,0x700000000", one("done"), one("EPERM"), one("EPERM"), one("EPERM")},
		{"S07/pages of a file in a pipe", "splice", one("done"), one("EINVAL"), one("EINVAL"), one("EINVAL")},
		{"S04/a 32-bit program", "elf32", one("exit 42"), one("SIGSYS"), one("SIGSYS"), one("SIGSYS")},
		{"use/what Go programs do", "ordinary", one("done"), one("done"), one("done"), one("done")},
	}
	if runtime.GOARCH != "amd64" {
		trials = slices.DeleteFunc(trials, func(i trial) bool { return i.part == "elf32" }) // no such program there
	}
	part := "each"
	for _, c := range trials {
		part += " " + c.part
	}
	for _, profile := range []string{stock, seccomp.Agent, seccomp.Debug, seccomp.Nested} {
		said := map[string]string{}
		for line := range strings.Lines(h.play(t, profile, part)) {
			name, answer, _ := strings.Cut(strings.TrimSpace(line), ": ")
			said[name] = answer
		}
		for _, c := range trials {
			want := map[string][]string{stock: c.stock, seccomp.Agent: c.agent, seccomp.Debug: c.debug, seccomp.Nested: c.nested}[profile]
			t.Run(c.id+"/"+profile, func(t *testing.T) {
				if got := said[c.part]; !slices.Contains(want, got) {
					t.Errorf("%q, want %s", got, strings.Join(want, " or "))
				}
			})
		}
	}
}

// What the OCI runtime got is what was asked for, and nothing else passes for it.
func TestPodmanEffectiveFilter(t *testing.T) {
	h := openPodman(t)
	for _, v := range seccomp.Variants() {
		got := h.config(t, h.start(t, v.Name))
		for _, other := range seccomp.Variants() {
			want, err := seccomp.Expected(other.Name)
			if err != nil {
				t.Fatal(err)
			}
			if err := seccomp.Compare(want, got); (err == nil) != (other.Name == v.Name) {
				t.Errorf("%s held against %s: %v", v.Name, other.Name, err)
			}
		}
	}
	want, err := seccomp.Expected(seccomp.Agent)
	if err != nil {
		t.Fatal(err)
	}
	if err := seccomp.Compare(want, h.config(t, h.start(t, stock))); api.KindOf(err) != api.KindDegraded {
		t.Errorf("Podman's own filter: %v", err)
	}
}

// S13: whatever happens to the file between delivery and the engine's opening it,
// no container runs with another filter unnoticed.
func TestPodmanTamperedFile(t *testing.T) {
	h := openPodman(t)
	data, err := seccomp.Profile(seccomp.Agent)
	if err != nil {
		t.Fatal(err)
	}
	want, err := seccomp.Expected(seccomp.Agent)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "ccc")
	deliver := func(t *testing.T) {
		t.Helper()
		if h.profiles[seccomp.Agent], err = seccomp.Deliver(dir, data); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("deleted", func(t *testing.T) {
		deliver(t)
		if err := os.Remove(h.profiles[seccomp.Agent]); err != nil {
			t.Fatal(err)
		}
		if out, err := h.command(t.Context(), nil, h.run(t, seccomp.Agent, "wait", "--rm")...).CombinedOutput(); err == nil {
			t.Errorf("a container ran without its profile:\n%s", out)
		}
	})
	for name, content := range map[string]string{
		"unconfined": `{}`,
		"allow all":  `{"defaultAction":"SCMP_ACT_ALLOW"}`,
		"one more":   strings.Replace(string(data), `["accept",`, `["ptrace","accept",`, 1),
		"32 bits":    strings.Replace(string(data), `"architectures": [`, `"architectures": ["SCMP_ARCH_X32",`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			deliver(t)
			if err := os.WriteFile(h.profiles[seccomp.Agent], []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := seccomp.Compare(want, h.config(t, h.start(t, seccomp.Agent))); api.KindOf(err) != api.KindDegraded {
				t.Errorf("not noticed: %v", err)
			}
			deliver(t)
			if err := seccomp.Compare(want, h.config(t, h.start(t, seccomp.Agent))); err != nil {
				t.Errorf("delivered again: %v", err)
			}
		})
	}
}
