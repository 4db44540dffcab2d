package enginetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing/iotest"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
)

func execCases() []testCase {
	return []testCase{
		{"exec keeps the streams apart and returns the code", func(r *rig) {
			code, out, errs := r.exec(r.ready(), "sh", "-c", "echo out; echo err >&2; exit 3")
			if code != 3 || out != "out\n" || errs != "err\n" {
				r.Errorf("code %d, stdout %q, stderr %q", code, out, errs)
			}
		}},
		{"exec returns 0 and 1", func(r *rig) {
			id := r.ready()
			for command, want := range map[string]int{"true": 0, "false": 1} {
				if code, _, _ := r.exec(id, command); code != want {
					r.Errorf("%s: %d", command, code)
				}
			}
		}},
		{"exec of what is not there gives 127", func(r *rig) {
			id := r.ready()
			for _, command := range []string{"no-such-command", "/no/such/command"} {
				if code, out, errs := r.exec(id, command); code != 127 || out != "" || errs == "" {
					r.Errorf("%s: code %d, stdout %q, stderr %q", command, code, out, errs)
				}
			}
		}},
		{"exec of what cannot be executed gives 126", func(r *rig) {
			id := r.ready()
			for _, command := range []string{"/etc/passwd", "/etc"} {
				if code, out, errs := r.exec(id, command); code != 126 || out != "" || errs == "" {
					r.Errorf("%s: code %d, stdout %q, stderr %q", command, code, out, errs)
				}
			}
		}},
		{"exec passes arguments as they are", func(r *rig) {
			args := []string{"a b", "$HOME", "`id`", "*", ";", "'", `"`, `\`, "ü", "line\nfeed", "-n", "--"}
			_, out, _ := r.exec(r.ready(), append([]string{"echo", "x"}, args...)...)
			if want := "x " + strings.Join(args, " ") + "\n"; out != want {
				r.Errorf("got %q, want %q", out, want)
			}
		}},
		{"exec adds its variables to the container's", func(r *rig) {
			p := process("env")
			p.Env["EXTRA"], p.Env["HOME"] = "a=b c", "/tmp"
			var out strings.Builder
			_, err := r.e.Exec(r.Context(), r.ready(), p, api.Streams{Out: &out})
			r.must(err)
			lines := strings.Split(out.String(), "\n")
			for _, want := range []string{"EXTRA=a=b c", "HOME=/tmp", "PATH=" + path, "HOSTNAME=box"} {
				if !slices.Contains(lines, want) {
					r.Errorf("%q lacks %s", lines, want)
				}
			}
		}},
		{"exec runs as the container's user in the directory that is asked for", func(r *rig) {
			id := r.ready()
			p := process("sh", "-c", "pwd; id -u")
			p.Dir = "/home/agent"
			var out strings.Builder
			_, err := r.e.Exec(r.Context(), id, p, api.Streams{Out: &out})
			r.must(err)
			if out.String() != "/home/agent\n1000\n" {
				r.Errorf("%q", out.String())
			}
		}},
		{"exec in a directory that is not there gives 127", func(r *rig) {
			p := process("pwd")
			p.Dir = "/missing"
			var out, errs strings.Builder
			code, err := r.e.Exec(r.Context(), r.ready(), p, api.Streams{Out: &out, Err: &errs})
			r.must(err)
			if code != 127 || out.Len() != 0 || errs.Len() == 0 {
				r.Errorf("code %d, stdout %q, stderr %q", code, out.String(), errs.String())
			}
		}},
		{"exec passes input and its end on", func(r *rig) {
			// All bytes, among them the keys at which Podman would detach, alone
			// and as the pieces they would be typed in.
			var all []byte
			for b := range 256 {
				all = append(all, byte(b))
			}
			all = append(all, "\x10\x11\x10\x11"...)
			for name, in := range map[string]io.Reader{"at once": bytes.NewReader(all), "bytewise": iotest.OneByteReader(bytes.NewReader(all))} {
				p := process("cat")
				p.Stdin = true
				var out bytes.Buffer
				code, err := r.e.Exec(r.Context(), r.ready(), p, api.Streams{In: in, Out: &out})
				r.must(err)
				if code != 0 || !bytes.Equal(out.Bytes(), all) {
					r.Errorf("%s: code %d, %d bytes of %d came back", name, code, out.Len(), len(all))
				}
			}
		}},
		{"exec gives no input that was not meant for it", func(r *rig) {
			var out bytes.Buffer
			code, err := r.e.Exec(r.Context(), r.ready(), process("cat"), api.Streams{In: strings.NewReader("secret"), Out: &out})
			r.must(err)
			if code != 0 || out.Len() != 0 {
				r.Errorf("code %d, %q", code, out.String())
			}
		}},
		{"exec ends though the input does not", func(r *rig) {
			in, w := io.Pipe()
			r.Cleanup(func() { w.Close() })
			p := process("true")
			p.Stdin = true
			code, err := r.e.Exec(r.Context(), r.ready(), p, api.Streams{In: in})
			r.must(err)
			if code != 0 {
				r.Errorf("code %d", code)
			}
		}},
		{"exec discards what nobody wants", func(r *rig) {
			code, err := r.e.Exec(r.Context(), r.ready(), process("sh", "-c", "echo a; echo b >&2; exit 4"), api.Streams{})
			r.must(err)
			if code != 4 {
				r.Errorf("code %d", code)
			}
		}},
		{"exec loses nothing of 10 MB", func(r *rig) {
			const size = 10 << 20
			source := func() io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{1}), size) }
			want, got := sha256.New(), sha256.New()
			_, err := io.Copy(want, source())
			r.must(err)
			p := process("cat")
			p.Stdin = true
			code, err := r.e.Exec(r.Context(), r.ready(), p, api.Streams{In: source(), Out: got})
			r.must(err)
			if code != 0 || !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
				r.Errorf("code %d, the bytes differ", code)
			}
		}},
		{"exec waits for a slow reader", func(r *rig) {
			out, w := io.Pipe()
			done := make(chan error, 1)
			go func() {
				_, err := r.e.Exec(r.Context(), r.ready(), process("seq", "100000"), api.Streams{Out: w})
				w.Close()
				done <- err
			}()
			data, err := io.ReadAll(iotest.HalfReader(out))
			r.must(err)
			r.must(<-done)
			if lines := bytes.Count(data, []byte("\n")); lines != 100000 || !bytes.HasSuffix(data, []byte("\n100000\n")) {
				r.Errorf("%d lines", lines)
			}
		}},
		{"exec kills the process when its context ends", func(r *rig) { killCase(r, "sleep", "4711") }},
		{"exec kills what ignores SIGTERM and what it started", func(r *rig) {
			killCase(r, "sh", "-c", `trap "" TERM; sleep 4711; sleep 4711`)
		}},
		{"exec ends the process when its output cannot be delivered", func(r *rig) {
			id := r.ready()
			_, err := r.e.Exec(r.Context(), id, process("sh", "-c", "echo a; sleep 0.1; echo b; sleep 4711"), api.Streams{Out: brokenPipe{}})
			if !errors.Is(err, io.ErrClosedPipe) {
				r.Errorf("%v", err)
			}
			r.eventually("the process is gone", func() bool { return !r.runs(id, "sleep 4711") })
		}},
		{"exec needs a running container", func(r *rig) {
			_, err := r.e.Exec(r.Context(), r.create(r.wanted()), process("true"), api.Streams{})
			r.wantKind(err, api.KindConflict)
			_, err = r.e.Exec(r.Context(), unique(), process("true"), api.Streams{})
			r.wantKind(err, api.KindNotFound)
		}},
		{"exec refuses what is not a command", func(r *rig) {
			id := r.ready()
			for _, p := range []engine.Process{
				{Dir: "/"}, {Argv: []string{""}, Dir: "/"}, {Argv: []string{"true"}}, {Argv: []string{"true"}, Dir: "x"},
				{Argv: []string{"a\x00"}, Dir: "/"}, {Argv: []string{"true"}, Dir: "/", Env: map[string]string{"*": ""}},
			} {
				_, err := r.e.Exec(r.Context(), id, p, api.Streams{})
				r.wantKind(err, api.KindInvalid)
			}
		}},
		{"exec ends with its container", func(r *rig) {
			id := r.ready()
			done := make(chan int, 1)
			go func() {
				code, err := r.e.Exec(r.Context(), id, process("sleep", "4711"), api.Streams{})
				if err != nil {
					code = -1
				}
				done <- code
			}()
			r.eventually("the process runs", func() bool { return r.runs(id, "sleep 4711") })
			r.must(r.e.StopContainer(r.Context(), id, time.Second))
			if code := <-done; code == 0 {
				r.Error("the process is said to have succeeded")
			}
		}},
	}
}

// brokenPipe is a stream that nobody reads.
type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// runs tells whether a process with that command line is in the container.
func (r *rig) runs(id, command string) bool {
	r.Helper()
	_, out, _ := r.exec(id, "ps")
	for line := range strings.Lines(out) {
		if strings.HasSuffix(strings.TrimRight(line, "\n"), " "+command) {
			return true
		}
	}
	return false
}

// killCase ends a process's context and looks for what is left of it.
func killCase(r *rig, argv ...string) {
	id := r.ready()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := r.e.Exec(ctx, id, process(argv...), api.Streams{})
		done <- err
	}()
	command := strings.Join(argv, " ")
	r.eventually("the process runs", func() bool { return r.runs(id, command) })
	cancel()
	err := <-done
	r.wantKind(err, api.KindInterrupted)
	if !errors.Is(err, context.Canceled) {
		r.Errorf("%v does not wrap the context's error", err)
	}
	// The container's own sleep is another, and must not be hit.
	_, out, _ := r.exec(id, "ps")
	if strings.Contains(out, "4711") {
		r.Errorf("still there:\n%s", out)
	}
	if !r.runs(id, "sleep infinity") {
		r.Errorf("the container's own process is gone:\n%s", out)
	}
}

func crowdCases() []testCase {
	return []testCase{
		{"eight at a time are made, started, used and removed", func(r *rig) {
			wanted := make([]engine.Container, 8)
			for n := range wanted {
				wanted[n] = r.wanted()
			}
			errs := make(chan error, len(wanted))
			for n, c := range wanted {
				go func() { errs <- r.life(c, fmt.Sprint("number ", n)) }()
			}
			for range wanted {
				if err := <-errs; err != nil {
					r.Error(err)
				}
			}
			for _, c := range wanted {
				r.gone(c.Name)
			}
		}},
		{"of eight with one name one is made", func(r *rig) {
			c := r.wanted()
			r.cleanup(func(ctx context.Context) error { return r.e.RemoveContainer(ctx, c.Name) })
			errs := make(chan error, 8)
			for range cap(errs) {
				go func() {
					_, err := r.e.CreateContainer(r.Context(), c)
					errs <- err
				}()
			}
			made := 0
			for range cap(errs) {
				if err := <-errs; err == nil {
					made++
				} else if api.KindOf(err) != api.KindConflict {
					r.Errorf("%v", err)
				}
			}
			if made != 1 {
				r.Errorf("%d were made", made)
			}
		}},
		{"eight processes in one container do not mix", func(r *rig) {
			id := r.ready()
			errs := make(chan error, 8)
			for n := range cap(errs) {
				go func() {
					var out strings.Builder
					word := fmt.Sprint("number ", n)
					code, err := r.e.Exec(r.Context(), id, process("sh", "-c", fmt.Sprintf("echo %s; exit %d", word, n)), api.Streams{Out: &out})
					if err == nil && (code != n || out.String() != word+"\n") {
						err = fmt.Errorf("%s: code %d, %q", word, code, out.String())
					}
					errs <- err
				}()
			}
			for range cap(errs) {
				if err := <-errs; err != nil {
					r.Error(err)
				}
			}
		}},
	}
}

// life takes a container through its life.
func (r *rig) life(c engine.Container, word string) (err error) {
	id, err := r.e.CreateContainer(r.Context(), c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.e.RemoveContainer(context.WithoutCancel(r.Context()), id)) }()
	if err := r.e.StartContainer(r.Context(), id); err != nil {
		return err
	}
	var out strings.Builder
	code, err := r.e.Exec(r.Context(), id, process("echo", word), api.Streams{Out: &out})
	if err == nil && (code != 0 || out.String() != word+"\n") {
		err = fmt.Errorf("%s: code %d, %q", word, code, out.String())
	}
	return err
}
