package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
)

// toolPath is where a build's programs are looked for: Debian keeps some that
// an ordinary user needs here out of the user's PATH.
const toolPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// importGrace is how long an engine may take to finish an import that nobody
// wants any more.
const importGrace = time.Minute

// fromDebian makes an image from the recipe and returns its identity, also along
// with an error if there is something to undo. The tree goes from mmdebstrap
// through the scan into the engine; no copy of it is kept.
func (b Builder) fromDebian(ctx context.Context, r Recipe) (id string, err error) {
	mmdebstrap, err := b.findTools()
	if err != nil {
		return "", err
	}
	b.sweep(ctx)
	dir, err := b.newWorkDir(r)
	if err != nil {
		return "", fmt.Errorf("prepare image build: %w", err)
	}
	defer func() { err = errors.Join(err, b.removeWorkDir(ctx, dir)) }()

	// The import is not cut short itself. As long as the tree is being sent, its
	// failing stream ends the import; after that the engine would go on alone,
	// and make an image that nobody removes.
	importCtx, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(importGrace, giveUp) })()

	running, cancel := context.WithCancel(ctx)
	defer cancel()
	tree, in := io.Pipe()
	said := &transcript{tell: b.Progress}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		runErr := b.Tools.Run(running, Program{
			Path: mmdebstrap,
			Args: r.Arguments(dir.hook()),
			Env:  b.environment(r, dir.path),
		}, in, said.line)
		// Only success may look like the end of the stream.
		_ = in.CloseWithError(said.explain(running, runErr))
	}()

	scan := scanRootfs(tree)
	id, err = b.Images.ImportImage(importCtx, scan, engine.ImportOptions{Name: r.Tag(), Labels: map[string]string{
		engine.LabelSchema: engine.Schema,
		engine.LabelImage:  r.Label(),
	}})
	ended, scanErr := scan.result()
	cancel()
	scan.close()
	_ = tree.Close()
	<-exited
	if ctx.Err() != nil {
		return id, context.Cause(ctx)
	}
	return id, importFailure(ended, scanErr, err)
}

// importFailure says why an import failed: what the scan found is the cause of
// what the engine then saw, not the other way round.
func importFailure(ended bool, scanErr, importErr error) error {
	switch {
	case ended && scanErr != nil && !errors.Is(scanErr, io.ErrClosedPipe):
		return scanErr
	case importErr != nil:
		return importErr
	case !ended || scanErr != nil:
		return &api.Error{Msg: "the engine did not read the whole image"}
	}
	return nil
}

// findTools returns the path of mmdebstrap, or says what to install.
func (b Builder) findTools() (string, error) {
	var found string
	for _, name := range []string{"newuidmap", "newgidmap", "mmdebstrap"} {
		p, err := b.Tools.Look(name)
		if err != nil {
			return "", &api.Error{
				Kind: api.KindUnavailable,
				Msg:  "building an image from Debian packages needs " + name + ", which is not installed",
				Hint: "sudo apt-get install mmdebstrap uidmap, or give a registry image with --base IMAGE@sha256:DIGEST",
			}
		}
		found = p
	}
	return found, nil
}

// passedOn are the variables that a build's programs get of the caller's: where
// the user's things are, how the network is reached. All others could change
// what they do (APT_CONFIG, MMDEBSTRAP_*, PERL5OPT), or are nobody's business.
var passedOn = []string{
	"HOME", "USER", "LOGNAME", "XDG_RUNTIME_DIR",
	"http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
}

// environment is all that mmdebstrap sees.
func (b Builder) environment(r Recipe, dir string) []string {
	return append(b.toolEnvironment(),
		"TMPDIR="+dir,
		fmt.Sprintf("SOURCE_DATE_EPOCH=%d", r.Epoch),
		"DEBIAN_FRONTEND=noninteractive",
	)
}

func (b Builder) toolEnvironment() []string {
	env := []string{"PATH=" + toolPath, "LC_ALL=C.UTF-8"}
	for _, e := range b.Env {
		if name, _, _ := strings.Cut(e, "="); slices.Contains(passedOn, name) {
			env = append(env, e)
		}
	}
	return env
}

// transcript tells what a program says, and remembers the end of it for the
// case that the program fails.
type transcript struct {
	tell func(string)
	last []string
}

func (t *transcript) line(s string) {
	const most = 8
	t.last = append(t.last, s)
	if len(t.last) > most {
		t.last = t.last[1:]
	}
	if text, ok := strings.CutPrefix(s, "I: "); ok {
		verb, _, _ := strings.Cut(text, " ")
		if slices.Contains(steps, verb) && !strings.Contains(text, "-hook") {
			t.tell(strings.TrimRight(text, "."))
		}
	}
}

// steps begin what mmdebstrap says of its progress; the rest is about itself.
var steps = []string{"running", "downloading", "extracting", "installing", "creating"}

// explain adds to a failure the errors that the program told, or else its last
// words. What a program says that was told to end explains nothing.
func (t *transcript) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var words []string
	for _, s := range t.last {
		if text, ok := strings.CutPrefix(s, "E: "); ok {
			words = append(words, text)
		}
	}
	if len(words) == 0 {
		words = t.last
	}
	return &api.Error{
		Msg:  strings.Join(append([]string{"mmdebstrap ended with an error"}, words...), "; "),
		Hint: "look whether the package mirror can be reached, and whether /etc/subuid gives you 65536 ids",
		Err:  err,
	}
}
