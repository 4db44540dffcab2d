package guest_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ccc-dev/ccc/internal/guest"
)

func TestCommandLines(t *testing.T) {
	write := []string{"/workspace", "/tmp"}
	for name, c := range map[string]struct{ got, want []string }{
		"first process": {
			guest.PID1Argv(guest.Bounds{Write: write, Processes: 512, Landlock: 5}),
			[]string{"/.ccc/init", "pid1", "--session", "/.ccc/session", "--write", "/workspace", "--write", "/tmp", "--processes", "512"},
		},
		"command": {
			guest.ExecArgv(guest.Bounds{Write: write, Landlock: 3}, []string{"ls", "--", "-l"}),
			[]string{"/.ccc/init", "exec", "--announce", "--write", "/workspace", "--write", "/tmp", "--require-landlock", "3", "--", "ls", "--", "-l"},
		},
		"command, nothing writable, nothing required": {
			guest.ExecArgv(guest.Bounds{}, []string{"ls"}),
			[]string{"/.ccc/init", "exec", "--announce", "--", "ls"},
		},
		"report": {
			guest.ReportArgv(guest.Bounds{}),
			[]string{"/.ccc/init", "exec", "--announce", "--", "/.ccc/init", "report"},
		},
		"probe": {
			guest.ProbeArgv(guest.Bounds{Write: []string{"/tmp"}, Landlock: 2}, []string{"unix:@x", "unix:/run/y"}),
			[]string{"/.ccc/init", "exec", "--announce", "--write", "/tmp", "--require-landlock", "2", "--", "/.ccc/init", "probe", "--connect", "unix:@x", "--connect", "unix:/run/y"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, c.got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
