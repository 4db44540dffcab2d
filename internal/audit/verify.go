package audit

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/api"
)

// Bad is the first record of a log that is not as it was written.
type Bad struct {
	// Seq is the number that the record at this place should have.
	Seq uint64 `json:"seq"`
	// Line is its line in the file, from 1; Offset the byte it begins at.
	Line   uint64 `json:"line"`
	Offset int64  `json:"offset"`
	// Why says what is wrong with it.
	Why string `json:"why"`
}

// Error says where the log is bad and why.
func (b *Bad) Error() string {
	return fmt.Sprintf("record %d (line %d) is not as it was written: %s", b.Seq, b.Line, b.Why)
}

// Report says what the verification of a log found.
type Report struct {
	// File is the identity of the file, from its first record.
	File string `json:"file,omitempty"`
	// Records is the number of good records, from the first.
	Records uint64 `json:"records"`
	// First and Last are the numbers of the first and the last good record.
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
	// Since and Until are their times.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	// Hash is that of the last good record. Whoever keeps a copy elsewhere can
	// tell later whether the end was cut off.
	Hash string `json:"hash,omitempty"`
	// Bad is the first bad record; nil if every record is good.
	Bad *Bad `json:"bad,omitempty"`
	// Unproven lists what a good chain does not prove.
	Unproven []string `json:"unproven"`
}

// Verify reads a log from its beginning and checks every record: its bytes
// against its hash, and its number and previous hash against the record before.
// It finds a record that was changed, removed, inserted, repeated or moved, and
// returns an [api.KindInvalid] error beside the report then. It cannot find
// records that are missing at the end (see [Report.Unproven]). It needs the
// memory of one record.
func Verify(r io.Reader) (Report, error) {
	report := Report{Unproven: []string{
		"that no records were cut off the end",
		"that the file is not an older copy, or written anew as a whole",
	}}
	for e, err := range Read(r) {
		if bad, ok := errors.AsType[*Bad](err); ok {
			report.Bad = bad
			return report, &api.Error{Kind: api.KindInvalid, Msg: "the audit log is not whole", Hint: "keep the file as evidence and compare it with a backup", Err: err}
		}
		if err != nil {
			return report, err
		}
		if report.Records == 0 {
			report.First, report.Since, report.File = e.Seq, e.Time, headerOf(e).File
		}
		report.Records++
		report.Last, report.Until, report.Hash = e.Seq, e.Time, e.Hash
	}
	return report, nil
}

// VerifyDir verifies the log of that name ([DefaultFile] if empty) in the
// directory, as it is at this moment: writers wait only while its length is
// read. A log that is not there is [api.KindNotFound].
func VerifyDir(ctx context.Context, dir, file string) (Report, error) {
	if file == "" {
		file = DefaultFile
	}
	r, err := openForReading(ctx, filepath.Join(dir, file))
	if err != nil {
		return Report{}, err
	}
	defer r.Close()
	return Verify(r)
}

// snapshot is a log up to the length it had.
type snapshot struct {
	io.Reader
	io.Closer
}

// openForReading opens a log up to its present end, between two appends.
func openForReading(ctx context.Context, path string) (io.ReadCloser, error) {
	f, err := os.OpenFile(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &api.Error{Kind: api.KindNotFound, Msg: "there is no audit log " + path, Hint: "it begins with the first session; `ccc config show` tells audit.dir"}
	}
	if err != nil {
		return nil, &api.Error{Kind: api.KindUnavailable, Msg: "the audit log cannot be read", Hint: "check that " + path + " is a file of your own", Err: err}
	}
	if f, err = flock(ctx, f, unix.LOCK_SH); err != nil {
		return nil, &api.Error{Kind: api.KindUnavailable, Msg: "the audit log " + path + " is in use", Hint: "try again", Err: err}
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err == nil {
		err = unix.Flock(int(f.Fd()), unix.LOCK_UN)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read audit log %s: %w", path, err), f.Close())
	}
	return snapshot{io.LimitReader(f, st.Size()), f}, nil
}

// Read returns the records of a log in order, each checked like [Verify] does.
// The first error ends it: a [*Bad] for a record that is not as it was written,
// else that of the reader.
func Read(r io.Reader) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		c := chain{end: link{hash: zeroHash}, line: 1}
		in := bufio.NewReaderSize(r, maxRecord)
		for {
			line, err := in.ReadSlice('\n')
			if errors.Is(err, io.EOF) && len(line) == 0 && c.line > 1 {
				return
			}
			e, err := c.next(line, err)
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// chain is how far a log was read.
type chain struct {
	end    link
	line   uint64
	offset int64
}

// next checks the line that follows, or what was found in place of one.
func (c *chain) next(line []byte, err error) (Entry, error) {
	switch {
	case errors.Is(err, io.EOF) && len(line) == 0:
		return Entry{}, c.bad("the file is empty, and a log begins with a record of its own")
	case errors.Is(err, io.EOF):
		return Entry{}, c.bad("its line is not finished")
	case errors.Is(err, bufio.ErrBufferFull):
		return Entry{}, c.bad("it is longer than a record can be")
	case err != nil:
		return Entry{}, fmt.Errorf("read audit log: %w", err)
	}
	e, err := decode(line[:len(line)-1])
	if err != nil {
		return Entry{}, c.bad(err.Error())
	}
	if c.line == 1 {
		if err := c.begin(e); err != nil {
			return Entry{}, err
		}
	}
	if e.Seq != c.end.seq+1 {
		return Entry{}, c.bad(fmt.Sprintf("it has the number %d", e.Seq))
	}
	if e.Prev != c.end.hash {
		return Entry{}, c.bad("it does not follow the record before it")
	}
	c.end = link{e.Seq, e.Hash}
	c.line++
	c.offset += int64(len(line))
	return e, nil
}

// begin checks the first record and takes from it where the chain comes from.
func (c *chain) begin(e Entry) error {
	if e.Record.Action != ActionBegin {
		return c.bad("a log begins with a record of its own, and this is another")
	}
	if p := headerOf(e).Previous; p != nil {
		c.end = link{p.Seq, p.Hash}
	}
	return nil
}

// bad is the error about the line that follows.
func (c *chain) bad(why string) error {
	return &Bad{Seq: c.end.seq + 1, Line: c.line, Offset: c.offset, Why: why}
}

// headerOf returns what a file's first record commits to; the zero value if it
// is not readable.
func headerOf(e Entry) header {
	var h header
	if json.Unmarshal(e.Record.Detail, &h) != nil {
		return header{}
	}
	return h
}
