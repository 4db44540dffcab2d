package mcpserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/session"
	"github.com/ccc-dev/ccc/internal/workspace"
)

// transferIn are the arguments of transfer_files.
type transferIn struct {
	SessionID   api.Ref   `json:"sessionId" jsonschema:"the session's id, the beginning of it, or its name"`
	Direction   direction `json:"direction" jsonschema:"to_container or from_container"`
	Source      string    `json:"sourcePath" jsonschema:"file or directory; on the host inside the session's project, in the session absolute or below /workspace"`
	Destination string    `json:"destPath" jsonschema:"what it becomes, or the directory that it is put into"`
}

// direction says which way files go.
type direction string

// The directions.
const (
	toContainer   direction = "to_container"
	fromContainer direction = "from_container"
)

// UnmarshalText parses a direction.
func (d *direction) UnmarshalText(text []byte) error {
	switch v := direction(text); v {
	case toContainer, fromContainer:
		*d = v
		return nil
	}
	return api.Invalidf("use to_container or from_container", "direction %+.40q is not valid", text).By("input.argument")
}

// Transferred says what was copied.
type Transferred struct {
	Direction   string `json:"direction"`
	Source      string `json:"source"`
	Destination string `json:"destination" jsonschema:"where it is now"`
	Files       int    `json:"files"`
	Bytes       int64  `json:"bytes"`
	Skipped     int    `json:"skipped" jsonschema:"devices, sockets and pipes, which are not copied"`
}

func transferTool() entry {
	return define(about{
		name: "transfer_files", title: "Copy files", action: "session.transfer", hints: hints{destructive: true, idempotent: true},
		description: "Copy a file or a tree between the session's project on the host and the session. Modes are kept, set-user-ID bits and devices are not; what programs of the host obey by themselves (.git, .envrc, editor and agent settings) cannot be copied to the host.",
	}, transfer)
}

func transfer(ctx context.Context, t *turn, in transferIn) (Transferred, string, error) {
	core, err := t.core(ctx)
	if err != nil {
		return Transferred{}, "", err
	}
	s, err := core.Find(ctx, api.RefRequest{Ref: in.SessionID})
	if err != nil {
		return Transferred{}, "", t.refused(ctx, err)
	}
	c := &copying{turn: t, core: core, session: s}
	stop := t.beat(ctx, "copying", func() string { return fmt.Sprintf(", %d bytes", c.bytes.Load()) })
	defer stop()
	out := Transferred{Direction: string(in.Direction)}
	work := c.send
	if in.Direction == fromContainer {
		work = c.fetch
	}
	note := struct {
		Session     api.ID `json:"session"`
		Direction   string `json:"direction"`
		Source      string `json:"source"`
		Destination string `json:"destination"`
	}{s.ID, out.Direction, shorten(in.Source), shorten(in.Destination)}
	err = core.Record(ctx, t.caller(), t.entry.action, note, func() error {
		out.Source, out.Destination, err = work(ctx, in.Source, in.Destination)
		return err
	})
	if err != nil {
		return Transferred{}, "", err
	}
	out.Source, out.Destination = api.Printable(out.Source), api.Printable(out.Destination)
	out.Files, out.Bytes, out.Skipped = c.files, c.bytes.Load(), c.skipped
	return out, fmt.Sprintf("%d files, %d bytes: %s is now %s", out.Files, out.Bytes, out.Source, out.Destination), nil
}

// copying is one copy between a session and its project.
type copying struct {
	*turn
	tree
	core    *session.Core
	session api.Session
}

// run runs a program in the session, without a shell, and refuses a code other
// than zero. It returns the code.
func (c *copying) run(ctx context.Context, in io.Reader, out io.Writer, argv ...string) (int, error) {
	said := newCapture(2048)
	req := api.ExecRequest{Ref: api.Ref(c.session.ID), Argv: argv, Dir: "/", Interactive: in != nil}
	exited, err := c.core.Exec(ctx, c.caller(), req, api.Streams{In: in, Out: out, Err: said})
	if err != nil || exited.Code == 0 {
		return 0, err
	}
	return exited.Code, &api.Error{
		Kind: api.KindConflict, Rule: "transfer.session", Hint: "look at the paths with execute_command",
		Msg: fmt.Sprintf("%s in the session ended with code %d: %s", argv[0], exited.Code, said.output().Text),
	}
}

// project opens the session's project and returns the path below it that a path
// of the host leads to, links of its directories resolved.
func (c *copying) project(name, p string) (*os.Root, string, error) {
	if strings.ContainsRune(p, 0) || p == "" || len(p) > 4096 {
		return nil, "", api.Invalidf("write a path in the project", "%s is not a path", name).By("input.path")
	}
	if !filepath.IsAbs(p) {
		p = filepath.Join(c.session.Project, p)
	}
	p = filepath.Clean(p)
	dir, err := filepath.EvalSymlinks(filepath.Dir(p))
	if p == c.session.Project {
		dir, err = filepath.Dir(p), nil
	}
	outside := api.Deniedf("transfer.outside", "use a path below "+c.session.Project, "%s leads out of the session's project", name)
	if rel, relErr := filepath.Rel(c.session.Project, p); err != nil && (relErr != nil || !fs.ValidPath(rel)) {
		// What is there elsewhere on the host is not told.
		return nil, "", outside
	}
	if err != nil {
		return nil, "", &api.Error{Kind: api.KindNotFound, Rule: "transfer.path", Msg: fmt.Sprintf("%s: there is no such directory on the host", name), Hint: "make it, or choose another"}
	}
	rel, err := filepath.Rel(c.session.Project, filepath.Join(dir, filepath.Base(p)))
	if err != nil || !fs.ValidPath(rel) {
		return nil, "", outside
	}
	root, err := os.OpenRoot(c.session.Project)
	return root, rel, err
}

// send copies from the project into the session.
func (c *copying) send(ctx context.Context, source, destination string) (from, to string, err error) {
	root, rel, err := c.project("sourcePath", source)
	if err != nil {
		return "", "", err
	}
	defer root.Close()
	if _, err := root.Lstat(rel); err != nil {
		return "", "", &api.Error{Kind: api.KindNotFound, Rule: "transfer.path", Msg: fmt.Sprintf("sourcePath: there is no %+q in the project", rel), Hint: "ls " + c.session.Project}
	}
	base := filepath.Base(filepath.Join(c.session.Project, rel))
	if to, err = c.target(ctx, base, destination); err != nil {
		return "", "", err
	}
	stage := path.Join(path.Dir(to), ".ccc-transfer-"+c.core.Random(8))
	if _, err := c.run(ctx, nil, nil, "mkdir", "-p", "-m", "700", "--", stage); err != nil {
		return "", "", err
	}
	defer func() {
		clean := context.WithoutCancel(ctx)
		_, rmErr := c.run(clean, nil, nil, "rm", "-rf", "--", stage)
		err = errors.Join(err, rmErr)
	}()
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := c.pack(ctx, root, rel, "tree", w)
		w.CloseWithError(err)
		packed <- err
	}()
	_, err = c.run(ctx, r, nil, "tar", "-x", "-f", "-", "-C", stage)
	r.CloseWithError(io.ErrClosedPipe)
	if packErr := <-packed; packErr != nil && !errors.Is(packErr, io.ErrClosedPipe) {
		err = errors.Join(packErr, err)
	}
	if err == nil {
		_, err = c.run(ctx, nil, nil, "mv", "-f", "-T", "--", path.Join(stage, "tree"), to)
	}
	return filepath.Join(c.session.Project, rel), to, err
}

// target returns where something goes in the session: into a directory that is
// there, else it becomes the path.
func (c *copying) target(ctx context.Context, base, destination string) (string, error) {
	to, err := inside("destPath", destination)
	if err != nil {
		return "", err
	}
	code, err := c.run(ctx, nil, nil, "test", "-d", to)
	if err != nil && code != 1 {
		return "", err
	}
	if err == nil || strings.HasSuffix(destination, "/") {
		to = path.Join(to, base)
	}
	return to, nil
}

// fetch copies from the session into the project.
func (c *copying) fetch(ctx context.Context, source, destination string) (from, to string, err error) {
	if from, err = inside("sourcePath", source); err != nil {
		return "", "", err
	}
	base := path.Base(from)
	if base == "/" {
		return "", "", api.Invalidf("write a path below it", "sourcePath is the whole file system").By("input.path")
	}
	root, rel, err := c.project("destPath", destination)
	if err != nil {
		return "", "", err
	}
	defer root.Close()
	if info, err := root.Lstat(rel); err == nil && info.IsDir() || strings.HasSuffix(destination, "/") {
		rel = path.Join(rel, base)
	}
	if info, err := root.Lstat(rel); err == nil && !info.Mode().IsRegular() {
		return "", "", &api.Error{Kind: api.KindConflict, Rule: "transfer.exists", Msg: fmt.Sprintf("%+q is there already and is no file", rel), Hint: "choose another destPath"}
	}
	if c.obeyed, err = workspace.ByThemselves(c.session.Project); err != nil {
		return "", "", err
	}
	if err := c.unguarded(rel); err != nil {
		return "", "", err
	}
	return from, filepath.Join(c.session.Project, rel), c.receive(ctx, root, from, rel)
}

// receive puts what the session sends beside its place first, so that it is
// there whole or not at all.
func (c *copying) receive(ctx context.Context, root *os.Root, from, rel string) (err error) {
	stage := path.Join(path.Dir(rel), ".ccc-transfer-"+c.core.Random(8))
	if err := root.Mkdir(stage, 0o700); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.RemoveAll(stage)) }()
	into, err := root.OpenRoot(stage)
	if err != nil {
		return err
	}
	defer into.Close()
	r, w := io.Pipe()
	unpacked := make(chan error, 1)
	go func() {
		err := c.unpack(r, into, path.Base(from), rel)
		if err == nil {
			// What follows the archive's end, tar's own padding, has to be read too.
			_, err = io.Copy(io.Discard, r)
		}
		r.CloseWithError(errors.Join(err, io.ErrClosedPipe))
		unpacked <- err
	}()
	_, err = c.run(ctx, nil, w, "tar", "-c", "-f", "-", "-C", path.Dir(from), "--", path.Base(from))
	w.CloseWithError(io.EOF)
	if unpackErr := <-unpacked; unpackErr != nil {
		return unpackErr
	}
	if err != nil {
		return err
	}
	if err := root.Rename(path.Join(stage, path.Base(from)), rel); err != nil {
		return &api.Error{Kind: api.KindConflict, Rule: "transfer.exists", Msg: "what was copied cannot be put in its place", Hint: "choose another destPath", Err: err}
	}
	return nil
}
