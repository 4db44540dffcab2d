package fake

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The kinds of objects, which are the directories they lie in.
const (
	containers = "containers"
	volumes    = "volumes"
	images     = "images"
	execs      = "execs"
)

// newID returns a random identity of 64 hexadecimal digits.
func newID() string {
	var b [32]byte
	// Read never fails (crypto/rand).
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// file returns where an object lies. Keys come from identities and checked
// names, which hold no slash.
func (e *Engine) file(kind, key string) string {
	return filepath.Join(e.dir, kind, filepath.Base(key)+".json")
}

// put writes an object so that a reader after a crash finds all of it or none.
func put[T any](e *Engine, kind, key string, v T) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("store %s: %w", kind, err)
	}
	file := e.file(kind, key)
	if err := os.WriteFile(file+".new", data, 0o600); err != nil {
		return fmt.Errorf("store %s: %w", kind, err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		return fmt.Errorf("store %s: %w", kind, err)
	}
	return nil
}

// get reads an object; the error is fs.ErrNotExist if it is not there.
func get[T any](e *Engine, kind, key string) (T, error) {
	var v T
	data, err := os.ReadFile(e.file(kind, key))
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return v, fmt.Errorf("read %s %s: %w", kind, key, err)
	}
	return v, nil
}

// all reads all objects of a kind.
func all[T any](e *Engine, kind string) ([]T, error) {
	entries, err := os.ReadDir(filepath.Join(e.dir, kind))
	if err != nil {
		return nil, err
	}
	var list []T
	for _, entry := range entries {
		key, ok := strings.CutSuffix(entry.Name(), ".json")
		if !ok {
			continue
		}
		v, err := get[T](e, kind, key)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

// drop removes an object; one that is not there is not an error.
func (e *Engine) drop(kind, key string) error {
	if err := os.Remove(e.file(kind, key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
