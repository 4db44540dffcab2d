package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/ccc-dev/ccc/internal/api"
)

// maxFile bounds a configuration file, in bytes.
const maxFile = 64 << 10

// ruleFile is the rule that refuses to trust a file.
const ruleFile = "config.file"

// read returns the content of a configuration file, and false if it does not
// exist. The checks are made on the open file, so that it cannot be exchanged
// between them and the reading.
//
// The project's file comes with the project: it may belong to anybody, but it
// must not be a link, which could make ccc read, and quote in an error message,
// another file. Host and user files may be links (many people keep theirs in a
// repository), but what is read must be writable by nobody else.
func read(file string, source Source) ([]byte, bool, error) {
	// O_NONBLOCK: opening a FIFO must not wait for a writer.
	flags := unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY
	if source == SourceProject {
		flags |= unix.O_NOFOLLOW
	}
	f, err := os.OpenFile(file, flags, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, false, nil
	case errors.Is(err, unix.ELOOP):
		return nil, false, untrusted(file, "is a symbolic link", "put a regular file there")
	case err != nil:
		// Unreadable is not absent: what it forbids would be allowed.
		return nil, false, &api.Error{Kind: api.KindInvalid, Msg: "read the " + string(source) + "'s configuration", Hint: "make " + file + " readable, or remove it", Err: err}
	}
	defer f.Close()
	if err := trust(f, source); err != nil {
		return nil, false, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, false, fmt.Errorf("read %s: %w", file, err)
	}
	if len(text) > maxFile {
		return nil, false, api.Invalidf("shorten it to at most 64 KiB", "%s is too large", file)
	}
	return text, true, nil
}

// trust checks who could have written the open file.
func trust(f *os.File, source Source) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fmt.Errorf("stat %s: %w", f.Name(), err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return untrusted(f.Name(), "is not a regular file", "put a regular file there")
	}
	if source == SourceProject {
		return nil
	}
	if st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return untrusted(f.Name(), fmt.Sprintf("belongs to another user (uid %d)", st.Uid), "have it owned by you or by root")
	}
	if st.Mode&0o022 != 0 {
		return untrusted(f.Name(), "can be written by others", "chmod go-w "+f.Name())
	}
	return nil
}

// untrusted is the refusal of a file.
func untrusted(file, why, hint string) error {
	return api.Deniedf(ruleFile, hint, "%s %s", file, why)
}
