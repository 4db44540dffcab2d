package probe_test

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/engine/fake"
	"github.com/ccc-dev/ccc/internal/image"
	"github.com/ccc-dev/ccc/internal/probe"
	"github.com/ccc-dev/ccc/internal/session/sessiontest"
)

// told is an engine that says of its host what it is told to say.
type told struct {
	engine.Engine
	change func(*engine.Host)
	err    error
}

func (t told) Host(ctx context.Context) (engine.Host, error) {
	h, err := t.Engine.Host(ctx)
	h.Kernel, h.SELinux = "6.12.1-amd64", true
	t.change(&h)
	return h, errors.Join(err, t.err)
}

// fit is a host on which nothing is wrong.
type fit struct {
	probe.Host
	engine told
	files  map[string]string
	// missing are the programs that are not there.
	missing []string
}

func newFit(t *testing.T) *fit {
	t.Helper()
	e, err := fake.Open(t.TempDir(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if err := sessiontest.AddImage(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	run := filepath.Join(t.TempDir(), "run")
	if err := os.Mkdir(run, 0o700); err != nil {
		t.Fatal(err)
	}
	f := &fit{
		engine: told{Engine: e, change: func(*engine.Host) {}},
		files: map[string]string{
			"/etc/subuid": "other:1:2\ntester:100000:65536\n", "/etc/subgid": "61573:100000:65536\n",
			"/proc/sys/user/max_user_namespaces": "15000\n",
		},
	}
	f.Host = probe.Host{
		UID: os.Getuid(), User: "tester", RuntimeDir: run, Image: image.DefaultName,
		LookPath: func(name string) (string, error) {
			if slices.Contains(f.missing, name) {
				return "", fs.ErrNotExist
			}
			return "/usr/bin/" + name, nil
		},
		ReadFile: func(file string) ([]byte, error) {
			if text, ok := f.files[file]; ok {
				return []byte(text), nil
			}
			return nil, fs.ErrNotExist
		},
		Engine: func(context.Context) (engine.Engine, error) { return f.engine, nil },
		Audit:  func() (string, error) { return "7 records, whole", nil },
	}
	return f
}

func TestMain(m *testing.M) {
	if code, ran := sessiontest.AsUser(); ran {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

func TestFitHost(t *testing.T) {
	f := newFit(t)
	// The group's ids may stand there by number.
	f.files["/etc/subgid"] = "61573:100000:65536\ntester:1:65536\n"
	all := f.Check(t.Context())
	for _, finding := range all {
		if finding.Verdict != probe.OK || finding.Mend != "" || finding.Detail == "" {
			t.Errorf("%+v", finding)
		}
	}
	if probe.Worst(all) != probe.OK || len(all) < 15 {
		t.Errorf("worst of %d: %s", len(all), probe.Worst(all))
	}
}

// faults are what can be wrong with a host: which check finds it, how bad it is,
// and what must stand in the command that mends it.
var faults = map[string]struct {
	spoil   func(*fit)
	check   string
	verdict probe.Verdict
	mend    string
}{
	"root":                 {func(f *fit) { f.UID = 0 }, "user", probe.Fail, "ordinary user"},
	"no runtime directory": {func(f *fit) { f.RuntimeDir = "" }, "runtime directory", probe.Fail, "enable-linger tester"},
	"not there":            {func(f *fit) { f.RuntimeDir += "/x" }, "runtime directory", probe.Fail, "enable-linger"},
	"open to others":       {func(f *fit) { _ = os.Chmod(f.RuntimeDir, 0o750) }, "runtime directory", probe.Fail, "chmod 0700"},
	"few namespaces":       {func(f *fit) { f.files["/proc/sys/user/max_user_namespaces"] = "0\n" }, "user namespaces", probe.Fail, "max_user_namespaces=15000"},
	"no namespaces":        {func(f *fit) { f.files["/proc/sys/kernel/unprivileged_userns_clone"] = "0\n" }, "user namespaces", probe.Fail, "unprivileged_userns_clone=1"},
	"no subuid":            {func(f *fit) { delete(f.files, "/etc/subuid") }, "ids in /etc/subuid", probe.Fail, "--add-subuids"},
	"few subuids":          {func(f *fit) { f.files["/etc/subuid"] = "tester:100000:1000\n" }, "ids in /etc/subuid", probe.Fail, "--add-subuids"},
	"another's subgids":    {func(f *fit) { f.files["/etc/subgid"] = "tester2:100000:65536\n" }, "ids in /etc/subgid", probe.Fail, "tester"},
	"odd subgids":          {func(f *fit) { f.files["/etc/subgid"] = "tester:x:y\n::\n" }, "ids in /etc/subgid", probe.Fail, "--add-subgids"},
	"no podman":            {func(f *fit) { f.missing = []string{"podman"} }, "podman", probe.Fail, "install podman"},
	"no newuidmap":         {func(f *fit) { f.missing = []string{"newuidmap"} }, "newuidmap", probe.Fail, "install uidmap"},
	"no mmdebstrap":        {func(f *fit) { f.missing = []string{"mmdebstrap"} }, "mmdebstrap", probe.Warn, "install mmdebstrap"},
	"no engine": {func(f *fit) {
		f.Engine = func(context.Context) (engine.Engine, error) {
			return nil, &api.Error{Kind: api.KindUnavailable, Msg: "there is no podman socket", Hint: "systemctl --user start podman.socket"}
		}
	}, "engine", probe.Fail, "systemctl"},
	"silent engine": {func(f *fit) {
		f.engine.err = &api.Error{Kind: api.KindUnavailable, Msg: "podman does not answer", Hint: "restart it"}
	}, "engine", probe.Fail, "restart it"},
	"root's engine":  {func(f *fit) { f.engine.change = func(h *engine.Host) { h.Rootless = false } }, "rootless", probe.Fail, "systemctl --user"},
	"old cgroups":    {func(f *fit) { f.engine.change = func(h *engine.Host) { h.CgroupVersion = "v1" } }, "limits", probe.Warn, "unified_cgroup_hierarchy"},
	"no delegation":  {func(f *fit) { f.engine.change = func(h *engine.Host) { h.Controllers = []string{"memory"} } }, "limits", probe.Warn, "Delegate="},
	"vfs":            {func(f *fit) { f.engine.change = func(h *engine.Host) { h.StorageDriver = "vfs" } }, "storage", probe.Warn, "storage.conf"},
	"fuse":           {func(f *fit) { f.engine.change = func(h *engine.Host) { h.NativeOverlay = false } }, "storage", probe.Warn, "mount_program"},
	"no seccomp":     {func(f *fit) { f.engine.change = func(h *engine.Host) { h.Seccomp = false } }, "seccomp", probe.Fail, "CONFIG_SECCOMP_FILTER"},
	"no LSM":         {func(f *fit) { f.engine.change = func(h *engine.Host) { h.SELinux = false } }, "security module", probe.Warn, ""},
	"old kernel":     {func(f *fit) { f.engine.change = func(h *engine.Host) { h.Kernel = "5.10.0-28-amd64" } }, "kernel", probe.Warn, "5.14"},
	"odd kernel":     {func(f *fit) { f.engine.change = func(h *engine.Host) { h.Kernel = "?" } }, "kernel", probe.Warn, "uname"},
	"no image":       {func(f *fit) { f.Image = "localhost/none:1" }, "session image", probe.Fail, "ccc image build"},
	"broken records": {func(f *fit) { f.Audit = func() (string, error) { return "", errors.New("record 3 is bad") } }, "audit log", probe.Fail, "ccc audit verify"},
}

func TestFaults(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(faults)) {
		c := faults[name]
		t.Run(name, func(t *testing.T) {
			f := newFit(t)
			f.files["/etc/subgid"] = "tester:100000:65536\n"
			c.spoil(f)
			all := f.Check(t.Context())
			i := slices.IndexFunc(all, func(g probe.Finding) bool { return g.Check == c.check && g.Verdict != probe.OK })
			if i < 0 {
				t.Fatalf("not found: %+v", all)
			}
			if all[i].Verdict != c.verdict || all[i].Mend == "" || !strings.Contains(all[i].Mend, c.mend) {
				t.Errorf("%+v, want %s, and to mend it: %s", all[i], c.verdict, c.mend)
			}
			if probe.Worst(all) != c.verdict {
				t.Errorf("worst %s", probe.Worst(all))
			}
			for j, g := range all {
				if j != i && g.Verdict != probe.OK && name != "root" {
					t.Errorf("found beside it: %+v", g)
				}
			}
		})
	}
}
