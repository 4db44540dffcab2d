package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/ccc-dev/ccc/internal/api"
)

const (
	// version is that of the format.
	version = 1
	// maxRecord bounds a line, its newline included, in bytes. The bounds of the
	// fields (maxWord, maxName, maxMessage, doubled where JSON escapes them, and
	// maxValues) stay below it together. It is what allows the end of a log to
	// be found without reading the log.
	maxRecord = 64 << 10
	// maxValues bounds Grant, Posture and Detail together.
	maxValues = 32 << 10
	// maxMessage, maxName and maxWord bound the strings.
	maxMessage = 4 << 10
	maxName    = 1 << 10
	maxWord    = 256
)

const (
	prevKey = `,"prev":"`
	hashKey = `,"hash":"`
	hexLen  = 2 * sha256.Size
	// tailLen is the length of `,"hash":"HEX"}`, which the hash does not cover.
	tailLen = len(hashKey) + hexLen + len(`"}`)
)

// zeroHash stands where there is no record before.
var zeroHash = strings.Repeat("0", hexLen)

var (
	actionWord = api.Syntax(64, `[a-z]+(\.[a-z_]+)*`)
	opDigits   = api.Syntax(64, `[0-9a-f]{8,}`)
	hashDigits = api.Syntax(64, `[0-9a-f]{64}`)
)

// stored is a record's JSON form without prev and hash, which are put behind it
// as bytes.
type stored struct {
	V      int    `json:"v"`
	Seq    uint64 `json:"seq"`
	TS     string `json:"ts"`
	BootMS int64  `json:"boot_ms,omitempty"`
	Record
}

// link is the end of a chain: where the next record attaches.
type link struct {
	seq  uint64
	hash string
}

// stamp is when a record was written.
type stamp struct {
	wall time.Time
	boot time.Duration
}

// encode returns the line of a record, with its newline, and the link it makes.
func encode(after link, at stamp, r Record) ([]byte, link, error) {
	r, err := bounded(r)
	if err != nil {
		return nil, link{}, err
	}
	seq := after.seq + 1
	s := stored{V: version, Seq: seq, TS: at.wall.UTC().Format(time.RFC3339Nano), BootMS: at.boot.Milliseconds(), Record: r}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return nil, link{}, fmt.Errorf("encode audit record %s: %w", r.Action, err)
	}
	line := escape(bytes.TrimSuffix(b.Bytes(), []byte("}\n")))
	line = append(line, prevKey+after.hash+`"`...)
	sum := digest(line)
	line = append(line, hashKey+sum+"\"}\n"...)
	if len(line) > maxRecord {
		return nil, link{}, fmt.Errorf("audit record %s has %d bytes", r.Action, len(line))
	}
	return line, link{seq, sum}, nil
}

// bounded checks what the program must get right, and makes what comes from
// outside printable and short.
func bounded(r Record) (Record, error) {
	switch {
	case !actionWord(r.Action):
		return r, fmt.Errorf("audit action %q is not a word", r.Action)
	case r.Phase != "" && r.Phase != PhaseBegin && r.Phase != PhaseEnd:
		return r, fmt.Errorf("audit phase %q is not known", r.Phase)
	case r.Phase != "" && !opDigits(r.Op):
		return r, errors.New("an audit record with a phase needs an op of 8 to 64 hexadecimal digits")
	case r.Decision != "" && r.Decision != Allow && r.Decision != Deny:
		return r, fmt.Errorf("audit decision %q is not known", r.Decision)
	}
	r.Op, r.Action = clean(r.Op, maxWord), clean(r.Action, maxWord)
	r.Rule, r.Kind = clean(r.Rule, maxWord), clean(r.Kind, maxWord)
	r.Result = Result(clean(string(r.Result), maxWord))
	r.Message = clean(r.Message, maxMessage)
	r.Session.ID = api.ID(clean(string(r.Session.ID), maxWord))
	r.Session.Name = clean(r.Session.Name, maxName)
	r.Caller.User = clean(r.Caller.User, maxWord)
	r.Caller.Client = clean(r.Caller.Client, maxName)
	r.Caller.ClientVersion = clean(r.Caller.ClientVersion, maxName)
	if r.Args != nil {
		r.Args = &Args{N: r.Args.N, SHA256: clean(r.Args.SHA256, maxWord)}
	}
	return boundValues(r)
}

// boundValues normalises the JSON values and keeps them within maxValues.
func boundValues(r Record) (Record, error) {
	values := []*json.RawMessage{&r.Grant, &r.Posture, &r.Detail}
	size := 0
	for _, v := range values {
		if *v == nil {
			continue
		}
		var b bytes.Buffer
		if err := json.Compact(&b, *v); err != nil {
			return r, fmt.Errorf("audit record %s has a value that is not JSON: %w", r.Action, err)
		}
		*v = escape(b.Bytes())
		size += len(*v)
	}
	if size <= maxValues {
		return r, nil
	}
	if r.Phase == PhaseBegin {
		// What cannot be recorded must not be done.
		return r, api.Invalidf("ask for less at once, for example fewer mounts", "the request is too large to be recorded: %d bytes", size)
	}
	for _, v := range values {
		if *v != nil {
			*v = fmt.Appendf(nil, `{"omitted_bytes":%d,"sha256":"%s"}`, len(*v), digest(*v))
		}
	}
	return r, nil
}

// clean returns s printable and at most most bytes long; a mark shows that it
// was longer.
func clean(s string, most int) string {
	const mark = "…"
	if len(s) > most {
		// Escaping only ever lengthens: what lies further back cannot stay.
		s = s[:most+1]
	}
	s = api.Printable(s)
	if len(s) <= most {
		return s
	}
	end := most - len(mark)
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + mark
}

// escape returns JSON text with every character that a terminal or a line
// reader could misread as a JSON escape, which means the same: control, format
// and bidirectional characters, and line separators. Outside strings JSON is
// ASCII, so only strings change.
func escape(text []byte) []byte {
	out := make([]byte, 0, len(text)+tailLen+hexLen)
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && size == 1:
			out = append(out, `\ufffd`...)
		case r < utf8.RuneSelf && r != 0x7f, api.Printable(string(r)) == string(r):
			out = append(out, text[:size]...)
		case r < 0x10000:
			out = fmt.Appendf(out, `\u%04x`, r)
		default:
			hi, lo := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, hi, lo)
		}
		text = text[size:]
	}
	return out
}

// digest is SHA-256 in hexadecimal.
func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// decode takes a line, without its newline, apart and checks it against its own
// hash. The error says what is wrong with it.
func decode(line []byte) (Entry, error) {
	covered, tail, err := split(line)
	if err != nil {
		return Entry{}, err
	}
	sum := string(tail[len(hashKey) : len(hashKey)+hexLen])
	if digest(covered) != sum {
		return Entry{}, errors.New("its bytes do not match its hash")
	}
	at := len(covered) - len(prevKey) - hexLen - 1
	if at < 0 || string(covered[at:at+len(prevKey)]) != prevKey || covered[len(covered)-1] != '"' {
		return Entry{}, errors.New("it does not name the hash before it")
	}
	prev := string(covered[at+len(prevKey) : len(covered)-1])
	var s stored
	if err := json.Unmarshal(line, &s); err != nil || !hashDigits(prev) {
		return Entry{}, errors.New("it is not a record")
	}
	if s.V != version {
		return Entry{}, fmt.Errorf("its format is version %d, and this program knows %d", s.V, version)
	}
	ts, err := time.Parse(time.RFC3339Nano, s.TS)
	if err != nil {
		return Entry{}, errors.New("its time cannot be read")
	}
	return Entry{
		Version: s.V, Seq: s.Seq, Time: ts, Uptime: time.Duration(s.BootMS) * time.Millisecond,
		Record: s.Record, Prev: prev, Hash: sum, Raw: bytes.Clone(line),
	}, nil
}

// split separates what the hash covers from the hash.
func split(line []byte) (covered, tail []byte, err error) {
	n := len(line) - tailLen
	if n < 0 {
		return nil, nil, errors.New("it is too short to be a record")
	}
	covered, tail = line[:n], line[n:]
	if !bytes.HasPrefix(tail, []byte(hashKey)) || !bytes.HasSuffix(tail, []byte(`"}`)) {
		return nil, nil, errors.New("it has no hash at its end")
	}
	return covered, tail, nil
}
