package main

import (
	"bytes"
	"encoding/json"
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// render writes the profile as JSON, the same bytes for the same profile: a rule
// a line, but each call of a long list on its own, so that a difference between
// two versions reads as what was added and taken away.
//
// The form is the one that Podman's profiles and the OCI runtime specification
// have in common, without anything that would still have to be resolved, so that
// both read the same out of it. The default is spelled out by number for the same
// reason.
func (p *profile) render() ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "{\n  \"defaultAction\": %q,\n  \"defaultErrnoRet\": %d,\n", specs.ActErrno, unix.ENOSYS)
	fmt.Fprintf(&b, "  \"architectures\": [%q],\n  \"syscalls\": [", p.arch.scmp)
	for i, r := range p.rules {
		line, err := json.Marshal(r)
		if err != nil {
			return nil, err
		}
		if len(r.Names) > 30 {
			line = bytes.ReplaceAll(line, []byte(`","`), []byte("\",\n      \""))
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n    ")
		b.Write(line)
	}
	b.WriteString("\n  ]\n}\n")
	if !json.Valid(b.Bytes()) {
		return nil, fmt.Errorf("not valid JSON")
	}
	return b.Bytes(), nil
}
