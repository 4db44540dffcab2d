package workspace

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1" //nolint:gosec // git's names of objects, not a proof of anything
	"fmt"
	"strings"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/ccc-dev/ccc/internal/api"
)

// maxText is the largest content, in bytes, that is compared line by line.
const maxText = 4 << 20

// Patch renders a change in the form that `git apply` reads, from the content of
// its two sides, and counts its lines in c. It is exact: whoever prints it for a
// person has to make it harmless first. A directory gives nothing: git knows
// none.
func Patch(c *api.Change, from, to []byte) []byte {
	c.Binary = binary(from) || binary(to)
	if c.Op == api.ChangeType {
		// Git has no word for it: one goes, the other comes.
		gone, come := *c, *c
		gone.New, gone.Op = api.FileState{}, api.ChangeDeleted
		come.Old, come.Op = api.FileState{}, api.ChangeAdded
		patch := append(one(&gone, from, nil), one(&come, nil, to)...)
		c.Plus, c.Minus = come.Plus, gone.Minus
		return patch
	}
	return one(c, from, to)
}

// binary tells, as git does, whether content is not text.
func binary(content []byte) bool {
	const looked = 8000
	return bytes.IndexByte(content[:min(len(content), looked)], 0) >= 0 || len(content) > maxText
}

// one renders the change of a file or link that stays one.
func one(c *api.Change, from, to []byte) []byte {
	var b bytes.Buffer
	was, is := gitMode(c.Old), gitMode(c.New)
	if was == "" && is == "" || was == is && c.Op == api.ChangeMode {
		return nil
	}
	fmt.Fprintf(&b, "diff --git %s %s\n", gitName("a/", c.Path), gitName("b/", c.Path))
	suffix := ""
	switch {
	case was == "":
		fmt.Fprintf(&b, "new file mode %s\n", is)
	case is == "":
		fmt.Fprintf(&b, "deleted file mode %s\n", was)
	case was != is:
		fmt.Fprintf(&b, "old mode %s\nnew mode %s\n", was, is)
	default:
		suffix = " " + is
	}
	if c.Op == api.ChangeMode {
		return b.Bytes()
	}
	fmt.Fprintf(&b, "index %s..%s%s\n", gitObject(from, was), gitObject(to, is), suffix)
	if c.Binary {
		b.WriteString("GIT binary patch\n")
		literal(&b, to)
		literal(&b, from)
		return b.Bytes()
	}
	lines(&b, c, from, to)
	return b.Bytes()
}

// lines writes the hunks of a text and counts them.
func lines(b *bytes.Buffer, c *api.Change, from, to []byte) {
	hunks := diff.Diff("a", from, "b", to)
	// Its own header is three lines.
	for range 3 {
		_, hunks, _ = bytes.Cut(hunks, []byte("\n"))
	}
	if len(hunks) == 0 {
		return
	}
	a, z := "/dev/null", "/dev/null"
	if c.Old.Kind != api.FileAbsent {
		a = gitHeader("a/", c.Path)
	}
	if c.New.Kind != api.FileAbsent {
		z = gitHeader("b/", c.Path)
	}
	fmt.Fprintf(b, "--- %s\n+++ %s\n", a, z)
	b.Write(hunks)
	for line := range bytes.Lines(hunks) {
		switch line[0] {
		case '+':
			c.Plus++
		case '-':
			c.Minus++
		}
	}
}

// gitMode is a state's mode in a patch, "" for what git does not keep. Of a
// permission git keeps whether the owner may execute.
func gitMode(s api.FileState) string {
	switch {
	case s.Kind == api.FileLink:
		return "120000"
	case s.Kind != api.FileRegular:
		return ""
	case s.Mode&0o100 != 0:
		return "100755"
	}
	return "100644"
}

// gitObject is git's name for content: SHA-1 of a header and the content.
func gitObject(content []byte, mode string) string {
	if mode == "" {
		return strings.Repeat("0", 2*sha1.Size)
	}
	sum := sha1.New() //nolint:gosec // git's names of objects
	sum.Write(fmt.Appendf(nil, "blob %d\x00", len(content)))
	sum.Write(content)
	return fmt.Sprintf("%x", sum.Sum(nil))
}

// gitName quotes a path in the way of git where it has to.
func gitName(prefix, p string) string {
	if !strings.ContainsAny(p, "\"\\") && api.Printable(p) == p {
		return prefix + p
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(prefix + p) {
		switch ch := (prefix + p)[i]; {
		case ch == '"' || ch == '\\':
			b.WriteByte('\\')
			b.WriteByte(ch)
		case ch < ' ' || ch > '~':
			fmt.Fprintf(&b, `\%03o`, ch)
		default:
			b.WriteByte(ch)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// gitHeader is a path in the two lines before hunks, where a blank would end it
// but for a tab after it.
func gitHeader(prefix, p string) string {
	name := gitName(prefix, p)
	if strings.Contains(name, " ") && name[0] != '"' {
		name += "\t"
	}
	return name
}

// gitDigits are the 85 digits of git's binary patches (RFC 1924 has the same
// ones in the same order).
const gitDigits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"

// literal writes content as a hunk of a binary patch: compressed, in lines of at
// most 52 bytes, each with its length before it.
func literal(b *bytes.Buffer, content []byte) {
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	// A buffer takes everything.
	_, _ = z.Write(content)
	_ = z.Close()
	fmt.Fprintf(b, "literal %d\n", len(content))
	const perLine = 52
	for rest := packed.Bytes(); len(rest) > 0; {
		line := rest[:min(perLine, len(rest))]
		rest = rest[len(line):]
		if n := len(line); n <= 26 {
			b.WriteByte(byte('A' + n - 1))
		} else {
			b.WriteByte(byte('a' + n - 27))
		}
		for len(line) > 0 {
			var four [4]byte
			line = line[copy(four[:], line):]
			v := uint32(four[0])<<24 | uint32(four[1])<<16 | uint32(four[2])<<8 | uint32(four[3])
			var five [5]byte
			for i := len(five) - 1; i >= 0; i-- {
				five[i] = gitDigits[v%85]
				v /= 85
			}
			b.Write(five[:])
		}
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
}
