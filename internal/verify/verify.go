// Package verify holds what was seen of a session against what it was granted:
// what the probes inside reported (package observe), and what the host read of
// the session itself (package kernel). [Judge] is a pure function.
//
// The two kinds of evidence are not worth the same. What the host read is the
// kernel's word. What was reported comes out of the session; a session in the
// hands of somebody who controls its kernel or its runtime could report anything,
// and a process of the session can stop the probe, though not change what it
// says. So whatever the host can read decides; a report that contradicts it
// fails, one with gaps is "unknown", and unknown is not good. The other controls
// are as true as the session is honest, and name their witness.
//
// The package must not run anything, and reads nothing.
package verify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/engine"
	"github.com/ccc-dev/ccc/internal/guest/observe"
	"github.com/ccc-dev/ccc/internal/kernel"
	"github.com/ccc-dev/ccc/internal/policy"
)

// Input is everything that a verification depends on.
type Input struct {
	// Terms are what was granted, Want is the container that enforces it, and
	// Write lists the paths beneath which the session may write.
	Terms policy.Terms
	Want  engine.Container
	Write []string
	// Attested is nil if the container was just now seen to be what was granted:
	// else what differs. Posture is what that look found.
	Attested error
	Posture  api.Posture
	// First and Probe are what the host read of the session's first process and
	// of the probe while it ran. Probe is nil if the host did not find it.
	First Sight
	Probe *Sight
	// Own are the host's own namespaces, as in [Sight].
	Own map[string]string
	// Init is the identity that ccc-init must have inside.
	Init observe.Identity
	// Landlock is the kernel's Landlock ABI, and Boottime the time since the
	// machine was started, both as the host reads them.
	Landlock int
	Boottime time.Duration
	// Arch is Go's name of the host's architecture.
	Arch string
	// Sockets are addresses of the host's sockets that the probe was told to try.
	Sockets []string
	// Report is what the probe reported.
	Report observe.Report
}

// Sight is what the host reads of a process.
type Sight struct {
	Facts kernel.Facts
	// Namespaces are the links in /proc/PID/ns by name (namespaces(7)).
	Namespaces map[string]string
}

// check is one control.
type check struct {
	id       string
	cases    string
	expected string
	witness  string
	judge    func(*evidence) result
}

// result is what a control came to.
type result struct {
	verdict api.Verdict
	seen    string
	hint    string
}

// checks lists all controls in the order in which they are reported: those that
// the host saw come first, for the others lean on them.
func checks() []check {
	var all []check
	for _, group := range [][]check{identity(), process(), filters(), files(), network(), bounds()} {
		all = append(all, group...)
	}
	return all
}

// Judge returns the verdict on every control, in a fixed order.
func Judge(in Input) []api.Checked {
	e := &evidence{Input: in, mounts: parseMounts(in.Report.Texts["/proc/self/mountinfo"].Data)}
	e.table, e.tableErr = golden(in.Terms, in.Arch)
	var all []api.Checked
	for _, c := range checks() {
		r := c.judge(e)
		if r.verdict == api.VerdictFail && r.hint == "" {
			r.hint = "end the session: ccc session rm " + string(in.Terms.Name)
		}
		all = append(all, api.Checked{
			ID: c.id, Cases: strings.Fields(c.cases), Verdict: r.verdict, Expected: c.expected, Seen: short(r.seen), Witness: c.witness, Hint: r.hint,
		})
	}
	return all
}

// Decode reads the document of a probe. It is strict: one that is too long, has
// an unknown key, another format, or something behind it was not made by the
// program that was asked.
func Decode(document []byte) (observe.Report, error) {
	if len(document) > observe.MaxSize {
		return observe.Report{}, fmt.Errorf("the report is longer than %d bytes", observe.MaxSize)
	}
	var r observe.Report
	dec := json.NewDecoder(bytes.NewReader(document))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		return observe.Report{}, fmt.Errorf("read the report: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return observe.Report{}, errors.New("read the report: something follows it")
	}
	if r.Format != observe.Format {
		return observe.Report{}, fmt.Errorf("the report has format %d, not %d", r.Format, observe.Format)
	}
	return r, nil
}

// short makes what was seen fit a line, and harmless.
func short(s string) string {
	const most = 400
	s = api.Printable(s)
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
