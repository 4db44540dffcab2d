package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ccc-dev/ccc/internal/guest"
)

// BenchmarkExec tells what the shim adds to the time of a command, beside
// catatonit doing what it does. Each round runs each once, so that all meet the
// same machine; the figures are medians. Use -benchtime=100x or more.
func BenchmarkExec(b *testing.B) {
	init := built(b)
	commands := []struct {
		name string
		argv []string
	}{
		{"direct", []string{"/bin/true"}},
		{"shim", append([]string{init}, guest.ExecArgv(guest.Bounds{Write: []string{"/tmp", "/run", "/dev/shm", "/home", "/var/tmp"}, Processes: 4096}, []string{"/bin/true"})[1:]...)},
		{"shim-bare", []string{init, guest.ModeExec, guest.EndOfFlags, "/bin/true"}},
		{"catatonit", []string{"catatonit", "--", "/bin/true"}},
	}
	// Nobody is to be told: the first process here is another.
	commands[1].argv = slices.DeleteFunc(commands[1].argv, func(a string) bool { return a == guest.FlagAnnounce })
	took := make([][]time.Duration, len(commands))
	for b.Loop() {
		for i, c := range commands {
			cmd := exec.Command(c.argv[0], c.argv[1:]...)
			begun := time.Now()
			if err := cmd.Run(); err != nil {
				b.Fatalf("%s: %v", c.name, err)
			}
			took[i] = append(took[i], time.Since(begun))
		}
	}
	for i, c := range commands {
		slices.Sort(took[i])
		b.ReportMetric(float64(took[i][len(took[i])/2].Microseconds()), c.name+"-µs")
		b.ReportMetric(float64(took[i][0].Microseconds()), c.name+"-best-µs")
	}
}

// BenchmarkFirstProcess tells what a session's first process costs: the size of
// its file, its memory beside catatonit's, and the processor time that it uses
// while nothing happens, looking for work every six seconds.
func BenchmarkFirstProcess(b *testing.B) {
	init := built(b)
	info, err := os.Stat(init)
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	life := within(time.Hour)
	life.Idle = time.Minute
	if err := guest.WriteLife(dir, life); err != nil {
		b.Fatal(err)
	}
	ours := launch(b, dir, nil, init, guest.ModePID1, guest.FlagSession, dir, guest.FlagWrite, "/tmp")
	ours.await("it is ready", ours.settled)
	theirs := launch(b, dir, nil, "catatonit", "-P")
	for b.Loop() {
		ours.sh("true")
	}
	b.ReportMetric(float64(info.Size())/1e6, "MB-file")
	b.ReportMetric(kilobytes(b, ours.pid, "VmRSS"), "kB-RSS")
	b.ReportMetric(kilobytes(b, ours.pid, "RssAnon"), "kB-RSS-own")
	b.ReportMetric(kilobytes(b, theirs.pid, "VmRSS"), "kB-RSS-catatonit")
	threads, _ := strconv.ParseFloat(field(ours.pid, "Threads"), 64)
	b.ReportMetric(threads, "threads")
	before := processorTime(b, ours.pid)
	time.Sleep(30 * time.Second)
	b.ReportMetric(float64((processorTime(b, ours.pid)-before).Microseconds())/30, "µs-CPU/s")
}

func kilobytes(b *testing.B, pid int, name string) float64 {
	b.Helper()
	n, err := strconv.ParseFloat(strings.TrimSuffix(field(pid, name), " kB"), 64)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// processorTime sums up what the threads of a process used, to the nanosecond
// (proc(5), schedstat).
func processorTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	files, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/schedstat")
	if err != nil || len(files) == 0 {
		b.Fatal(files, err)
	}
	var sum time.Duration
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			b.Fatal(err)
		}
		first, _, _ := strings.Cut(string(text), " ")
		n, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(n)
	}
	return sum
}
