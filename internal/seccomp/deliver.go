package seccomp

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/ccc-dev/ccc/internal/api"
	"github.com/ccc-dev/ccc/internal/private"
)

// maxProfile bounds a profile's file, in bytes.
const maxProfile = 1 << 20

// Deliver puts a profile into a file that the container engine can be pointed
// at, and returns the file's absolute path. The file's name is made from its
// content, so that two versions of ccc do not overwrite each other's; it belongs
// to the calling user and nobody else may read or write it.
//
// A file that is there already is used only if it is such a file with exactly
// this content; anything else of that name is replaced, a directory excepted,
// which is an error. dir is created if need be; one that others may enter, or
// that is a symbolic link or somebody else's, is refused with a [api.KindDenied]
// error. Deliver may be called from several processes at once.
//
// The engine opens the file later, and by name. What then really took effect is
// for [Compare] to say.
func Deliver(dir string, profile []byte) (string, error) {
	if len(profile) == 0 || len(profile) > maxProfile {
		return "", &api.Error{Msg: fmt.Sprintf("deliver seccomp profile: %d bytes cannot be one", len(profile))}
	}
	sum := sha256.Sum256(profile)
	file, err := private.Put(private.File{
		Dir: dir, Name: "seccomp-" + hex.EncodeToString(sum[:]) + ".json", Content: profile, Mode: 0o600,
	})
	if err != nil {
		return "", fmt.Errorf("deliver seccomp profile: %w", err)
	}
	return file, nil
}
