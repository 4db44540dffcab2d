package audit

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/api"
)

// DefaultFile is the name of a log in its directory.
const DefaultFile = "audit.jsonl"

// The actions of records that the log writes about itself.
const (
	// ActionBegin is the first record of a file.
	ActionBegin = "log.begin"
	// ActionRecovered says that an unfinished last line was set aside.
	ActionRecovered = "log.recovered"
)

// Options say how a log is written.
type Options struct {
	// Clock is the wall clock; required.
	Clock func() time.Time
	// Uptime is the time since boot (CLOCK_BOOTTIME), which nobody can set.
	// Optional.
	Uptime func() time.Duration
	// Version is that of ccc, committed to by the first record of a file.
	Version string
	// Caller stands in the records that the log writes about itself.
	Caller api.Caller
	// File is the log's name in its directory; [DefaultFile] if empty.
	File string
}

// Log is an open audit log. Its methods may be called concurrently, and any
// number of processes may have the same log open.
type Log struct {
	dir    *os.File
	o      Options
	broken atomic.Pointer[api.Error]
}

// Open opens the log in the directory, and makes both if they are not there:
// the directory with mode 0700, the file with 0600. It refuses, with
// [api.KindDenied], a directory or file that is a symbolic link, belongs to
// somebody else, or is open to others, and with [api.KindUnavailable] a log
// that cannot be written or whose last record is damaged. An unfinished last
// line, from a crash in the middle of a write, is moved to a file of the same
// name with .torn at the end, which a record then says.
func Open(ctx context.Context, dir string, o Options) (*Log, error) {
	if o.Clock == nil {
		return nil, errors.New("an audit log needs a clock")
	}
	if o.File == "" {
		o.File = DefaultFile
	}
	if filepath.Base(o.File) != o.File {
		return nil, fmt.Errorf("audit log name %q is not a plain file name", o.File)
	}
	d, err := openDir(dir)
	if err != nil {
		return nil, err
	}
	l := &Log{dir: d, o: o}
	if err := l.start(ctx); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return l, nil
}

// Path returns the path of the log.
func (l *Log) Path() string { return filepath.Join(l.dir.Name(), l.o.File) }

// Close lets go of the log. There is nothing to flush.
func (l *Log) Close() error { return l.dir.Close() }

// Append writes one record and returns when it is on disk. If it returns an
// error the record may or may not be there, and what it announces must not be
// done. After a failed write or sync the log refuses every further record, with
// [api.KindUnavailable]: the kernel reports a lost page only once and would
// call the next sync a success (fsync(2), "Errors"), so only a new process, or
// a new Open, may try again.
func (l *Log) Append(ctx context.Context, r Record) error {
	if e := l.broken.Load(); e != nil {
		return e
	}
	f, err := l.lock(ctx, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	// The one that had the lock before may have found out.
	if e := l.broken.Load(); e != nil {
		return e
	}
	end, err := l.end(f)
	if err != nil {
		return err
	}
	if end.seq == 0 {
		return l.unavailable("it was emptied", nil)
	}
	if _, err := l.write(f, end, r); err != nil {
		return err
	}
	return l.sync(f)
}

// start makes the log ready: its first record, if it has none, and an
// unfinished last line set aside.
func (l *Log) start(ctx context.Context) error {
	f, err := l.lock(ctx, unix.O_CREAT)
	if err != nil {
		return err
	}
	defer f.Close()
	end, err := l.end(f)
	if err != nil || end.seq != 0 {
		return err
	}
	id := make([]byte, 16)
	// crypto/rand.Read never fails (its documentation, since Go 1.24).
	_, _ = rand.Read(id)
	detail, err := json.Marshal(header{File: hex.EncodeToString(id), Tool: l.o.Version})
	if err != nil {
		return fmt.Errorf("begin audit log: %w", err)
	}
	if _, err := l.write(f, end, Record{Action: ActionBegin, Caller: l.o.Caller, Detail: detail}); err != nil {
		return err
	}
	if err := l.sync(f); err != nil {
		return err
	}
	// The file's name is on disk only once its directory is.
	if err := unix.Fsync(int(l.dir.Fd())); err != nil {
		return l.unavailable("its directory cannot be synced", err)
	}
	return nil
}

// header is the Detail of a file's first record.
type header struct {
	// File identifies the file.
	File string `json:"file"`
	// Tool is the version of ccc that began it.
	Tool string `json:"tool"`
	// Previous is the end of the file before, if there was one.
	Previous *previous `json:"previous"`
}

// previous is the end of a file.
type previous struct {
	Seq  uint64 `json:"seq"`
	Hash string `json:"hash"`
}

// end returns the end of the chain in the locked file, and sets an unfinished
// last line aside first. Of an empty file the end is seq 0.
func (l *Log) end(f *os.File) (link, error) {
	t, err := readTail(f)
	if err != nil {
		return link{}, l.unavailable("its end cannot be read", err)
	}
	end := link{hash: zeroHash}
	if t.last != nil {
		e, err := decode(t.last)
		if err != nil {
			// Chaining on would bury the damage.
			return link{}, l.unavailable("its last record is damaged", err)
		}
		end = link{e.Seq, e.Hash}
	}
	if t.torn == nil {
		return end, nil
	}
	return l.recover(f, t, end)
}

// recover moves an unfinished last line out of the log and records that.
func (l *Log) recover(f *os.File, t tail, end link) (link, error) {
	name := l.o.File + ".torn"
	if err := l.keep(name, t.torn); err != nil {
		return link{}, err
	}
	if err := f.Truncate(t.at); err != nil {
		return link{}, l.fail("cut the unfinished line", err)
	}
	if end.seq == 0 {
		// Not even the first record was finished: the log begins anew.
		return end, nil
	}
	detail := fmt.Appendf(nil, `{"bytes":%d,"sha256":"%s"}`, len(t.torn), digest(t.torn))
	end, err := l.write(f, end, Record{Action: ActionRecovered, Caller: l.o.Caller, Message: "an unfinished line was moved to " + name, Detail: detail})
	if err != nil {
		return link{}, err
	}
	return end, l.sync(f)
}

// keep appends what was torn off to the file of that name.
func (l *Log) keep(name string, torn []byte) error {
	f, err := l.openFile(name, unix.O_WRONLY|unix.O_CREAT)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(append(torn, '\n')); err != nil {
		return l.fail("keep the unfinished line", err)
	}
	if err := errors.Join(unix.Fsync(int(f.Fd())), unix.Fsync(int(l.dir.Fd()))); err != nil {
		return l.fail("keep the unfinished line", err)
	}
	return nil
}

// write appends a record to the locked file with one write(2), so that whatever
// happens there is at most one unfinished line, at the end.
func (l *Log) write(f *os.File, after link, r Record) (link, error) {
	at := stamp{wall: l.o.Clock()}
	if l.o.Uptime != nil {
		at.boot = l.o.Uptime()
	}
	line, end, err := encode(after, at, r)
	if err != nil {
		return link{}, err
	}
	n := 0
	err = retry(func() (err error) { n, err = unix.Write(int(f.Fd()), line); return err })
	if err == nil && n < len(line) {
		// A short write means that there is no room for the rest.
		err = unix.ENOSPC
	}
	if err != nil {
		return link{}, l.fail("write", err)
	}
	return end, nil
}

// sync returns when the locked file's data is on disk. Only an interrupted call
// is made again: it has not reported anything yet.
func (l *Log) sync(f *os.File) error {
	if err := retry(func() error { return unix.Fdatasync(int(f.Fd())) }); err != nil {
		return l.fail("sync", err)
	}
	return nil
}

// fail makes the log refuse every further record.
func (l *Log) fail(what string, err error) error {
	e := l.unavailable("it failed at: "+what, err)
	l.broken.CompareAndSwap(nil, e)
	return e
}

// unavailable is the error of a log that cannot be written.
func (l *Log) unavailable(why string, err error) *api.Error {
	return &api.Error{
		Kind: api.KindUnavailable,
		Msg:  "the audit log " + l.Path() + " cannot be written: " + why,
		Hint: "nothing is done that cannot be recorded: check the free space there and run `ccc audit verify`; a damaged log can be moved aside",
		Err:  err,
	}
}
