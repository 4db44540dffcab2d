package workspace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ccc-dev/ccc/internal/api"
)

// Dirs are the host directories that sessions write to, one below Root for
// each session.
type Dirs struct {
	// Root is `$XDG_STATE_HOME/ccc/sessions`.
	Root string
}

// Upper returns the directory that takes a session's changes.
func (d Dirs) Upper(id api.ID) string { return filepath.Join(d.Root, string(id), "upper") }

// Work returns the directory that overlayfs keeps for itself beside Upper.
func (d Dirs) Work(id api.ID) string { return filepath.Join(d.Root, string(id), "work") }

// Of returns the directory that holds a session's two.
func (d Dirs) Of(id api.ID) string { return filepath.Join(d.Root, string(id)) }

// Make creates the directories of a session. On error nothing is left.
func (d Dirs) Make(id api.ID) error {
	if !id.Valid() {
		return fmt.Errorf("make session directories: bad id %q", id)
	}
	if err := os.MkdirAll(d.Root, 0o700); err != nil {
		return fmt.Errorf("make session directories: %w", err)
	}
	base := filepath.Join(d.Root, string(id))
	if err := os.Mkdir(base, 0o700); err != nil {
		return fmt.Errorf("make session directories: %w", err)
	}
	for _, sub := range []string{d.Upper(id), d.Work(id)} {
		if err := os.Mkdir(sub, 0o700); err != nil {
			return errors.Join(fmt.Errorf("make session directories: %w", err), d.Remove(id))
		}
	}
	return nil
}

// Remove deletes the directories of a session and what is in them. A session
// without any is not an error. Nothing outside is touched whatever the session
// made of the inside: no link is followed. It fails where a session deleted a
// file of the project: the kernel keeps a whiteout that belongs to the root of
// the session's user namespace, and only the engine can remove that.
func (d Dirs) Remove(id api.ID) error {
	if !id.Valid() {
		return fmt.Errorf("remove session directories: bad id %q", id)
	}
	root, err := os.OpenRoot(d.Root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove session directories: %w", err)
	}
	defer root.Close()
	if err := root.RemoveAll(string(id)); err == nil {
		return nil
	}
	// A session may have taken its own permissions away, and overlayfs keeps a
	// directory of mode 0: give them back, then remove.
	if err := open(root, string(id)); err != nil {
		return fmt.Errorf("remove session directories: %w", err)
	}
	if err := root.RemoveAll(string(id)); err != nil {
		return fmt.Errorf("remove session directories: %w", err)
	}
	return nil
}

// open gives the owner every permission on all directories below name.
func open(root *os.Root, name string) error {
	return fs.WalkDir(root.FS(), name, func(p string, entry fs.DirEntry, err error) error {
		if err != nil && entry == nil {
			return err
		}
		if !entry.IsDir() {
			return nil
		}
		if err == nil {
			// Called before the directory is read: now is the time.
			return root.Chmod(p, 0o700)
		}
		return err
	})
}

// List returns the sessions that have directories.
func (d Dirs) List() ([]api.ID, error) {
	entries, err := os.ReadDir(d.Root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list session directories: %w", err)
	}
	var ids []api.ID
	for _, e := range entries {
		if id := api.ID(e.Name()); id.Valid() && e.IsDir() {
			ids = append(ids, id)
		}
	}
	return ids, nil
}
