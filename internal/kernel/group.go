package kernel

import (
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// groupOf returns the version 2 control group that /proc/PID/cgroup names, "/" if
// there is none that can be seen from here.
func groupOf(file string) (string, error) {
	fh, err := os.Open(file)
	if err != nil {
		return "/", err
	}
	defer fh.Close()
	data, err := io.ReadAll(io.LimitReader(fh, 64<<10))
	if err != nil {
		return "/", err
	}
	group := ""
	for line := range strings.Lines(string(data)) {
		if p, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			group = p
		}
	}
	if !path.IsAbs(group) || strings.HasPrefix(group, "/..") {
		return "/", nil
	}
	return path.Clean(group), nil
}

// OOMKills returns how many processes of a process's version 2 control group, and
// of those below it, the kernel has ended because the group's memory was used up
// (memory.events in the kernel's cgroup-v2 documentation). It is 0 where there is
// no such group or the process is gone.
func (r Reader) OOMKills(pid int) int64 {
	group, err := groupOf(filepath.Join(or(r.Proc, "/proc"), strconv.Itoa(pid), "cgroup"))
	if err != nil || group == "/" {
		return 0
	}
	events, err := os.ReadFile(filepath.Join(or(r.CgroupRoot, "/sys/fs/cgroup"), group, "memory.events"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(events)) {
		if count, ok := strings.CutPrefix(strings.TrimSpace(line), "oom_kill "); ok {
			if n, err := strconv.ParseInt(count, 10, 64); err == nil {
				return n
			}
		}
	}
	return 0
}
