package main_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// imageConfig is what an image asks an engine for.
type imageConfig struct {
	Env        []string          `json:"Env,omitempty"`
	WorkingDir string            `json:"WorkingDir,omitempty"`
	Labels     map[string]string `json:"Labels,omitempty"`
	Entrypoint []string          `json:"Entrypoint,omitempty"`
	Cmd        []string          `json:"Cmd,omitempty"`
	// links are further symbolic links, by name.
	links map[string]string
}

// image makes an image of busybox, unless it is there.
func (l *lab) image(name string, config imageConfig) {
	l.Helper()
	exists := exec.CommandContext(l.Context(), "podman", "image", "exists", name)
	exists.Env = l.podmanEnv()
	if l.run(exists).code == 0 {
		return
	}
	load := exec.CommandContext(l.Context(), "podman", "load", "--quiet")
	load.Env = l.podmanEnv()
	load.Stdin = bytes.NewReader(archive(l.T, name, config))
	if r := l.run(load); r.code != 0 {
		l.Fatalf("real Podman was asked for and cannot load an image: %v", r)
	}
}

// archive returns an image as `docker save` writes it.
func archive(t *testing.T, name string, config imageConfig) []byte {
	t.Helper()
	layer := rootfs(t, config.links)
	sum := sha256.Sum256(layer)
	encode := func(v any) []byte {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for file, data := range map[string][]byte{
		"layer.tar": layer,
		"config.json": encode(map[string]any{
			"architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z", "config": config,
			"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + hex.EncodeToString(sum[:])}},
		}),
		"manifest.json": encode([]map[string]any{{"Config": "config.json", "RepoTags": []string{name}, "Layers": []string{"layer.tar"}}}),
	} {
		entry(t, w, tar.Header{Typeflag: tar.TypeReg, Name: file, Mode: 0o644, Size: int64(len(data))}, data)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// rootfs returns a root file system with busybox for every command.
func rootfs(t *testing.T, links map[string]string) []byte {
	t.Helper()
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatalf("install Debian's busybox-static: %v", err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, dir := range []string{"bin", "etc", "home", "proc", "run", "sys", "tmp", "dev", "usr", "usr/bin", "workspace", ".ccc"} {
		entry(t, w, tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}, nil)
	}
	entry(t, w, tar.Header{Typeflag: tar.TypeDir, Name: "home/agent/", Mode: 0o700, Uid: 1000, Gid: 1000}, nil)
	entry(t, w, tar.Header{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755, Size: int64(len(busybox))}, busybox)
	// Two programs that make whoever may use their privileges root (S10).
	entry(t, w, tar.Header{Typeflag: tar.TypeReg, Name: "bin/setuid", Mode: 0o4755, Size: int64(len(risen()))}, risen())
	entry(t, w, tar.Header{
		Typeflag: tar.TypeReg, Name: "bin/capable", Mode: 0o755, Size: int64(len(risen())), Format: tar.FormatPAX,
		// CAP_SETUID, permitted and effective: vfs_cap_data, version 2 (capabilities(7)).
		PAXRecords: map[string]string{"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"},
	}, risen())
	for _, name := range strings.Fields(`cat chmod dd echo env false find grep head id kill ln ls mkdir mkfifo mknod mount nc pgrep ps pwd rm
		seq setsid sh sha256sum sleep sort stat stty tail test touch tr true umount unshare wc wget`) {
		entry(t, w, tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + name, Linkname: "busybox", Mode: 0o777}, nil)
	}
	for name, target := range links {
		entry(t, w, tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, nil)
	}
	const shell = "#!/bin/sh\nexec sh \"$@\"\n"
	entry(t, w, tar.Header{Typeflag: tar.TypeReg, Name: "bin/bash", Mode: 0o755, Size: int64(len(shell))}, []byte(shell))
	for name, text := range map[string]string{
		"etc/passwd": "root:x:0:0:root:/:/bin/sh\nagent:x:1000:1000::/home/agent:/bin/sh\n", "etc/group": "root:x:0:\nagent:x:1000:\n",
	} {
		entry(t, w, tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(text))}, []byte(text))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func entry(t *testing.T, w *tar.Writer, h tar.Header, data []byte) {
	t.Helper()
	if err := w.WriteHeader(&h); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
}
