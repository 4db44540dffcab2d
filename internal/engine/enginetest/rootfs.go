package enginetest

import (
	"archive/tar"
	"bytes"
	"io"
)

// applets are the commands of the test image, all of them busybox.
var applets = []string{
	"cat", "chmod", "echo", "env", "false", "grep", "hostname", "id", "ls", "mkdir", "mount", "ps", "pwd", "seq", "sh", "sleep", "stty", "touch", "true", "wc",
}

// Rootfs returns a tar stream of the test image's root file system. busybox is
// the program to put in; it may be empty for an engine that does not run it.
func Rootfs(busybox []byte) io.Reader {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	// Writing to memory does not fail, and the headers are valid.
	for _, dir := range []string{"bin", "etc", "home", "proc", "run", "sys", "tmp", "usr", "usr/bin", "workspace"} {
		_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755})
	}
	_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "home/agent/", Mode: 0o755, Uid: 1000, Gid: 1000})
	file := func(name string, mode int64, data []byte) {
		_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(data))})
		_, _ = w.Write(data)
	}
	link := func(name, target string) {
		_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777})
	}
	file("bin/busybox", 0o755, busybox)
	for _, name := range applets {
		link("bin/"+name, "busybox")
	}
	file("etc/passwd", 0o644, []byte("root:x:0:0:root:/:/bin/sh\nagent:x:1000:1000::/home/agent:/bin/sh\n"))
	file("etc/group", 0o644, []byte("root:x:0:\nagent:x:1000:\n"))
	file("etc/hosts", 0o644, []byte("127.0.0.1 localhost\n::1 localhost\n"))
	file("usr/bin/setuid", 0o4755, []byte("#!/bin/sh\n"))
	link("sbin", "usr/bin")
	link("absolute", "/etc/passwd")
	link("outside", "../../../etc/passwd")
	link("dangling", "/nowhere/at/all")
	link("etc/dangling", "../nowhere")
	link("usr/bin/dangling", "nowhere")
	_ = w.Close()
	return &b
}
