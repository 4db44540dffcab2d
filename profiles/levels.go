// Package profiles holds the files that ccc ships: policy levels and the recipe
// of the session image. They are embedded, so that a binary is complete by
// itself. The package contains no logic; package profile reads the levels.
package profiles

import "embed"

// Levels holds the shipped policy levels, `levels/NAME.yaml`.
//
//go:embed levels/*.yaml
var Levels embed.FS
