// Package image builds the session image, lists and removes session images, and
// refuses images whose configuration would reach the host.
//
// An image is made from Debian packages alone, by mmdebstrap as the calling
// user, or taken from a registry by digest. Whatever way it came, it is checked
// before it gets a name.
//
// The package talks to the engine through the interfaces of package engine and
// runs programs through [Tools]. It must not decide which image a session gets:
// that is the business of policy.
package image

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"

	"github.com/ccc-dev/ccc/profiles"
)

// Repository is the name, without tag, of the images that ccc makes.
const Repository = "localhost/ccc-session"

// DefaultName is the image of a session that asks for none.
const DefaultName = Repository + ":latest"

// Recipe says what goes into a session image. Two builds of one recipe from the
// same state of the package mirror give the same bytes.
type Recipe struct {
	// Suite is the Debian release.
	Suite string `json:"suite"`
	// Epoch is the latest modification time of any file, in seconds since 1970,
	// the SOURCE_DATE_EPOCH of reproducible-builds.org.
	Epoch int64 `json:"epoch"`
	// Packages are installed with what they depend on, beside the essential
	// ones. Not among them is a package manager: nothing could use it in a
	// read-only root file system.
	Packages []string `json:"packages"`
	// Exclude are patterns of paths that are not unpacked, Keep the exceptions
	// (path-exclude and path-include of dpkg(1)).
	Exclude []string `json:"exclude"`
	Keep    []string `json:"keep"`
	// Customize is the script that finishes the tree.
	Customize string `json:"-"`
	// Mirror is the address of the package mirror; the suite's usual one if
	// empty.
	Mirror string `json:"-"`
}

// Shipped returns the recipe that this build of ccc carries.
func Shipped() (Recipe, error) {
	var r Recipe
	data, err := fs.ReadFile(profiles.Image, "image/recipe.json")
	if err != nil {
		return r, fmt.Errorf("read image recipe: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return r, fmt.Errorf("read image recipe: %w", err)
	}
	script, err := fs.ReadFile(profiles.Image, "image/customize")
	if err != nil {
		return r, fmt.Errorf("read image recipe: %w", err)
	}
	r.Customize = string(script)
	return r, nil
}

// Arguments returns the arguments of mmdebstrap(1) that carry out the recipe;
// hook is the path of the file that holds Customize. The tar stream goes to
// standard output.
func (r Recipe) Arguments(hook string) []string {
	args := []string{
		// The essential packages alone: no apt, no init, no login programs.
		"--variant=essential", "--mode=unshare", "--format=tar",
		// A user could not unpack device nodes, and a container gets its own.
		// The rest is cleaned by the hook, more thoroughly.
		"--skip=output/dev,cleanup/apt,cleanup/mmdebstrap",
	}
	for _, p := range r.Exclude {
		args = append(args, "--dpkgopt=path-exclude="+p)
	}
	for _, p := range r.Keep {
		args = append(args, "--dpkgopt=path-include="+p)
	}
	args = append(args, "--include="+strings.Join(r.Packages, ","), "--customize-hook="+hook, "--", r.Suite, "-")
	if r.Mirror != "" {
		args = append(args, r.Mirror)
	}
	return args
}

// ID identifies the recipe by its content: twelve hexadecimal digits, equal for
// recipes that give the same image.
func (r Recipe) ID() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d\n%q\n%s", r.Epoch, r.Arguments("customize"), r.Customize))
	return hex.EncodeToString(sum[:])[:12]
}

// Label is the value of the label that marks images of this recipe.
func (r Recipe) Label() string { return r.Suite + "-" + r.ID() }

// Tag is the name that says what is in the image. It never changes its meaning,
// so an image that has it need not be built again.
func (r Recipe) Tag() string { return Repository + ":" + r.Label() }
