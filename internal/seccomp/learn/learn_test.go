package learn_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/profile"
	"github.com/ccc-dev/ccc/internal/seccomp"
	"github.com/ccc-dev/ccc/internal/seccomp/learn"
)

func agent(t *testing.T) []byte {
	t.Helper()
	data, err := seccomp.Profile(seccomp.Agent)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A real process under a filter that asks: every call gets the profile's own
// answer, none gets through, signals or not, and when the listener has gone the
// kernel denies by itself.
func TestListenerAnswersAsTheProfileDoes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "learn")
	l, err := learn.Listen(t.Context(), dir, agent(t))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = []string{partVar + "=" + l.Socket()}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	for _, want := range []map[string]string{
		{"set_mempolicy": "EPERM"}, {"set_mempolicy": "EPERM"}, {"set_mempolicy": "EPERM"},
		{"unshare": "EPERM"}, {"socket": "EPERM"}, {"netlink": "EPERM"}, {"ioctl": "EPERM"}, {"personality": "EPERM"},
		{"mknodat": "EPERM"}, {"setsockopt": "EPERM"}, {"getuid": "ENOSYS"},
	} {
		if !lines.Scan() {
			t.Fatalf("the workload ended: %s", &stderr)
		}
		var got map[string]string
		if err := json.Unmarshal(lines.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	err = l.Close()
	denied, more := l.Denied()
	// What the kernel asked about and the profile allows is no answer of ours.
	if err == nil || !strings.Contains(err.Error(), "getuid") || !strings.Contains(err.Error(), "denied all the same") {
		t.Errorf("closed with %v", err)
	}
	if _, err := os.Stat(filepath.Dir(l.Socket())); !os.IsNotExist(err) {
		t.Errorf("the socket's directory is left: %v", err)
	}
	if _, err := stdin.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	if !lines.Scan() || strings.TrimSpace(lines.Text()) != `{"after":"ENOSYS"}` {
		t.Errorf("after the listener: %s %s", lines.Text(), &stderr)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("workload: %v %s", err, &stderr)
	}
	checkDenied(t, denied, more)
}

func checkDenied(t *testing.T, denied []api.DeniedCall, more int) {
	t.Helper()
	got, args := map[string]api.DeniedCall{}, map[string]bool{}
	for _, d := range denied {
		got[d.Call] = d
		args[d.Call+" "+d.Args] = true
	}
	if len(denied) != 10 || more != 0 || denied[0].Call != "set_mempolicy" {
		t.Fatalf("%d calls and %d more: %+v", len(denied), more, denied)
	}
	program := filepath.Base(os.Args[0])
	program = program[:min(15, len(program))] // TASK_COMM_LEN
	if d := got["set_mempolicy"]; d.Count != 3 || d.Answer != "EPERM" || d.Advice != api.AdviceAdd || d.Why == "" || d.Program != program {
		t.Errorf("%+v", d)
	}
	if d := got["unshare"]; d.Args != "CLONE_NEWUSER|CLONE_NEWNET" || d.Advice != api.AdviceNever || len(d.CVEs) == 0 || d.Instead != "" {
		t.Errorf("%+v", d)
	}
	for _, want := range []string{
		"socket AF_VSOCK SOCK_STREAM 0", "socket AF_NETLINK NETLINK_NETFILTER", "ioctl TIOCSTI", "personality 0x400000",
		"mknodat S_IFBLK", "setsockopt level 6 option 31",
	} {
		if !args[want] {
			t.Errorf("no %s in %v", want, args)
		}
	}
	if d := got["socket"]; d.Advice != api.AdviceNever || len(d.CVEs) == 0 {
		t.Errorf("%+v", d)
	}
	if d := got["splice"]; d.Answer != "EINVAL" || d.Count == 0 {
		t.Errorf("%+v", d)
	}
}

// A listener that was killed leaves its socket to the next one; one that lives
// keeps it.
func TestListenSweepsUpAfterTheDead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "learn")
	alive, err := learn.Listen(t.Context(), dir, agent(t))
	if err != nil {
		t.Fatal(err)
	}
	dead := filepath.Join(dir, "sdead")
	if err := os.Mkdir(dead, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dead, "s"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	next, err := learn.Listen(t.Context(), dir, agent(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dead); !os.IsNotExist(err) {
		t.Errorf("what the dead one left is there: %v", err)
	}
	if _, err := os.Stat(alive.Socket()); err != nil {
		t.Errorf("what the living one has is gone: %v", err)
	}
	if err := errors.Join(alive.Close(), next.Close()); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestListenRefusesADirectoryOfOthers(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // what is refused
		t.Fatal(err)
	}
	if _, err := learn.Listen(t.Context(), dir, agent(t)); api.KindOf(err) != api.KindDenied {
		t.Errorf("a directory that others may enter: %v", err)
	}
	deep := filepath.Join(t.TempDir(), strings.Repeat("d", 100))
	if _, err := learn.Listen(t.Context(), deep, agent(t)); api.KindOf(err) != api.KindUnavailable {
		t.Errorf("a path that is too long: %v", err)
	}
	if left, err := os.ReadDir(deep); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// What is proposed is what package profile reads, whatever a workload calls
// itself, and holds nothing that may not be added.
func TestProposalIsAFilter(t *testing.T) {
	denied := []api.DeniedCall{
		{Call: "mbind", Answer: "EPERM", Count: 3, Program: "x\"\n- call: ptrace", Advice: api.AdviceAdd, Why: "why it costs nothing"},
		{Call: "mbind", Answer: "EPERM", Count: 1, Program: "y", Advice: api.AdviceAdd, Why: "why it costs nothing"},
		{Call: "unshare", Answer: "EPERM", Count: 9, Program: "z", Advice: api.AdviceNever},
	}
	text := learn.Propose(learn.Basis{Base: "agent", Added: []string{"adjtimex"}}, []string{"sh", "-c", "x: y\n# \"z\"\x07\u202e"}, denied)
	f, err := profile.FindFilter("mine", profile.Source{FS: fstest.MapFS{"seccomp/mine.yaml": {Data: []byte(text)}}, Dir: "seccomp"})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if diff := cmp.Diff([]string{"adjtimex", "mbind"}, f.Calls()); diff != "" || f.Base != "agent" {
		t.Errorf("base %s %s", f.Base, diff)
	}
	if err := seccomp.CheckAdditions(f.Calls()); err != nil {
		t.Error(err)
	}
	if !strings.Contains(text, "called 3 times") || strings.Contains(text, "unshare") {
		t.Errorf("%s", text)
	}
	if text := learn.Propose(learn.Basis{Base: "agent"}, nil, denied[2:]); text != "" {
		t.Errorf("nothing may be added, and yet: %s", text)
	}
}
