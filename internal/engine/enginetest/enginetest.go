// Package enginetest is the suite that every [engine.Engine] must pass: each
// promise of the interface is a case, run alike against the fake and against
// real Podman. What holds for both can be relied upon above them.
//
// The cases use no more of an image than busybox gives and the fake interprets.
// They must not know which engine they run against.
package enginetest

import (
	"context"
	"crypto/rand"
	"io"
	"io/fs"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
)

// Subject is an engine under test.
type Subject struct {
	// Name says which engine it is, for people.
	Name string
	// Engine is the engine.
	Engine engine.Engine
	// Rootfs returns the root file system that the test image is made of; see
	// the function of the same name.
	Rootfs func() io.Reader
}

// Image is the name of the image that most cases use. It is all that the suite
// leaves behind, because importing it is the slowest part; callers that care
// remove it.
const Image = "localhost/ccc-enginetest/busybox:1"

// path is the variable without which no command is found.
const path = "/bin"

// testCase is one promise.
type testCase struct {
	name string
	run  func(*rig)
}

// Run runs all cases, each as a subtest with a subject of its own from open, and
// logs how many there were.
func Run(t *testing.T, open func(t *testing.T) Subject) {
	t.Helper()
	groups := [][]testCase{
		containerCases(), lifeCases(), refusalCases(), execCases(), terminalCases(), logCases(), volumeCases(), imageCases(), crowdCases(),
	}
	ran, failed, name := 0, 0, "nothing"
	for _, cases := range groups {
		for _, c := range cases {
			ok := t.Run(c.name, func(t *testing.T) {
				ran++
				s := open(t)
				name = s.Name
				c.run(&rig{T: t, s: s, e: s.Engine})
			})
			if !ok {
				failed++
			}
		}
	}
	t.Logf("engine conformance: %d cases ran against %s, %d failed", ran, name, failed)
	if ran == 0 {
		// With -run a pattern may select none; without, that is a broken suite.
		t.Log("engine conformance: no case was selected")
	}
}

// rig is what a case works with.
type rig struct {
	*testing.T
	s Subject
	e engine.Engine
}

// must fails the case on an error.
func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// wantKind fails the case unless err is of the kind.
func (r *rig) wantKind(err error, kind api.Kind) {
	r.Helper()
	if err == nil {
		r.Fatalf("no error, want one of kind %v", kind)
	}
	if got := api.KindOf(err); got != kind {
		r.Fatalf("error of kind %v, want %v: %v", got, kind, err)
	}
}

// unique returns a name that nothing else has.
func unique() string { return "ccc-enginetest-" + strings.ToLower(rand.Text())[:12] }

// cleanup runs f when the case is over, on a context that still lives then.
func (r *rig) cleanup(f func(context.Context) error) {
	r.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := f(ctx); err != nil {
			r.Errorf("clean up: %v", err)
		}
	})
}

// image returns the identity of the test image, imported if need be.
func (r *rig) image() string {
	r.Helper()
	i, err := r.e.Image(r.Context(), Image)
	if err == nil {
		return i.ID
	}
	r.wantKind(err, api.KindNotFound)
	id, err := r.e.ImportImage(r.Context(), r.s.Rootfs(), engine.ImportOptions{
		Name: Image, Labels: map[string]string{engine.LabelImage: "enginetest"},
	})
	r.must(err)
	return id
}

// wanted returns a container that sleeps, with a name of its own.
func (r *rig) wanted() engine.Container {
	r.Helper()
	return engine.Container{
		Name: unique(), Image: r.image(), Hostname: "box",
		Argv: []string{"sleep", "infinity"}, Reap: true, Env: map[string]string{"PATH": path, "HOME": "/home/agent"},
		Dir: "/workspace", UID: 1000, GID: 1000,
		Tmpfs:   []engine.Tmpfs{{Target: "/tmp", Size: 1 << 20, Mode: 0o777 | fs.ModeSticky, NoExec: true}},
		ShmSize: 1 << 20, Memory: 256 << 20, CPUs: 1000, PIDs: 64,
		Rlimits: map[string]uint64{"NOFILE": 512, "CORE": 0},
		Timeout: time.Hour, StopGrace: time.Second,
		Labels: map[string]string{engine.LabelSchema: engine.Schema, engine.LabelUser + "odd": "a \"b\" 'c' $d, e=f\\ü"},
	}
}

// create makes a container that is removed when the case is over.
func (r *rig) create(c engine.Container) string {
	r.Helper()
	r.cleanup(func(ctx context.Context) error { return r.e.RemoveContainer(ctx, c.Name) })
	id, err := r.e.CreateContainer(r.Context(), c)
	r.must(err)
	return id
}

// start makes and starts a container with the given first process, sleeping if
// none is given.
func (r *rig) start(argv ...string) string {
	r.Helper()
	c := r.wanted()
	if len(argv) > 0 {
		c.Argv = argv
	}
	id := r.create(c)
	r.must(r.e.StartContainer(r.Context(), id))
	return id
}

// ready is start that waits until the first process sleeps. The kernel drops
// signals to a container's init that it has not prepared for yet, and on a busy
// machine crun may not enter a container whose first process it still prepares:
// the session core waits for that too, when it attests.
func (r *rig) ready() string {
	r.Helper()
	id := r.start()
	r.eventually("the first process sleeps", func() bool { return r.runs(id, "sleep infinity") })
	return id
}

// inspect returns what is known of a container.
func (r *rig) inspect(id string) engine.Instance {
	r.Helper()
	i, err := r.e.Container(r.Context(), id)
	r.must(err)
	return i
}

// gone fails the case unless there is no such container.
func (r *rig) gone(id string) {
	r.Helper()
	_, err := r.e.Container(r.Context(), id)
	r.wantKind(err, api.KindNotFound)
}

// process returns a process to be executed.
func process(argv ...string) engine.Process {
	return engine.Process{Argv: argv, Dir: "/", Env: map[string]string{"PATH": path}}
}

// exec runs a command and returns its code and output.
func (r *rig) exec(id string, argv ...string) (code int, stdout, stderr string) {
	r.Helper()
	var out, errs strings.Builder
	code, err := r.e.Exec(r.Context(), id, process(argv...), api.Streams{Out: &out, Err: &errs})
	r.must(err)
	return code, out.String(), errs.String()
}

// eventually waits until done is true.
func (r *rig) eventually(what string, done func() bool) {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), 30*time.Second)
	defer cancel()
	for !done() {
		select {
		case <-ctx.Done():
			r.Fatalf("never happened: %s", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// contains tells whether all of part is in whole.
func contains(whole, part map[string]string) bool {
	merged := maps.Clone(whole)
	maps.Copy(merged, part)
	return maps.Equal(merged, whole)
}
