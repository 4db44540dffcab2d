package api

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxText is the longest string, in bytes, that any single request field may
// hold. It is far above every honest use and keeps error messages, labels and
// audit records small.
const maxText = 4096

// checkText refuses what no field of a request may contain: invalid UTF-8, a
// NUL or another control character, a bidirectional or zero-width format
// character (which would make the audit log and the terminal show something
// else than what is executed), and more than maxText bytes.
func checkText(field, s string) error {
	if len(s) > maxText {
		return Invalidf("shorten it to at most 4096 bytes", "%s is too long: %d bytes", field, len(s)).By("input.text")
	}
	if !utf8.ValidString(s) {
		return Invalidf("use UTF-8", "%s is not valid UTF-8: %s", field, quote(s)).By("input.text")
	}
	for _, r := range s {
		if !printable(r) {
			return Invalidf("remove the character", "%s contains the character %U: %s", field, r, quote(s)).By("input.text")
		}
	}
	return nil
}

// printable tells whether r may be shown on a terminal as it is. Format
// characters (category Cf: bidi overrides, zero-width joiners, the byte order
// mark) and the line separators are not.
func printable(r rune) bool {
	return !unicode.IsControl(r) && !unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)
}

// Printable returns s with every character that could move a cursor, break a
// line or hide text written as an escape. It keeps one line one line.
func Printable(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !printable(r) || r == utf8.RuneError }) < 0 {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case printable(r):
			b.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	return b.String()
}
