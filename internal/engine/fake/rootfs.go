package fake

import (
	"archive/tar"
	"bytes"
	"io"
)

// Rootfs returns a tar stream of a root file system that has a file for each of
// [Commands] in /bin, for tests that need an image and do not care which. The
// files are empty: it is of no use to a real engine.
func Rootfs() io.Reader {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	// Writing to memory does not fail, and the headers are valid.
	for _, dir := range []string{"bin", "etc", "home", "home/agent", "tmp", "workspace"} {
		_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755})
	}
	for _, name := range Commands() {
		_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "bin/" + name, Mode: 0o755})
	}
	_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "etc/passwd", Mode: 0o644})
	_ = w.Close()
	return &b
}
