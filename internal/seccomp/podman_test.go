package seccomp_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ccc-dev/ccc/internal/seccomp"
	"github.com/ccc-dev/ccc/internal/seccomp/calls"
)

// stock is no profile of ours: Podman's own filter, in a container that is
// otherwise hardened in the same way.
const stock = "stock"

// hardened are the options of every container here. Only the filter differs.
var hardened = []string{
	"--cap-drop=all", "--security-opt", "no-new-privileges", "--read-only", "--network", "none",
	"--userns", "keep-id:uid=1000,gid=1000", "--user", "1000:1000", "--pull=never",
}

// host is rootless Podman, with an empty image to run the test binary in.
type host struct {
	podman, image string
	// profiles has the delivered file of each profile.
	profiles map[string]string
}

// openPodman prepares for the tests against real Podman. Without
// CCC_TEST_PODMAN=1 the test is left out; with it, a Podman that cannot be used is
// a failure.
func openPodman(t *testing.T) *host {
	t.Helper()
	if os.Getenv("CCC_TEST_PODMAN") != "1" {
		t.Skip("set CCC_TEST_PODMAN=1 to test against real rootless Podman")
	}
	if os.Geteuid() == 0 {
		t.Fatal("root's Podman is not rootless: run testdata/lab/suite")
	}
	podman, err := exec.LookPath("podman")
	if err != nil {
		t.Fatal(err)
	}
	h := &host{podman: podman, profiles: map[string]string{}}
	h.image = strings.TrimSpace(h.must(t, h.command(t.Context(), emptyImage(t), "import", "--quiet", "-")))
	t.Cleanup(func() { h.must(t, h.command(context.Background(), nil, "rmi", "--force", h.image)) })
	dir := filepath.Join(t.TempDir(), "ccc")
	for _, v := range seccomp.Variants() {
		data, err := seccomp.Profile(v.Name)
		if err != nil {
			t.Fatal(err)
		}
		if h.profiles[v.Name], err = seccomp.Deliver(dir, data); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// emptyImage is a root file system without a program in it.
func emptyImage(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, dir := range []string{"dev/", "etc/", "proc/", "run/", "sys/", "tmp/"} {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// command is a podman command, with a scrubbed environment.
func (h *host) command(ctx context.Context, stdin []byte, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, h.podman, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "XDG_RUNTIME_DIR=" + os.Getenv("XDG_RUNTIME_DIR")}
	cmd.Stdin = bytes.NewReader(stdin)
	// Not a directory that the user inside could not enter.
	cmd.Dir = "/"
	return cmd
}

// must returns what a command says on standard output.
func (h *host) must(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", cmd.Args, err, out, &stderr)
	}
	return string(out)
}

// run is the arguments of a command `podman run` under a profile, in which the
// test binary plays a part.
func (h *host) run(t *testing.T, profile, part string, options ...string) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := slices.Concat([]string{"run"}, hardened, options, []string{"--volume", self + ":/dev/probe:ro", "--env", partVar + "=" + part})
	if profile != stock {
		args = append(args, "--security-opt", "seccomp="+h.profiles[profile])
	}
	return append(args, h.image, "/dev/probe")
}

// play plays a part in a container of its own and returns what it says.
func (h *host) play(t *testing.T, profile, part string) string {
	t.Helper()
	return strings.TrimSpace(h.must(t, h.command(t.Context(), nil, h.run(t, profile, part, "--rm")...)))
}

// start starts a container that waits, and returns its ID.
func (h *host) start(t *testing.T, profile string) string {
	t.Helper()
	id := strings.TrimSpace(h.must(t, h.command(t.Context(), nil, h.run(t, profile, "wait", "--detach")...)))
	t.Cleanup(func() { h.must(t, h.command(context.Background(), nil, "rm", "--force", "--time", "0", id)) })
	return id
}

// config returns the filter in the configuration that the OCI runtime acts upon:
// crun's own copy, or Podman's.
func (h *host) config(t *testing.T, id string) *specs.LinuxSeccomp {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "crun", id, "config.json"))
	if err != nil {
		path := strings.TrimSpace(h.must(t, h.command(t.Context(), nil, "inspect", "--format", "{{.OCIConfigPath}}", id)))
		data = []byte(h.must(t, h.command(t.Context(), nil, "unshare", "cat", "--", path)))
	}
	var spec specs.Spec
	if err := json.Unmarshal(data, &spec); err != nil {
		t.Fatal(err)
	}
	if spec.Linux == nil {
		t.Fatal("a configuration without Linux")
	}
	return spec.Linux.Seccomp
}

// answers parses what partProbes printed.
func answers(t *testing.T, out string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for line := range strings.Lines(out) {
		var id, answer string
		if _, err := fmt.Sscan(line, &id, &answer); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all[id] = answer
	}
	for _, p := range calls.Probes() {
		if p.Here() && all[p.ID] == "" {
			t.Errorf("%s was not tried", p.ID)
		}
	}
	return all
}
