package podman_test

import (
	"encoding/json"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/engine/podman"
)

// least returns the least container that is valid.
func least() engine.Container {
	return engine.Container{
		Name: "c", Image: strings.Repeat("ab", 32), Argv: []string{"true"}, Dir: "/", UID: 1000, GID: 1000,
		Memory: 1 << 20, CPUs: 1, PIDs: 1, Timeout: time.Second,
	}
}

// whole returns a container that uses every field.
func whole() engine.Container {
	return engine.Container{
		Name: "ccc-0123456789ab", Image: strings.Repeat("ab", 32), Hostname: "box",
		Argv: []string{"sh", "-c", "echo 'a b'"}, Env: map[string]string{"HOME": "/home/agent", "PATH": "/usr/bin:/bin", "EMPTY": ""},
		Dir: "/workspace", UID: 1000, GID: 1001, Seccomp: "/usr/share/ccc/seccomp.json",
		Binds:    []engine.Bind{{Source: "/home/me/a b", Target: "/ref"}, {Source: "/home/me/data", Target: "/data", Writable: true}},
		Overlays: []engine.Overlay{{Lower: "/home/me/project", Target: "/workspace", Upper: "/state/upper", Work: "/state/work"}},
		Tmpfs: []engine.Tmpfs{
			{Target: "/tmp", Size: 1 << 30, Mode: 0o777 | fs.ModeSticky},
			{Target: "/run", Size: 1 << 20, Mode: 0o755, NoExec: true},
		},
		ShmSize: 64 << 20, Memory: 4 << 30, CPUs: 1500, PIDs: 512,
		Rlimits: map[string]uint64{"NOFILE": 4096, "CORE": 0}, Timeout: 8*time.Hour + 999*time.Millisecond, StopGrace: 1500 * time.Millisecond,
		Labels: map[string]string{engine.LabelSchema: "1", engine.LabelUser + "note": `a "quoted" = value`},
	}
}

func TestSpecGolden(t *testing.T) {
	withHome := whole()
	withHome.Homes = []engine.Home{{Volume: "ccc-home", Target: "/home/agent"}}
	for name, c := range map[string]engine.Container{"least.json": least(), "whole.json": withHome} {
		s, err := podman.Spec(c, 1002, engine.Version{Major: 4, Minor: 3, Patch: 1})
		if err != nil {
			t.Fatal(err)
		}
		data, err := json.MarshalIndent(s, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, string(data)+"\n")
	}
}

func TestSpecUserNamespace(t *testing.T) {
	old := engine.Version{Major: 4, Minor: 2}
	c := least()
	if _, err := podman.Spec(c, 1002, old); api.KindOf(err) != api.KindUnavailable {
		t.Errorf("podman 4.2 was asked to map another user: %v", err)
	}
	s, err := podman.Spec(c, 1000, old)
	if err != nil || s.UserNS.NSMode != "keep-id" || s.UserNS.Value != "" {
		t.Errorf("%+v, %v", s, err)
	}
	c.GID = 5
	if _, err := podman.Spec(c, 1000, old); api.KindOf(err) != api.KindUnavailable {
		t.Errorf("podman 4.2 was asked to map another group: %v", err)
	}
}

func TestSpecRefusesWhatIsNotValid(t *testing.T) {
	c := least()
	c.UID = 0
	if _, err := podman.Spec(c, 1000, engine.Version{Major: 5}); api.KindOf(err) != api.KindInvalid {
		t.Errorf("%v", err)
	}
}

// Whatever a container asks for, these must not be in the request, or must be
// so. The list is of what Podman's specification could say to undo the walls.
func TestSpecNeverWeakensAWall(t *testing.T) {
	c := whole()
	s, err := podman.Spec(c, 1002, engine.Version{Major: 5, Minor: 8})
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]json.RawMessage
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"privileged": "false", "no_new_privileges": "true", "read_only_filesystem": "true", "read_write_tmpfs": "false",
		"cap_drop": `["all"]`, "env_host": "false", "httpproxy": "false", "unsetenvall": "true", "image_volume_mode": `"ignore"`,
		"netns": `{"nsmode":"none"}`, "pidns": `{"nsmode":"private"}`, "ipcns": `{"nsmode":"private"}`, "utsns": `{"nsmode":"private"}`,
		"cgroupns": `{"nsmode":"private"}`, "systemd": `"false"`, "sdnotifyMode": `"ignore"`, "user": `"1000:1001"`, "use_image_hosts": "true",
	} {
		if string(got[key]) != want {
			t.Errorf("%s is %s, want %s", key, got[key], want)
		}
	}
	for _, key := range []string{
		"cap_add", "devices", "device_cgroup_rule", "devices_from", "host_device_list", "selinux_opts", "apparmor_profile", "unmask",
		"procfs_opts", "label_nested", "groups", "cgroups_mode", "cgroup_parent", "hostusers", "sysctl", "annotations", "oci_runtime",
		"volumes_from", "rootfs", "secrets", "secret_env", "envmerge", "portmappings", "publish_image_ports", "pod", "hostadd",
		"network_options", "init_path", "chroot_directories", "unified", "seccomp_policy", "raw_image_name", "conmon_pid_file",
	} {
		if value, there := got[key]; there {
			t.Errorf("%s is there: %s", key, value)
		}
	}
}
