package guest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// lifeLimit bounds the length of a life file in bytes.
const lifeLimit = 4096

// Life says when a session ends. The zero value is a life that is over.
//
// It is valid until the machine restarts, which ends every session anyway: who
// starts a session again writes its life anew.
type Life struct {
	// Deadline is the reading of Boottime at which the session ends, whatever
	// it does.
	Deadline time.Duration
	// Idle is the time without work after which it ends; zero means never.
	Idle time.Duration
	// Warn is how long before an end the session's log says so; zero means that
	// it does not.
	Warn time.Duration
}

// Text returns the content of a life file: one "key value" a line, in
// nanoseconds.
func (l Life) Text() []byte {
	return fmt.Appendf(nil, "deadline %d\nidle %d\nwarn %d\n", l.Deadline, l.Idle, l.Warn)
}

// ParseLife reads the content of a life file. It is strict: an unknown key, a
// key that is there twice and a missing deadline are errors, for a file that is
// misread may let a session live for ever.
func ParseLife(text []byte) (Life, error) {
	if len(text) > lifeLimit {
		return Life{}, fmt.Errorf("is longer than %d bytes", lifeLimit)
	}
	if !strings.HasSuffix(string(text), "\n") {
		return Life{}, errors.New("does not end with a line break")
	}
	var l Life
	fields := map[string]*time.Duration{"deadline": &l.Deadline, "idle": &l.Idle, "warn": &l.Warn}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		field, ok := fields[key]
		if !ok {
			return Life{}, fmt.Errorf("has a key that is unknown or there twice: %.40q", key)
		}
		delete(fields, key)
		// 63 bits, as a Duration has; digits only, no sign, no blanks.
		n, err := strconv.ParseUint(value, 10, 63)
		if err != nil {
			return Life{}, fmt.Errorf("%s is no number of nanoseconds: %.40q", key, value)
		}
		*field = time.Duration(n)
	}
	if l.Deadline == 0 {
		return Life{}, errors.New("has no deadline")
	}
	return l, nil
}

// WriteLife writes the life file of a session into dir, the directory that is
// mounted at SessionDir. A session that runs sees the new life at its next look,
// at most ten seconds later and always before it would end by the old one. The
// file is replaced as a whole, so that none is ever read half.
//
// It is not flushed to disk: after a loss of power no session runs that could
// read it. It may be called at the same time for the same dir; one of them wins.
func WriteLife(dir string, l Life) error {
	if l.Deadline <= 0 || l.Idle < 0 || l.Warn < 0 {
		return fmt.Errorf("write life of a session: deadline %d, idle %d, warn %d: not a time to live", l.Deadline, l.Idle, l.Warn)
	}
	f, err := os.CreateTemp(dir, ".life-*")
	if err != nil {
		return fmt.Errorf("write life of a session: %w", err)
	}
	err = fill(f, l.Text())
	if err == nil {
		err = os.Rename(f.Name(), LifeFile(dir))
	}
	if err != nil {
		return fmt.Errorf("write life of a session: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

// LifeFile returns the name of the life file in dir.
func LifeFile(dir string) string { return filepath.Join(dir, "life") }

func fill(f *os.File, text []byte) error {
	_, err := f.Write(text)
	// The session may read it as another user, where the engine maps ids
	// differently; it holds no secret, and the directory on the host is 0700.
	return errors.Join(err, f.Chmod(0o644), f.Close())
}
