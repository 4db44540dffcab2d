package seccomp_test

import (
	"runtime"
	"slices"
	"testing"

	"github.com/ccc-dev/ccc/internal/seccomp"
	"github.com/ccc-dev/ccc/internal/seccomp/calls"
)

// gates are the first steps, without which they come to nothing, of the tests of
// the Linux Test Project that provoke faults of the kernel.
var gates = map[string][]string{
	"af_alg08":          {"S02/alg"},
	"dirtypipe":         {"S07/splice"},
	"xfrm01, 02, 03":    {"S02/netlink-xfrm", "S01/unshare-user-net"},
	"io_uring04":        {"S07/io-uring-setup"},
	"cve-2025-21756":    {"S02/vsock"},
	"fsconfig03":        {"S08/fsopen", "S08/fsconfig", "S01/unshare-user-mount"},
	"nft02":             {"S02/netlink-netfilter", "S01/unshare-user-net"},
	"userns01 to 08":    {"S01/unshare-user", "S01/clone-user"},
	"keyctl05, add_key": {"S07/keyctl"},
	"bpf_prog05":        {"S07/bpf"},
	"userfaultfd01":     {"S07/userfaultfd"},
	"ptrace08":          {"S07/ptrace-me"},
}

// S05: each of them is turned away at its first step. [TestPodmanProbes] shows
// that the kernel answers so in a container.
func TestS05LinuxTestProject(t *testing.T) {
	p := shipped(t, runtime.GOARCH, seccomp.Agent)
	all := calls.Probes()
	for name, ids := range gates {
		for _, id := range ids {
			i := slices.IndexFunc(all, func(p calls.Probe) bool { return p.ID == id })
			if i < 0 {
				t.Errorf("%s: there is no probe %s", name, id)
				continue
			}
			if v, err := seccomp.Judge(p, runtime.GOARCH, all[i]); err != nil || v.Allowed() {
				t.Errorf("%s: %s is %v, %v", name, id, v, err)
			}
		}
	}
}
