package config_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ccc-dev/ccc/internal/config"
)

func TestSmoke(t *testing.T) {
	dir := t.TempDir()
	f := filepath.Join(dir, "c.yaml")
	os.WriteFile(f, []byte("image: a\nlimits:\n  memory: 2g\n  pids: 5\nceiling:\n  limits: {memory: 4g}\n  workspaces: [overlay]\nmounts:\n  allow: [~/x]\n"), 0o600)
	c, err := config.Load(config.Sources{UserFile: f, ProjectFile: "", Home: "/home/u", Environ: []string{"DEFAULT_SESSION_TIMEOUT=60"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", c)
	for _, s := range c.List() {
		t.Log(s.Key, s.Value, s.Origin)
	}
}
