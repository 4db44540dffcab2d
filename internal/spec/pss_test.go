package spec_test

import (
	"slices"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	pss "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/engine/fake"
)

// pod says of an OCI configuration what the Kubernetes Pod Security Standards ask
// about, in their words. What the session was granted, its project and what ccc
// brings, is a volume of its own there; every other mount is the host's.
func pod(want engine.Container, s *specs.Spec) *corev1.PodSpec {
	c := corev1.Container{Name: "session", SecurityContext: security(s)}
	p := &corev1.PodSpec{
		Containers:  []corev1.Container{c},
		HostNetwork: joined(s, specs.NetworkNamespace), HostPID: joined(s, specs.PIDNamespace), HostIPC: joined(s, specs.IPCNamespace),
		SecurityContext: &corev1.PodSecurityContext{},
	}
	for key, value := range s.Linux.Sysctl {
		p.SecurityContext.Sysctls = append(p.SecurityContext.Sysctls, corev1.Sysctl{Name: key, Value: value})
	}
	for _, m := range s.Mounts {
		v := corev1.Volume{Name: "v", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}
		granted := slices.ContainsFunc(want.Binds, func(b engine.Bind) bool { return b.Target == m.Destination && b.Source == m.Source }) ||
			slices.ContainsFunc(want.Homes, func(h engine.Home) bool { return h.Target == m.Destination })
		files := []string{"/etc/hostname", "/etc/passwd", "/etc/group", "/run/.containerenv"}
		if m.Type == "bind" && !granted && !slices.Contains(files, m.Destination) {
			v.VolumeSource = corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: m.Source}}
		}
		p.Volumes = append(p.Volumes, v)
	}
	return p
}

// security returns the privileges of the first process.
func security(s *specs.Spec) *corev1.SecurityContext {
	user, root, rise := int64(s.Process.User.UID), s.Process.User.UID != 0, !s.Process.NoNewPrivileges
	privileged := len(s.Linux.Devices) > 0
	mount := corev1.DefaultProcMount
	if len(s.Linux.MaskedPaths) == 0 || len(s.Linux.ReadonlyPaths) == 0 {
		mount = corev1.UnmaskedProcMount
	}
	sc := &corev1.SecurityContext{
		RunAsUser: &user, RunAsNonRoot: &root, AllowPrivilegeEscalation: &rise, Privileged: &privileged, ProcMount: &mount,
		Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeUnconfined},
	}
	if c := s.Process.Capabilities; c != nil {
		for _, name := range slices.Concat(c.Bounding, c.Effective, c.Permitted, c.Inheritable, c.Ambient) {
			sc.Capabilities.Add = append(sc.Capabilities.Add, corev1.Capability(name))
		}
	}
	if f := s.Linux.Seccomp; f != nil && f.DefaultAction != specs.ActAllow {
		file := "ccc.json"
		sc.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeLocalhost, LocalhostProfile: &file}
	}
	if s.Process.ApparmorProfile == "unconfined" {
		sc.AppArmorProfile = &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeUnconfined}
	}
	if s.Process.SelinuxLabel != "" {
		sc.SELinuxOptions = &corev1.SELinuxOptions{Type: s.Process.SelinuxLabel}
	}
	return sc
}

// joined tells whether a namespace is not the container's own.
func joined(s *specs.Spec, kind specs.LinuxNamespaceType) bool {
	return !slices.ContainsFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == kind && n.Path == "" })
}

// loosened are changes that the standard must not take, with the name of what
// forbids them.
var loosened = map[string]func(*specs.Spec){
	"root":                     func(s *specs.Spec) { s.Process.User.UID = 0 },
	"new privileges":           func(s *specs.Spec) { s.Process.NoNewPrivileges = false },
	"CAP_SYS_ADMIN":            capable("SYS_ADMIN"),
	"CAP_NET_RAW":              capable("NET_RAW"),
	"CAP_CHOWN":                capable("CHOWN"),
	"CAP_SYS_PTRACE":           capable("SYS_PTRACE"),
	"an ambient capability":    func(s *specs.Spec) { s.Process.Capabilities = &specs.LinuxCapabilities{Ambient: []string{"SETUID"}} },
	"no filter":                func(s *specs.Spec) { s.Linux.Seccomp = nil },
	"a filter that allows":     func(s *specs.Spec) { s.Linux.Seccomp.DefaultAction = specs.ActAllow },
	"the host's network":       func(s *specs.Spec) { namespace(s, specs.NetworkNamespace).Path = "/proc/1/ns/net" },
	"no network namespace":     without(specs.NetworkNamespace),
	"the host's processes":     without(specs.PIDNamespace),
	"the host's IPC":           without(specs.IPCNamespace),
	"a device":                 func(s *specs.Spec) { s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/kvm"}} },
	"the host's root":          hostPath("/"),
	"the engine's socket":      hostPath("/run/user/1000/podman/podman.sock"),
	"the host's /etc":          hostPath("/etc"),
	"nothing masked":           func(s *specs.Spec) { s.Linux.MaskedPaths = nil },
	"writable /proc/sys":       func(s *specs.Spec) { s.Linux.ReadonlyPaths = nil },
	"an unsafe sysctl":         func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"kernel.core_pattern": "|/x"} },
	"no AppArmor":              func(s *specs.Spec) { s.Process.ApparmorProfile = "unconfined" },
	"a wider SELinux type":     func(s *specs.Spec) { s.Process.SelinuxLabel = "spc_t" },
	"another file for its own": func(s *specs.Spec) { mountAt(s, "/.ccc/init").Source = "/home/u/evil" },
}

func capable(name string) func(*specs.Spec) {
	return func(s *specs.Spec) { s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: []string{name}} }
}

func hostPath(source string) func(*specs.Spec) {
	return func(s *specs.Spec) {
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/x", Type: "bind", Source: source})
	}
}

func without(kind specs.LinuxNamespaceType) func(*specs.Spec) {
	return func(s *specs.Spec) {
		s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == kind })
	}
}

// S17: the level "restricted" of the Kubernetes Pod Security Standards, by its own
// evaluator, takes what the OCI runtime gets for a session of every sort, and none
// of the changes.
func TestS17PodSecurityStandards(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks())
	if err != nil {
		t.Fatal(err)
	}
	restricted := pss.LevelVersion{Level: pss.LevelRestricted, Version: pss.LatestVersion()}
	judge := func(want engine.Container, s *specs.Spec) policy.AggregateCheckResult {
		p := pod(want, s)
		return policy.AggregateCheckResults(evaluator.EvaluatePod(restricted, &metav1.ObjectMeta{}, p))
	}
	for name := range cases {
		want := wanted(t, name)
		if r := judge(want, fake.Spec(want)); !r.Allowed {
			t.Errorf("%s: %s", name, r.ForbiddenDetail())
		}
	}
	for name, change := range loosened {
		want := wanted(t, "standard")
		s := fake.Spec(want)
		change(s)
		if r := judge(want, s); r.Allowed {
			t.Errorf("%s: allowed", name)
		}
	}
	if len(loosened) < 20 {
		t.Errorf("%d changes, want 20", len(loosened))
	}
}
