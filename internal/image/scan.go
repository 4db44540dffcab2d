package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/spec"
)

// capabilityXattr holds a file's capabilities (capabilities(7)), which give a
// process privileges as a setuid bit does. It is the name that GNU tar and
// archive/tar give the extended attribute in a header.
const capabilityXattr = "SCHILY.xattr.security.capability"

// rootfsScan passes a tar archive on while it looks at every file in it. It
// keeps back the end of the archive until the source has ended well, and gives
// an error in its place if the source failed, was cut, held what a session image
// must not have, or lacked what it must: who reads it never takes a bad image
// for a whole one. Nothing that follows the archive is passed on.
type rootfsScan struct {
	out  *io.PipeReader
	done chan struct{}
	// err is why the stream is not good; set before done is closed.
	err error
}

// scanRootfs starts to read src. It ends when src does, or when a write finds
// that close was called.
func scanRootfs(src io.Reader) *rootfsScan {
	out, in := io.Pipe()
	s := &rootfsScan{out: out, done: make(chan struct{})}
	go func() {
		late := &tail{to: in}
		s.err = pass(src, late)
		// Before the reader learns of it, so that it can ask for the result.
		close(s.done)
		if s.err == nil {
			_, _ = in.Write(late.kept)
		}
		_ = in.CloseWithError(s.err)
	}()
	return s
}

// Read implements [io.Reader]. There is no exported Close, so that nobody who
// is handed the stream can end it.
func (s *rootfsScan) Read(p []byte) (int, error) { return s.out.Read(p) }

// close tells the scan that nobody reads any more.
func (s *rootfsScan) close() { _ = s.out.Close() }

// result tells whether the scan has come to its end, and what it found.
func (s *rootfsScan) result() (ended bool, err error) {
	select {
	case <-s.done:
		return true, s.err
	default:
		return false, nil
	}
}

// pass copies src to dst and checks each entry as it goes by.
func pass(src io.Reader, dst io.Writer) error {
	t := io.TeeReader(src, dst)
	entries := tar.NewReader(t)
	missing := map[string]bool{spec.HomeDir: true, spec.WorkDir: true, "/.ccc": true}
	for {
		h, err := entries.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := checkEntry(h); err != nil {
			return err
		}
		delete(missing, path.Clean("/"+h.Name))
	}
	for p := range missing {
		return &api.Error{Msg: fmt.Sprintf("the image has no directory %s", p)}
	}
	// The source has not ended well before it has ended; its padding is nobody's.
	_, err := io.Copy(io.Discard, src)
	return err
}

// tail is a writer that keeps the last bytes back, as many as the two blocks
// that end an archive: a reader needs no more than these to take it for whole.
type tail struct {
	to   io.Writer
	kept []byte
}

const endOfArchive = 2 * 512

// Write implements [io.Writer].
func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if ready := len(t.kept) - endOfArchive; ready > 0 {
		if _, err := t.to.Write(t.kept[:ready]); err != nil {
			return 0, err
		}
		t.kept = append(t.kept[:0], t.kept[ready:]...)
	}
	return len(p), nil
}

// checkEntry refuses what could give a process another identity, and device
// nodes. In a session no-new-privileges forbids the first as well; an image of
// ours should not need to be told.
func checkEntry(h *tar.Header) error {
	refuse := func(what string) error {
		return api.Deniedf("image.files", "mend the recipe, or remove the file in its customize script",
			"the image would contain %s: %.200q", what, h.Name)
	}
	name := path.Clean("/" + h.Name)
	switch {
	case strings.Contains("/"+h.Name+"/", "/../"):
		return refuse("a path that leaves it")
	case h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock:
		return refuse("a device node")
	case h.Typeflag == tar.TypeReg && h.Mode&0o6000 != 0:
		return refuse("a setuid or setgid file")
	case h.PAXRecords[capabilityXattr] != "":
		return refuse("a file with capabilities")
	case name == spec.HomeDir && (h.Typeflag != tar.TypeDir || h.Uid != spec.UID || h.Gid != spec.GID):
		return refuse("a home directory that is not the agent's")
	case (name == spec.WorkDir || name == "/.ccc") && h.Typeflag != tar.TypeDir:
		return refuse("a mount point that is no directory")
	}
	return nil
}
