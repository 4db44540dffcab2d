package profiles

import "embed"

// Image holds the recipe of the session image: `image/recipe.json`, what goes
// in, and `image/customize`, the script that finishes it. Package image reads
// both.
//
//go:embed image/recipe.json image/customize
var Image embed.FS
