package apparmor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/ccc-dev/ccc/internal/api"
)

// parserTime is how long apparmor_parser may take.
const parserTime = time.Minute

// Command returns the one command, for a shell, by which root installs the
// profiles from what `ccc profile show` prints, or removes them. program is the
// path of ccc.
func Command(program string, uninstall bool) string {
	if uninstall {
		return fmt.Sprintf("sudo %s profile install --uninstall", quoted(program))
	}
	return fmt.Sprintf("%s profile show %s | sudo sh -c 'cat >%s && apparmor_parser --replace %s'", quoted(program), ShownAs, File, File)
}

// ShownAs is the name by which `ccc profile show` knows the file.
const ShownAs = "apparmor:session"

// quoted quotes a path for a shell if it needs that.
func quoted(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-") == "" && s != "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// Install writes [File] and loads it. Root alone can do that. If it cannot be
// loaded the file is again what it was, and what was loaded stays. Sessions that
// run keep their profile, which is replaced under them.
func (h Host) Install(ctx context.Context) error {
	s := h.Status()
	if err := s.fit(); err != nil {
		return err
	}
	text, err := Text(s.ABI)
	if err != nil {
		return err
	}
	undo, err := h.put(text)
	if err != nil {
		return fmt.Errorf("install the AppArmor profile: %w", err)
	}
	if err := h.parse(ctx, nil, "--replace", File); err != nil {
		return errors.Join(err, undo())
	}
	own, err := Version(s.ABI)
	if err != nil {
		return err
	}
	return h.forget(ctx, own)
}

// fit refuses a host that cannot load profiles.
func (s Status) fit() error {
	if s.Kernel == No {
		return &api.Error{
			Kind: api.KindUnavailable, Rule: "apparmor.kernel", Msg: "the kernel has no AppArmor, or it is switched off",
			Hint: "boot with apparmor=1 security=apparmor, on a distribution that has it; SELinux hosts cannot have both",
		}
	}
	if s.Parser == "" {
		return &api.Error{
			Kind: api.KindUnavailable, Rule: "apparmor.parser", Msg: "there is no apparmor_parser",
			Hint: "sudo apt-get install apparmor",
		}
	}
	return nil
}

// put replaces the file as a whole, and returns what puts it back.
func (h Host) put(text []byte) (undo func() error, err error) {
	file := filepath.Join(h.Root, File)
	before, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	undo = func() error { return write(file, before) }
	if err != nil {
		undo = func() error { return os.Remove(file) }
	}
	return undo, write(file, text)
}

// write writes a file that all may read, as a whole or not at all.
func write(file string, text []byte) error {
	// A name that the service which loads the directory passes over.
	f, err := os.CreateTemp(filepath.Dir(file), ".ccc-session-*~")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// parse runs apparmor_parser with nothing of the environment.
func (h Host) parse(ctx context.Context, stdin []byte, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, parserTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(h.Root, h.parser()), args...) //nolint:gosec // G204: one of the fixed places
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}
	cmd.Stdin = bytes.NewReader(stdin)
	said, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	return &api.Error{
		Kind: api.KindUnavailable, Rule: "apparmor.load", Err: err,
		Msg:  "apparmor_parser " + args[0] + ": " + api.Printable(strings.TrimSpace(string(said))),
		Hint: "sudo apparmor_parser --debug " + File,
	}
}

// forget removes from the kernel the versions that are not own.
func (h Host) forget(ctx context.Context, own string) error {
	modes, err := h.modes()
	if err != nil {
		return fmt.Errorf("list the loaded profiles: %w", err)
	}
	for name := range modes {
		v, ok := strings.CutPrefix(name, versionPrefix)
		if !ok || v == own {
			continue
		}
		if err := h.parse(ctx, []byte("profile "+name+" {\n}\n"), "--remove"); err != nil {
			return err
		}
	}
	return nil
}

// Uninstall removes the profiles from the kernel and [File]. It refuses while a
// process is confined by one of them: that would be free from then on.
func (h Host) Uninstall(ctx context.Context) error {
	confined, err := h.confined()
	if err != nil {
		return fmt.Errorf("look for sessions: %w", err)
	}
	if len(confined) > 0 {
		return &api.Error{
			Kind: api.KindConflict, Rule: "apparmor.used",
			Msg:  fmt.Sprintf("%d processes are confined by the profile and would be free without it", len(confined)),
			Hint: "end the sessions first: ccc session stop, by each user who has some",
		}
	}
	s := h.Status()
	if s.Parser != "" && s.Kernel != No {
		if err := h.unload(ctx, s); err != nil {
			return err
		}
	}
	if err := os.Remove(filepath.Join(h.Root, File)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the AppArmor profile: %w", err)
	}
	return nil
}

// unload removes every profile of ours that the kernel has.
func (h Host) unload(ctx context.Context, s Status) error {
	for _, l := range s.Profiles {
		if l.Loaded == No {
			continue
		}
		if err := h.parse(ctx, []byte("profile "+l.Profile+" {\n}\n"), "--remove"); err != nil {
			return err
		}
	}
	return h.forget(ctx, "")
}

// confined returns the processes whose label is one of ours.
func (h Host) confined() ([]string, error) {
	files, err := filepath.Glob(filepath.Join(h.Root, "/proc/[0-9]*/attr/current"))
	var pids []string
	for _, f := range files {
		// A process may be gone by now.
		if label, err := os.ReadFile(f); err == nil && strings.HasPrefix(string(label), "ccc-session") {
			pids = append(pids, filepath.Base(filepath.Dir(filepath.Dir(f))))
		}
	}
	return pids, err
}
