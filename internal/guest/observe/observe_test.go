package observe_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/ccc-dev/ccc/internal/guest/observe"
	"github.com/ccc-dev/ccc/internal/seccomp/calls"
	"github.com/ccc-dev/ccc/internal/session/sessiontest"
)

// probeVar makes the test binary the probe; its value is an address to try.
const probeVar = "CCC_TEST_PROBE"

func TestMain(m *testing.M) {
	if address := os.Getenv(probeVar); address != "" {
		if err := (observe.Probe{Args: []string{address}, Environ: os.Environ(), Version: "test", Out: os.Stdout}).Run(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if code, ran := sessiontest.AsUser(); ran {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// TestProbe runs the probe where nothing confines it: it must see just that, and
// leave nothing behind.
func TestProbe(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	leaked, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer leaked.Close()

	cmd := exec.Command(os.Args[0])
	cmd.Dir = dir
	cmd.Env = []string{probeVar + "=unix:" + socket, "API_KEY=sk-ant-0123456789abcdef", "PLAIN=\"\x01é\xff"}
	cmd.ExtraFiles = []*os.File{leaked}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, errs.Bytes())
	}
	dec := json.NewDecoder(bytes.NewReader(out))
	dec.DisallowUnknownFields()
	var r observe.Report
	if err := dec.Decode(&r); err != nil {
		t.Fatal(err)
	}
	if _, err := dec.Token(); err != io.EOF || bytes.Count(out, []byte("\n")) != 1 {
		t.Errorf("not one line: %v", err)
	}
	if r.Format != observe.Format || r.Version != "test" || r.Arch != runtime.GOARCH || r.PID == 0 || r.Dir != dir {
		t.Errorf("format %d, version %s, arch %s, pid %d, dir %s", r.Format, r.Version, r.Arch, r.PID, r.Dir)
	}
	for key, want := range map[string]string{
		observe.Key("connect", "unix:"+socket):       "ok",
		observe.Key("connect", "unix:/run/nothing"):  "",
		observe.Key("loopback", "127.0.0.1"):         "ok",
		observe.Key("write", "/tmp"):                 "ok",
		observe.Key("write", "/usr"):                 "EACCES",
		observe.Key("open-write", "/proc/self/comm"): "ok",
	} {
		if r.Tries[key] != want {
			t.Errorf("%s: %q, want %q", key, r.Tries[key], want)
		}
	}
	if r.Descriptors["3"] != dir {
		t.Errorf("a descriptor that was left open is not there: %v", r.Descriptors)
	}
	here := 0
	for _, p := range calls.Probes() {
		if p.Here() {
			here++
		}
	}
	if len(r.Calls) != here || here < 100 {
		t.Errorf("%d calls were tried, there are %d", len(r.Calls), here)
	}
	if r.Calls["use/getpid"] != "ok" || !strings.Contains(r.Texts["/proc/self/status"].Data, "Seccomp:") {
		t.Errorf("getpid: %s, status %+v", r.Calls["use/getpid"], r.Texts["/proc/self/status"])
	}
	if i := slices.IndexFunc(r.Variables, func(v observe.Variable) bool { return v.Name == "API_KEY" }); i < 0 || r.Variables[i].Like != "an Anthropic key" {
		t.Errorf("variables %v", r.Variables)
	}
	if bytes.Contains(out, []byte("0123456789abcdef")) {
		t.Error("the value of a variable is in the report")
	}
	for _, d := range []string{"/tmp", "/dev/shm", "/var/tmp"} {
		if left, err := filepath.Glob(filepath.Join(d, ".ccc-probe-*")); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
	}
}

// TestEncoding holds the document's own encoder against encoding/json.
func TestEncoding(t *testing.T) {
	nasty := "\x00\x1f \"\\/\n\t\u2028é\U0001F600\x7f<&>"
	want := observe.Report{
		Format: 1, Version: nasty, Arch: "a", PID: -1, Landlock: 7, Dir: nasty,
		Texts: map[string]observe.Text{nasty: {Data: nasty, Err: "E", Cut: true}, "b": {}},
		Tries: map[string]string{nasty: nasty}, Calls: map[string]string{"S01/x": "EPERM"},
		Descriptors: map[string]string{"0": nasty}, Devices: []observe.Node{{Name: nasty, Kind: "char", Major: 1, Minor: 1<<32 - 1}, {}},
		Tree:      observe.Tree{Directories: 9, Cut: true, SetID: []string{nasty, "b"}, Nodes: []string{"c"}, Sockets: []string{"d"}},
		Variables: []observe.Variable{{Name: nasty, Like: nasty}}, Limits: map[string]observe.Limit{"NOFILE": {Soft: -1, Hard: 1 << 62}},
		Init: observe.Identity{Dev: 1<<64 - 1, Ino: 3},
	}
	got := observe.Decoded(t, want)
	a, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Errorf("got  %s\nwant %s", b, a)
	}
	// What is no text at all is text all the same.
	if got := observe.Decoded(t, observe.Report{Dir: "a\xffb"}); got.Dir != "a\ufffdb" {
		t.Errorf("%q", got.Dir)
	}
}

func TestAddresses(t *testing.T) {
	for _, c := range []struct {
		in, want string
	}{
		{"192.0.2.1", "[192 0 2 1]"}, {"2001:db8::1", "[32 1 13 184 0 0 0 0 0 0 0 0 0 0 0 1]"}, {"::", "[0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0]"},
		{"fe80::1%eth0", "[254 128 0 0 0 0 0 0 0 0 0 0 0 0 0 1]"}, {"1:2:3:4:5:6:7:8", "[0 1 0 2 0 3 0 4 0 5 0 6 0 7 0 8]"},
		{"", "error"}, {"1.2.3", "error"}, {"1.2.3.256", "error"}, {"::g", "error"}, {"1:2:3", "error"}, {"1:2:3:4:5:6:7:8:9", "error"}, {"example.org", "error"},
	} {
		if got := observe.Address(c.in); got != c.want {
			t.Errorf("%s: %s, want %s", c.in, got, c.want)
		}
	}
}
