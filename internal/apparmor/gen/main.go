// Command gen writes the AppArmor profiles that ccc ships, one file for each
// policy ABI, from one table: what is guarded comes from internal/workspace, and
// so the read-only mounts and the profile are about the same paths.
//
// Run it with `go generate ./internal/apparmor`. It is no part of the ccc program.
package main

import (
	"flag"
	"log"
	"os"
	"path/filepath"
)

func main() {
	log.SetFlags(0)
	root := flag.String("root", ".", "the module's directory")
	flag.Parse()
	for name, text := range Files() {
		file := filepath.Join(*root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil { //nolint:gosec // source files, for all to read
			log.Fatal("gen: ", err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil { //nolint:gosec // source files, for all to read
			log.Fatal("gen: ", err)
		}
	}
}

// Files returns every generated file: its path below the module's directory, and
// its content.
func Files() map[string]string {
	files := map[string]string{}
	for _, abi := range []string{"3.0", "4.0"} {
		files["profiles/apparmor/abi"+abi+"/ccc-session"] = file(abi)
	}
	return files
}
